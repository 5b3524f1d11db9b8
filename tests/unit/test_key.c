#include <check.h>
#include <stdio.h>
#include <string.h>

#include "group/key.h"

START_TEST(a_key_is_the_namespace_and_the_name) {
    static const char *const pairs[][2] = {{"a", "b"},  {"b", "a"},  {"ab", ""}, {"", "ab"},
                                           {"a", "bc"}, {"ab", "c"}, {"a", "B"}};
    enum { PAIRS = sizeof(pairs) / sizeof(pairs[0]) };
    for (int one = 0; one < PAIRS; one++)
        for (int other = 0; other < PAIRS; other++) {
            struct group_key left = key_of(pairs[one][0], pairs[one][1]);
            char space[8], name[8];
            strcpy(space, pairs[other][0]);
            strcpy(name, pairs[other][1]);
            struct group_key right = key_of(space, name);
            ck_assert_int_eq(key_equal(&left, &right), one == other);
            ck_assert_int_eq(left.hash == right.hash, one == other);
        }
}
END_TEST

START_TEST(a_shared_key_has_its_own_text) {
    char name[] = "room";
    struct group_key key = key_of("space", name);
    struct shared_key *shared = key_share(&key);
    struct group_key again = key_of("space", "room");
    name[0] = 'x';
    ck_assert_str_eq(shared->key.name, "room");
    ck_assert_str_eq(shared->key.space, "space");
    ck_assert(key_equal(&shared->key, &again));
    ck_assert(!key_equal(&shared->key, &key));
    ck_assert_ptr_eq(key_ref(shared), shared);
    key_unref(shared);
    ck_assert_str_eq(shared->key.name, "room");
    key_unref(shared);
    key_unref(NULL);
}
END_TEST

START_TEST(another_seed_is_another_hash) {
    key_seed(1, 2);
    uint64_t hash = key_of("space", "room").hash;
    ck_assert_uint_eq(key_of("space", "room").hash, hash);
    key_seed(1, 3);
    ck_assert_uint_ne(key_of("space", "room").hash, hash);
    key_seed(2, 2);
    ck_assert_uint_ne(key_of("space", "room").hash, hash);
}
END_TEST

/* Of 3,000 names on 3 threads; names of every length up to 26 take part. */
START_TEST(names_are_spread_evenly_over_their_homes) {
    unsigned homes[3] = {0, 0, 0};
    char name[32] = "";
    key_seed(1, 2);
    for (int number = 0; number < 3000; number++) {
        memset(name, 'n', 20);
        snprintf(name + number % 20, 12, "%d", number);
        struct group_key key = key_of("default/chat", name);
        homes[key_home(&key, 3)]++;
    }
    for (int at = 0; at < 3; at++) {
        ck_assert_uint_gt(homes[at], 900);
        ck_assert_uint_lt(homes[at], 1100);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("key");
    TCase *tcase = tcase_create("key");
    tcase_add_test(tcase, a_key_is_the_namespace_and_the_name);
    tcase_add_test(tcase, a_shared_key_has_its_own_text);
    tcase_add_test(tcase, another_seed_is_another_hash);
    tcase_add_test(tcase, names_are_spread_evenly_over_their_homes);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
