#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "observe/counters.h"
#include "support/fake_transport.h"
#include "support/wire.h"
#include "websocket/session.h"

/* --- an owner, a session and its peer --- */

#define SECONDS 1000

static struct loop *loop;
static struct session_terms terms;
static struct session *session; /* NULL once `closed` was told */
static struct fake_transport fake;

static char told[4096]; /* what the owner heard: "text(hi) unblocked(2) closed 1000(bye)" */
static size_t told_size;
static bool owner_calls; /* a call of the owner's is under way: nothing may be told */
static void (*on_message)(void), (*on_unblocked)(void);

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...) {
    va_list arguments;
    ck_assert_msg(!owner_calls, "an event inside a call of the owner's");
    if (told_size > 0)
        told[told_size++] = ' ';
    va_start(arguments, format);
    told_size += (size_t)vsnprintf(told + told_size, sizeof(told) - told_size, format, arguments);
    va_end(arguments);
    ck_assert_uint_lt(told_size, sizeof(told));
}

static void message(struct session *teller, enum opcode kind, const uint8_t *data, size_t size) {
    ck_assert_ptr_eq(teller, session);
    const char *name = kind == OPCODE_TEXT ? "text" : "binary";
    if (size > 60)
        tell("%s[%zu]", name, size);
    else
        tell("%s(%.*s)", name, (int)size, (const char *)data);
    if (on_message != NULL)
        on_message();
}

static void unblocked(struct session *teller, uint64_t dropped) {
    ck_assert_ptr_eq(teller, session);
    tell("unblocked(%d)", (int)dropped);
    if (on_unblocked != NULL)
        on_unblocked();
}

static void closed(struct session *teller, int code, const char *reason, size_t reason_size) {
    ck_assert_ptr_eq(teller, session);
    tell("closed %d(%.*s)", code, (int)reason_size, reason);
    session = NULL;
}

static void released(struct session *gone) { free(gone); }

static const struct session_events events = {message, unblocked, closed, released};

static void setup(void) {
    terms = (struct session_terms){.events = &events,
                                   .message_bytes_max = 100000,
                                   .queue_bytes_max = 1000000,
                                   .on_full = ON_FULL_CLOSE,
                                   .close_ms = 1000 * SECONDS};
    told_size = 0;
    told[0] = '\0';
    owner_calls = false;
    on_message = on_unblocked = NULL;
    fake = (struct fake_transport){.holds = false};
    loop = loop_create(0);
    loop_enter(loop);
    session = malloc(sizeof(*session));
    ck_assert_ptr_nonnull(session);
    session_begin(session, &terms);
}

static void turn(void) { loop_turn(loop, 0); }

static void turns(int count) {
    while (count-- > 0)
        turn();
}

/* Time passes, in seconds, and what is due then is done. The clock itself goes on too, so tests
   keep away from a limit by more seconds than one may take to run. */
static void pass(uint64_t seconds) {
    loop_skip(loop, seconds * 1000);
    turns(4);
}

static void teardown(void) {
    if (session != NULL)
        session_abort(session);
    turns(3);
    ck_assert_ptr_null(session);
    fake_transport_free(&fake);
    loop_free(loop);
}

static void attach(void) {
    fake_transport_attach(&fake, session, loop);
    turn();
}

/* The owner's calls. */

static enum session_result send_frame(enum opcode opcode, const void *data, size_t size) {
    struct frame *frame = frame_create(opcode, data, size);
    bool before = owner_calls;
    owner_calls = true;
    enum session_result result = session_send(session, frame);
    owner_calls = before;
    frame_unref(frame);
    return result;
}

static enum session_result send_text(const char *text) {
    return send_frame(OPCODE_TEXT, text, strlen(text));
}

static enum session_result send_bytes(size_t size) {
    char *bytes = calloc(1, size);
    enum session_result result = send_frame(OPCODE_BINARY, bytes, size);
    free(bytes);
    return result;
}

static void close_session(int code, const char *reason) {
    owner_calls = true;
    session_close(session, code, reason, strlen(reason));
    owner_calls = false;
}

static void abort_session(void) {
    owner_calls = true;
    session_abort(session);
    owner_calls = false;
}

/* The peer's doings. */

static void receive(uint8_t first, const char *payload) {
    struct wire wire = {0};
    wire_frame(&wire, first, payload, strlen(payload));
    fake_transport_feed(&fake, wire.data, wire.size);
    wire_free(&wire);
}

static void receive_close(int code, const char *reason) {
    struct wire wire = {0};
    wire_close(&wire, code, reason);
    fake_transport_feed(&fake, wire.data, wire.size);
    wire_free(&wire);
}

static void check_told(const char *expected) { ck_assert_str_eq(told, expected); }

static void check_sent(const char *expected) {
    ck_assert_str_eq(fake_transport_sent(&fake), expected);
}

/* --- messages in and out --- */

START_TEST(messages_of_both_kinds_are_told) {
    attach();
    receive(0x81, "hello");
    receive(0x82, "bytes");
    receive(0x01, "frag");
    receive(0x89, "");
    receive(0x80, "ments");
    check_told("text(hello) binary(bytes) text(fragments)");
    turn();
    check_sent("pong()");
}
END_TEST

START_TEST(a_message_that_comes_byte_by_byte_is_told_once) {
    struct wire wire = {0};
    attach();
    wire_frame(&wire, 0x81, "slow", 4);
    for (size_t i = 0; i < wire.size; i++) {
        fake_transport_feed(&fake, wire.data + i, 1);
        turn();
    }
    wire_free(&wire);
    check_told("text(slow)");
}
END_TEST

START_TEST(nothing_is_read_before_the_transport_comes) {
    ck_assert(!fake.reading);
    attach();
    ck_assert(fake.reading);
}
END_TEST

START_TEST(sends_of_one_turn_leave_in_one_write_and_in_order) {
    attach();
    ck_assert_int_eq(send_text("one"), SESSION_SENT);
    ck_assert_int_eq(send_text("two"), SESSION_SENT);
    ck_assert_int_eq(send_frame(OPCODE_BINARY, "three", 5), SESSION_SENT);
    ck_assert_uint_eq(fake.writes, 0);
    ck_assert_uint_eq(session_queued(session), 5 + 5 + 7);
    turn();
    ck_assert_uint_eq(fake.writes, 1);
    check_sent("text(one) text(two) binary(three)");
    turn();
    ck_assert_uint_eq(session_queued(session), 0);
    ck_assert_uint_eq(fake.writes, 1);
}
END_TEST

START_TEST(sends_before_the_101_leave_when_it_has_left) {
    ck_assert_int_eq(send_text("early"), SESSION_SENT);
    turns(2);
    ck_assert_uint_eq(fake.writes, 0);
    attach();
    check_sent("text(early)");
}
END_TEST

START_TEST(the_next_write_waits_for_the_last) {
    fake.holds = true;
    attach();
    ck_assert_int_eq(send_text("one"), SESSION_SENT);
    turn();
    ck_assert_int_eq(send_text("two"), SESSION_SENT);
    turns(3);
    ck_assert_uint_eq(fake.writes, 1);
    fake_transport_complete(&fake, true);
    ck_assert_uint_eq(fake.writes, 1);
    turn();
    ck_assert_uint_eq(fake.writes, 2);
    check_sent("text(one) text(two)");
}
END_TEST

START_TEST(many_frames_leave_in_several_writes) {
    attach();
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(send_text("x"), SESSION_SENT);
    turns(8);
    ck_assert_uint_eq(fake.written_size, 200 * 3);
    ck_assert_uint_eq(fake.writes, (200 + TRANSPORT_PARTS_MAX - 1) / TRANSPORT_PARTS_MAX);
}
END_TEST

START_TEST(a_large_frame_leaves_in_bounded_writes) {
    terms.queue_bytes_max = 4000000;
    attach();
    ck_assert_int_eq(send_bytes(3000000), SESSION_SENT);
    ck_assert_int_eq(send_text("behind"), SESSION_SENT);
    turns(40);
    ck_assert_uint_le(fake.largest_write, 256 * 1024);
    ck_assert_uint_eq(session_queued(session), 0);
    check_sent("binary[3000000] text(behind)");
}
END_TEST

static void echo_nothing_but_send(void) { ck_assert_int_eq(send_text("reply"), SESSION_SENT); }

START_TEST(a_send_inside_message_leaves_in_the_same_turn) {
    on_message = echo_nothing_but_send;
    attach();
    receive(0x81, "q");
    turn();
    check_sent("text(reply)");
}
END_TEST

/* --- what goes to many --- */

static void share_text(const char *text) {
    struct frame *frame = frame_create(OPCODE_TEXT, text, strlen(text));
    ck_assert_int_eq(session_share(session, frame), SESSION_SENT);
    frame_unref(frame);
}

START_TEST(what_is_shared_leaves_with_its_turn_unless_told_otherwise) {
    attach();
    share_text("at once");
    turn();
    check_sent("text(at once)");
}
END_TEST

START_TEST(what_is_shared_waits_for_more_and_leaves_in_one_write) {
    terms.flush_ms = 100 * SECONDS;
    attach();
    share_text("one");
    turns(3);
    pass(50);
    share_text("two");
    turns(3);
    check_sent("");
    ck_assert_uint_eq(session_queued(session), 10);
    pass(60); /* counted from the first */
    check_sent("text(one) text(two)");
    ck_assert_uint_eq(fake.writes, 1);
    share_text("three");
    pass(50);
    ck_assert_uint_eq(fake.writes, 1);
    pass(60);
    check_sent("text(one) text(two) text(three)");
}
END_TEST

START_TEST(whatever_leaves_takes_along_what_waits) {
    terms.flush_ms = 100 * SECONDS;
    attach();
    share_text("one");
    ck_assert_int_eq(send_text("mine"), SESSION_SENT);
    turn();
    check_sent("text(one) text(mine)");
    turn();
    share_text("two");
    turn();
    receive(0x89, "?");
    turn();
    check_sent("text(one) text(mine) pong(?) text(two)");
    turn();
    share_text("three");
    session_close(session, 1000, "", 0);
    turn();
    check_sent("text(one) text(mine) pong(?) text(two) text(three) close 1000()");
}
END_TEST

START_TEST(pings_come_in_time_though_messages_wait) {
    terms.flush_ms = 100 * SECONDS;
    terms.ping_ms = 60 * SECONDS;
    attach();
    pass(30);
    share_text("one");
    pass(40); /* the ping takes it along */
    check_sent("ping() text(one)");
    share_text("two");
    pass(50);
    receive(0x8a, "");
    pass(55);
    check_sent("ping() text(one) text(two)");
    pass(10);
    check_sent("ping() text(one) text(two) ping()");
}
END_TEST

START_TEST(what_waits_leaves_before_the_queue_is_full_of_it) {
    char text[1001];
    memset(text, 'x', 1000);
    text[1000] = '\0';
    terms.flush_ms = 1000 * SECONDS;
    terms.queue_bytes_max = 16384;
    fake.at_once = true;
    fake.room = SIZE_MAX;
    attach();
    for (int i = 0; i < 100; i++) {
        share_text(text);
        turn();
    }
    ck_assert_uint_le(session_queued(session), 16384 / 2);
    ck_assert_uint_ge(fake.writes, 10);
    ck_assert_uint_le(fake.writes, 13);
}
END_TEST

START_TEST(many_small_ones_leave_before_the_queue_has_too_many) {
    terms.flush_ms = 1000 * SECONDS;
    terms.queue_bytes_max = 32 * 84; /* 100 frames */
    fake.at_once = true;
    fake.room = SIZE_MAX;
    attach();
    for (int i = 0; i < 1000; i++) {
        share_text("");
        turn();
    }
    ck_assert_uint_ge(fake.writes, 15);
    ck_assert_uint_le(fake.writes, 21);
}
END_TEST

START_TEST(a_session_that_ends_forgets_what_waits) {
    terms.flush_ms = 100 * SECONDS;
    attach();
    share_text("one");
    session_abort(session);
    turns(3);
    check_sent("");
    check_told("closed 1006()");
}
END_TEST

/* --- what an operator asks --- */

START_TEST(frames_and_messages_are_counted_each_way) {
    attach();
    receive(0x81, "four");
    receive(0x89, "?");
    ck_assert_int_eq(send_text("reply"), SESSION_SENT);
    ck_assert_int_eq(send_text("another"), SESSION_SENT);
    turns(2);
    ck_assert_uint_eq(session->counts.messages_in, 1);
    ck_assert_uint_eq(session->counts.messages_out, 2);
    ck_assert_uint_eq(session->counts.bytes_in, 6 + 4 + 6 + 1);
    ck_assert_uint_eq(session->counts.bytes_out, 2 + 5 + 2 + 7 + 2 + 1);
    ck_assert_uint_eq(session->counts.queue_peak, 7 + 9);
}
END_TEST

/* --- pings of the peer's --- */

START_TEST(a_ping_is_answered_with_its_payload) {
    attach();
    receive(0x89, "are you there?");
    turn();
    check_sent("pong(are you there?)");
    check_told("");
}
END_TEST

START_TEST(a_pong_is_read_and_ignored) {
    attach();
    receive(0x8a, "unasked");
    turn();
    check_sent("");
    check_told("");
}
END_TEST

START_TEST(a_pong_goes_before_messages_that_wait) {
    fake.holds = true;
    attach();
    ck_assert_int_eq(send_text("leaving"), SESSION_SENT);
    turn();
    ck_assert_int_eq(send_text("waiting"), SESSION_SENT);
    receive(0x89, "p");
    fake_transport_complete(&fake, true);
    turn();
    check_sent("text(leaving) pong(p) text(waiting)");
}
END_TEST

START_TEST(a_pong_leaves_when_the_write_before_it_is_done) {
    fake.holds = true;
    attach();
    ck_assert_int_eq(send_text("leaving"), SESSION_SENT);
    turn();
    receive(0x89, "p");
    turns(2);
    fake_transport_complete(&fake, true);
    turn();
    check_sent("text(leaving) pong(p)");
}
END_TEST

START_TEST(a_ping_flood_from_a_peer_that_does_not_read_holds_one_pong) {
    fake.holds = true;
    attach();
    ck_assert_int_eq(send_text("stuck"), SESSION_SENT);
    turn();
    for (int i = 0; i < 10000; i++) {
        char payload[16];
        snprintf(payload, sizeof(payload), "%d", i);
        receive(0x89, payload);
        if (i % 100 == 0)
            turn();
    }
    ck_assert_uint_eq(session_queued(session), 7);
    fake_transport_complete(&fake, true);
    turn();
    check_sent("text(stuck) pong(9999)");
}
END_TEST

/* --- the closing handshake --- */

START_TEST(a_close_by_the_peer_is_echoed_told_and_ends) {
    attach();
    receive_close(1000, "bye");
    check_told("");
    turn();
    check_sent("close 1000(bye)");
    ck_assert(!fake.closed);
    turns(2);
    check_told("closed 1000(bye)");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(an_empty_close_by_the_peer_is_1005) {
    attach();
    receive_close(0, "");
    turns(3);
    check_sent("close()");
    check_told("closed 1005()");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(what_is_queued_leaves_before_the_answer_to_a_close) {
    attach();
    ck_assert_int_eq(send_text("last"), SESSION_SENT);
    receive_close(1001, "");
    ck_assert_int_eq(send_text("too late"), SESSION_CLOSED);
    turns(3);
    check_sent("text(last) close 1001()");
    check_told("closed 1001()");
}
END_TEST

START_TEST(nothing_behind_the_peers_close_is_read) {
    struct wire wire = {0};
    attach();
    wire_close(&wire, 1000, "");
    wire_frame(&wire, 0x81, "late", 4);
    wire_raw(&wire, "\xff\xff", 2);
    fake_transport_feed(&fake, wire.data, wire.size);
    fake_transport_feed(&fake, wire.data, wire.size);
    wire_free(&wire);
    turns(3);
    check_sent("close 1000()");
    check_told("closed 1000()");
}
END_TEST

static const struct {
    int code;
    const char *reason;
    int answer; /* -1: none comes, -2: the connection is lost */
    const char *answer_reason;
    const char *sent, *told;
} closes[] = {
    {1000, "done", 1000, "done", "close 1000(done)", "closed 1000(done)"},
    {1000, "", 1000, "", "close 1000()", "closed 1000()"},
    {4001, "ours", 4002, "theirs", "close 4001(ours)", "closed 4002(theirs)"},
    {1001, "ours", 0, "", "close 1001(ours)", "closed 1005()"},
    {0, "", 0, "", "close()", "closed 1005()"},
    {0, "", 1000, "", "close()", "closed 1000()"},
    {4999, "ours", -1, "", "close 4999(ours)", "closed 4999(ours)"},
    {0, "", -1, "", "close()", "closed 1005()"},
    {1012, "restart", -2, "", "close 1012(restart)", "closed 1012(restart)"},
};

START_TEST(a_close_of_ours_ends_with_the_answer_or_without) {
    attach();
    close_session(closes[_i].code, closes[_i].reason);
    turns(2);
    check_sent(closes[_i].sent);
    check_told("");
    ck_assert(!fake.closed);
    if (closes[_i].answer >= 0)
        receive_close(closes[_i].answer, closes[_i].answer_reason);
    else if (closes[_i].answer == -2)
        session_lost(session);
    else
        pass(1000);
    turns(2);
    check_sent(closes[_i].sent);
    check_told(closes[_i].told);
    ck_assert(fake.closed);
}
END_TEST

START_TEST(the_peer_has_all_its_time_to_answer) {
    attach();
    close_session(1000, "");
    pass(990);
    check_told("");
    ck_assert(!fake.closed);
    pass(20);
    check_told("closed 1000()");
}
END_TEST

START_TEST(a_close_waits_behind_what_is_queued) {
    attach();
    ck_assert_int_eq(send_text("first"), SESSION_SENT);
    close_session(1000, "");
    ck_assert_int_eq(send_text("late"), SESSION_CLOSED);
    turn();
    check_sent("text(first) close 1000()");
}
END_TEST

START_TEST(an_answer_that_crosses_our_close_still_lets_it_leave) {
    fake.holds = true;
    attach();
    ck_assert_int_eq(send_text("slow"), SESSION_SENT);
    turn();
    close_session(1000, "ours");
    receive_close(1001, "theirs");
    turns(3);
    check_told("");
    fake_transport_complete(&fake, true);
    turn();
    check_sent("text(slow) close 1000(ours)");
    fake_transport_complete(&fake, true);
    turns(2);
    check_told("closed 1001(theirs)");
}
END_TEST

START_TEST(a_peer_that_closes_and_does_not_read_is_cut_in_time) {
    fake.holds = true;
    attach();
    ck_assert_int_eq(send_text("stuck"), SESSION_SENT);
    turn();
    receive_close(1000, "");
    pass(990);
    check_told("");
    pass(20);
    check_told("closed 1000()");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(a_second_close_changes_nothing) {
    attach();
    close_session(1000, "first");
    close_session(4000, "second");
    turn();
    check_sent("close 1000(first)");
    close_session(4000, "third");
    receive_close(1000, "first");
    turns(3);
    check_sent("close 1000(first)");
    check_told("closed 1000(first)");
}
END_TEST

START_TEST(while_closing_messages_are_ignored_and_pings_not_answered) {
    attach();
    close_session(1000, "");
    receive(0x81, "ignored");
    receive(0x89, "?");
    receive(0x02, "ig");
    receive(0x80, "nored");
    receive_close(1000, "");
    turns(3);
    check_sent("close 1000()");
    check_told("closed 1000()");
}
END_TEST

START_TEST(a_pong_that_is_owed_leaves_before_our_close) {
    attach();
    receive(0x89, "owed");
    close_session(1000, "");
    turn();
    check_sent("pong(owed) close 1000()");
}
END_TEST

START_TEST(a_close_before_the_101_leaves_behind_it) {
    ck_assert_int_eq(send_text("hello"), SESSION_SENT);
    close_session(4000, "no");
    pass(5000);
    check_told("");
    attach();
    check_sent("text(hello) close 4000(no)");
    pass(1000);
    check_told("closed 4000(no)");
}
END_TEST

/* --- the peer breaks the protocol --- */

START_TEST(a_broken_peer_is_told_why_and_gets_time_to_hang_up) {
    attach();
    receive(0x83, "unknown");
    turn();
    check_sent("close 1002(unknown opcode)");
    ck_assert(!fake.shut);
    turn();
    ck_assert(fake.shut && !fake.closed);
    receive(0x81, "whatever it still sends");
    receive_close(1000, "or answers");
    turns(2);
    check_told("");
    session_lost(session);
    turns(2);
    check_told("closed 1002(unknown opcode)");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(a_broken_peer_that_does_not_hang_up_is_cut_in_time) {
    attach();
    receive(0x81, "\xff");
    pass(990);
    ck_assert(fake.shut);
    check_told("");
    pass(20);
    check_told("closed 1007(text is not UTF-8)");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(a_broken_peer_that_does_not_read_is_cut_in_time) {
    fake.holds = true;
    attach();
    ck_assert_int_eq(send_text("stuck"), SESSION_SENT);
    turn();
    receive(0x83, "");
    pass(1010);
    check_told("closed 1002(unknown opcode)");
    ck_assert(fake.closed && !fake.shut);
}
END_TEST

START_TEST(a_transport_without_shut_is_closed_when_the_close_frame_has_left) {
    fake.no_shut = true;
    attach();
    receive(0x83, "unknown");
    turns(3);
    check_sent("close 1002(unknown opcode)");
    check_told("closed 1002(unknown opcode)");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(a_message_over_the_limit_is_refused_by_its_header) {
    struct wire wire = {0};
    terms.message_bytes_max = 10;
    attach();
    receive(0x81, "0123456789");
    wire_header(&wire, 0x81, 0, 11, 1);
    fake_transport_feed(&fake, wire.data, wire.size);
    wire_free(&wire);
    turn();
    check_sent("close 1009(message too big)");
    check_told("text(0123456789)");
}
END_TEST

START_TEST(messages_before_the_fault_are_told_and_none_behind) {
    struct wire wire = {0};
    attach();
    wire_frame(&wire, 0x81, "good", 4);
    wire_frame(&wire, 0x81,
               "b\xff"
               "d",
               3);
    wire_frame(&wire, 0x81, "late", 4);
    fake_transport_feed(&fake, wire.data, wire.size);
    wire_free(&wire);
    check_told("text(good)");
}
END_TEST

START_TEST(a_fault_while_closing_sends_no_second_close) {
    attach();
    close_session(1000, "ours");
    turns(2);
    receive(0x83, "");
    turns(2);
    check_sent("close 1000(ours)");
    ck_assert(fake.shut);
    session_lost(session);
    turns(2);
    check_told("closed 1000(ours)");
}
END_TEST

START_TEST(a_fault_while_our_close_waits_lets_it_leave) {
    fake.holds = true;
    attach();
    close_session(1000, "ours");
    turn();
    receive(0x83, "");
    ck_assert(!fake.shut);
    fake_transport_complete(&fake, true);
    ck_assert(fake.shut);
    check_sent("close 1000(ours)");
}
END_TEST

/* --- lost and aborted --- */

START_TEST(a_lost_connection_is_1006) {
    attach();
    session_lost(session);
    check_told("");
    turn();
    check_told("closed 1006()");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(a_failed_write_is_1006) {
    fake.holds = true;
    attach();
    ck_assert_int_eq(send_text("x"), SESSION_SENT);
    turn();
    fake_transport_complete(&fake, false);
    turns(2);
    check_told("closed 1006()");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(lost_twice_is_told_once) {
    fake.holds = true;
    attach();
    ck_assert_int_eq(send_text("x"), SESSION_SENT);
    turn();
    session_lost(session);
    fake_transport_complete(&fake, false);
    session_lost(session);
    turns(3);
    check_told("closed 1006()");
}
END_TEST

START_TEST(an_abort_is_1006_and_told_once) {
    attach();
    abort_session();
    abort_session();
    ck_assert_int_eq(send_text("x"), SESSION_CLOSED);
    close_session(1000, "");
    turn();
    check_told("closed 1006()");
    check_sent("");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(an_abort_keeps_back_what_was_sent_in_the_same_turn) {
    attach();
    ck_assert_int_eq(send_text("too late"), SESSION_SENT);
    abort_session();
    turns(2);
    check_told("closed 1006()");
    check_sent("");
}
END_TEST

START_TEST(an_abort_behind_the_end_does_not_change_the_code) {
    fake.holds = true;
    attach();
    receive_close(1000, "bye");
    turn();
    fake_transport_complete(&fake, true);
    abort_session();
    session_lost(session);
    turn();
    check_told("closed 1000(bye)");
}
END_TEST

START_TEST(an_abort_ends_a_closing_session_at_once) {
    attach();
    close_session(1000, "");
    turn();
    abort_session();
    turn();
    check_told("closed 1006()");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(an_abort_forgets_what_is_queued_and_under_way) {
    fake.holds = true;
    attach();
    ck_assert_int_eq(send_text("under way"), SESSION_SENT);
    turn();
    ck_assert_int_eq(send_text("queued"), SESSION_SENT);
    receive(0x01, "half a message");
    receive(0x89, "owed");
    abort_session();
    turn();
    check_told("closed 1006()");
    ck_assert(fake.closed);
    check_sent("text(under way)");
}
END_TEST

START_TEST(an_abort_before_the_101_needs_no_transport) {
    ck_assert_int_eq(send_text("never leaves"), SESSION_SENT);
    abort_session();
    turn();
    check_told("closed 1006()");
    ck_assert(!fake.closed);
}
END_TEST

START_TEST(a_transport_that_comes_behind_the_abort_is_closed) {
    abort_session();
    fake_transport_attach(&fake, session, loop);
    ck_assert(!fake.reading);
    turn();
    check_told("closed 1006()");
    ck_assert(fake.closed);
}
END_TEST

static void close_it(void) { session_close(session, 4000, "enough", 6); }
static void abort_it(void) { session_abort(session); }

static void receive_three(void) {
    struct wire wire = {0};
    wire_frame(&wire, 0x81, "one", 3);
    wire_frame(&wire, 0x81, "two", 3);
    wire_frame(&wire, 0x81, "three", 5);
    fake_transport_feed(&fake, wire.data, wire.size);
    wire_free(&wire);
}

START_TEST(a_close_inside_message_stops_the_messages_behind_it) {
    on_message = close_it;
    attach();
    receive_three();
    check_told("text(one)");
    receive_close(4000, "enough");
    turns(3);
    check_sent("close 4000(enough)");
    check_told("text(one) closed 4000(enough)");
}
END_TEST

START_TEST(an_abort_inside_message_stops_the_messages_behind_it) {
    on_message = abort_it;
    attach();
    receive_three();
    check_told("text(one)");
    turns(2);
    check_told("text(one) closed 1006()");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(an_abort_inside_a_gathered_message_keeps_it_readable) {
    on_message = abort_it;
    attach();
    receive(0x01, "ga");
    receive(0x80, "thered");
    turns(2);
    check_told("text(gathered) closed 1006()");
}
END_TEST

/* --- a queue that is full --- */

/* A message is under way and four wait behind it; five bytes more would fit. */
static void fill(enum on_full policy) {
    terms.on_full = policy;
    terms.queue_bytes_max = 400;
    fake.holds = true;
    attach();
    ck_assert_int_eq(send_text("under way"), SESSION_SENT);
    turn();
    for (int i = 0; i < 4; i++) {
        char payload[94];
        memset(payload, 'a' + i, sizeof(payload));
        ck_assert_int_eq(send_frame(OPCODE_TEXT, payload, sizeof(payload)), SESSION_SENT);
    }
    ck_assert_uint_eq(session_queued(session), 11 + 4 * 96);
}

/* The first letters of the messages that have left. */
static void check_letters(const char *expected) {
    char letters[32] = {0};
    size_t count = 0, at = 0;
    while (at + 2 <= fake.written_size) {
        ck_assert_uint_lt(count, sizeof(letters) - 1);
        letters[count++] = (char)fake.written[at + 2];
        at += 2u + fake.written[at + 1];
    }
    ck_assert_str_eq(letters, expected);
}

static void complete_all(void) {
    turn();
    while (fake.writing) {
        fake_transport_complete(&fake, true);
        turn();
    }
}

START_TEST(a_queue_takes_exactly_its_limit) {
    terms.queue_bytes_max = 400;
    attach();
    ck_assert_int_eq(send_bytes(396), SESSION_SENT);
    ck_assert_uint_eq(session_queued(session), 400);
    turns(2);
    ck_assert_int_eq(send_bytes(397), SESSION_FULL);
}
END_TEST

START_TEST(a_full_queue_closes_with_1013_behind_what_it_holds) {
    fill(ON_FULL_CLOSE);
    ck_assert_int_eq(send_text("abcd"), SESSION_FULL);
    ck_assert_int_eq(send_text("abc"), SESSION_CLOSED);
    complete_all();
    check_told("");
    receive_close(1013, "");
    turns(2);
    check_told("closed 1013()");
    ck_assert_int_eq(
        memcmp(fake.written + fake.written_size - 19, "\x88\x11\x03\xf5send queue full", 19), 0);
}
END_TEST

START_TEST(a_full_queue_of_a_peer_that_never_reads_ends_with_1013) {
    fill(ON_FULL_CLOSE);
    ck_assert_int_eq(send_text("abcd"), SESSION_FULL);
    pass(1010);
    check_told("closed 1013(send queue full)");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(drop_newest_keeps_what_waits) {
    fill(ON_FULL_DROP_NEWEST);
    ck_assert_int_eq(send_text("new"), SESSION_SENT);
    ck_assert_int_eq(send_text("newer"), SESSION_DROPPED);
    ck_assert_uint_eq(session_queued(session), 400);
    complete_all();
    check_letters("uabcdn");
    check_told("unblocked(1)");
}
END_TEST

START_TEST(drop_oldest_keeps_the_newest_and_what_is_under_way) {
    fill(ON_FULL_DROP_OLDEST);
    ck_assert_int_eq(send_text("new 1"), SESSION_SENT);
    ck_assert_int_eq(send_text("new 2"), SESSION_SENT);
    complete_all();
    check_letters("ubcdnn");
    check_told("unblocked(1)");
}
END_TEST

START_TEST(drop_oldest_drops_as_many_as_it_takes) {
    fill(ON_FULL_DROP_OLDEST);
    ck_assert_int_eq(send_bytes(200), SESSION_SENT);
    complete_all();
    check_told("unblocked(3)");
    ck_assert_uint_eq(fake.written_size, 11 + 96 + 204);
}
END_TEST

START_TEST(a_message_that_can_never_fit_drops_no_other) {
    fill(ON_FULL_DROP_OLDEST);
    ck_assert_int_eq(send_bytes(390), SESSION_DROPPED);
    complete_all();
    check_letters("uabcd");
    check_told("unblocked(1)");
}
END_TEST

static uint64_t counted_of(enum counter which) { return COUNTERS_SUM_OF(values, which); }

START_TEST(what_does_not_fit_is_counted_by_what_became_of_it) {
    static const enum counter counters[] = {[ON_FULL_CLOSE] = COUNTER_DROPPED_CLOSED,
                                            [ON_FULL_DROP_OLDEST] = COUNTER_DROPPED_OLDEST,
                                            [ON_FULL_DROP_NEWEST] = COUNTER_DROPPED_NEWEST};
    static const uint64_t wanted[] = {1, 3, 1};
    enum on_full policy = (enum on_full)_i;
    fill(policy);
    (void)!send_bytes(200);
    for (int other = ON_FULL_CLOSE; other <= ON_FULL_DROP_NEWEST; other++)
        ck_assert_uint_eq(counted_of(counters[other]), other == _i ? wanted[_i] : 0);
    if (policy == ON_FULL_DROP_OLDEST)
        ck_assert_int_eq(send_bytes(390), SESSION_DROPPED);
    ck_assert_uint_eq(counted_of(COUNTER_DROPPED_OLDEST), policy == ON_FULL_DROP_OLDEST ? 4 : 0);
}
END_TEST

START_TEST(what_goes_each_way_is_counted) {
    attach();
    receive(0x81, "hello");
    receive(0x81, "you");
    receive(0x89, "P");
    ck_assert_uint_eq(counted_of(COUNTER_MESSAGES_IN), 2);
    ck_assert_uint_eq(counted_of(COUNTER_BYTES_IN), 3 * 6 + 9);
    turns(2);
    uint64_t pong = counted_of(COUNTER_BYTES_OUT);
    ck_assert_uint_eq(pong, 3);
    ck_assert_int_eq(send_text("answer"), SESSION_SENT);
    turns(2);
    ck_assert_uint_eq(counted_of(COUNTER_BYTES_OUT) - pong, 8);
}
END_TEST

START_TEST(what_waits_for_all_sessions_is_told_together) {
    struct session *others[3];
    fill(ON_FULL_CLOSE);
    size_t filled = session_queued(session), each = 2 + 5;
    ck_assert_uint_eq(sessions_queued(loop), filled);
    for (int i = 0; i < 3; i++) {
        others[i] = malloc(sizeof(*others[i]));
        session_begin(others[i], &terms);
        struct frame *frame = frame_create(OPCODE_TEXT, "waits", 5);
        ck_assert_int_eq(session_send(others[i], frame), SESSION_SENT);
        frame_unref(frame);
        ck_assert_uint_eq(sessions_queued(loop), filled + (size_t)(i + 1) * each);
    }
    complete_all();
    ck_assert_uint_eq(sessions_queued(loop), 3 * each);
    struct session *mine = session;
    for (int i = 0; i < 3; i++) {
        session = others[i];
        session_abort(session);
        turns(3);
        ck_assert_ptr_null(session);
        ck_assert_uint_eq(sessions_queued(loop), (size_t)(2 - i) * each);
    }
    session = mine;
}
END_TEST

START_TEST(control_frames_pass_a_full_queue_and_are_never_dropped) {
    fill(ON_FULL_DROP_OLDEST);
    receive(0x89, "P");
    close_session(1000, "C");
    ck_assert_int_eq(send_text("late"), SESSION_CLOSED);
    complete_all();
    check_letters("uPabcd\x03");
}
END_TEST

START_TEST(a_partly_written_frame_survives_drop_oldest) {
    terms.on_full = ON_FULL_DROP_OLDEST;
    terms.queue_bytes_max = 600000;
    fake.holds = true;
    attach();
    ck_assert_int_eq(send_bytes(500000), SESSION_SENT);
    turn();
    fake_transport_complete(&fake, true); /* 256 KiB of it */
    ck_assert_int_eq(send_bytes(90000), SESSION_SENT);
    ck_assert_int_eq(send_bytes(80000), SESSION_SENT);
    complete_all();
    check_sent("binary[500000] binary[80000]");
}
END_TEST

START_TEST(unblocked_waits_until_half_has_drained) {
    fill(ON_FULL_DROP_NEWEST);
    ck_assert_int_eq(send_bytes(300), SESSION_DROPPED);
    ck_assert_int_eq(send_bytes(300), SESSION_DROPPED);
    fake_transport_complete(&fake, true); /* 11 of 395 bytes */
    check_told("");
    turn();
    fake_transport_complete(&fake, true);
    turn();
    check_told("unblocked(2)");
    ck_assert_int_eq(send_bytes(390), SESSION_SENT);
    turn();
    fake_transport_complete(&fake, true);
    turns(2);
    check_told("unblocked(2)");
}
END_TEST

/* --- a transport that writes at once --- */

START_TEST(what_a_full_connection_did_not_take_leaves_when_it_is_writable) {
    fake.at_once = true;
    fake.room = 5;
    attach();
    send_text("ab");
    send_text("cd");
    turn();
    check_sent("text(ab) ...");
    ck_assert_uint_eq(session_queued(session), 3);
    turns(3);
    ck_assert_uint_eq(fake.writes, 1);
    send_text("ef");
    fake_transport_open(&fake, 100);
    turn();
    check_sent("text(ab) text(cd) text(ef)");
    ck_assert_uint_eq(session_queued(session), 0);
}
END_TEST

START_TEST(a_connection_that_takes_nothing_is_not_asked_again) {
    fake.at_once = true;
    attach();
    send_text("ab");
    turn();
    receive(0x89, "ping");
    turns(3);
    ck_assert_uint_eq(fake.writes, 1);
    fake_transport_open(&fake, 100);
    turn();
    check_sent("pong(ping) text(ab)");
}
END_TEST

START_TEST(a_long_queue_is_written_a_portion_a_turn) {
    fake.at_once = true;
    fake.room = SIZE_MAX;
    attach();
    for (int i = 0; i < 2 * TRANSPORT_PARTS_MAX + 1; i++)
        send_text("x");
    turn();
    ck_assert_uint_eq(fake.writes, 1);
    turn();
    ck_assert_uint_eq(fake.writes, 2);
    turn();
    ck_assert_uint_eq(fake.writes, 3);
    ck_assert_uint_eq(session_queued(session), 0);
}
END_TEST

/* --- messages that are copied to where they leave from --- */

static void send_own(const char *text) {
    ck_assert_int_eq(session_send_bytes(session, OPCODE_TEXT, text, strlen(text)), SESSION_SENT);
}

START_TEST(small_messages_for_one_leave_together_in_order) {
    fake.appends = true;
    attach();
    send_own("a");
    send_own("b");
    send_text("shared");
    send_own("c");
    ck_assert_uint_eq(session_queued(session), 2 * 3 + 8 + 3);
    turns(2);
    check_sent("text(a) text(b) text(shared) text(c)");
    ck_assert_uint_eq(fake.writes, 2);
    ck_assert_uint_eq(session_queued(session), 0);
}
END_TEST

START_TEST(what_is_left_of_them_goes_before_all_else_and_is_not_split) {
    fake.appends = fake.holds = true;
    attach();
    send_own("abc");
    send_own("def");
    turn();
    send_text("shared");
    receive(0x89, "ping");
    fake_transport_complete_part(&fake, 7);
    ck_assert_uint_eq(session_queued(session), 3 + 8);
    turns(2);
    send_own("later");
    fake_transport_open(&fake, 0);
    turn();
    fake_transport_complete(&fake, true);
    turn();
    check_sent("text(abc) text(def) pong(ping) text(shared) text(later)");
}
END_TEST

START_TEST(what_is_left_of_them_is_never_dropped) {
    terms.on_full = ON_FULL_DROP_OLDEST;
    terms.queue_bytes_max = 100;
    fake.appends = fake.holds = true;
    attach();
    send_own("0123456789");
    turn();
    fake_transport_complete_part(&fake, 0);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(send_bytes(20), SESSION_SENT);
    fake_transport_open(&fake, 0);
    turn();
    fake_transport_complete(&fake, true);
    ck_assert_int_eq(strncmp(fake_transport_sent(&fake), "text(0123456789) ", 17), 0);
}
END_TEST

START_TEST(they_count_to_the_queues_limit) {
    terms.queue_bytes_max = 100;
    fake.appends = fake.holds = true;
    attach();
    for (int i = 0; i < 8; i++)
        send_own("0123456789");
    ck_assert_int_eq(session_send_bytes(session, OPCODE_TEXT, "0123456789", 10), SESSION_FULL);
}
END_TEST

START_TEST(a_close_waits_until_they_have_left) {
    fake.appends = fake.holds = true;
    attach();
    send_own("last");
    receive_close(1000, "");
    turns(2);
    check_told("");
    fake_transport_complete(&fake, true);
    turns(2);
    fake_transport_complete(&fake, true);
    turns(2);
    check_sent("text(last) close 1000()");
    check_told("closed 1000()");
}
END_TEST

START_TEST(a_message_too_big_for_an_empty_queue_is_told_of_later) {
    terms.on_full = ON_FULL_DROP_NEWEST;
    terms.queue_bytes_max = 100;
    attach();
    ck_assert_int_eq(send_bytes(200), SESSION_DROPPED);
    check_told("");
    turns(2);
    check_told("unblocked(1)");
}
END_TEST

START_TEST(a_closing_session_tells_nothing_of_drops) {
    fill(ON_FULL_DROP_NEWEST);
    ck_assert_int_eq(send_bytes(300), SESSION_DROPPED);
    close_session(1000, "");
    complete_all();
    check_told("");
}
END_TEST

START_TEST(an_abort_inside_unblocked_is_safe) {
    on_unblocked = abort_it;
    fill(ON_FULL_DROP_NEWEST);
    ck_assert_int_eq(send_bytes(300), SESSION_DROPPED);
    complete_all();
    turns(2);
    check_told("unblocked(1) closed 1006()");
}
END_TEST

START_TEST(tiny_frames_are_bounded_in_number) {
    terms.queue_bytes_max = 32 * 100;
    terms.on_full = ON_FULL_DROP_NEWEST;
    fake.holds = true;
    attach();
    int sent = 0;
    while (send_text("") == SESSION_SENT)
        sent++;
    ck_assert_int_eq(sent, 100 + 16);
}
END_TEST

/* --- time --- */

START_TEST(silence_brings_a_ping_and_no_answer_the_end) {
    terms.ping_ms = 1000 * SECONDS;
    terms.pong_ms = 500 * SECONDS;
    attach();
    pass(990);
    check_sent("");
    pass(20);
    check_sent("ping()");
    pass(470);
    check_told("");
    pass(40);
    check_told("closed 1006()");
    check_sent("ping()");
    ck_assert(fake.closed);
}
END_TEST

START_TEST(a_pong_keeps_the_connection) {
    terms.ping_ms = 1000 * SECONDS;
    terms.pong_ms = 500 * SECONDS;
    attach();
    for (int i = 0; i < 5; i++) {
        pass(1010);
        receive(0x8a, "");
    }
    check_sent("ping() ping() ping() ping() ping()");
    check_told("");
}
END_TEST

START_TEST(any_input_is_an_answer) {
    terms.ping_ms = 1000 * SECONDS;
    terms.pong_ms = 500 * SECONDS;
    attach();
    pass(1010);
    fake_transport_feed(&fake, (const uint8_t *)"\x81", 1);
    pass(900);
    check_sent("ping()");
    pass(110);
    check_sent("ping() ping()");
    check_told("");
}
END_TEST

START_TEST(no_ping_while_input_flows) {
    terms.ping_ms = 1000 * SECONDS;
    terms.pong_ms = 500 * SECONDS;
    attach();
    for (int i = 0; i < 20; i++) {
        pass(600);
        receive(0x82, "x");
    }
    check_sent("");
    pass(1010);
    check_sent("ping()");
}
END_TEST

START_TEST(our_own_sends_do_not_put_off_the_ping) {
    terms.ping_ms = 1000 * SECONDS;
    terms.pong_ms = 500 * SECONDS;
    attach();
    for (int i = 0; i < 4; i++) {
        pass(300);
        ck_assert_int_eq(send_text("x"), SESSION_SENT);
    }
    turns(2);
    check_sent("text(x) text(x) ping() text(x) text(x)");
}
END_TEST

START_TEST(a_ping_comes_in_time_though_the_pong_may_take_longer) {
    terms.ping_ms = 100 * SECONDS;
    terms.pong_ms = 5000 * SECONDS;
    attach();
    pass(110);
    receive(0x8a, "");
    pass(95);
    pass(15);
    check_sent("ping() ping()");
}
END_TEST

START_TEST(without_a_pong_limit_pings_go_on) {
    terms.ping_ms = 1000 * SECONDS;
    attach();
    for (int i = 0; i < 3; i++)
        pass(1010);
    check_sent("ping() ping() ping()");
    check_told("");
}
END_TEST

START_TEST(an_idle_session_is_closed_with_1001) {
    terms.idle_ms = 3000 * SECONDS;
    attach();
    pass(2990);
    check_sent("");
    pass(20);
    check_sent("close 1001(idle timeout)");
    receive_close(1001, "");
    turns(2);
    check_told("closed 1001()");
}
END_TEST

START_TEST(a_message_in_either_direction_puts_off_idleness) {
    terms.idle_ms = 3000 * SECONDS;
    attach();
    pass(2900);
    receive(0x81, "in");
    pass(2900);
    ck_assert_int_eq(send_text("out"), SESSION_SENT);
    pass(2900);
    check_sent("text(out)");
    pass(110);
    check_sent("text(out) close 1001(idle timeout)");
}
END_TEST

START_TEST(pings_do_not_put_off_idleness) {
    terms.idle_ms = 3000 * SECONDS;
    terms.ping_ms = 1000 * SECONDS;
    terms.pong_ms = 900 * SECONDS;
    attach();
    for (int i = 0; i < 2; i++) {
        pass(1010);
        receive(0x8a, "");
        receive(0x89, "");
    }
    pass(1010);
    check_sent("ping() pong() ping() pong() close 1001(idle timeout)");
}
END_TEST

START_TEST(no_limits_no_timers) {
    attach();
    pass(1000000000);
    check_sent("");
    check_told("");
}
END_TEST

/* The clock that a session keeps has 32 bits, which are over after 49.7 days. */
START_TEST(time_goes_on_when_the_clocks_bits_are_used_up) {
    session_abort(session);
    turns(3);
    told_size = 0;
    told[0] = '\0';
    loop_skip(loop, (UINT64_C(1) << 32) - (loop_now(loop) & UINT32_MAX) - 40 * SECONDS);
    turn();
    terms.ping_ms = 60 * SECONDS;
    terms.pong_ms = 20 * SECONDS;
    terms.idle_ms = 500 * SECONDS;
    session = malloc(sizeof(*session));
    ck_assert_ptr_nonnull(session);
    session_begin(session, &terms);
    attach();
    pass(30);
    check_sent("");
    pass(35);
    check_sent("ping()");
    receive(0x8a, "");
    pass(55);
    check_sent("ping()");
    pass(10);
    check_sent("ping() ping()");
    pass(15);
    check_told("");
    pass(10);
    check_told("closed 1006()");
}
END_TEST

START_TEST(time_before_the_101_does_not_count) {
    terms.idle_ms = 3000 * SECONDS;
    terms.ping_ms = 1000 * SECONDS;
    terms.pong_ms = 500 * SECONDS;
    pass(10000);
    attach();
    turns(2);
    check_sent("");
    pass(1010);
    check_sent("ping()");
}
END_TEST

/* --- */

static void add_messages(TCase *tests) {
    tcase_add_test(tests, messages_of_both_kinds_are_told);
    tcase_add_test(tests, a_message_that_comes_byte_by_byte_is_told_once);
    tcase_add_test(tests, nothing_is_read_before_the_transport_comes);
    tcase_add_test(tests, sends_of_one_turn_leave_in_one_write_and_in_order);
    tcase_add_test(tests, sends_before_the_101_leave_when_it_has_left);
    tcase_add_test(tests, the_next_write_waits_for_the_last);
    tcase_add_test(tests, many_frames_leave_in_several_writes);
    tcase_add_test(tests, a_large_frame_leaves_in_bounded_writes);
    tcase_add_test(tests, a_send_inside_message_leaves_in_the_same_turn);
    tcase_add_test(tests, what_is_shared_leaves_with_its_turn_unless_told_otherwise);
    tcase_add_test(tests, what_is_shared_waits_for_more_and_leaves_in_one_write);
    tcase_add_test(tests, whatever_leaves_takes_along_what_waits);
    tcase_add_test(tests, pings_come_in_time_though_messages_wait);
    tcase_add_test(tests, what_waits_leaves_before_the_queue_is_full_of_it);
    tcase_add_test(tests, many_small_ones_leave_before_the_queue_has_too_many);
    tcase_add_test(tests, a_session_that_ends_forgets_what_waits);
    tcase_add_test(tests, frames_and_messages_are_counted_each_way);
    tcase_add_test(tests, a_ping_is_answered_with_its_payload);
    tcase_add_test(tests, a_pong_is_read_and_ignored);
    tcase_add_test(tests, a_pong_goes_before_messages_that_wait);
    tcase_add_test(tests, a_pong_leaves_when_the_write_before_it_is_done);
    tcase_add_test(tests, a_ping_flood_from_a_peer_that_does_not_read_holds_one_pong);
}

static void add_closes(TCase *tests) {
    tcase_add_test(tests, a_close_by_the_peer_is_echoed_told_and_ends);
    tcase_add_test(tests, an_empty_close_by_the_peer_is_1005);
    tcase_add_test(tests, what_is_queued_leaves_before_the_answer_to_a_close);
    tcase_add_test(tests, nothing_behind_the_peers_close_is_read);
    tcase_add_loop_test(tests, a_close_of_ours_ends_with_the_answer_or_without, 0,
                        sizeof(closes) / sizeof(closes[0]));
    tcase_add_test(tests, the_peer_has_all_its_time_to_answer);
    tcase_add_test(tests, a_close_waits_behind_what_is_queued);
    tcase_add_test(tests, an_answer_that_crosses_our_close_still_lets_it_leave);
    tcase_add_test(tests, a_peer_that_closes_and_does_not_read_is_cut_in_time);
    tcase_add_test(tests, a_second_close_changes_nothing);
    tcase_add_test(tests, while_closing_messages_are_ignored_and_pings_not_answered);
    tcase_add_test(tests, a_pong_that_is_owed_leaves_before_our_close);
    tcase_add_test(tests, a_close_before_the_101_leaves_behind_it);
}

static void add_faults(TCase *tests) {
    tcase_add_test(tests, a_broken_peer_is_told_why_and_gets_time_to_hang_up);
    tcase_add_test(tests, a_broken_peer_that_does_not_hang_up_is_cut_in_time);
    tcase_add_test(tests, a_broken_peer_that_does_not_read_is_cut_in_time);
    tcase_add_test(tests, a_transport_without_shut_is_closed_when_the_close_frame_has_left);
    tcase_add_test(tests, a_message_over_the_limit_is_refused_by_its_header);
    tcase_add_test(tests, messages_before_the_fault_are_told_and_none_behind);
    tcase_add_test(tests, a_fault_while_closing_sends_no_second_close);
    tcase_add_test(tests, a_fault_while_our_close_waits_lets_it_leave);
}

static void add_ends(TCase *tests) {
    tcase_add_test(tests, a_lost_connection_is_1006);
    tcase_add_test(tests, a_failed_write_is_1006);
    tcase_add_test(tests, lost_twice_is_told_once);
    tcase_add_test(tests, an_abort_is_1006_and_told_once);
    tcase_add_test(tests, an_abort_keeps_back_what_was_sent_in_the_same_turn);
    tcase_add_test(tests, an_abort_behind_the_end_does_not_change_the_code);
    tcase_add_test(tests, an_abort_ends_a_closing_session_at_once);
    tcase_add_test(tests, an_abort_forgets_what_is_queued_and_under_way);
    tcase_add_test(tests, an_abort_before_the_101_needs_no_transport);
    tcase_add_test(tests, a_transport_that_comes_behind_the_abort_is_closed);
    tcase_add_test(tests, a_close_inside_message_stops_the_messages_behind_it);
    tcase_add_test(tests, an_abort_inside_message_stops_the_messages_behind_it);
    tcase_add_test(tests, an_abort_inside_a_gathered_message_keeps_it_readable);
}

static void add_queue(TCase *tests) {
    tcase_add_test(tests, a_queue_takes_exactly_its_limit);
    tcase_add_test(tests, a_full_queue_closes_with_1013_behind_what_it_holds);
    tcase_add_test(tests, a_full_queue_of_a_peer_that_never_reads_ends_with_1013);
    tcase_add_test(tests, drop_newest_keeps_what_waits);
    tcase_add_test(tests, drop_oldest_keeps_the_newest_and_what_is_under_way);
    tcase_add_test(tests, drop_oldest_drops_as_many_as_it_takes);
    tcase_add_test(tests, a_message_that_can_never_fit_drops_no_other);
    tcase_add_loop_test(tests, what_does_not_fit_is_counted_by_what_became_of_it, ON_FULL_CLOSE,
                        ON_FULL_DROP_NEWEST + 1);
    tcase_add_test(tests, what_goes_each_way_is_counted);
    tcase_add_test(tests, what_waits_for_all_sessions_is_told_together);
    tcase_add_test(tests, control_frames_pass_a_full_queue_and_are_never_dropped);
    tcase_add_test(tests, a_partly_written_frame_survives_drop_oldest);
    tcase_add_test(tests, unblocked_waits_until_half_has_drained);
    tcase_add_test(tests, a_message_too_big_for_an_empty_queue_is_told_of_later);
    tcase_add_test(tests, what_a_full_connection_did_not_take_leaves_when_it_is_writable);
    tcase_add_test(tests, a_connection_that_takes_nothing_is_not_asked_again);
    tcase_add_test(tests, a_long_queue_is_written_a_portion_a_turn);
    tcase_add_test(tests, small_messages_for_one_leave_together_in_order);
    tcase_add_test(tests, what_is_left_of_them_goes_before_all_else_and_is_not_split);
    tcase_add_test(tests, what_is_left_of_them_is_never_dropped);
    tcase_add_test(tests, they_count_to_the_queues_limit);
    tcase_add_test(tests, a_close_waits_until_they_have_left);
    tcase_add_test(tests, a_closing_session_tells_nothing_of_drops);
    tcase_add_test(tests, an_abort_inside_unblocked_is_safe);
    tcase_add_test(tests, tiny_frames_are_bounded_in_number);
}

static void add_time(TCase *tests) {
    tcase_add_test(tests, silence_brings_a_ping_and_no_answer_the_end);
    tcase_add_test(tests, a_pong_keeps_the_connection);
    tcase_add_test(tests, any_input_is_an_answer);
    tcase_add_test(tests, no_ping_while_input_flows);
    tcase_add_test(tests, our_own_sends_do_not_put_off_the_ping);
    tcase_add_test(tests, a_ping_comes_in_time_though_the_pong_may_take_longer);
    tcase_add_test(tests, without_a_pong_limit_pings_go_on);
    tcase_add_test(tests, an_idle_session_is_closed_with_1001);
    tcase_add_test(tests, a_message_in_either_direction_puts_off_idleness);
    tcase_add_test(tests, pings_do_not_put_off_idleness);
    tcase_add_test(tests, no_limits_no_timers);
    tcase_add_test(tests, time_goes_on_when_the_clocks_bits_are_used_up);
    tcase_add_test(tests, time_before_the_101_does_not_count);
}

static void add(Suite *suite, const char *name, void (*add_tests)(TCase *)) {
    TCase *tests = tcase_create(name);
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, setup, teardown);
    add_tests(tests);
    suite_add_tcase(suite, tests);
}

int main(void) {
    Suite *suite = suite_create("session");
    add(suite, "messages", add_messages);
    add(suite, "closes", add_closes);
    add(suite, "faults", add_faults);
    add(suite, "ends", add_ends);
    add(suite, "queue", add_queue);
    add(suite, "time", add_time);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
