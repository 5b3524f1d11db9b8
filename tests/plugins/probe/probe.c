/* A consumer that does what a client asks, so that tests can see the host from both sides. What a
   connection says or how it ended is told to the group of its route. */
#include <sluice/consumer.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int on_open(sluice_route *route, void **data) {
    *data = (void *)(uintptr_t)sluice_option_text(route, "subprotocol", "");
    return 0;
}

/* Whether name is one of those in a list with ", " between. */
static int listed(const char *list, const char *name) {
    size_t size = strlen(name);
    for (const char *at = list; size > 0 && (at = strstr(at, name)) != NULL; at += size)
        if ((at == list || at[-1] == ' ') && (at[size] == '\0' || at[size] == ','))
            return 1;
    return 0;
}

static void on_connect(sluice_conn *conn) {
    const char *refusal = sluice_scope(conn, SLUICE_QUERY, "deny");
    if (refusal) {
        sluice_add_header(conn, "x-reason", "asked for");
        sluice_deny(conn, atoi(refusal), "not you", 7);
        return;
    }
    const char *own = sluice_route_data(sluice_conn_route(conn));
    const char *offered = sluice_scope(conn, SLUICE_OFFERED, NULL);
    sluice_accept(conn, offered && listed(offered, own) ? own : NULL);
    if (sluice_scope(conn, SLUICE_QUERY, "watch"))
        sluice_group_add(conn, sluice_param(conn, "group"));
}

static void reply(sluice_conn *conn, const char *text) {
    sluice_send(conn, sluice_text(text, strlen(text)));
}

/* count messages of 1,000 bytes at once. */
static void flood(sluice_conn *conn, long count) {
    char filler[1000];
    memset(filler, 'x', sizeof(filler));
    for (long sent = 0; sent < count; sent++)
        if (sluice_send(conn, sluice_text(filler, sizeof(filler))) != SLUICE_OK)
            return;
}

/* Each thread's own pointer, which tells threads apart. */
static int on_thread_start(sluice_thread *thread, sluice_route *route, void **data) {
    (void)route;
    *data = thread;
    return 0;
}

static void reply_thread(sluice_conn *conn) {
    char text[32];
    snprintf(text, sizeof(text), "%p", sluice_thread_data(conn));
    reply(conn, text);
}

/* Holds the thread, as no consumer should. */
static void hold(long ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&left, NULL);
}

static void join_events(sluice_conn *conn) {
    char text[32];
    snprintf(text, sizeof(text), "result %d",
             sluice_group_join(conn, "events", NULL, SLUICE_EVENTS));
    reply(conn, text);
}

/* "close CODE REASON", "stop", "flood COUNT", "param NAME", "peer", "thread", "join-events",
   "hold MS"; anything else comes back. */
static void on_receive(sluice_conn *conn, sluice_message message) {
    char text[300];
    size_t size = message.size < sizeof(text) ? message.size : sizeof(text) - 1;
    memcpy(text, message.data, size);
    text[size] = '\0';
    if (strncmp(text, "close ", 6) == 0) {
        char *reason;
        long code = strtol(text + 6, &reason, 10);
        sluice_close(conn, (int)code, *reason == ' ' ? reason + 1 : NULL);
    } else if (strcmp(text, "peer") == 0) {
        reply(conn, sluice_scope(conn, SLUICE_PEER, NULL));
    } else if (strcmp(text, "stop") == 0) {
        sluice_stop(conn);
    } else if (strncmp(text, "flood ", 6) == 0) {
        flood(conn, atol(text + 6));
    } else if (strcmp(text, "join-events") == 0) {
        join_events(conn);
    } else if (strncmp(text, "hold ", 5) == 0) {
        hold(atol(text + 5));
        reply(conn, "held");
    } else if (strcmp(text, "thread") == 0) {
        reply_thread(conn);
    } else if (strncmp(text, "param ", 6) == 0) {
        const char *value = sluice_param(conn, text + 6);
        reply(conn, value ? value : "(none)");
    } else {
        sluice_send(conn, message);
    }
}

static void on_disconnect(sluice_conn *conn, int code) {
    char text[200];
    const char *reason = sluice_scope(conn, SLUICE_REASON, NULL);
    int size = snprintf(text, sizeof(text), "disconnect %d %s", code, reason ? reason : "");
    sluice_route_send(sluice_conn_route(conn), sluice_param(conn, "group"),
                      sluice_text(text, (size_t)size), 0);
}

SLUICE_CONSUMER("probe", "1.0", .open = on_open, .thread_start = on_thread_start,
                .connect = on_connect, .receive = on_receive, .disconnect = on_disconnect)
