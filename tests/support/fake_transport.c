#include "support/fake_transport.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is shown of a payload at most. */
#define SHOWN_MAX 60

static void keep(struct fake_transport *fake, const struct iovec *part) {
    fake->written = realloc(fake->written, fake->written_size + part->iov_len);
    ck_assert_ptr_nonnull(fake->written);
    memcpy(fake->written + fake->written_size, part->iov_base, part->iov_len);
    fake->written_size += part->iov_len;
    fake->lent_size += part->iov_len;
}

static ssize_t take_at_once(struct fake_transport *fake, const struct iovec *parts, size_t count) {
    size_t taken = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size = parts[i].iov_len < fake->room ? parts[i].iov_len : fake->room;
        keep(fake, &(struct iovec){parts[i].iov_base, size});
        fake->room -= size;
        taken += size;
    }
    return (ssize_t)taken;
}

void fake_transport_open(struct fake_transport *fake, size_t room) {
    fake->room = room;
    session_writable(fake->session);
}

static ssize_t fake_write(struct session *session, const struct iovec *parts, size_t count) {
    struct fake_transport *fake = session->line.data;
    ck_assert_msg(!fake->closed, "a write to a closed transport");
    ck_assert_msg(!fake->writing, "a write while another is under way");
    ck_assert_msg(!fake->shut, "a write behind shut");
    ck_assert_uint_ge(count, 1);
    ck_assert_uint_le(count, TRANSPORT_PARTS_MAX);
    fake->writes++;
    if (fake->at_once)
        return take_at_once(fake, parts, count);
    fake->writing = true;
    fake->parts_count = count;
    fake->lent_size = 0;
    for (size_t i = 0; i < count; i++) {
        fake->parts[i] = parts[i];
        keep(fake, &parts[i]);
    }
    if (fake->lent_size > fake->largest_write)
        fake->largest_write = fake->lent_size;
    if (!fake->holds)
        loop_queue(fake->loop, LOOP_CALLS, &fake->completion);
    return TRANSPORT_LATER;
}

/* Reading them here lets a sanitizer see a frame that went too early. */
static void check_lent(const struct fake_transport *fake) {
    const uint8_t *kept = fake->written + fake->written_size - fake->lent_size;
    for (size_t i = 0; i < fake->parts_count; i++) {
        const struct iovec *part = &fake->parts[i];
        ck_assert_int_eq(memcmp(part->iov_base, kept, part->iov_len), 0);
        kept += part->iov_len;
    }
}

static void keep_appended(struct fake_transport *fake, size_t size) {
    size_t lent_size = fake->lent_size;
    keep(fake, &(struct iovec){fake->appended, size});
    fake->lent_size = lent_size;
}

static void *fake_append(struct session *session, size_t size) {
    struct fake_transport *fake = session->line.data;
    ck_assert(!fake->closed && !fake->shut && fake->writing == fake->appending);
    if (!fake->appending) {
        fake->writing = true;
        fake->appending = true;
        fake->writes++;
        fake->lent_size = 0;
        if (!fake->holds)
            loop_queue(fake->loop, LOOP_CALLS, &fake->completion);
    }
    if (fake->lent_size + size > sizeof(fake->appended))
        return NULL;
    fake->lent_size += size;
    return fake->appended + fake->lent_size - size;
}

void fake_transport_complete_part(struct fake_transport *fake, size_t size) {
    ck_assert(fake->appending && size < fake->lent_size);
    keep_appended(fake, size);
    fake->writing = false;
    fake->appending = false;
    session_written(fake->session, size);
}

void fake_transport_complete(struct fake_transport *fake, bool ok) {
    ck_assert_msg(fake->writing, "no write is under way");
    if (fake->appending)
        keep_appended(fake, ok ? fake->lent_size : 0);
    else
        check_lent(fake);
    fake->writing = false;
    fake->appending = false;
    if (ok)
        session_written(fake->session, fake->lent_size);
    else
        session_lost(fake->session);
}

static void on_completion(struct loop_entry *entry) {
    struct fake_transport *fake =
        (struct fake_transport *)((char *)entry - offsetof(struct fake_transport, completion));
    if (fake->writing && !fake->closed)
        fake_transport_complete(fake, true);
}

static void fake_read(struct session *session, bool on) {
    struct fake_transport *fake = session->line.data;
    ck_assert(!fake->closed);
    fake->reading = on;
}

static void fake_close(struct session *session) {
    struct fake_transport *fake = session->line.data;
    ck_assert_msg(!fake->closed, "closed twice");
    if (fake->writing && !fake->appending)
        check_lent(fake);
    fake->closed = true;
    fake->reading = false;
    loop_unqueue(fake->loop, LOOP_CALLS, &fake->completion);
}

static void fake_shut(struct session *session) {
    struct fake_transport *fake = session->line.data;
    ck_assert(!fake->closed && !fake->shut && !fake->writing);
    fake->shut = true;
}

void fake_transport_attach(struct fake_transport *fake, struct session *session,
                           struct loop *loop) {
    fake->session = session;
    fake->loop = loop;
    fake->completion = (struct loop_entry){.run = on_completion};
    fake->table = (struct transport){.write = fake_write,
                                     .append = fake->appends ? fake_append : NULL,
                                     .read = fake_read,
                                     .close = fake_close,
                                     .shut = fake->no_shut ? NULL : fake_shut};
    session->line.data = fake;
    session_attach(session, &fake->table);
}

/* Exactly as much memory as there is input, so that a sanitizer sees one byte too many. */
void fake_transport_feed(struct fake_transport *fake, const uint8_t *data, size_t size) {
    if (fake->closed)
        return;
    ck_assert_msg(fake->reading, "input that was not asked for");
    size_t total = fake->rest_size + size;
    uint8_t *exact = malloc(total == 0 ? 1 : total);
    ck_assert_ptr_nonnull(exact);
    memcpy(exact, fake->rest, fake->rest_size);
    memcpy(exact + fake->rest_size, data, size);
    size_t used = 0, before;
    do {
        before = used;
        used += session_input(fake->session, exact + used, total - used);
        fake->pieces++;
        ck_assert_uint_le(used, total);
    } while (total - used > SESSION_REST_MAX && used > before && fake->reading);
    fake->rest_size = total - used;
    ck_assert_uint_le(fake->rest_size, fake->reading ? SESSION_REST_MAX : sizeof(fake->rest));
    memcpy(fake->rest, exact + used, fake->rest_size);
    free(exact);
}

/* --- what was sent, as text --- */

static char shown[8192];
static size_t shown_size;

static void show(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void show(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(shown + shown_size, sizeof(shown) - shown_size, format, arguments);
    va_end(arguments);
    shown_size += (size_t)size;
    ck_assert_uint_lt(shown_size, sizeof(shown));
}

static const char *opcode_name(uint8_t first) {
    static const char *const names[16] = {
        [0x1] = "text", [0x2] = "binary", [0x8] = "close", [0x9] = "ping", [0xa] = "pong"};
    ck_assert_msg((first & 0xf0) == 0x80 && names[first & 0x0f] != NULL, "first byte %02x", first);
    return names[first & 0x0f];
}

static void show_payload(uint8_t first, const uint8_t *payload, size_t size) {
    show("%s%s", shown_size > 0 ? " " : "", opcode_name(first));
    if ((first & 0x0f) == OPCODE_CLOSE && size >= 2) {
        show(" %d", payload[0] << 8 | payload[1]);
        payload += 2;
        size -= 2;
    }
    if (size > SHOWN_MAX)
        show("[%zu]", size);
    else
        show("(%.*s)", (int)size, (const char *)payload);
}

const char *fake_transport_sent(const struct fake_transport *fake) {
    const uint8_t *at = fake->written;
    size_t left = fake->written_size;
    shown_size = 0;
    shown[0] = '\0';
    while (left >= 2) {
        size_t number_size = at[1] == 126 ? 2 : at[1] == 127 ? 8 : 0, size = at[1];
        ck_assert_msg((at[1] & 0x80) == 0, "a masked frame");
        if (left < 2 + number_size)
            break;
        for (size_t i = 0; i < number_size; i++)
            size = i == 0 ? at[2] : size << 8 | at[2 + i];
        if (left < 2 + number_size + size)
            break;
        show_payload(at[0], at + 2 + number_size, size);
        at += 2 + number_size + size;
        left -= 2 + number_size + size;
    }
    if (left > 0)
        show("%s...", shown_size > 0 ? " " : "");
    return shown;
}

void fake_transport_free(struct fake_transport *fake) {
    free(fake->written);
    fake->written = NULL;
}
