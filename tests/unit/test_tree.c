#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/tree.h"
#include "support/directory.h"

static char directory[200];
static h2o_mem_pool_t pool;
static struct problems *problems;

static void set_up(void) {
    make_test_directory(directory, sizeof(directory));
    h2o_mem_init_pool(&pool);
    problems = problems_create();
}

static void tear_down(void) {
    problems_free(problems);
    h2o_mem_clear_pool(&pool);
    remove_test_directory(directory);
}

static void write_file(const char *name, const char *text) {
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static yoml_t *load(const char *text) {
    char path[300];
    write_file("t.yaml", text);
    snprintf(path, sizeof(path), "%s/t.yaml", directory);
    return tree_load(path, &pool, problems);
}

static bool was_said(const char *words) {
    char *text;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    problems_print(problems, to);
    fclose(to);
    bool found = strstr(text, words) != NULL;
    if (!found)
        fprintf(stderr, "%s is not in:\n%s", words, text);
    free(text);
    return found;
}

static void check_place(struct place place, size_t line, size_t column) {
    ck_assert_uint_eq(place.line, line);
    ck_assert_uint_eq(place.column, column);
}

START_TEST(node_knows_its_kind_and_place) {
    const yoml_t *root = load("# note\na: b\nc: [d, {e: f}]\n");
    ck_assert_ptr_nonnull(root);
    ck_assert_uint_eq(root->data.mapping.size, 2);
    check_place(tree_place(root), 2, 1);
    check_place(tree_place(tree_get(root, "a")), 2, 4);
    const yoml_t *sequence = tree_get(root, "c");
    ck_assert_int_eq(sequence->type, YOML_TYPE_SEQUENCE);
    check_place(tree_place(sequence), 3, 4);
    check_place(tree_place(sequence->data.sequence.elements[0]), 3, 5);
    const yoml_t *inner = sequence->data.sequence.elements[1];
    ck_assert_int_eq(inner->type, YOML_TYPE_MAPPING);
    ck_assert_str_eq(tree_get(inner, "e")->data.scalar, "f");
    ck_assert_ptr_null(tree_get(inner, "f"));
    ck_assert_uint_ge(inner->refcount, 1);
    ck_assert_ptr_null(inner->anchor);
}
END_TEST

START_TEST(byte_in_a_scalar_is_placed) {
    const yoml_t *root = load("a: word\nb: 'word'\nc: \"w\\x6frd\"\nd: äbc\ne: |\n  word\n");
    check_place(tree_place_within(tree_get(root, "a"), 2), 1, 6);
    check_place(tree_place_within(tree_get(root, "b"), 2), 2, 7);
    check_place(tree_place_within(tree_get(root, "c"), 2), 3, 4);
    check_place(tree_place_within(tree_get(root, "d"), 2), 4, 5);
    check_place(tree_place_within(tree_get(root, "e"), 2), 5, 4);
    check_place(tree_place_within(tree_get(root, "a"), 99), 1, 4);
}
END_TEST

START_TEST(alias_is_the_same_node) {
    const yoml_t *root = load("a: &x {b: c}\nd: *x\n");
    ck_assert_ptr_eq(tree_get(root, "a"), tree_get(root, "d"));
}
END_TEST

START_TEST(later_anchor_of_a_name_wins_from_there_on) {
    const yoml_t *root = load("a: &x 1\nb: *x\nc: &x 2\nd: *x\n");
    ck_assert_str_eq(tree_get(root, "b")->data.scalar, "1");
    ck_assert_str_eq(tree_get(root, "d")->data.scalar, "2");
}
END_TEST

START_TEST(merged_keys_give_way_to_own_ones) {
    const yoml_t *root =
        load("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 0, d: 0}\n");
    const yoml_t *merged = tree_get(root, "z");
    ck_assert_uint_eq(merged->data.mapping.size, 4);
    ck_assert_str_eq(tree_get(merged, "a")->data.scalar, "0");
    ck_assert_str_eq(tree_get(merged, "b")->data.scalar, "1");
    ck_assert_str_eq(tree_get(merged, "c")->data.scalar, "2");
    ck_assert_str_eq(tree_get(merged, "d")->data.scalar, "0");
    check_place(tree_place(tree_get(merged, "c")), 2, 17);
}
END_TEST

START_TEST(quoted_merge_key_is_a_key) {
    const yoml_t *root = load("a: {\"<<\": b}\n");
    ck_assert_str_eq(tree_get(tree_get(root, "a"), "<<")->data.scalar, "b");
}
END_TEST

START_TEST(duplicate_key_is_told_and_the_first_kept) {
    const yoml_t *root = load("a: 1\nb: 2\na: 3\n");
    ck_assert_str_eq(tree_get(root, "a")->data.scalar, "1");
    ck_assert_uint_eq(problems_errors(problems), 1);
    ck_assert(was_said("t.yaml:3:1: error: `a` stands here a second time; the first is on line 1"));
}
END_TEST

START_TEST(included_file_is_placed_in_itself) {
    char path[300];
    snprintf(path, sizeof(path), "%s/inner", directory);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    write_file("inner/one.yaml", "\nb: !file two.yaml\n");
    write_file("inner/two.yaml", "\n\nc: d\n");
    const yoml_t *root = load("a: !file inner/one.yaml\n");
    ck_assert_ptr_nonnull(root);
    const yoml_t *leaf = tree_get(tree_get(tree_get(root, "a"), "b"), "c");
    check_place(tree_place(leaf), 3, 4);
    snprintf(path, sizeof(path), "%s/inner/two.yaml", directory);
    ck_assert_str_eq(tree_place(leaf).file, path);
}
END_TEST

START_TEST(anchors_of_an_included_file_stay_there) {
    write_file("other.yaml", "&x a\n");
    ck_assert_ptr_null(load("a: !file other.yaml\nb: *x\n"));
    ck_assert(was_said("no anchor &x"));
}
END_TEST

START_TEST(files_that_include_each_other_are_refused) {
    write_file("other.yaml", "a: !file t.yaml\n");
    ck_assert_ptr_null(load("a: !file other.yaml\n"));
    ck_assert(was_said("other.yaml:1:4: error: "));
    ck_assert(was_said("includes itself"));
}
END_TEST

START_TEST(too_many_files_within_each_other_are_refused) {
    char name[32], text[64];
    for (int i = 0; i <= TREE_INCLUDES_MAX; i++) {
        snprintf(name, sizeof(name), "%d.yaml", i);
        snprintf(text, sizeof(text), "!file %d.yaml\n", i + 1);
        write_file(name, i == TREE_INCLUDES_MAX ? "end\n" : text);
    }
    ck_assert_ptr_nonnull(load("!file 1.yaml\n"));
    ck_assert_ptr_null(load("!file 0.yaml\n"));
    ck_assert(was_said("more than 8 files within each other"));
}
END_TEST

static char *repeat(const char *text, size_t times, const char *end) {
    size_t size = strlen(text);
    char *all = malloc(size * times + strlen(end) + 1);
    for (size_t i = 0; i != times; i++)
        memcpy(all + i * size, text, size);
    strcpy(all + size * times, end);
    return all;
}

START_TEST(depth_has_a_limit) {
    char *deep = repeat("[", TREE_DEPTH_MAX, ""), *end = repeat("]", TREE_DEPTH_MAX, "\n");
    char *whole = malloc(2 * TREE_DEPTH_MAX + 20);
    sprintf(whole, "%s%s", deep, end);
    ck_assert_ptr_nonnull(load(whole));
    sprintf(whole, "[%s]%s", deep, end);
    ck_assert_ptr_null(load(whole));
    ck_assert(was_said("t.yaml:1:65: error: more than 64 levels"));
    free(deep);
    free(end);
    free(whole);
}
END_TEST

START_TEST(size_has_a_limit) {
    char *many = repeat("- a\n", TREE_NODES_MAX + 1, "");
    ck_assert_ptr_null(load(many));
    ck_assert(was_said("more than 50000 values"));
    free(many);
    char *large = repeat("# a long line of a note that is not to be read at all\n", 90000, "");
    ck_assert_ptr_null(load(large));
    ck_assert(was_said("larger than 4 MiB"));
    free(large);
}
END_TEST

/* Ten times ten times ten…: small as written, and without end for whoever walks it. */
START_TEST(aliases_within_aliases_have_a_limit) {
    char text[1000] = "a0: &a0 [x]\n";
    for (int i = 1; i != 9; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used,
                 "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i,
                 i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    }
    ck_assert_ptr_null(load(text));
    ck_assert(was_said("aliases within aliases"));
}
END_TEST

START_TEST(path_starts_at_the_directory_of_the_file) {
    char expected[600], real[300];
    const yoml_t *root = load("a: b\n");
    ck_assert_ptr_nonnull(realpath(directory, real));
    ck_assert_str_eq(tree_path(&pool, root, "/x/y"), "/x/y");
    snprintf(expected, sizeof(expected), "%s/x/y", real);
    ck_assert_str_eq(tree_path(&pool, root, "x/y"), expected);
    ck_assert_str_eq(tree_path(&pool, root, "./x/y"), expected);
    *strrchr(expected, '/') = '\0';
    *strrchr(expected, '/') = '\0';
    strcpy(strrchr(expected, '/'), "/x");
    ck_assert_str_eq(tree_path(&pool, root, "../x"), expected);
    ck_assert_str_eq(tree_path(&pool, root, "../../../../../../../../x"), "/x");
}
END_TEST

START_TEST(copy_with_a_pair_leaves_the_mapping_alone) {
    yoml_t *root = load("a: b\n");
    yoml_t *value = tree_scalar(&pool, root, "v");
    yoml_t *more = tree_with(&pool, root, "c", value), *other = tree_with(&pool, root, "a", value);
    ck_assert_uint_eq(root->data.mapping.size, 1);
    ck_assert_str_eq(tree_get(root, "a")->data.scalar, "b");
    ck_assert_uint_eq(more->data.mapping.size, 2);
    ck_assert_ptr_eq(tree_get(more, "c"), value);
    ck_assert_uint_eq(other->data.mapping.size, 1);
    ck_assert_ptr_eq(tree_get(other, "a"), value);
}
END_TEST

START_TEST(mappings_of_a_sequence_are_joined) {
    const yoml_t *root = load("a: [{x: 1}, {x: 2, y: 3}]\nb: [{x: 1}, z]\n");
    const yoml_t *joined = tree_join(&pool, tree_get(root, "a"));
    ck_assert_uint_eq(joined->data.mapping.size, 3);
    ck_assert_str_eq(joined->data.mapping.elements[1].value->data.scalar, "2");
    ck_assert_ptr_null(tree_join(&pool, tree_get(root, "b")));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tree");
    TCase *all = tcase_create("tree");
    tcase_set_timeout(all, 60);
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, node_knows_its_kind_and_place);
    tcase_add_test(all, byte_in_a_scalar_is_placed);
    tcase_add_test(all, alias_is_the_same_node);
    tcase_add_test(all, later_anchor_of_a_name_wins_from_there_on);
    tcase_add_test(all, merged_keys_give_way_to_own_ones);
    tcase_add_test(all, quoted_merge_key_is_a_key);
    tcase_add_test(all, duplicate_key_is_told_and_the_first_kept);
    tcase_add_test(all, included_file_is_placed_in_itself);
    tcase_add_test(all, anchors_of_an_included_file_stay_there);
    tcase_add_test(all, files_that_include_each_other_are_refused);
    tcase_add_test(all, too_many_files_within_each_other_are_refused);
    tcase_add_test(all, depth_has_a_limit);
    tcase_add_test(all, size_has_a_limit);
    tcase_add_test(all, aliases_within_aliases_have_a_limit);
    tcase_add_test(all, path_starts_at_the_directory_of_the_file);
    tcase_add_test(all, copy_with_a_pair_leaves_the_mapping_alone);
    tcase_add_test(all, mappings_of_a_sequence_are_joined);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
