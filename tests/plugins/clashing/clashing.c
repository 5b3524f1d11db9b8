/*
 * A consumer whose own functions bear names that libh2o and the C library export. Hidden or static,
 * they are the plugin's own, and the libraries keep theirs; exported, the host warns of them.
 */
#include <sluice/consumer.h>

#include <string.h>

/* Compilers know a log of the C library, and say so; the plugin never asked for that one. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wincompatible-library-redeclaration"
#else
#pragma GCC diagnostic ignored "-Wbuiltin-declaration-mismatch"
#endif

#ifndef OWN
#define OWN /* not static: hidden by the way the plugin is built */
#endif

struct seen {
    char text[64];
};

OWN void on_context_init(struct seen *seen);
OWN void log(struct seen *seen, const char *text);
OWN void connect(sluice_conn *conn);
OWN void send(sluice_conn *conn, sluice_message message);

OWN void on_context_init(struct seen *seen) { seen->text[0] = '\0'; }

OWN void log(struct seen *seen, const char *text) {
    strncat(seen->text, text, sizeof(seen->text) - strlen(seen->text) - 1);
}

OWN void connect(sluice_conn *conn) {
    struct seen *seen = sluice_data(conn);
    on_context_init(seen);
    log(seen, "connect");
    sluice_accept(conn, NULL);
}

/* Answers with the names of its functions that ran. */
OWN void send(sluice_conn *conn, sluice_message message) {
    struct seen *seen = sluice_data(conn);
    (void)message;
    log(seen, " send");
    sluice_send(conn, sluice_text(seen->text, strlen(seen->text)));
}

SLUICE_CONSUMER("clashing", "1.0", .data_size = sizeof(struct seen), .connect = connect,
                .receive = send)
