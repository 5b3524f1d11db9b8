#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/deflate_peer.h"
#include "support/wire.h"
#include "websocket/parser.h"

#define MESSAGE_MAX 1000
/* What a message of that size may take when it is compressed badly. */
#define PAYLOAD_MAX (MESSAGE_MAX + MESSAGE_MAX / 8 + 64)

static bool inflates;

/* For checks made a million times: Check writes a file at each of its own. */
static void require(bool condition, const char *what) {
    if (!condition)
        ck_abort_msg("%s", what);
}

/* What a parser told, as text: "text(hi) ping() 1002(unmasked frame)". */
static char told[4096];
static size_t told_size;

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(told + told_size, sizeof(told) - told_size, format, arguments);
    va_end(arguments);
    told_size += (size_t)size;
    require(told_size < sizeof(told), "too much told");
}

static void tell_parsed(const struct parsed *parsed) {
    static const char *const names[] = {"", "", "ping", "pong", "close", "fail"};
    const char *name = parsed->kind != PARSED_MESSAGE  ? names[parsed->kind]
                       : parsed->opcode == OPCODE_TEXT ? "text"
                                                       : "binary";
    if (told_size > 0)
        tell(" ");
    tell("%s", name);
    if (parsed->code != 0)
        tell(" %d", parsed->code);
    if (parsed->size > 60)
        tell("[%zu]", parsed->size);
    else
        tell("(%.*s)", (int)parsed->size, (const char *)parsed->data);
}

/* A parser fed piece by piece, as a transport does it: what is not used comes again. */
struct feed {
    struct parser parser;
    uint8_t rest[PARSER_REST_MAX];
    size_t rest_size;
    bool over;
};

static void feed(struct feed *feed, const uint8_t *data, size_t size) {
    if (feed->over)
        return;
    size_t total = feed->rest_size + size, used = 0;
    uint8_t *exact = malloc(total == 0 ? 1 : total);
    memcpy(exact, feed->rest, feed->rest_size);
    memcpy(exact + feed->rest_size, data, size);
    struct parsed parsed;
    do {
        parsed = parser_next(&feed->parser, MESSAGE_MAX, exact + used, total - used);
        used += parsed.used;
        require(used <= total, "used more than there was");
        if (parsed.kind != PARSED_NOTHING)
            tell_parsed(&parsed);
        feed->over = parsed.kind == PARSED_FAILURE || parsed.kind == PARSED_CLOSE;
    } while (!feed->over && parsed.kind != PARSED_NOTHING);
    require(feed->parser.gathered_capacity <= (inflates ? PAYLOAD_MAX : MESSAGE_MAX),
            "gathered more than the limit");
    if (!feed->over) {
        feed->rest_size = total - used;
        require(feed->rest_size <= PARSER_REST_MAX, "left more than it may");
        memcpy(feed->rest, exact + used, feed->rest_size);
    }
    free(exact);
}

static struct feed start(void) {
    told_size = 0;
    told[0] = '\0';
    struct feed started = {.rest_size = 0};
    if (inflates)
        parser_inflate(&started.parser, 15, false);
    return started;
}

static void check_told(struct feed *feed, const char *expected, const char *how) {
    if (strcmp(told, expected) != 0)
        ck_abort_msg("%s: told \"%s\" instead of \"%s\"", how, told, expected);
    parser_dispose(&feed->parser);
}

/* Whole, byte by byte, and in two pieces at every place. */
static void check_all_ways(const struct wire *wire, const char *expected) {
    struct feed fed = start();
    feed(&fed, wire->data, wire->size);
    check_told(&fed, expected, "whole");
    fed = start();
    for (size_t i = 0; i < wire->size; i++)
        feed(&fed, wire->data + i, 1);
    check_told(&fed, expected, "byte by byte");
    for (size_t split = 1; split < wire->size; split++) {
        char how[32];
        fed = start();
        feed(&fed, wire->data, split);
        feed(&fed, wire->data + split, wire->size - split);
        snprintf(how, sizeof(how), "split at %zu", split);
        check_told(&fed, expected, how);
    }
}

struct piece {
    uint8_t first;
    const char *payload; /* NULL: the end of the list */
    size_t size;
};

#define FRAME(first, payload)                                                                      \
    { first, payload, sizeof(payload) - 1 }
#define TIMES_10(text) text text text text text text text text text text
#define BYTES_125 TIMES_10("abcdefghijkl") "mnopq"

static const struct {
    struct piece pieces[8];
    const char *told;
} streams[] = {
    /* messages */
    {{FRAME(0x81, "hello")}, "text(hello)"},
    {{FRAME(0x82, "\xff\xfe")}, "binary(\xff\xfe)"},
    {{FRAME(0x81, "")}, "text()"},
    {{FRAME(0x82, "")}, "binary()"},
    {{FRAME(0x81, "one"), FRAME(0x82, "two"), FRAME(0x81, "three")},
     "text(one) binary(two) text(three)"},
    {{FRAME(0x81, ""), FRAME(0x81, ""), FRAME(0x82, "x")}, "text() text() binary(x)"},
    {{FRAME(0x81, BYTES_125)}, "text[125]"},
    {{FRAME(0x81, BYTES_125 "!")}, "text[126]"},
    {{FRAME(0x82, TIMES_10(TIMES_10("0123456789")))}, "binary[1000]"},
    {{FRAME(0x81, "\xce\xba\xe1\xbd\xb9\xf0\x9f\x98\x80")},
     "text(\xce\xba\xe1\xbd\xb9\xf0\x9f\x98\x80)"},
    /* fragments */
    {{FRAME(0x01, "hel"), FRAME(0x80, "lo")}, "text(hello)"},
    {{FRAME(0x02, "a"), FRAME(0x00, "b"), FRAME(0x00, "c"), FRAME(0x80, "d")}, "binary(abcd)"},
    {{FRAME(0x01, ""), FRAME(0x00, ""), FRAME(0x80, "")}, "text()"},
    {{FRAME(0x01, ""), FRAME(0x00, "x"), FRAME(0x80, "")}, "text(x)"},
    {{FRAME(0x01, "\xe2"), FRAME(0x00, "\x82"), FRAME(0x80, "\xac")}, "text(\xe2\x82\xac)"},
    {{FRAME(0x01, "a"), FRAME(0x80, "b"), FRAME(0x01, "c"), FRAME(0x80, "d")}, "text(ab) text(cd)"},
    {{FRAME(0x02, TIMES_10("0123456789")), FRAME(0x00, TIMES_10("0123456789")),
      FRAME(0x80, TIMES_10("0123456789"))},
     "binary[300]"},
    /* control frames, and between fragments */
    {{FRAME(0x89, "")}, "ping()"},
    {{FRAME(0x89, "you?")}, "ping(you?)"},
    {{FRAME(0x8a, "me")}, "pong(me)"},
    {{FRAME(0x89, BYTES_125)}, "ping[125]"},
    {{FRAME(0x8a, BYTES_125), FRAME(0x81, "x")}, "pong[125] text(x)"},
    {{FRAME(0x01, "hel"), FRAME(0x89, "?"), FRAME(0x8a, "!"), FRAME(0x80, "lo")},
     "ping(?) pong(!) text(hello)"},
    {{FRAME(0x01, "x"), FRAME(0x88, "")}, "close 1005()"},
    /* closes; nothing is read behind one */
    {{FRAME(0x88, ""), FRAME(0x81, "late")}, "close 1005()"},
    {{FRAME(0x88, "\x03\xe8"), FRAME(0xff, "late")}, "close 1000()"},
    {{FRAME(0x88, "\x03\xe9going away")}, "close 1001(going away)"},
    {{FRAME(0x88, "\x03\xe8\xe2\x82\xac")}, "close 1000(\xe2\x82\xac)"},
    {{FRAME(0x88, "\x0f\xa0" TIMES_10("0123456789ab") "cde")}, "close 4000[123]"},
    {{FRAME(0x88, "\x03")}, "fail 1002(close code cut short)"},
    {{FRAME(0x88, "\x03\xe8\xff")}, "fail 1007(close reason is not UTF-8)"},
    {{FRAME(0x88, "\x03\xe8\xe2\x82")}, "fail 1007(close reason is not UTF-8)"},
    {{FRAME(0x88, "\x03\xe8\xed\xa0\x80")}, "fail 1007(close reason is not UTF-8)"},
    /* the first byte */
    {{FRAME(0xc1, "x")}, "fail 1002(reserved bit set)"},
    {{FRAME(0xa1, "x")}, "fail 1002(reserved bit set)"},
    {{FRAME(0x91, "x")}, "fail 1002(reserved bit set)"},
    {{FRAME(0xc9, "x")}, "fail 1002(reserved bit set)"},
    {{FRAME(0x01, "x"), FRAME(0xc0, "x")}, "fail 1002(reserved bit set)"},
    {{FRAME(0x83, "x")}, "fail 1002(unknown opcode)"},
    {{FRAME(0x84, "x")}, "fail 1002(unknown opcode)"},
    {{FRAME(0x85, "x")}, "fail 1002(unknown opcode)"},
    {{FRAME(0x86, "x")}, "fail 1002(unknown opcode)"},
    {{FRAME(0x87, "x")}, "fail 1002(unknown opcode)"},
    {{FRAME(0x8b, "x")}, "fail 1002(unknown opcode)"},
    {{FRAME(0x8c, "x")}, "fail 1002(unknown opcode)"},
    {{FRAME(0x8d, "x")}, "fail 1002(unknown opcode)"},
    {{FRAME(0x8e, "x")}, "fail 1002(unknown opcode)"},
    {{FRAME(0x8f, "x")}, "fail 1002(unknown opcode)"},
    {{FRAME(0x08, "")}, "fail 1002(fragmented control frame)"},
    {{FRAME(0x09, "x")}, "fail 1002(fragmented control frame)"},
    {{FRAME(0x0a, "x")}, "fail 1002(fragmented control frame)"},
    {{FRAME(0x80, "x")}, "fail 1002(continuation of nothing)"},
    {{FRAME(0x81, "a"), FRAME(0x80, "x")}, "text(a) fail 1002(continuation of nothing)"},
    {{FRAME(0x01, "a"), FRAME(0x80, "b"), FRAME(0x80, "c")},
     "text(ab) fail 1002(continuation of nothing)"},
    {{FRAME(0x01, "a"), FRAME(0x81, "b")}, "fail 1002(message inside a message)"},
    {{FRAME(0x01, "a"), FRAME(0x01, "b")}, "fail 1002(message inside a message)"},
    {{FRAME(0x02, "a"), FRAME(0x89, ""), FRAME(0x82, "b")},
     "ping() fail 1002(message inside a message)"},
    {{FRAME(0x89, BYTES_125 "!")}, "fail 1002(control frame too long)"},
    {{FRAME(0x88, BYTES_125 "!")}, "fail 1002(control frame too long)"},
    /* text that is none */
    {{FRAME(0x81, "\xff")}, "fail 1007(text is not UTF-8)"},
    {{FRAME(0x81, "caf\xe9")}, "fail 1007(text is not UTF-8)"},
    {{FRAME(0x81, "\xc0\x80")}, "fail 1007(text is not UTF-8)"},
    {{FRAME(0x81, "\xed\xa0\x80")}, "fail 1007(text is not UTF-8)"},
    {{FRAME(0x81, "\xf4\x90\x80\x80")}, "fail 1007(text is not UTF-8)"},
    {{FRAME(0x81, "\xe2\x82")}, "fail 1007(text is not UTF-8)"},
    {{FRAME(0x01, "\xe2\x82"), FRAME(0x80, "")}, "fail 1007(text is not UTF-8)"},
    {{FRAME(0x01, "\xe2\x82"), FRAME(0x00, "x"), FRAME(0x80, "y")}, "fail 1007(text is not UTF-8)"},
    {{FRAME(0x01, "fine"), FRAME(0x80, "\x80")}, "fail 1007(text is not UTF-8)"},
    {{FRAME(0x01, "\xe2\x82"), FRAME(0x89, "\xff"), FRAME(0x80, "\xac")},
     "ping(\xff) text(\xe2\x82\xac)"},
    {{FRAME(0x81, "ok"), FRAME(0x81, "\xff")}, "text(ok) fail 1007(text is not UTF-8)"},
    /* too much */
    {{FRAME(0x82, TIMES_10(TIMES_10("0123456789")) "!")}, "fail 1009(message too big)"},
    {{FRAME(0x02, TIMES_10(TIMES_10("012345678"))), FRAME(0x80, TIMES_10("0123456789"))},
     "binary[1000]"},
    {{FRAME(0x02, TIMES_10(TIMES_10("012345678"))), FRAME(0x80, TIMES_10("0123456789") "!")},
     "fail 1009(message too big)"},
    {{FRAME(0x02, TIMES_10(TIMES_10("0123456789"))), FRAME(0x00, ""), FRAME(0x00, "x")},
     "fail 1009(message too big)"},
};

START_TEST(a_stream_says_the_same_however_it_is_cut) {
    struct wire wire = {0};
    for (const struct piece *piece = streams[_i].pieces; piece->payload != NULL; piece++)
        wire_frame(&wire, piece->first, piece->payload, piece->size);
    check_all_ways(&wire, streams[_i].told);
    wire_free(&wire);
}
END_TEST

/* --- compressed messages (RFC 7692 sections 6 and 7.2.3) --- */

#define HELLO "\xf2\x48\xcd\xc9\xc9\x07\x00"
#define BROKEN "fail 1007(message is not compressed as agreed)"

static const struct {
    struct piece pieces[8];
    const char *told;
} compressed[] = {
    {{FRAME(0xc1, HELLO)}, "text(Hello)"},
    {{FRAME(0xc2, HELLO)}, "binary(Hello)"},
    {{FRAME(0xc1, "\x00")}, "text()"},
    {{FRAME(0xc1, "")}, "text()"},
    {{FRAME(0xc1, HELLO), FRAME(0xc1, HELLO), FRAME(0xc2, "\x00")},
     "text(Hello) text(Hello) binary()"},
    /* beside others */
    {{FRAME(0x81, "plain"), FRAME(0xc1, HELLO), FRAME(0x82, "\xff")},
     "text(plain) text(Hello) binary(\xff)"},
    {{FRAME(0xc1, HELLO), FRAME(0x01, "a"), FRAME(0x80, "b")}, "text(Hello) text(ab)"},
    {{FRAME(0x01, "a"), FRAME(0x80, "b"), FRAME(0x41, HELLO), FRAME(0x80, "")},
     "text(ab) text(Hello)"},
    {{FRAME(0x89, "?"), FRAME(0xc1, HELLO), FRAME(0x88, "")}, "ping(?) text(Hello) close 1005()"},
    /* in pieces */
    {{FRAME(0x41, "\xf2\x48\xcd"), FRAME(0x80, "\xc9\xc9\x07\x00")}, "text(Hello)"},
    {{FRAME(0x41, ""), FRAME(0x00, HELLO), FRAME(0x80, "")}, "text(Hello)"},
    {{FRAME(0x41, ""), FRAME(0x80, "")}, "text()"},
    {{FRAME(0x42, "\xf2\x48"), FRAME(0x89, "?"), FRAME(0x00, "\xcd\xc9\xc9"), FRAME(0x8a, "!"),
      FRAME(0x80, "\x07\x00")},
     "ping(?) pong(!) binary(Hello)"},
    /* RSV1 where it has no meaning, and the other bits */
    {{FRAME(0x41, "\xf2\x48\xcd"), FRAME(0xc0, "\xc9\xc9\x07\x00")}, "fail 1002(reserved bit set)"},
    {{FRAME(0x01, "x"), FRAME(0xc0, "x")}, "fail 1002(reserved bit set)"},
    {{FRAME(0xc8, "")}, "fail 1002(reserved bit set)"},
    {{FRAME(0xc9, "")}, "fail 1002(reserved bit set)"},
    {{FRAME(0xca, "")}, "fail 1002(reserved bit set)"},
    {{FRAME(0xc3, "x")}, "fail 1002(reserved bit set)"},
    {{FRAME(0xa1, "x")}, "fail 1002(reserved bit set)"},
    {{FRAME(0x91, "x")}, "fail 1002(reserved bit set)"},
    {{FRAME(0xe1, HELLO)}, "fail 1002(reserved bit set)"},
    {{FRAME(0xd1, HELLO)}, "fail 1002(reserved bit set)"},
    {{FRAME(0xf1, HELLO)}, "fail 1002(reserved bit set)"},
    {{FRAME(0x41, "\xf2"), FRAME(0xc1, HELLO)}, "fail 1002(message inside a message)"},
    /* not compressed, cut short, not text */
    {{FRAME(0xc1, "\x06")}, BROKEN},
    {{FRAME(0xc2, "\xf2\x48\xcd")}, BROKEN},
    {{FRAME(0x41, "\xf2\x48\xcd"), FRAME(0x80, "")}, BROKEN},
    {{FRAME(0xc1, HELLO), FRAME(0xc1, "\x07")}, "text(Hello) " BROKEN},
    {{FRAME(0xc1, "\x00\x01\x00\xfe\xff\xff\x00")}, "fail 1007(text is not UTF-8)"},
    {{FRAME(0xc2, "\x00\x01\x00\xfe\xff\xff\x00")}, "binary(\xff)"},
    {{FRAME(0xc1, "\x00\x02\x00\xfd\xff\xe2\x82\x00")}, "fail 1007(text is not UTF-8)"},
    {{FRAME(0xc1, "\x00\x02\x00\xfd\xff\xe2\x82\x00\x01\x00\xfe\xff\xac\x00")},
     "text(\xe2\x82\xac)"},
};

START_TEST(a_compressed_stream_says_the_same_however_it_is_cut) {
    struct wire wire = {0};
    inflates = true;
    for (const struct piece *piece = compressed[_i].pieces; piece->payload != NULL; piece++)
        wire_frame(&wire, piece->first, piece->payload, piece->size);
    check_all_ways(&wire, compressed[_i].told);
    wire_free(&wire);
}
END_TEST

START_TEST(the_limit_is_of_what_is_inflated) {
    struct wire wire = {0};
    struct deflate_peer peer;
    static const char zeros[MESSAGE_MAX + 1];
    inflates = true;
    deflate_peer_open(&peer, 15, false, 15, false);
    deflate_peer_pack(&peer, zeros, MESSAGE_MAX);
    wire_frame(&wire, 0x42, peer.bytes, 3);
    wire_frame(&wire, 0x80, peer.bytes + 3, peer.size - 3);
    deflate_peer_pack(&peer, zeros, MESSAGE_MAX + 1);
    wire_frame(&wire, 0xc2, peer.bytes, peer.size);
    check_all_ways(&wire, "binary[1000] fail 1009(message too big)");
    deflate_peer_close(&peer);
    wire_free(&wire);
}
END_TEST

/* Stored blocks make a message larger than it is: that is allowed, but not without end. */
START_TEST(a_payload_may_be_somewhat_larger_than_the_limit) {
    char payload[PAYLOAD_MAX + 1] = {0};
    size_t size = 0;
    for (; size + 5 < PAYLOAD_MAX; size += 5)
        memcpy(payload + size, "\0\0\0\xff\xff", 5);
    struct wire wire = {0};
    inflates = true;
    wire_frame(&wire, 0xc1, payload, size + 1);
    wire_frame(&wire, 0x41, payload, size - 100);
    wire_frame(&wire, 0x80, payload, PAYLOAD_MAX + 1 - size + 100);
    check_all_ways(&wire, "text() fail 1009(message too big)");
    wire_free(&wire);
    wire_header(&wire, 0xc1, 2, PAYLOAD_MAX + 1, 1);
    check_all_ways(&wire, "fail 1009(message too big)");
    wire_free(&wire);
    wire_header(&wire, 0x81, 2, MESSAGE_MAX + 1, 1);
    check_all_ways(&wire, "fail 1009(message too big)");
    wire_free(&wire);
}
END_TEST

static const struct {
    uint8_t first;
    int number_size;
    uint64_t length;
    int masked;
    const char *told;
} headers[] = {
    {0x81, 0, 1, 0, "fail 1002(unmasked frame)"},
    {0x82, 2, 300, 0, "fail 1002(unmasked frame)"},
    {0x88, 0, 0, 0, "fail 1002(unmasked frame)"},
    {0x89, 0, 0, 0, "fail 1002(unmasked frame)"},
    {0x82, 2, 0, 1, "fail 1002(length not in its shortest form)"},
    {0x82, 2, 125, 1, "fail 1002(length not in its shortest form)"},
    {0x82, 8, 125, 1, "fail 1002(length not in its shortest form)"},
    {0x82, 8, 126, 1, "fail 1002(length not in its shortest form)"},
    {0x82, 8, 65535, 1, "fail 1002(length not in its shortest form)"},
    {0x82, 8, UINT64_C(1) << 63, 1, "fail 1002(length above 63 bits)"},
    {0x82, 8, UINT64_MAX, 1, "fail 1002(length above 63 bits)"},
    {0x89, 2, 126, 1, "fail 1002(control frame too long)"},
    {0x89, 2, 5, 1, "fail 1002(control frame too long)"},
    {0x88, 8, 65536, 1, "fail 1002(control frame too long)"},
    {0x82, 2, 1001, 1, "fail 1009(message too big)"},
    {0x82, 2, 65535, 1, "fail 1009(message too big)"},
    {0x82, 8, 65536, 1, "fail 1009(message too big)"},
    {0x01, 8, UINT64_C(1) << 32, 1, "fail 1009(message too big)"},
    {0x01, 8, (UINT64_C(1) << 63) - 1, 1, "fail 1009(message too big)"},
    {0x82, 2, 126, 1, ""},
    {0x82, 2, 1000, 1, ""},
};

START_TEST(a_header_alone_is_refused_or_waits) {
    struct wire wire = {0};
    wire_header(&wire, headers[_i].first, headers[_i].number_size, headers[_i].length,
                headers[_i].masked);
    check_all_ways(&wire, headers[_i].told);
    wire_free(&wire);
}
END_TEST

START_TEST(a_first_byte_that_is_wrong_needs_no_second) {
    struct feed fed = start();
    feed(&fed, (const uint8_t *)"\x83", 1);
    check_told(&fed, "fail 1002(unknown opcode)", "one byte");
}
END_TEST

static const struct {
    int code;
    bool allowed;
} codes[] = {
    {0, false},    {1, false},    {999, false},  {1000, true},  {1001, true},   {1002, true},
    {1003, true},  {1004, false}, {1005, false}, {1006, false}, {1007, true},   {1008, true},
    {1009, true},  {1010, true},  {1011, true},  {1012, true},  {1013, true},   {1014, true},
    {1015, false}, {1016, false}, {1100, false}, {2000, false}, {2999, false},  {3000, true},
    {3999, true},  {4000, true},  {4999, true},  {5000, false}, {32768, false}, {65535, false},
};

START_TEST(only_codes_that_may_be_sent_pass) {
    char expected[64];
    struct wire wire = {0};
    uint8_t payload[2] = {(uint8_t)(codes[_i].code >> 8), (uint8_t)codes[_i].code};
    wire_frame(&wire, 0x88, payload, 2);
    if (codes[_i].allowed)
        snprintf(expected, sizeof(expected), "close %d()", codes[_i].code);
    else
        snprintf(expected, sizeof(expected), "fail 1002(invalid close code)");
    check_all_ways(&wire, expected);
    wire_free(&wire);
}
END_TEST

START_TEST(a_bad_byte_ends_an_unfinished_frame_at_once) {
    struct feed fed = start();
    struct wire wire = {0};
    wire_header(&wire, 0x81, 2, 500, 1);
    wire_masked(&wire, "good \xe2\x82 bad", 11);
    feed(&fed, wire.data, wire.size - 4);
    ck_assert_str_eq(told, "");
    feed(&fed, wire.data + wire.size - 4, 1);
    check_told(&fed, "fail 1007(text is not UTF-8)", "in the middle");
    wire_free(&wire);
}
END_TEST

START_TEST(a_whole_message_is_told_where_it_lies) {
    struct parser parser = {0};
    struct wire wire = {0};
    wire_frame(&wire, 0x81, "in place", 8);
    struct parsed parsed = parser_next(&parser, MESSAGE_MAX, wire.data, wire.size);
    ck_assert_int_eq(parsed.kind, PARSED_MESSAGE);
    ck_assert_ptr_eq(parsed.data, wire.data + 6);
    ck_assert_uint_eq(parsed.used, wire.size);
    ck_assert_ptr_null(parser.gathered);
    wire_free(&wire);
}
END_TEST

START_TEST(what_was_gathered_is_freed_behind_the_message) {
    struct parser parser = {0};
    struct wire wire = {0};
    wire_frame(&wire, 0x01, "a", 1);
    wire_frame(&wire, 0x80, "b", 1);
    struct parsed parsed = parser_next(&parser, MESSAGE_MAX, wire.data, wire.size);
    ck_assert_int_eq(parsed.kind, PARSED_MESSAGE);
    ck_assert_ptr_nonnull(parser.gathered);
    parsed = parser_next(&parser, MESSAGE_MAX, wire.data + wire.size, 0);
    ck_assert_int_eq(parsed.kind, PARSED_NOTHING);
    ck_assert_ptr_null(parser.gathered);
    wire_free(&wire);
}
END_TEST

START_TEST(a_promise_of_much_takes_no_memory_before_it_comes) {
    struct parser parser = {0};
    struct wire wire = {0};
    wire_header(&wire, 0x82, 8, 1u << 30, 1);
    wire_masked(&wire, "x", 1);
    struct parsed parsed = parser_next(&parser, UINT32_MAX, wire.data, wire.size);
    ck_assert_int_eq(parsed.kind, PARSED_NOTHING);
    ck_assert_uint_le(parser.gathered_capacity, 4096);
    parser_dispose(&parser);
    wire_free(&wire);
}
END_TEST

/* Long messages in pieces of all sorts of sizes come out as they went in. */
START_TEST(long_messages_keep_every_byte) {
    static const size_t sizes[] = {65535, 65536, 200000};
    static const size_t steps[] = {13, 131, 1000, 16384, 65536};
    size_t size = sizes[_i % 3], step = steps[_i / 3], used = 0;
    struct parser parser = {0};
    struct wire wire = {0};
    char *payload = malloc(size);
    for (size_t i = 0; i < size; i++)
        payload[i] = (char)('0' + i % 71 % 64);
    wire_frame(&wire, 0x81, payload, size);
    struct parsed parsed = {.kind = PARSED_NOTHING};
    for (size_t given = 0; parsed.kind == PARSED_NOTHING && given < wire.size;) {
        given = given + step < wire.size ? given + step : wire.size;
        parsed = parser_next(&parser, 200000, wire.data + used, given - used);
        used += parsed.used;
        require(parser.gathered_capacity <= size, "gathered more than the message");
    }
    ck_assert_int_eq(parsed.kind, PARSED_MESSAGE);
    ck_assert_uint_eq(parsed.size, size);
    ck_assert_int_eq(memcmp(parsed.data, payload, size), 0);
    parser_dispose(&parser);
    free(payload);
    wire_free(&wire);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("parser");
    TCase *tests = tcase_create("parser");
    tcase_set_timeout(tests, 30);
    tcase_add_loop_test(tests, a_stream_says_the_same_however_it_is_cut, 0,
                        sizeof(streams) / sizeof(streams[0]));
    tcase_add_loop_test(tests, a_compressed_stream_says_the_same_however_it_is_cut, 0,
                        sizeof(compressed) / sizeof(compressed[0]));
    tcase_add_test(tests, the_limit_is_of_what_is_inflated);
    tcase_add_test(tests, a_payload_may_be_somewhat_larger_than_the_limit);
    tcase_add_loop_test(tests, a_header_alone_is_refused_or_waits, 0,
                        sizeof(headers) / sizeof(headers[0]));
    tcase_add_loop_test(tests, only_codes_that_may_be_sent_pass, 0,
                        sizeof(codes) / sizeof(codes[0]));
    tcase_add_test(tests, a_first_byte_that_is_wrong_needs_no_second);
    tcase_add_test(tests, a_bad_byte_ends_an_unfinished_frame_at_once);
    tcase_add_test(tests, a_whole_message_is_told_where_it_lies);
    tcase_add_test(tests, what_was_gathered_is_freed_behind_the_message);
    tcase_add_test(tests, a_promise_of_much_takes_no_memory_before_it_comes);
    tcase_add_loop_test(tests, long_messages_keep_every_byte, 0, 15);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
