#include "observe/page.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned at(unsigned name, unsigned hook) { return name << 8 | hook; }

static const char *describe(const struct page *page, unsigned where) {
    static char text[400];
    memset(text, '?', sizeof(text));
    ck_assert_ptr_eq(page_describe(page, where, text, sizeof(text)), text);
    return text;
}

/* --- where a thread is --- */

START_TEST(hooks_within_hooks_come_back_to_where_they_were) {
    page_enter(3);
    ck_assert_uint_eq(page_at(), 0);
    unsigned outside = page_go(1, HOOK_RECEIVE);
    ck_assert_uint_eq(outside, 0);
    ck_assert_uint_eq(page_at(), at(1, HOOK_RECEIVE));
    unsigned receive = page_go(2, HOOK_EVENT);
    unsigned event = page_go(1, HOOK_GROUP_SEND);
    ck_assert_uint_eq(page_at(), at(1, HOOK_GROUP_SEND));
    ck_assert_uint_eq(atomic_load(&page_get()->thread[3].at), at(1, HOOK_GROUP_SEND));
    page_back(event);
    ck_assert_uint_eq(page_at(), at(2, HOOK_EVENT));
    page_back(receive);
    ck_assert_uint_eq(page_at(), at(1, HOOK_RECEIVE));
    page_back(outside);
    ck_assert_uint_eq(page_at(), 0);
}
END_TEST

static void *go_elsewhere(void *data) {
    (void)data;
    page_enter(PAGE_MAIN);
    page_tick();
    page_go(7, HOOK_TIMER);
    return NULL;
}

START_TEST(each_thread_has_a_place_of_its_own) {
    pthread_t thread;
    page_enter(0);
    page_go(5, HOOK_OPEN);
    page_tick();
    page_tick();
    ck_assert_int_eq(pthread_create(&thread, NULL, go_elsewhere, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    const struct page *page = page_get();
    ck_assert_uint_eq(page_at(), at(5, HOOK_OPEN));
    ck_assert_uint_eq(atomic_load(&page->thread[PAGE_MAIN].at), at(7, HOOK_TIMER));
    ck_assert_uint_eq(atomic_load(&page->thread[PAGE_MAIN].tick), 1);
    ck_assert_uint_eq(atomic_load(&page->thread[0].tick), 2);
}
END_TEST

/* Before page_enter, as in an offload thread: nothing is seen of it, and nothing is hurt. */
START_TEST(a_thread_without_a_number_is_nowhere_in_the_page) {
    static const struct page_thread nowhere;
    page_tick();
    page_go(9, HOOK_OFFLOAD);
    for (size_t i = 0; i <= PAGE_THREADS; i++)
        ck_assert_mem_eq(&page_get()->thread[i], &nowhere, sizeof(nowhere));
    ck_assert_uint_eq(page_at(), at(9, HOOK_OFFLOAD));
}
END_TEST

/* --- names --- */

START_TEST(names_are_described) {
    char path[PAGE_PATH_MAX];
    unsigned name = page_name("/ws/", "echo", "/usr/lib/echo.so");
    unsigned bare = page_name("", "loader", "/loader.so");
    ck_assert_uint_ne(name, 0);
    ck_assert_uint_ne(name, bare);
    ck_assert_str_eq(describe(page_get(), at(name, HOOK_RECEIVE)),
                     "plugin echo, route /ws/, hook receive");
    ck_assert_str_eq(describe(page_get(), at(bare, HOOK_LOAD)), "plugin loader, hook load");
    ck_assert_str_eq(describe(page_get(), 0), "");
    page_path(page_get(), at(name, HOOK_RECEIVE), path);
    ck_assert_str_eq(path, "/usr/lib/echo.so");
    page_path(page_get(), 0, path);
    ck_assert_str_eq(path, "");
}
END_TEST

START_TEST(a_forgotten_name_is_given_out_again) {
    unsigned first = page_name("/a", "a", "/a.so"), second = page_name("/b", "b", "/b.so");
    page_forget(first);
    page_forget(0);
    ck_assert_uint_eq(page_name("/c", "c", "/c.so"), first);
    ck_assert_str_eq(describe(page_get(), at(first, HOOK_EVENT)), "plugin c, route /c, hook event");
    ck_assert_str_eq(describe(page_get(), at(second, HOOK_EVENT)),
                     "plugin b, route /b, hook event");
}
END_TEST

START_TEST(a_full_table_gives_no_name) {
    for (unsigned i = 1; i < PAGE_NAMES; i++)
        ck_assert_uint_eq(page_name("/r", "p", "/p.so"), i);
    ck_assert_uint_eq(page_name("/r", "p", "/p.so"), 0);
    ck_assert_str_eq(page_get()->names[0].plugin, "");
    page_forget(PAGE_NAMES - 1);
    ck_assert_uint_eq(page_name("/last", "p", "/p.so"), PAGE_NAMES - 1);
    ck_assert_uint_eq(page_name("/r", "p", "/p.so"), 0);
}
END_TEST

START_TEST(long_names_are_cut) {
    char longest[1000], path[PAGE_PATH_MAX];
    memset(longest, 'n', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    unsigned name = page_name(longest, longest, longest);
    const struct page_name *kept = &page_get()->names[name];
    ck_assert_uint_eq(strlen(kept->route), sizeof(kept->route) - 1);
    ck_assert_uint_eq(strlen(kept->plugin), sizeof(kept->plugin) - 1);
    page_path(page_get(), at(name, HOOK_OPEN), path);
    ck_assert_uint_eq(strlen(path), PAGE_PATH_MAX - 1);
}
END_TEST

/* --- what a worker that is not itself any more leaves behind --- */

/* In memory of its own size, so that a read behind its end is found. */
static struct page *hostile_page(void) {
    struct page *page = malloc(sizeof(*page));
    ck_assert_ptr_nonnull(page);
    memset(page, 'A', sizeof(*page));
    return page;
}

START_TEST(places_out_of_range_are_described_without_a_name) {
    static const unsigned places[] = {PAGE_NAMES << 8, PAGE_NAMES << 8 | HOOKS, UINT32_MAX,
                                      0xffffff00u, 0x00000100u * 65535};
    char path[PAGE_PATH_MAX];
    struct page *page = hostile_page();
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        ck_assert_str_eq(describe(page, places[i]), "hook ");
        page_path(page, places[i], path);
        ck_assert_str_eq(path, "");
    }
    ck_assert_str_eq(describe(page, at(0, HOOK_TIMER)), "hook timer");
    ck_assert_str_eq(describe(page, at(PAGE_NAMES, HOOK_TIMER)), "hook timer");
    ck_assert_str_eq(describe(page, HOOKS), "hook ");
    ck_assert_str_eq(describe(page, 255), "hook ");
    free(page);
}
END_TEST

START_TEST(names_without_an_end_are_read_to_their_size) {
    char wanted[400], path[PAGE_PATH_MAX], small[8];
    char plugin[sizeof(((struct page_name *)NULL)->plugin) + 1] = "";
    char route[sizeof(((struct page_name *)NULL)->route) + 1] = "";
    struct page *page = hostile_page();
    memset(plugin, 'A', sizeof(plugin) - 1);
    memset(route, 'A', sizeof(route) - 1);
    snprintf(wanted, sizeof(wanted), "plugin %s, route %s, hook receive", plugin, route);
    ck_assert_str_eq(describe(page, at(PAGE_NAMES - 1, HOOK_RECEIVE)), wanted);
    page_path(page, at(PAGE_NAMES - 1, HOOK_RECEIVE), path);
    ck_assert_uint_eq(strspn(path, "A"), PAGE_PATH_MAX - 1);
    ck_assert_uint_eq(strlen(path), PAGE_PATH_MAX - 1);
    page_describe(page, at(1, HOOK_RECEIVE), small, sizeof(small));
    ck_assert_str_eq(small, "plugin ");
    free(page);
}
END_TEST

START_TEST(each_hook_has_a_name_of_its_own) {
    ck_assert_str_eq(page_hook_name(HOOK_NONE), "");
    for (unsigned i = HOOK_NONE + 1; i < HOOKS; i++) {
        const char *name = page_hook_name((enum page_hook)i);
        ck_assert_msg(name != NULL && name[0] != '\0', "hook %u has no name", i);
        for (unsigned j = 0; j < i; j++)
            ck_assert_str_ne(name, page_hook_name((enum page_hook)j));
    }
    ck_assert_str_eq(page_hook_name(HOOKS), "");
}
END_TEST

/* --- shared --- */

static void map_and_write(int fd) {
    if (!page_map(fd))
        _exit(1);
    page_enter(2);
    page_go(page_name("/far", "away", "/away.so"), HOOK_CONNECT);
    atomic_store(&page_get()->life.restarts, 7);
    _exit(0);
}

START_TEST(a_child_writes_where_its_parent_reads) {
    int status, fd = page_create();
    ck_assert_int_ge(fd, 0);
    ck_assert(page_map(fd));
    ck_assert_uint_eq(page_get()->thread[2].at, 0);
    pid_t child = fork();
    if (child == 0)
        map_and_write(fd);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    struct page *page = page_get();
    ck_assert_str_eq(describe(page, atomic_load(&page->thread[2].at)),
                     "plugin away, route /far, hook connect");
    page->crash.at = 5;
    atomic_store(&page->crash.signal, 11);
    atomic_store(&page->threads, 4);
    page_clear(page);
    ck_assert_uint_eq(atomic_load(&page->thread[2].at), 0);
    ck_assert_uint_eq(atomic_load(&page->threads), 0);
    ck_assert_int_eq(atomic_load(&page->crash.signal), 0);
    ck_assert_uint_eq(page->crash.at, 0);
    ck_assert_str_eq(page->names[1].plugin, "");
    ck_assert_uint_eq(atomic_load(&page->life.restarts), 7); /* the program's life goes on */
    close(fd);
}
END_TEST

START_TEST(nobody_takes_the_page_away) {
    int fd = page_create();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(ftruncate(fd, 2 * (off_t)sizeof(struct page)), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    close(fd);
}
END_TEST

START_TEST(a_page_that_can_not_be_mapped_leaves_the_old_one) {
    const struct page *before = page_get();
    ck_assert(!page_map(-1));
    ck_assert_ptr_eq(page_get(), before);
}
END_TEST

static void add_all(TCase *cases) {
    tcase_add_test(cases, hooks_within_hooks_come_back_to_where_they_were);
    tcase_add_test(cases, each_thread_has_a_place_of_its_own);
    tcase_add_test(cases, a_thread_without_a_number_is_nowhere_in_the_page);
    tcase_add_test(cases, names_are_described);
    tcase_add_test(cases, a_forgotten_name_is_given_out_again);
    tcase_add_test(cases, a_full_table_gives_no_name);
    tcase_add_test(cases, long_names_are_cut);
    tcase_add_test(cases, places_out_of_range_are_described_without_a_name);
    tcase_add_test(cases, names_without_an_end_are_read_to_their_size);
    tcase_add_test(cases, each_hook_has_a_name_of_its_own);
    tcase_add_test(cases, a_child_writes_where_its_parent_reads);
    tcase_add_test(cases, nobody_takes_the_page_away);
    tcase_add_test(cases, a_page_that_can_not_be_mapped_leaves_the_old_one);
}

int main(void) {
    Suite *suite = suite_create("page");
    TCase *all = tcase_create("all");
    add_all(all);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
