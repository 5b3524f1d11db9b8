/* A connection's answer, what is delivered to it, and what a test reads of it. */
#include "fake_parts.h"

#include <stdlib.h>
#include <string.h>

#define BODY_BYTES_MAX (16u << 20)

/* --- memory --- */

void *fake_alloc(size_t size) {
    void *memory = calloc(1, size);
    if (!memory)
        abort();
    return memory;
}

char *fake_copy(const char *text) {
    if (!text)
        return NULL;
    char *copy = fake_alloc(strlen(text) + 1);
    strcpy(copy, text);
    return copy;
}

struct message fake_copy_message(const void *data, size_t size, uint32_t kind) {
    struct message copy = {fake_alloc(size + 1), (uint32_t)size, kind};
    if (size > 0)
        memcpy(copy.data, data, size);
    return copy;
}

/* --- UTF-8 (RFC 3629) --- */

/* How long the sequence is that this byte begins, and the least code point that needs that
   length. */
static size_t sequence(unsigned char lead, uint32_t *code, uint32_t *least) {
    static const uint32_t leasts[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = lead < 0x80    ? 1
                    : lead >= 0xf8 ? 0
                    : lead >= 0xf0 ? 4
                    : lead >= 0xe0 ? 3
                    : lead >= 0xc0 ? 2
                                   : 0;
    *code = length == 1 ? lead : lead & (0x7fu >> length);
    *least = leasts[length];
    return length;
}

bool fake_utf8_valid(const void *data, size_t size) {
    const unsigned char *at = data;
    while (size > 0) {
        uint32_t code, least;
        size_t length = sequence(*at, &code, &least);
        if (length == 0 || length > size)
            return false;
        for (size_t i = 1; i < length; i++) {
            if ((at[i] & 0xc0) != 0x80)
                return false;
            code = code << 6 | (at[i] & 0x3f);
        }
        if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return false;
        at += length;
        size -= length;
    }
    return true;
}

/* --- the answer --- */

int fake_accept_conn(sluice_conn *conn, const char *subprotocol) {
    if (conn->state != DECIDING || !conn->is_handshake)
        return SLUICE_STATE;
    if (subprotocol && !fake_scope_choose(conn, subprotocol))
        return SLUICE_INVALID;
    conn->state = ACCEPTED;
    conn->status = 101;
    fake_scope_forget_request(conn);
    return SLUICE_OK;
}

int fake_set_answer(sluice_conn *conn, int status, const void *body, size_t size) {
    if (size > BODY_BYTES_MAX)
        return SLUICE_TOO_BIG;
    conn->state = ANSWERED;
    conn->status = status;
    conn->answer_body = fake_copy_message(body, body ? size : 0, 0);
    fake_scope_forget_request(conn);
    return SLUICE_OK;
}

void fake_begin_close(sluice_conn *conn, int code, const char *reason) {
    conn->state = CLOSING;
    conn->close_code = code;
    conn->close_reason = fake_copy(reason);
}

/* --- what it gets --- */

static void keep(sluice_conn *conn, const struct message *message) {
    if (conn->got_count == conn->got_room) {
        conn->got_room = conn->got_room * 2 + 8;
        conn->got = realloc(conn->got, conn->got_room * sizeof(conn->got[0]));
        if (!conn->got)
            abort();
    }
    conn->got[conn->got_count++] = fake_copy_message(message->data, message->size, message->kind);
}

bool fake_deliver(sluice_conn *conn, const struct message *message) {
    if (!conn->blocked || conn->queued + message->size <= conn->queue_max) {
        conn->queued += message->size;
        keep(conn, message);
        return true;
    }
    if (conn->host->consumer.dropped)
        conn->dropped++;
    else
        fake_begin_close(conn, 1013, "");
    return false;
}

/* --- what tests read --- */

int fake_answer(const sluice_conn *conn) { return conn->status; }

const char *fake_answer_body(const sluice_conn *conn) {
    return conn->answer_body.data ? conn->answer_body.data : "";
}

const char *fake_answer_header(const sluice_conn *conn, const char *name) {
    char *joined = fake_pairs_join(&conn->answer_headers, name);
    const char *lent = joined ? fake_lend(conn->host, joined, strlen(joined)) : NULL;
    free(joined);
    return lent;
}

const char *fake_subprotocol(const sluice_conn *conn) { return conn->subprotocol; }

size_t fake_count(const sluice_conn *conn) { return conn->got_count; }

sluice_message fake_message(const sluice_conn *conn, size_t index) {
    if (index >= conn->got_count)
        fake_fault("the test reads message %zu of %zu", index, conn->got_count);
    const struct message *message = &conn->got[index];
    return (sluice_message){message->data, message->size, message->kind};
}

const char *fake_text(const sluice_conn *conn, size_t index) {
    if (index >= conn->got_count || conn->got[index].kind != SLUICE_TEXT)
        return NULL;
    return conn->got[index].data;
}

const char *fake_last_text(const sluice_conn *conn) {
    return conn->got_count > 0 ? fake_text(conn, conn->got_count - 1) : NULL;
}

int fake_closed(const sluice_conn *conn) { return conn->close_code; }

const char *fake_close_reason(const sluice_conn *conn) {
    return conn->close_reason ? conn->close_reason : "";
}

unsigned fake_disconnects(const sluice_conn *conn) { return conn->disconnects; }

unsigned fake_releases(const sluice_conn *conn) { return conn->releases; }

size_t fake_timers(const sluice_conn *conn) { return conn->timer_count; }
