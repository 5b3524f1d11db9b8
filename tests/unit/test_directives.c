#include <check.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "config/directives.h"

static struct config config;
static struct load load;
static h2o_mem_pool_t pool;

static void set_up(void) {
    memset(&config, 0, sizeof(config));
    h2o_mem_init_pool(&pool);
    h2o_config_init(&config.h2o);
    load = (struct load){.config = &config, .problems = problems_create(), .pool = &pool};
    directives_begin(&load);
}

static void tear_down(void) {
    directives_end();
    h2o_config_dispose(&config.h2o);
    SSL_CTX_free(config.h2o.proxy.ssl_ctx);
    problems_free(load.problems);
    h2o_mem_clear_pool(&pool);
}

/* A mapping with one directive, as if it stood on line 7. */
static yoml_t *directive(const char *name, const char *value) {
    yoml_t origin = {.filename = (char *)"t.yaml", .line = 6, .column = 2};
    yoml_t *mapping = tree_mapping(&pool, &origin, 1);
    mapping->data.mapping.elements[0] = (struct yoml_pair){
        .key = tree_scalar(&pool, &origin, name), .value = tree_scalar(&pool, &origin, value)};
    return mapping;
}

static void walk(yoml_t *mapping) {
    h2o_configurator_context_t *context = directives_enter(&config.h2o, NULL);
    directives_walk(context, mapping, H2O_CONFIGURATOR_FLAG_GLOBAL, NULL);
    directives_leave(context);
}

static void check_said(const char *expected) {
    char *text;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    problems_print(load.problems, to);
    fclose(to);
    ck_assert_str_eq(text, expected);
    free(text);
}

/* What libh2o finds under these names is what it calls: its own calls go by its symbol table. */
START_TEST(libh2o_finds_our_functions_before_its_own) {
    void *own = dlopen("libh2o-evloop.so.0.13", RTLD_LAZY | RTLD_NOLOAD);
    ck_assert_ptr_nonnull(own);
    static const char *const names[] = {"h2o_configurator_errprintf", "h2o_configurator_scanf",
                                        "h2o_configurator_apply_commands"};
    for (size_t i = 0; i != sizeof(names) / sizeof(*names); i++) {
        void *found = dlsym(RTLD_DEFAULT, names[i]);
        ck_assert_ptr_nonnull(found);
        ck_assert_ptr_ne(found, dlsym(own, names[i]));
    }
    dlclose(own);
}
END_TEST

/* Its own errprintf would print to standard error, and know no column. */
START_TEST(fault_found_by_libh2o_comes_to_us) {
    walk(directive("send-server-name", "maybe"));
    check_said("t.yaml:7:3: error: `send-server-name`: argument must be one of: "
               "OFF,ON,preserve\n");
}
END_TEST

/* Its own scanf would take it for 10. */
START_TEST(number_read_by_libh2o_is_read_by_us) {
    uint64_t before = config.h2o.http1.req_timeout;
    walk(directive("http1-request-timeout", "10s"));
    ck_assert_uint_eq(config.h2o.http1.req_timeout, before);
    check_said("t.yaml:7:3: error: `http1-request-timeout`: `10s` is not a plain number; H2O's own "
               "directives take bare numbers, here seconds\n");
}
END_TEST

/* Its own walk would stop at the first of two faults. */
START_TEST(directives_of_a_custom_handler_are_walked_by_us) {
    yoml_t *inner = directive("extension", ".x");
    inner = tree_with(&pool, inner, "no-such", tree_scalar(&pool, inner, "a"));
    inner = tree_with(&pool, inner, "nor-such", tree_scalar(&pool, inner, "a"));
    yoml_t *mapping = directive("file.custom-handler", "");
    mapping->data.mapping.elements[0].value = inner;
    walk(mapping);
    check_said("t.yaml:7:3: error: unknown word `no-such`\n"
               "t.yaml:7:3: error: unknown word `nor-such`\n");
}
END_TEST

START_TEST(right_numbers_of_each_size_arrive) {
    yoml_t *mapping = directive("http1-request-timeout", "20");
    mapping = tree_with(&pool, mapping, "max-delegations", tree_scalar(&pool, mapping, "7"));
    mapping =
        tree_with(&pool, mapping, "limit-request-body", tree_scalar(&pool, mapping, "5000000000"));
    walk(mapping);
    ck_assert_uint_eq(config.h2o.http1.req_timeout, 20000);
    ck_assert_uint_eq(config.h2o.max_delegations, 7);
    ck_assert_uint_eq(config.h2o.max_request_entity_size, 5000000000u);
    check_said("");
}
END_TEST

START_TEST(ratio_is_a_whole_text) {
    walk(directive("http2-latency-optimization-max-additional-delay", "0.5x"));
    char *text;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    problems_print(load.problems, to);
    fclose(to);
    ck_assert_ptr_nonnull(strstr(text, "`0.5x` is not a number"));
    free(text);
}
END_TEST

START_TEST(walk_goes_on_after_a_fault) {
    yoml_t *mapping = directive("max-delegations", "x");
    mapping = tree_with(&pool, mapping, "server-name", tree_scalar(&pool, mapping, "name"));
    walk(mapping);
    ck_assert_uint_eq(problems_errors(load.problems), 1);
    ck_assert_str_eq(config.h2o.server_name.base, "name");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("directives");
    TCase *all = tcase_create("directives");
    tcase_set_timeout(all, 60);
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, libh2o_finds_our_functions_before_its_own);
    tcase_add_test(all, fault_found_by_libh2o_comes_to_us);
    tcase_add_test(all, number_read_by_libh2o_is_read_by_us);
    tcase_add_test(all, directives_of_a_custom_handler_are_walked_by_us);
    tcase_add_test(all, right_numbers_of_each_size_arrive);
    tcase_add_test(all, ratio_is_a_whole_text);
    tcase_add_test(all, walk_goes_on_after_a_fault);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
