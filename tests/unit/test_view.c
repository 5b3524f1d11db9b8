#include <check.h>
#include <string.h>

#include "group/group.h"
#include "group/serial.h"
#include "group/view.h"
#include "loop/h2o.h"
#include "support/fake_transport.h"
#include "support/group_threads.h"
#include "websocket/frame.h"
#include "websocket/session.h"

/* --- events, and what is done inside them --- */

static void say_more(struct ear *ear) {
    ear->then = NULL;
    threads_say(ear->thread, ear->group, "reply");
    threads_say(ear->thread, ear->group, "more");
}

START_TEST(what_a_member_says_inside_its_event_comes_behind_for_all) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear ears[] = {ear_make(0, group), ear_make(0, group), ear_make(0, group)};
    ears[1].then = say_more;
    for (int at = 0; at < 3; at++)
        ear_join(&ears[at]);
    threads_settle();
    threads_say(0, group, "first");
    threads_say(0, group, "second");
    threads_settle();
    for (int at = 0; at < 3; at++)
        ck_assert_str_eq(ears[at].heard, "first second reply more ");
    for (int at = 0; at < 3; at++)
        ear_end(&ears[at]);
    threads_settle();
}
END_TEST

static void end_other(struct ear *ear) { ear_end(ear->other); }

static void leave_and_rejoin(struct ear *ear) {
    ear->then = NULL;
    ear_leave(ear);
    ear_join(ear);
}

START_TEST(a_member_may_end_itself_or_another_inside_an_event) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear first = ear_make(0, group), second = ear_make(0, group), third = ear_make(0, group);
    first.then = end_other;
    first.other = &second;
    third.then = end_other;
    third.other = &third;
    ear_join(&first);
    ear_join(&second);
    ear_join(&third);
    threads_settle();
    threads_say(0, group, "a");
    threads_say(0, group, "b");
    threads_settle();
    ck_assert_str_eq(first.heard, "a b ");
    ck_assert_str_eq(second.heard, "");
    ck_assert_str_eq(third.heard, "a ");
    ear_end(&first);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(a_member_may_leave_and_join_inside_an_event) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct ear ear = ear_make(0, group);
    ear.then = leave_and_rejoin;
    ear_join(&ear);
    threads_settle();
    threads_say(0, group, "a");
    threads_say(0, group, "b"); /* ordered before that leave */
    threads_settle();
    threads_say(0, group, "c");
    threads_settle();
    ck_assert_str_eq(ear.heard, "a b c ");
    ear_end(&ear);
    threads_settle();
    threads_assert_nothing_is_held();
}
END_TEST

/* --- members that hear by a session --- */

struct client {
    struct member member;
    struct session session;
    unsigned thread;
    const char *group;
    struct fake_transport wire;
    int code; /* of the close, 0 while open */
    char events[100];
};

static void on_message(struct session *session, enum opcode kind, const uint8_t *data,
                       size_t size) {
    (void)session;
    (void)kind;
    (void)data;
    (void)size;
}

static void on_closed(struct session *session, int code, const char *reason, size_t reason_size) {
    struct client *client = H2O_STRUCT_FROM_MEMBER(struct client, session, session);
    (void)reason;
    (void)reason_size;
    client->code = code;
    group_leave_all(groups_of(threads[client->thread]), &client->member);
}

static void on_client_event(struct member *member, const char *group, struct frame *frame) {
    struct client *client = (struct client *)member;
    (void)group;
    ear_note(client->events, sizeof(client->events), frame);
}

static void on_released(struct session *session) { (void)session; }

static const struct session_events session_events = {
    .message = on_message, .closed = on_closed, .released = on_released};
static const struct session_terms roomy = {
    .events = &session_events, .message_bytes_max = 1000, .queue_bytes_max = 1000};
static const struct session_terms tight_close = {.events = &session_events,
                                                 .message_bytes_max = 1000,
                                                 .queue_bytes_max = 10,
                                                 .on_full = ON_FULL_CLOSE,
                                                 .close_ms = 60000};
static const struct session_terms tight_drop = {.events = &session_events,
                                                .message_bytes_max = 1000,
                                                .queue_bytes_max = 10,
                                                .on_full = ON_FULL_DROP_NEWEST};

static struct session *session_of(struct member *member) {
    return &((struct client *)member)->session;
}

static void open_client(struct client *client, unsigned thread, const char *group,
                        const struct session_terms *terms) {
    static uint64_t ids = 10000;
    loop_enter(threads[thread]);
    *client = (struct client){.member = {.id = ++ids}, .thread = thread, .group = group};
    session_begin(&client->session, terms);
}

static void join_client(struct client *client, unsigned flags) {
    ck_assert_int_eq(group_join(threads_be(client->thread), &client->member, SPACE, client->group,
                                NULL, flags, PLENTY),
                     GROUP_OK);
}

static void attach(struct client *client) {
    loop_enter(threads[client->thread]);
    fake_transport_attach(&client->wire, &client->session, threads[client->thread]);
}

static void close_client(struct client *client) {
    loop_enter(threads[client->thread]);
    session_abort(&client->session);
    threads_settle();
    ck_assert_int_ne(client->code, 0);
    fake_transport_free(&client->wire);
}

START_TEST(a_session_gets_the_groups_messages_in_order) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct client client;
    open_client(&client, 0, group, &roomy);
    attach(&client);
    join_client(&client, 0);
    threads_say(0, group, "a");
    threads_say(0, group, "b");
    threads_settle();
    ck_assert_str_eq(fake_transport_sent(&client.wire), "text(a) text(b)");
    close_client(&client);
    threads_assert_nothing_is_held();
}
END_TEST

START_TEST(at_home_a_reply_does_not_overtake_a_group_message) {
    const char *group = threads_name_at(0, 0);
    struct client client;
    struct frame *reply = frame_create(OPCODE_TEXT, "reply", 5);
    open_client(&client, 0, group, &roomy);
    attach(&client);
    join_client(&client, 0);
    threads_say(0, group, "a");
    ck_assert_int_eq(session_send(&client.session, reply), SESSION_SENT);
    threads_say(0, group, "b");
    threads_settle();
    ck_assert_str_eq(fake_transport_sent(&client.wire), "text(a) text(reply) text(b)");
    frame_unref(reply);
    close_client(&client);
}
END_TEST

START_TEST(joining_again_with_other_flags_takes_effect_in_order) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct client client;
    open_client(&client, 0, group, &roomy);
    attach(&client);
    join_client(&client, 0);
    threads_settle();
    threads_say(0, group, "a");
    join_client(&client, GROUP_EVENTS);
    threads_say(0, group, "b");
    join_client(&client, 0);
    threads_say(0, group, "c");
    join_client(&client, GROUP_EVENTS);
    threads_say(0, group, "d");
    threads_settle();
    ck_assert_str_eq(fake_transport_sent(&client.wire), "text(a) text(c)");
    ck_assert_str_eq(client.events, "b d ");
    close_client(&client);
}
END_TEST

static void on_report(void *arg, const struct group_report *report) {
    *(struct group_report *)arg = *report;
}

START_TEST(what_a_queue_drops_and_who_is_closing_is_counted_as_dropped) {
    const char *group = threads_name_at((unsigned)_i, 0);
    struct client open, closes, drops;
    open_client(&open, 0, group, &roomy);
    open_client(&closes, 1, group, &tight_close);
    open_client(&drops, 2, group, &tight_drop);
    join_client(&open, 0);
    join_client(&closes, 0);
    join_client(&drops, 0);
    threads_settle();
    threads_say(0, group, "12345678"); /* with its header all that fits */
    for (uint64_t position = 2; position < 4; position++) {
        struct group_report report = {0};
        threads_say_with(0, group, "x", 0, &(struct group_tally){on_report, &report});
        threads_settle();
        ck_assert_uint_eq(report.matched, 3);
        ck_assert_uint_eq(report.queued, 1);
        ck_assert_uint_eq(report.dropped, 2);
        ck_assert_uint_eq(report.position.offset, position);
    }
    close_client(&open);
    close_client(&closes);
    close_client(&drops);
    threads_assert_nothing_is_held();
}
END_TEST

/* --- a view by itself --- */

START_TEST(a_serial_means_nothing_once_the_member_has_ended) {
    struct views views;
    struct ear ear = ear_make(2, "a");
    struct frame *frame = frame_create(OPCODE_TEXT, "x", 1);
    struct group_key key = key_of(SPACE, "a");
    struct group_report report = {0};
    loop_enter(threads[2]);
    view_init(&views, threads[2], &threads_events);
    uint32_t number = view_join(&views, &ear.member, &key, false);
    uint64_t serial = view_serial(&views, number);
    ck_assert_uint_eq(serial_thread(serial), 2);
    ck_assert_uint_eq(view_find(&views, serial), number);
    view_joined(&views, number, GROUP_EVENTS, NULL);
    view_deliver(&views, &key, frame, 0, &report);
    view_end(&views, number);
    ck_assert_uint_eq(ear.member.memberships, 0);
    ck_assert_uint_eq(view_find(&views, serial), 0);
    ck_assert_uint_eq(views.memberships.count, 1); /* for its event, which goes with the turn */
    threads_turn(2);
    ck_assert_uint_eq(views.memberships.count, 0);
    ck_assert_uint_eq(view_find(&views, serial), 0);
    ck_assert_str_eq(ear.heard, "");
    frame_unref(frame);
    view_clear(&views);
}
END_TEST

START_TEST(no_letter_speaks_of_who_is_at_home) {
    struct views views;
    struct ear ear = ear_make(2, "a");
    struct group_key key = key_of(SPACE, "a");
    loop_enter(threads[2]);
    view_init(&views, threads[2], &threads_events);
    uint32_t number = view_join(&views, &ear.member, &key, true);
    view_at(&views, number)->record = 1;
    ck_assert_uint_eq(serial_thread(view_serial(&views, number)), 2);
    ck_assert_uint_eq(view_find(&views, serial_of(2, (struct slab_place){number, 1})), 0);
    view_clear(&views); /* ends it */
    ck_assert_uint_eq(ear.member.memberships, 0);
    ck_assert_uint_eq(ear.member.count, 0);
}
END_TEST

/* --- the suite --- */

static void open_for_clients(void) {
    threads_open();
    threads_events = (struct member_events){on_client_event, session_of};
}

static TCase *add_case(Suite *suite, const char *name, SFun open) {
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, open, threads_close);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static void add_events(Suite *suite) {
    const TTest *const tests[] = {
        what_a_member_says_inside_its_event_comes_behind_for_all,
        a_member_may_end_itself_or_another_inside_an_event,
        a_member_may_leave_and_join_inside_an_event,
    };
    TCase *tcase = add_case(suite, "events", threads_open);
    for (size_t at = 0; at < sizeof(tests) / sizeof(tests[0]); at++)
        tcase_add_loop_test(tcase, tests[at], 0, THREADS);
}

static void add_sessions(Suite *suite) {
    const TTest *const tests[] = {
        a_session_gets_the_groups_messages_in_order,
        joining_again_with_other_flags_takes_effect_in_order,
        what_a_queue_drops_and_who_is_closing_is_counted_as_dropped,
    };
    TCase *tcase = add_case(suite, "sessions", open_for_clients);
    for (size_t at = 0; at < sizeof(tests) / sizeof(tests[0]); at++)
        tcase_add_loop_test(tcase, tests[at], 0, THREADS);
    tcase_add_test(tcase, at_home_a_reply_does_not_overtake_a_group_message);
}

int main(void) {
    Suite *suite = suite_create("view");
    add_events(suite);
    add_sessions(suite);
    TCase *tcase = add_case(suite, "by itself", threads_open);
    tcase_add_test(tcase, a_serial_means_nothing_once_the_member_has_ended);
    tcase_add_test(tcase, no_letter_speaks_of_who_is_at_home);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
