/* People in groups among three threads: who is told of whom, in which order. */
#include "group/presence.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/group_threads.h"
#include "websocket/frame.h"

static const char *room; /* its home: the test's number */

struct guest {
    struct ear ear; /* first */
    const char *user;
    char people[400]; /* as it found them: "user/info/memberships " and the count */
    int gone;
};

static struct frame *frame_of(const char *sign, const char *user) {
    char text[64];
    int size = snprintf(text, sizeof(text), "%s%s", sign, user);
    return frame_create(OPCODE_TEXT, text, (size_t)size);
}

static void on_joined(void *arg, const struct group_joined *joined) {
    struct guest *guest = arg;
    if (joined == NULL) {
        guest->gone++;
        return;
    }
    char *to = guest->people;
    for (size_t at = 0; at < joined->people_listed; at++)
        to += sprintf(to, "%s/%s/%d ", joined->people[at].user, joined->people[at].info,
                      (int)joined->people[at].memberships);
    sprintf(to, "%d", (int)joined->people_count);
    strcat(guest->ear.heard, "| ");
}

/* With a crowd from `most` people on. */
static void come_among(struct guest *guest, const char *info, uint32_t most) {
    struct group_presence presence = {.user = guest->user,
                                      .came = frame_of("+", guest->user),
                                      .went = frame_of("-", guest->user),
                                      .crowd = frame_of("#", "                "),
                                      .crowd_stamp = 1,
                                      .most = most,
                                      .every_ms = 1000};
    const struct group_wish wish = {.info = info,
                                    .flags = GROUP_EVENTS,
                                    .most = PLENTY,
                                    .presence = &presence,
                                    .people = 10,
                                    .joined = on_joined,
                                    .arg = guest};
    ck_assert_int_eq(
        group_join_with(threads_be(guest->ear.thread), &guest->ear.member, SPACE, room, &wish),
        GROUP_OK);
    frame_unref(presence.came);
    frame_unref(presence.went);
    frame_unref(presence.crowd);
}

static void come(struct guest *guest, const char *info) {
    come_among(guest, info, 100);
    threads_settle();
}

static void go(struct guest *guest) {
    ear_end(&guest->ear);
    threads_settle();
}

static struct guest make_guest(unsigned thread, const char *user) {
    return (struct guest){.ear = ear_make(thread, room), .user = user};
}

START_TEST(each_is_told_of_who_comes_and_goes) {
    room = threads_name_at((unsigned)_i, 0);
    struct guest ann = make_guest(0, "ann"), ben = make_guest(1, "ben"), eve = make_guest(2, "eve");
    come(&ann, "A");
    come(&ben, "B");
    come(&eve, "");
    threads_say(2, room, "hello");
    threads_settle();
    go(&ben);
    ck_assert_str_eq(ann.ear.heard, "| +ben +eve hello -ben ");
    ck_assert_str_eq(ben.ear.heard, "| +eve hello ");
    ck_assert_str_eq(eve.ear.heard, "| hello -ben ");
    ck_assert_str_eq(ann.people, "ann/A/1 1");
    ck_assert_str_eq(ben.people, "ann/A/1 ben/B/1 2");
    ck_assert_str_eq(eve.people, "ann/A/1 ben/B/1 eve//1 3");
    go(&ann);
    go(&eve);
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(memberships_of_one_user_are_one_person) {
    room = threads_name_at((unsigned)_i, 0);
    struct guest ann = make_guest(0, "ann"), phone = make_guest(1, "ben"),
                 laptop = make_guest(2, "ben");
    come(&ann, "");
    come(&phone, "phone");
    come(&laptop, "laptop");
    ck_assert_str_eq(laptop.people, "ann//1 ben/laptop/2 2");
    go(&phone);
    ck_assert_str_eq(ann.ear.heard, "| +ben ");
    go(&laptop);
    ck_assert_str_eq(ann.ear.heard, "| +ben -ben ");
    come(&phone, "");
    ck_assert_str_eq(phone.people, "ann//1 ben//1 2");
    go(&phone);
    go(&ann);
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(leaving_tells_and_joining_again_does_not) {
    room = threads_name_at((unsigned)_i, 0);
    struct guest ann = make_guest(0, "ann"), ben = make_guest(1, "ben"), eve = make_guest(2, "eve");
    come(&ann, "");
    come(&ben, "1");
    come(&ben, "2");
    come(&eve, "");
    ck_assert_str_eq(eve.people, "ann//1 ben/2/1 eve//1 3");
    ear_leave(&ben.ear);
    threads_settle();
    ck_assert_str_eq(ann.ear.heard, "| +ben +eve -ben ");
    go(&ben);
    ck_assert_str_eq(ann.ear.heard, "| +ben +eve -ben ");
    go(&ann);
    go(&eve);
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(members_without_a_user_are_nobody) {
    room = threads_name_at((unsigned)_i, 0);
    struct guest ann = make_guest(0, "ann"), ben = make_guest(1, "ben");
    struct ear ear = ear_make(1, room);
    come(&ann, "");
    ear_join(&ear);
    threads_settle();
    come(&ben, "");
    ear_end(&ear);
    threads_settle();
    ck_assert_str_eq(ann.ear.heard, "| +ben ");
    ck_assert_str_eq(ear.heard, "+ben ");
    ck_assert_str_eq(ben.people, "ann//1 ben//1 2");
    go(&ann);
    go(&ben);
}
END_TEST

#define MANY 40
#define MOST 8

/* All come before a thread has its turn again; then a second passes. */
static void pass_a_second(void) {
    threads_settle();
    for (unsigned thread = 0; thread < THREADS; thread++)
        loop_skip(threads[thread], 1000);
    threads_settle();
}

START_TEST(of_a_crowd_only_the_count_is_told) {
    static struct guest guests[MANY];
    static char names[MANY][8];
    room = threads_name_at((unsigned)_i, 0);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[0]), "u%u", i);
        guests[i] = make_guest(i % THREADS, names[i]);
        come_among(&guests[i], "", MOST);
        threads_settle();
    }
    ck_assert_str_eq(guests[0].ear.heard, "| +u1 +u2 +u3 +u4 +u5 +u6 +u7 ");
    ck_assert_str_eq(guests[MANY - 1].ear.heard, "| ");
    ck_assert_str_eq(strrchr(guests[MANY - 1].people, ' '), " 40");
    pass_a_second();
    ck_assert_str_eq(guests[MANY - 1].ear.heard, "| #              40 ");
    pass_a_second();
    ck_assert_str_eq(guests[MANY - 1].ear.heard, "| #              40 ");
    guests[MANY - 1].ear.heard[0] = '\0';
    for (unsigned i = 0; i < MANY - 4; i++)
        go(&guests[i]);
    /* When few are left each is told of again, from the count on that says so. */
    ck_assert_str_eq(guests[MANY - 1].ear.heard, "#               6 -u34 -u35 ");
    guests[MANY - 1].ear.heard[0] = '\0';
    pass_a_second();
    ck_assert_str_eq(guests[MANY - 1].ear.heard, "");
    for (unsigned i = MANY - 4; i < MANY; i++)
        go(&guests[i]);
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(who_ends_before_the_answer_is_not_left_behind) {
    room = threads_name_at((unsigned)_i, 0);
    struct guest ann = make_guest(0, "ann"), ben = make_guest(1, "ben");
    come(&ann, "");
    come_among(&ben, "", 100);
    go(&ben);
    ck_assert_str_eq(ann.ear.heard, "| +ben -ben ");
    ck_assert_int_eq(ben.gone, 1);
    go(&ann);
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(a_bad_presence_is_refused) {
    struct frame *small = frame_create(OPCODE_TEXT, "x", 1);
    const struct group_presence bad[] = {
        {.user = NULL, .most = 1, .every_ms = 1},
        {.user = "", .most = 1, .every_ms = 1},
        {.user = "a\n", .most = 1, .every_ms = 1},
        {.user = "a", .every_ms = 1},
        {.user = "a", .most = 1},
        {.user = "a", .most = 1, .every_ms = 1, .crowd = small, .crowd_stamp = 1},
    };
    room = threads_name_at(0, 0);
    struct ear ear = ear_make(0, room);
    const struct group_wish wish = {.most = PLENTY, .presence = &bad[_i]};
    ck_assert_int_eq(group_join_with(threads_be(0), &ear.member, SPACE, room, &wish),
                     GROUP_INVALID);
    frame_unref(small);
    threads_assert_nothing_is_held();
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("presence");
    TCase *tests = tcase_create("presence");
    tcase_add_checked_fixture(tests, threads_open, threads_close);
    tcase_add_loop_test(tests, each_is_told_of_who_comes_and_goes, 0, THREADS);
    tcase_add_loop_test(tests, memberships_of_one_user_are_one_person, 0, THREADS);
    tcase_add_loop_test(tests, leaving_tells_and_joining_again_does_not, 0, THREADS);
    tcase_add_loop_test(tests, members_without_a_user_are_nobody, 0, THREADS);
    tcase_add_loop_test(tests, of_a_crowd_only_the_count_is_told, 0, THREADS);
    tcase_add_loop_test(tests, who_ends_before_the_answer_is_not_left_behind, 0, THREADS);
    tcase_add_loop_test(tests, a_bad_presence_is_refused, 0, 6);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
