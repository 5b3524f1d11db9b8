/*
 * Asks before it accepts, in a pool thread, as one would ask a database: ?token=letmein is
 * accepted, any other is refused with 403, and ?wait=MS makes the answer take so long. While the
 * pool is full, clients are told to come back. Each end is logged, so that tests can count them.
 */
#include <sluice/consumer.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_MS_MAX 30000

/* What the pool thread works on. It belongs to the work and then to done, never to the connection,
   which may end meanwhile. */
struct question {
    sluice_route *route;
    long wait_ms;
    bool allowed;
    char token[64];
};

static void ask(void *arg) {
    struct question *question = arg;
    struct timespec pause = {question->wait_ms / 1000, question->wait_ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
    question->allowed = strcmp(question->token, "letmein") == 0;
}

static void deny(sluice_conn *conn, int status, const char *why) {
    sluice_deny(conn, status, why, strlen(why));
}

static void on_answer(sluice_conn *conn, void *arg) {
    struct question *question = arg;
    if (!conn) {
        sluice_log(question->route, NULL, SLUICE_LOG_INFO, "answered too late");
    } else if (question->allowed) {
        static const char welcome[] = "welcome";
        sluice_accept(conn, NULL);
        sluice_send(conn, sluice_text(welcome, strlen(welcome)));
    } else {
        deny(conn, 403, "this token opens nothing\n");
    }
    free(question);
}

static struct question *make_question(sluice_conn *conn) {
    const char *token = sluice_scope(conn, SLUICE_QUERY, "token");
    const char *wait = sluice_scope(conn, SLUICE_QUERY, "wait");
    struct question *question = calloc(1, sizeof(*question));
    if (!question)
        return NULL;
    question->route = sluice_conn_route(conn);
    if (token && strlen(token) < sizeof(question->token))
        strcpy(question->token, token);
    question->wait_ms = wait ? strtol(wait, NULL, 10) : 0;
    if (question->wait_ms < 0 || question->wait_ms > WAIT_MS_MAX)
        question->wait_ms = 0;
    return question;
}

static void on_connect(sluice_conn *conn) {
    struct question *question = make_question(conn);
    if (question && sluice_offload(conn, ask, on_answer, question) == SLUICE_OK)
        return;
    free(question);
    sluice_add_header(conn, "retry-after", "1");
    deny(conn, 503, "too many are being asked about\n");
}

static void on_receive(sluice_conn *conn, sluice_message message) { sluice_send(conn, message); }

static void on_disconnect(sluice_conn *conn, int code) {
    sluice_log(sluice_conn_route(conn), conn, SLUICE_LOG_INFO, "disconnected with %d", code);
}

static void on_release(sluice_conn *conn) {
    sluice_log(sluice_conn_route(conn), conn, SLUICE_LOG_INFO, "released");
}

SLUICE_CONSUMER("async_auth", "1.0", .connect = on_connect, .receive = on_receive,
                .disconnect = on_disconnect, .release = on_release)
