#include <check.h>
#include <stdlib.h>

#include "group/table.h"

#define ITEMS 3000

struct item {
    uint64_t number, hash;
    bool inside;
};

static struct table table;
static struct item items[ITEMS];

static bool is_item(const void *item, const void *wanted) {
    return ((const struct item *)item)->number == *(const uint64_t *)wanted;
}

static struct item *find(const struct item *item) {
    return table_find(&table, item->hash, is_item, &item->number);
}

static void assert_all(size_t count) {
    ck_assert_uint_eq(table.count, count);
    for (size_t at = 0; at < ITEMS; at++) {
        struct item *expected = items[at].inside ? &items[at] : NULL;
        if (find(&items[at]) != expected)
            ck_abort_msg("item %d", (int)at);
    }
}

/* With few bits most items fight for the same slots, the last ones of the table included. */
static void number_items(unsigned bits) {
    for (size_t at = 0; at < ITEMS; at++)
        items[at] = (struct item){at, table_hash(at) >> (64 - bits), false};
}

START_TEST(an_empty_table_has_nothing) {
    number_items(64 - 1);
    assert_all(0);
    ck_assert_ptr_null(table_any(&table));
}
END_TEST

/* 63, 6 and 4 bits of hash. */
START_TEST(random_additions_and_removals_lose_nothing) {
    static const unsigned bits[] = {63, 6, 4};
    uint64_t random = 1;
    size_t count = 0;
    number_items(bits[_i]);
    for (int step = 0; step < 20000; step++) {
        random = random * 6364136223846793005 + 1442695040888963407;
        struct item *item = &items[(random >> 33) % 200];
        if (item->inside)
            table_remove(&table, item->hash, item);
        else
            table_add(&table, item->hash, item);
        item->inside = !item->inside;
        count = item->inside ? count + 1 : count - 1;
        if (step % 50 == 0)
            assert_all(count);
    }
    struct item *any;
    while ((any = table_any(&table)) != NULL) {
        table_remove(&table, any->hash, any);
        any->inside = false;
        count--;
    }
    assert_all(0);
    ck_assert_uint_eq(count, 0);
    table_clear(&table);
}
END_TEST

START_TEST(the_last_slot_goes_on_at_the_first) {
    for (size_t at = 0; at < 5; at++) {
        items[at] = (struct item){at, 15, true};
        table_add(&table, 15, &items[at]);
    }
    table_remove(&table, 15, &items[0]);
    items[0].inside = false;
    for (size_t at = 0; at < 5; at++)
        ck_assert_ptr_eq(find(&items[at]), items[at].inside ? &items[at] : NULL);
    free(table.slots);
}
END_TEST

START_TEST(memory_follows_what_is_in_it) {
    number_items(63);
    for (size_t at = 0; at < ITEMS; at++)
        table_add(&table, items[at].hash, &items[at]);
    ck_assert_uint_eq(table.capacity, 4096);
    for (size_t at = 0; at < ITEMS; at++)
        table_remove(&table, items[at].hash, &items[at]);
    ck_assert_uint_eq(table.capacity, 16);
    table_clear(&table);
    ck_assert_ptr_null(table.slots);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("table");
    TCase *tcase = tcase_create("table");
    tcase_add_test(tcase, an_empty_table_has_nothing);
    tcase_add_loop_test(tcase, random_additions_and_removals_lose_nothing, 0, 3);
    tcase_add_test(tcase, the_last_slot_goes_on_at_the_first);
    tcase_add_test(tcase, memory_follows_what_is_in_it);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
