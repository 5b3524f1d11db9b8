#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "group/slab.h"

#define ITEMS (5 * SLAB_CHUNK)

struct item {
    uint64_t link, value;
};

struct kept {
    struct slab_place place;
    struct item *item;
    uint64_t value;
};

static struct slab slab;
static struct kept kept[ITEMS];

static void open_slab(void) {
    slab = (struct slab){.item_size = sizeof(struct item)};
    memset(kept, 0, sizeof(kept));
}

/* Check's own macros are too slow for what runs for each item. */
static void take(struct kept *as) {
    static uint64_t values;
    as->place = slab_take(&slab);
    as->item = slab_at(&slab, as->place.number);
    as->value = ++values;
    if (as->item->link != 0 || as->item->value != 0)
        ck_abort_msg("number %d is not zeroed", (int)as->place.number);
    *as->item = (struct item){as->value, as->value};
}

static void give(struct kept *of) {
    slab_give(&slab, of->place.number);
    of->item = NULL;
}

static void take_all(void) {
    for (size_t at = 0; at < ITEMS; at++)
        take(&kept[at]);
}

static void give_all(void) {
    for (size_t at = 0; at < ITEMS; at++)
        if (kept[at].item != NULL)
            give(&kept[at]);
    ck_assert_uint_eq(slab.count, 0);
}

static size_t chunks_with_memory(void) {
    size_t count = 0;
    for (uint32_t at = 0; at < slab.chunk_count; at++)
        count += slab.chunks[at].items != NULL;
    return count;
}

START_TEST(numbers_find_items_that_stay_where_they_are) {
    take_all();
    ck_assert_uint_eq(slab.count, ITEMS);
    for (size_t at = 0; at < ITEMS; at++) {
        const struct kept *of = &kept[at];
        if (of->place.number < 1 || of->place.number > slab_last(&slab) ||
            slab_at(&slab, of->place.number) != of->item || of->item->link != of->value ||
            of->item->value != of->value)
            ck_abort_msg("item %d", (int)at);
    }
    give_all();
    slab_clear(&slab);
}
END_TEST

START_TEST(what_is_no_item_is_nothing_or_zero) {
    struct kept one, other;
    ck_assert_ptr_null(slab_at(&slab, 0));
    ck_assert_ptr_null(slab_at(&slab, 1));
    ck_assert_uint_eq(slab_last(&slab), 0);
    take(&one);
    take(&other);
    give(&one);
    ck_assert_ptr_null(slab_at(&slab, 0));
    ck_assert_ptr_null(slab_at(&slab, SLAB_CHUNK + 1));
    ck_assert_ptr_null(slab_at(&slab, SLAB_NUMBER_MAX));
    ck_assert_ptr_null(slab_at(&slab, UINT32_MAX));
    ck_assert_uint_eq(((struct item *)slab_at(&slab, one.place.number))->value, 0);
    give(&other);
    slab_clear(&slab);
}
END_TEST

START_TEST(a_number_comes_again_before_there_are_more) {
    take_all();
    uint32_t last = slab_last(&slab);
    for (size_t at = 0; at < ITEMS; at += 3)
        give(&kept[at]);
    for (size_t at = 0; at < ITEMS; at += 3)
        take(&kept[at]);
    ck_assert_uint_eq(slab_last(&slab), last);
    ck_assert_uint_eq(slab.count, ITEMS);
    give_all();
    slab_clear(&slab);
}
END_TEST

/* For each number the generation rises, whatever became of the memory in between. */
START_TEST(no_place_is_given_twice) {
    static uint32_t newest[ITEMS + SLAB_CHUNK + 1];
    uint64_t random = 1;
    memset(newest, 0, sizeof(newest));
    for (int round = 0; round < 6; round++) {
        for (int step = 0; step < 20000; step++) {
            random = random * 6364136223846793005 + 1442695040888963407;
            struct kept *of = &kept[(random >> 33) % ITEMS];
            if (of->item != NULL) {
                if (of->item->value != of->value)
                    ck_abort_msg("number %d is two items'", (int)of->place.number);
                give(of);
                continue;
            }
            take(of);
            if (of->place.generation <= newest[of->place.number])
                ck_abort_msg("number %d", (int)of->place.number);
            newest[of->place.number] = of->place.generation;
        }
        if (round % 2 == 0)
            give_all();
    }
    give_all();
    slab_clear(&slab);
}
END_TEST

START_TEST(an_empty_chunk_gives_its_memory_back_but_for_one) {
    take_all();
    ck_assert_uint_eq(chunks_with_memory(), 5);
    for (size_t at = SLAB_CHUNK; at < 3 * SLAB_CHUNK; at++)
        give(&kept[at]);
    ck_assert_uint_eq(chunks_with_memory(), 4);
    for (size_t at = SLAB_CHUNK; at < 3 * SLAB_CHUNK; at++)
        take(&kept[at]);
    ck_assert_uint_eq(chunks_with_memory(), 5);
    ck_assert_uint_eq(slab.chunk_count, 5);
    give_all();
    ck_assert_uint_eq(chunks_with_memory(), 1);
    slab_clear(&slab);
    ck_assert_ptr_null(slab.chunks);
}
END_TEST

START_TEST(an_item_that_comes_and_goes_allocates_nothing) {
    struct kept one;
    take_all();
    give_all();
    take(&one);
    struct item *item = one.item;
    uint32_t number = one.place.number;
    for (int times = 0; times < 3; times++) {
        give(&one);
        ck_assert_uint_eq(chunks_with_memory(), 1);
        ck_assert_ptr_eq(slab_at(&slab, number), item);
        take(&one);
        ck_assert_uint_eq(one.place.number, number);
    }
    give(&one);
    slab_clear(&slab);
}
END_TEST

START_TEST(a_chunk_whose_generations_are_used_up_is_not_taken_from_again) {
    struct kept before, last, after;
    take(&before);
    slab.chunks[0].generation = SLAB_GENERATION_MAX - 1;
    take(&last);
    ck_assert_uint_eq(last.place.generation, SLAB_GENERATION_MAX);
    ck_assert_uint_le(last.place.number, SLAB_CHUNK);
    give(&before);
    take(&after);
    ck_assert_uint_gt(after.place.number, SLAB_CHUNK);
    ck_assert_uint_eq(after.place.generation, 1);
    ck_assert_uint_eq(last.item->value, last.value);
    ck_assert_uint_eq(chunks_with_memory(), 2);
    give(&last);
    ck_assert_uint_eq(chunks_with_memory(), 1);
    ck_assert_ptr_null(slab_at(&slab, last.place.number));
    give(&after);
    take(&after);
    ck_assert_uint_gt(after.place.number, SLAB_CHUNK);
    give(&after);
    slab_clear(&slab);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("slab");
    TCase *tcase = tcase_create("slab");
    tcase_add_checked_fixture(tcase, open_slab, NULL);
    tcase_add_test(tcase, numbers_find_items_that_stay_where_they_are);
    tcase_add_test(tcase, what_is_no_item_is_nothing_or_zero);
    tcase_add_test(tcase, a_number_comes_again_before_there_are_more);
    tcase_add_test(tcase, no_place_is_given_twice);
    tcase_add_test(tcase, an_empty_chunk_gives_its_memory_back_but_for_one);
    tcase_add_test(tcase, an_item_that_comes_and_goes_allocates_nothing);
    tcase_add_test(tcase, a_chunk_whose_generations_are_used_up_is_not_taken_from_again);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
