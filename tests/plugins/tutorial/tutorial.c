/* The consumer of the tutorial that Sluice began from: greets, answers with a fixed text, closes
   when it hears "close" and stops when it hears "stop". Each hook logs a line with the visitor's
   name, so that a test can count what the consumer saw. */
#include <stdbool.h>
#include <string.h>

#include <sluice/consumer.h>

static void note(sluice_conn *conn, const char *what) {
    sluice_log(sluice_conn_route(conn), conn, SLUICE_LOG_INFO, "tutorial: %s: %s",
               sluice_param(conn, "who"), what);
}

static void say(sluice_conn *conn, const char *text) {
    sluice_send(conn, sluice_text(text, strlen(text)));
}

static bool is_text(sluice_message message, const char *text) {
    return message.size == strlen(text) && memcmp(message.data, text, message.size) == 0;
}

static void on_connect(sluice_conn *conn) {
    if (strcmp(sluice_param(conn, "who"), "nobody") == 0) {
        note(conn, "refused");
        sluice_deny(conn, 403, NULL, 0);
        return;
    }
    note(conn, "connect");
    sluice_accept(conn, NULL);
    say(conn, "Welcome");
}

static void on_receive(sluice_conn *conn, sluice_message message) {
    note(conn, "receive");
    if (is_text(message, "close"))
        sluice_close(conn, 1000, "as you asked");
    else if (is_text(message, "stop"))
        sluice_stop(conn);
    else
        say(conn, "I have heard you");
}

static void on_disconnect(sluice_conn *conn, int code) {
    char text[32];
    snprintf(text, sizeof(text), "disconnect %d", code);
    note(conn, text);
}

static void on_release(sluice_conn *conn) { note(conn, "release"); }

SLUICE_CONSUMER("tutorial", "1.0", .connect = on_connect, .receive = on_receive,
                .disconnect = on_disconnect, .release = on_release)
