/* A session whose handshake agreed on permessage-deflate, and a peer that keeps to it or does not.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/deflate_peer.h"
#include "support/fake_transport.h"
#include "support/wire.h"
#include "websocket/session.h"

static struct loop *loop;
static struct session_terms terms;
static struct session *session; /* NULL once `closed` was told */
static struct fake_transport fake;
static struct deflate_peer peer;
static char told[1024];  /* "text[5] closed 1000" */
static size_t read_size; /* of what was written, by the peer */
static char text[20000];

/* --- the owner --- */

static void message(struct session *teller, enum opcode kind, const uint8_t *data, size_t size) {
    size_t length = strlen(told);
    ck_assert_ptr_eq(teller, session);
    ck_assert_ptr_nonnull(data);
    snprintf(told + length, sizeof(told) - length, "%s[%zu] ",
             kind == OPCODE_TEXT ? "text" : "binary", size);
    ck_assert_uint_le(size, sizeof(text));
    ck_assert_int_eq(memcmp(data, text, size), 0);
}

static void unblocked(struct session *teller, uint64_t dropped) {
    size_t length = strlen(told);
    ck_assert_ptr_eq(teller, session);
    snprintf(told + length, sizeof(told) - length, "unblocked(%d) ", (int)dropped);
}

static void closed(struct session *teller, int code, const char *reason, size_t reason_size) {
    size_t length = strlen(told);
    ck_assert_ptr_eq(teller, session);
    snprintf(told + length, sizeof(told) - length, "closed %d(%.*s)", code, (int)reason_size,
             reason);
    session = NULL;
}

static void released(struct session *gone) { free(gone); }

static const struct session_events events = {message, unblocked, closed, released};

static void setup(void) {
    terms = (struct session_terms){
        .events = &events,
        .message_bytes_max = sizeof(text),
        .queue_bytes_max = 1000000,
        .on_full = ON_FULL_CLOSE,
        .close_ms = 1000000,
        .compression = {.on = true, .window_bits = 15, .level = 1, .threshold = 100}};
    told[0] = '\0';
    read_size = 0;
    fake = (struct fake_transport){.holds = false};
    deflate_peer_text(text, sizeof(text), 1);
    loop = loop_create(0);
    loop_enter(loop);
    session = malloc(sizeof(*session));
    ck_assert_ptr_nonnull(session);
    session_begin(session, &terms);
}

static void turns(int count) {
    while (count-- > 0)
        loop_turn(loop, 0);
}

static void teardown(void) {
    if (session != NULL)
        session_abort(session);
    turns(3);
    ck_assert_ptr_null(session);
    fake_transport_free(&fake);
    loop_free(loop);
}

static void agree(uint8_t bits, bool takeover) {
    const struct agreement agreement = {bits, bits, takeover, takeover};
    deflate_peer_open(&peer, bits, takeover, bits, takeover);
    session_agree(session, &agreement);
}

static void attach(void) {
    fake_transport_attach(&fake, session, loop);
    turns(1);
}

static enum session_result send_frame(enum opcode opcode, const void *data, size_t size) {
    struct frame *frame = frame_create(opcode, data, size);
    enum session_result result = session_send(session, frame);
    frame_unref(frame);
    return result;
}

static void send_text(size_t size) {
    ck_assert_int_eq(send_frame(OPCODE_TEXT, text, size), SESSION_SENT);
}

/* --- the peer --- */

static void receive(uint8_t first, const void *payload, size_t size) {
    struct wire wire = {0};
    wire_frame(&wire, first, payload, size);
    fake_transport_feed(&fake, wire.data, wire.size);
    wire_free(&wire);
}

/* Of the first `size` bytes of the text. */
static void receive_packed(uint8_t first, size_t size) {
    deflate_peer_pack(&peer, text, size);
    receive(first, peer.bytes, peer.size);
}

struct seen {
    uint8_t first;
    const uint8_t *payload;
    size_t size;
};

/* The next frame that has left. */
static struct seen next_frame(void) {
    const uint8_t *at = fake.written + read_size;
    size_t left = fake.written_size - read_size;
    ck_assert_uint_ge(left, 2);
    size_t head = at[1] < 126 ? 2 : at[1] == 126 ? 4 : 10, size = at[1];
    ck_assert_uint_ge(left, head);
    for (size_t i = 2; i < head; i++)
        size = i == 2 ? at[i] : size << 8 | at[i];
    ck_assert_uint_ge(left, head + size);
    read_size += head + size;
    return (struct seen){at[0], at + head, size};
}

static void check_nothing_left(void) { ck_assert_uint_eq(read_size, fake.written_size); }

/* A text of `size` bytes has left, and the peer can read it. */
static void check_packed(size_t size) {
    struct seen seen = next_frame();
    ck_assert_uint_eq(seen.first, 0xc1);
    ck_assert_uint_lt(seen.size, size);
    ck_assert(deflate_peer_unpack(&peer, seen.payload, seen.size));
    ck_assert_uint_eq(peer.size, size);
    ck_assert_int_eq(memcmp(peer.bytes, text, size), 0);
}

static void check_plain(uint8_t first, const void *payload, size_t size) {
    struct seen seen = next_frame();
    ck_assert_uint_eq(seen.first, first);
    ck_assert_uint_eq(seen.size, size);
    ck_assert_int_eq(memcmp(seen.payload, payload, size), 0);
}

static void check_close(int code) {
    struct seen seen = next_frame();
    ck_assert_uint_eq(seen.first, 0x88);
    ck_assert_uint_ge(seen.size, 2);
    ck_assert_int_eq(seen.payload[0] << 8 | seen.payload[1], code);
    check_nothing_left();
}

/* --- what leaves --- */

START_TEST(only_messages_from_the_threshold_on_are_compressed) {
    agree(15, false);
    attach();
    send_text(99);
    send_text(100);
    send_text(0);
    send_text(5000);
    turns(1);
    check_plain(0x81, text, 99);
    check_packed(100);
    check_plain(0x81, text, 0);
    check_packed(5000);
    check_nothing_left();
    deflate_peer_close(&peer);
}
END_TEST

START_TEST(bytes_are_sent_as_frames_are) {
    fake.appends = _i != 0;
    agree(15, false);
    attach();
    ck_assert_int_eq(session_send_bytes(session, OPCODE_TEXT, text, 50), SESSION_SENT);
    ck_assert_int_eq(session_send_bytes(session, OPCODE_TEXT, text, 500), SESSION_SENT);
    ck_assert_int_eq(session_send_bytes(session, OPCODE_TEXT, text, 60), SESSION_SENT);
    turns(3);
    check_plain(0x81, text, 50);
    check_packed(500);
    check_plain(0x81, text, 60);
    check_nothing_left();
    deflate_peer_close(&peer);
}
END_TEST

START_TEST(nothing_is_compressed_that_was_not_agreed_on) {
    attach();
    send_text(5000);
    turns(1);
    check_plain(0x81, text, 5000);
}
END_TEST

START_TEST(what_was_sent_before_the_101_is_compressed) {
    agree(10, false);
    send_text(3000);
    attach();
    turns(1);
    check_packed(3000);
    deflate_peer_close(&peer);
}
END_TEST

START_TEST(binary_that_gains_nothing_leaves_as_it_is) {
    uint8_t noise[300];
    unsigned seed = 5;
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)((seed = seed * 1103515245u + 12345u) >> 16);
    agree(15, _i != 0);
    attach();
    ck_assert_int_eq(send_frame(OPCODE_BINARY, noise, sizeof(noise)), SESSION_SENT);
    send_text(200);
    turns(1);
    check_plain(0x82, noise, sizeof(noise));
    check_packed(200);
    deflate_peer_close(&peer);
}
END_TEST

START_TEST(control_frames_are_never_compressed) {
    char payload[125];
    memset(payload, 'a', sizeof(payload));
    agree(15, false);
    attach();
    receive(0x89, payload, sizeof(payload));
    turns(1);
    check_plain(0x8a, payload, sizeof(payload));
    session_close(session, 1000, payload, 123);
    turns(1);
    check_close(1000);
    deflate_peer_close(&peer);
}
END_TEST

START_TEST(the_queue_counts_what_goes_on_the_wire) {
    terms.queue_bytes_max = 10000;
    fake.holds = true;
    agree(15, false);
    attach();
    for (int i = 0; i < 3; i++)
        send_text(10000);
    ck_assert_uint_lt(session_queued(session), 10000);
    ck_assert_uint_gt(session_queued(session), 1000);
    /* One such message, as it is, would be too large. */
    char noise[10000];
    unsigned seed = 5;
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (char)((seed = seed * 1103515245u + 12345u) >> 16);
    ck_assert_int_eq(send_frame(OPCODE_BINARY, noise, sizeof(noise)), SESSION_FULL);
    deflate_peer_close(&peer);
}
END_TEST

/* Every other message is dropped, and was never said: the peer's window has none of it. */
START_TEST(dropped_messages_leave_the_takeover_whole) {
    terms.on_full = ON_FULL_DROP_NEWEST;
    terms.queue_bytes_max = 2000;
    fake.holds = true;
    agree(_i == 0 ? 15 : 9, true);
    attach();
    int sent = 0, dropped = 0;
    size_t sizes[100];
    for (int round = 0; round < 100; round++) {
        size_t size = 1000 + (size_t)round * 7919 % 5000;
        enum session_result result = send_frame(OPCODE_TEXT, text, size);
        if (result == SESSION_SENT)
            sizes[sent++] = size;
        else
            dropped++;
        turns(1);
        if (round % 6 == 5 && fake.writing)
            fake_transport_complete(&fake, true);
    }
    for (int i = 0; i < 10; i++) {
        if (fake.writing)
            fake_transport_complete(&fake, true);
        turns(1);
    }
    ck_assert_int_gt(sent, 10);
    ck_assert_int_gt(dropped, 10);
    for (int i = 0; i < sent; i++)
        check_packed(sizes[i]);
    check_nothing_left();
    deflate_peer_close(&peer);
}
END_TEST

/* --- what arrives --- */

START_TEST(compressed_messages_are_told_as_they_were) {
    agree(15, false);
    attach();
    receive_packed(0xc1, 5);
    receive(0x81, text, 10);
    receive_packed(0xc2, 20000);
    receive_packed(0xc1, 0);
    ck_assert_str_eq(told, "text[5] text[10] binary[20000] text[0] ");
    deflate_peer_close(&peer);
}
END_TEST

START_TEST(a_message_may_be_cut_at_every_byte) {
    struct wire wire = {0};
    agree(15, false);
    attach();
    deflate_peer_pack(&peer, text, 1000);
    for (size_t i = 0; i < peer.size; i++)
        wire_frame(&wire, i == 0 ? 0x41 : i + 1 < peer.size ? 0x00 : 0x80, peer.bytes + i, 1);
    for (size_t i = 0; i < wire.size; i++)
        fake_transport_feed(&fake, wire.data + i, 1);
    wire_free(&wire);
    ck_assert_str_eq(told, "text[1000] ");
    deflate_peer_close(&peer);
}
END_TEST

START_TEST(a_compressed_message_that_was_not_agreed_on_is_1002) {
    attach();
    receive(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    turns(1);
    check_close(1002);
    ck_assert_str_eq(told, "");
}
END_TEST

START_TEST(a_message_over_the_limit_is_1009_however_small_it_comes) {
    agree(15, false);
    terms.message_bytes_max = 4999;
    attach();
    receive_packed(0xc1, 4999);
    ck_assert_str_eq(told, "text[4999] ");
    receive_packed(0xc1, 5000);
    turns(1);
    check_close(1009);
    ck_assert_str_eq(told, "text[4999] ");
    deflate_peer_close(&peer);
}
END_TEST

static const struct {
    uint8_t first;
    const char *payload;
    size_t size;
} bad[] = {
    {0xc1, "\x06", 1},
    {0xc2, "not compressed", 14},
    {0xc1, "\xf2\x48\xcd", 3},
    {0xc1, "\x00\x01\x00\xfe\xff\xff\x00", 7}, /* not UTF-8 */
};

START_TEST(a_bad_message_is_1007) {
    agree(15, _i % 2 != 0);
    attach();
    receive(bad[_i].first, bad[_i].payload, bad[_i].size);
    turns(1);
    check_close(1007);
    ck_assert_str_eq(told, "");
    deflate_peer_close(&peer);
}
END_TEST

/* --- context takeover --- */

START_TEST(both_ways_go_on_where_the_last_message_ended) {
    agree((uint8_t)_i, true);
    attach();
    size_t first = 0, second = 0;
    for (int round = 0; round < 20; round++) {
        receive_packed(0xc1, 300);
        *(round == 0 ? &first : &second) = peer.size;
        send_text(300 + (size_t)round);
        send_text(20); /* as it is: in nobody's window */
        receive(0x81, text, 200);
        turns(2);
        check_packed(300 + (size_t)round);
        check_plain(0x81, text, 20);
    }
    ck_assert_uint_lt(second * 2, first);
    deflate_peer_close(&peer);
}
END_TEST

START_TEST(a_full_queue_closes_a_session_with_takeover) {
    terms.queue_bytes_max = 1024;
    fake.holds = true;
    agree(12, true);
    attach();
    enum session_result result = SESSION_SENT;
    for (int i = 0; i < 1000 && result == SESSION_SENT; i++) {
        deflate_peer_text(text, 4000, (unsigned)i);
        result = send_frame(OPCODE_TEXT, text, 4000);
    }
    ck_assert_int_eq(result, SESSION_FULL);
    ck_assert_int_eq(send_frame(OPCODE_TEXT, text, 4000), SESSION_CLOSED);
    deflate_peer_close(&peer);
}
END_TEST

START_TEST(many_small_messages_that_inflate_are_read_a_piece_a_turn) {
    struct wire wire = {0};
    agree(15, false);
    attach();
    memset(text, 'z', sizeof(text));
    deflate_peer_pack(&peer, text, sizeof(text));
    for (int i = 0; i < 120; i++)
        wire_frame(&wire, 0xc2, peer.bytes, peer.size);
    fake.pieces = 0;
    fake_transport_feed(&fake, wire.data, wire.size);
    ck_assert_uint_ge(fake.pieces, 4);
    ck_assert_uint_eq(session->counts.messages_in, 120);
    ck_assert_uint_eq(session->counts.bytes_in, wire.size);
    wire_free(&wire);
}
END_TEST

START_TEST(while_closing_nothing_is_inflated) {
    agree(15, false);
    attach();
    session_close(session, 1000, "", 0);
    turns(1);
    receive(0xc1, "\x07 no deflate stream", 19);
    receive(0x88, "\x03\xe8", 2);
    turns(2);
    ck_assert_ptr_null(session);
    ck_assert_str_eq(told, "closed 1000()");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("compressed session");
    TCase *tests = tcase_create("compressed session");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, only_messages_from_the_threshold_on_are_compressed);
    tcase_add_loop_test(tests, bytes_are_sent_as_frames_are, 0, 2);
    tcase_add_test(tests, nothing_is_compressed_that_was_not_agreed_on);
    tcase_add_test(tests, what_was_sent_before_the_101_is_compressed);
    tcase_add_loop_test(tests, binary_that_gains_nothing_leaves_as_it_is, 0, 2);
    tcase_add_test(tests, control_frames_are_never_compressed);
    tcase_add_test(tests, the_queue_counts_what_goes_on_the_wire);
    tcase_add_loop_test(tests, dropped_messages_leave_the_takeover_whole, 0, 2);
    tcase_add_test(tests, compressed_messages_are_told_as_they_were);
    tcase_add_test(tests, a_message_may_be_cut_at_every_byte);
    tcase_add_test(tests, a_compressed_message_that_was_not_agreed_on_is_1002);
    tcase_add_test(tests, a_message_over_the_limit_is_1009_however_small_it_comes);
    tcase_add_loop_test(tests, a_bad_message_is_1007, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_loop_test(tests, both_ways_go_on_where_the_last_message_ended, 10, 16);
    tcase_add_test(tests, a_full_queue_closes_a_session_with_takeover);
    tcase_add_test(tests, many_small_messages_that_inflate_are_read_a_piece_a_turn);
    tcase_add_test(tests, while_closing_nothing_is_inflated);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
