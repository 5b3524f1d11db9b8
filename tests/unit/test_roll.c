#include <check.h>
#include <stdbool.h>

#include "group/roll.h"
#include "group/table.h"

#define ITEMS 3000

struct item {
    uint64_t name;
    bool inside;
};

static struct item items[ITEMS + 1];

static uint64_t name_of(const void *of, uint32_t number) {
    return ((const struct item *)of)[number].name;
}

static struct roll roll;

static void open_roll(void) { roll = (struct roll){.name = name_of, .items = items}; }

static void assert_all(size_t count) {
    ck_assert_uint_eq(roll.count, count);
    for (uint32_t number = 1; number <= ITEMS; number++)
        if (roll_find(&roll, items[number].name) != (items[number].inside ? number : 0))
            ck_abort_msg("item %d", (int)number);
}

static void name_items(void) {
    for (uint32_t number = 1; number <= ITEMS; number++)
        items[number] = (struct item){(uint64_t)number << 28 | 1, false};
}

/* Names of which so many bits of the hash are 0 fight for the same first slots, or with the bits
   set for the last ones, behind which a table goes on at its start. */
static void name_rivals(uint32_t count, unsigned bits, bool set) {
    uint64_t mask = (1u << bits) - 1, name = 0;
    for (uint32_t number = 1; number <= count; number++) {
        do
            name++;
        while ((table_hash(name) & mask) != (set ? mask : 0));
        items[number] = (struct item){name, false};
    }
}

/* Rivals in fewer bits than the table has, at its start and at its end, then none. */
START_TEST(random_additions_and_removals_lose_nothing) {
    uint64_t random = 1;
    size_t count = 0;
    name_items();
    if (_i < 2)
        name_rivals(200, 6, _i == 1);
    for (int step = 0; step < 20000; step++) {
        random = random * 6364136223846793005 + 1442695040888963407;
        uint32_t number = (uint32_t)(random >> 33) % 200 + 1;
        if (items[number].inside)
            roll_remove(&roll, number);
        else
            roll_add(&roll, number);
        items[number].inside = !items[number].inside;
        count = items[number].inside ? count + 1 : count - 1;
        if (step % 50 == 0)
            assert_all(count);
    }
    for (uint32_t number = 1; number <= 200; number++) {
        if (items[number].inside)
            roll_remove(&roll, number);
        items[number].inside = false;
    }
    assert_all(0);
    roll_clear(&roll);
}
END_TEST

START_TEST(memory_follows_what_is_on_it) {
    name_items();
    assert_all(0);
    for (uint32_t number = 1; number <= ITEMS; number++) {
        roll_add(&roll, number);
        items[number].inside = true;
    }
    assert_all(ITEMS);
    ck_assert_uint_eq(roll.capacity, 4096);
    for (uint32_t number = 1; number <= ITEMS; number++)
        roll_remove(&roll, number);
    ck_assert_uint_eq(roll.capacity, 16);
    roll_clear(&roll);
    ck_assert_ptr_null(roll.slots);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("roll");
    TCase *tcase = tcase_create("roll");
    tcase_add_checked_fixture(tcase, open_roll, NULL);
    tcase_add_loop_test(tcase, random_additions_and_removals_lose_nothing, 0, 3);
    tcase_add_test(tcase, memory_follows_what_is_on_it);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
