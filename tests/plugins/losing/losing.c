/* A group whose members are told how many messages they missed. Who connects with ?speaks is no
   member and is told what the group did not take. */
#include <inttypes.h>
#include <sluice/consumer.h>
#include <stdio.h>
#include <string.h>

static void on_connect(sluice_conn *conn) {
    sluice_accept(conn, NULL);
    if (!sluice_scope(conn, SLUICE_QUERY, "speaks"))
        sluice_group_add(conn, sluice_param(conn, "group"));
}

static void tell(sluice_conn *conn, const char *text) {
    sluice_send(conn, sluice_text(text, strlen(text)));
}

static void on_receive(sluice_conn *conn, sluice_message message) {
    if (sluice_group_send(conn, sluice_param(conn, "group"), message) != SLUICE_OK)
        tell(conn, "refused");
}

static void on_dropped(sluice_conn *conn, uint64_t count) {
    char text[40];
    snprintf(text, sizeof(text), "missed %" PRIu64, count);
    tell(conn, text);
}

SLUICE_CONSUMER("losing", "1.0", .connect = on_connect, .receive = on_receive,
                .dropped = on_dropped)
