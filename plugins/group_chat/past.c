#include "past.h"

#include <stdlib.h>
#include <string.h>

#include "person.h"
#include "protocol.h"

#define EPOCH_DIGITS 16
#define ANSWER_BYTES_MAX ((size_t)256 << 10) /* of messages in one answer to `resume` */

/* "<16 hexadecimal digits>:<offset>"; anything else is a place that nobody can resume. */
static sluice_position read_position(const char *text) {
    static const sluice_position nowhere = {UINT64_MAX, UINT64_MAX};
    sluice_position position;
    char *end;
    if (strspn(text, "0123456789abcdef") != EPOCH_DIGITS || text[EPOCH_DIGITS] != ':')
        return nowhere;
    const char *offset = text + EPOCH_DIGITS + 1;
    size_t digits = strspn(offset, "0123456789");
    if (digits == 0 || digits > 18 || offset[digits] != '\0')
        return nowhere;
    position.epoch = strtoull(text, &end, 16);
    position.offset = strtoull(offset, &end, 10);
    return position.epoch == 0 ? nowhere : position;
}

void past_begin(sluice_conn *conn) {
    struct person *person = sluice_data(conn);
    const char *since = sluice_scope(conn, SLUICE_QUERY, "since");
    person->asks = since != NULL;
    if (since)
        person->since = read_position(since);
}

static void tell(sluice_conn *conn, char *text) {
    if (text)
        sluice_send(conn, sluice_text(text, strlen(text)));
    free(text);
}

static void on_joined(sluice_conn *conn, void *arg, const sluice_joined *joined) {
    (void)arg;
    if (!conn)
        return;
    struct person *person = sluice_data(conn);
    person->keeps = joined->position.epoch != 0;
    person->is_in = true;
    if (person->json && person->keeps)
        tell(conn, protocol_history(joined->position, joined->count,
                                    person->asks ? &joined->recovered : NULL));
    person->entered(conn);
}

int past_join(sluice_conn *conn, const char *info, unsigned flags) {
    const struct person *person = sluice_data(conn);
    sluice_join_options options = {
        .size = sizeof(options), .info = info, .flags = flags, .joined = on_joined};
    options.last = person_chat(conn)->last;
    options.since = person->since;
    return sluice_group_join_with(conn, sluice_param(conn, "group"), &options);
}

/* How many of the last ones have no more bytes than one answer. */
static size_t fitting(const sluice_history *history) {
    size_t count = 0, bytes = 0;
    while (count < history->count) {
        bytes += history->messages[history->count - count - 1].message.size + 1;
        if (bytes > ANSWER_BYTES_MAX)
            break;
        count++;
    }
    return count;
}

static void on_history(sluice_conn *conn, void *arg, const sluice_history *history) {
    const bool *asked = arg;
    if (conn) {
        size_t count = fitting(history);
        int recovered = history->recovered && count == history->count;
        tell(conn, protocol_past(history->position, history->messages + (history->count - count),
                                 count, *asked ? &recovered : NULL));
    }
    free(arg);
}

int past_resume(sluice_conn *conn, const char *since, size_t last) {
    sluice_position from = {0, 0};
    bool *asked = malloc(sizeof(*asked));
    if (!asked)
        return SLUICE_FULL;
    *asked = since != NULL;
    if (since)
        from = read_position(since);
    int result =
        sluice_group_history(conn, sluice_param(conn, "group"), from, last, on_history, asked);
    if (result != SLUICE_OK)
        free(asked);
    return result;
}
