#include "process/answers.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "consumer/connection.h"
#include "consumer/host.h"
#include "loop/loop.h"
#include "observe/page.h"
#include "process/group_answers.h"
#include "process/json.h"
#include "process/thread.h"
#include "websocket/session.h"

#define CALL_MS 2000
#define ROUTES_MAX 1000

struct route_sum {
    char route[128];
    uint64_t open, messages_in, messages_out, bytes_in, bytes_out, queued;
};

/* What is added up over the threads, one after the other. */
struct sum {
    struct route_sum *routes;
    size_t count;
    uint64_t open[PAGE_THREADS];
    FILE *list; /* NULL: only sums */
};

/* --- adding up --- */

static struct route_sum *sum_of(struct sum *sum, const char *route) {
    for (size_t i = 0; i < sum->count; i++)
        if (strncmp(sum->routes[i].route, route, sizeof(sum->routes[i].route) - 1) == 0)
            return &sum->routes[i];
    if (sum->count == ROUTES_MAX)
        return &sum->routes[ROUTES_MAX - 1];
    struct route_sum *added = &sum->routes[sum->count++];
    snprintf(added->route, sizeof(added->route), "%s", route);
    return added;
}

static void add_view(void *arg, const struct connection_view *view) {
    struct sum *sum = arg;
    struct route_sum *route = sum_of(sum, view->route);
    route->open++;
    route->messages_in += view->counts->messages_in;
    route->messages_out += view->counts->messages_out;
    route->bytes_in += view->counts->bytes_in;
    route->bytes_out += view->counts->bytes_out;
    route->queued += view->queued;
    if (sum->list != NULL)
        fprintf(sum->list,
                "%" PRIu64 " %s %s open %" PRIu64 " s, in %u messages %" PRIu64
                " bytes, out %u messages %" PRIu64 " bytes, queued %zu bytes%s%s\n",
                view->id, view->route, view->peer == NULL ? "-" : view->peer, view->open_ms / 1000,
                view->counts->messages_in, view->counts->bytes_in, view->counts->messages_out,
                view->counts->bytes_out, view->queued, view->user == NULL ? "" : ", user ",
                view->user == NULL ? "" : view->user);
}

static bool add_thread(struct loop *loop, void *arg) {
    struct sum *sum = arg;
    sum->open[loop_index(loop)] = connections_count(loop);
    connections_each(loop, add_view, sum);
    return true;
}

static unsigned add_all(struct sum *sum, struct thread *const *threads, unsigned count) {
    unsigned reached = 0;
    for (unsigned i = 0; i < count; i++)
        reached += thread_call(threads[i], add_thread, sum, CALL_MS);
    return reached;
}

/* --- in words --- */

static unsigned long long life(const atomic_ullong *of) { return atomic_load(of); }

static void print_text(FILE *to, const struct sum *sum, unsigned threads, unsigned reached) {
    struct page_life *of = &page_get()->life;
    unsigned long long now = (unsigned long long)time(NULL), begun = life(&of->started_at);
    fprintf(to, "sluice %s, worker %ld, up %llu s\n", SLUICE_VERSION, (long)getpid(),
            begun == 0 ? 0 : now - begun);
    fprintf(to, "generation %llu, %llu reloads, %llu refused, %llu restarts\n",
            life(&of->generation), life(&of->reloads), life(&of->refusals), life(&of->restarts));
    if (reached < threads)
        fprintf(to, "%u of %u threads do not answer: consumers hold them\n", threads - reached,
                threads);
    for (unsigned i = 0; i < threads; i++)
        fprintf(to, "thread %u: %" PRIu64 " connections\n", i, sum->open[i]);
    for (size_t i = 0; i < sum->count; i++) {
        const struct route_sum *route = &sum->routes[i];
        fprintf(to,
                "route %s: %" PRIu64 " WebSockets, in %" PRIu64 " messages %" PRIu64
                " bytes, out %" PRIu64 " messages %" PRIu64 " bytes, queued %" PRIu64 " bytes\n",
                route->route, route->open, route->messages_in, route->bytes_in, route->messages_out,
                route->bytes_out, route->queued);
    }
}

static void print_json(FILE *to, const struct sum *sum, unsigned threads, unsigned reached) {
    struct page_life *of = &page_get()->life;
    fprintf(to,
            "{\"version\":\"%s\",\"worker\":%ld,\"started_at\":%llu,\"generation\":%llu,"
            "\"reloads\":%llu,\"reloads_refused\":%llu,\"restarts\":%llu,\"threads_held\":%u,"
            "\"connections\":[",
            SLUICE_VERSION, (long)getpid(), life(&of->started_at), life(&of->generation),
            life(&of->reloads), life(&of->refusals), life(&of->restarts), threads - reached);
    for (unsigned i = 0; i < threads; i++)
        fprintf(to, "%s%" PRIu64, i == 0 ? "" : ",", sum->open[i]);
    fputs("],\"routes\":[", to);
    for (size_t i = 0; i < sum->count; i++) {
        const struct route_sum *route = &sum->routes[i];
        fprintf(to, "%s{\"route\":", i == 0 ? "" : ",");
        json_print(to, route->route, strlen(route->route));
        fprintf(to,
                ",\"open\":%" PRIu64 ",\"messages_in\":%" PRIu64 ",\"bytes_in\":%" PRIu64
                ",\"messages_out\":%" PRIu64 ",\"bytes_out\":%" PRIu64 ",\"queued_bytes\":%" PRIu64
                "}",
                route->open, route->messages_in, route->bytes_in, route->messages_out,
                route->bytes_out, route->queued);
    }
    fputs("]}\n", to);
}

static int answer_status(FILE *to, bool json, struct thread *const *threads, unsigned count) {
    struct sum sum = {.routes = calloc(ROUTES_MAX, sizeof(struct route_sum))};
    if (sum.routes == NULL)
        abort();
    unsigned reached = add_all(&sum, threads, count);
    (json ? print_json : print_text)(to, &sum, count, reached);
    free(sum.routes);
    return EX_OK;
}

static int answer_connections(FILE *to, struct thread *const *threads, unsigned count) {
    struct sum sum = {.routes = calloc(ROUTES_MAX, sizeof(struct route_sum)), .list = to};
    if (sum.routes == NULL)
        abort();
    add_all(&sum, threads, count);
    free(sum.routes);
    return EX_OK;
}

static bool kick(struct loop *loop, void *arg) {
    sluice_conn *conn = connection_find(loop, *(const sluice_id *)arg);
    return conn != NULL && connection_close(conn, 1008, "removed by the operator") == SLUICE_OK;
}

static int kick_one(FILE *to, const char *text, const struct answers_of *of) {
    char *end;
    sluice_id id = strtoull(text, &end, 10);
    if (id == 0 || *end != '\0') {
        fprintf(to, "%s is no connection's number: sluice connections lists them\n", text);
        return EX_USAGE;
    }
    unsigned thread = connection_id_thread(id);
    if (thread >= of->thread_count || !thread_call(of->threads[thread], kick, &id, CALL_MS)) {
        fprintf(to, "there is no connection %" PRIu64 "\n", id);
        return 1;
    }
    fprintf(to, "connection %" PRIu64 " is closed with 1008\n", id);
    return EX_OK;
}

/* Who is meant by a user's key, on one thread after the other. */
struct meant {
    const char *user;
    sluice_id *ids;
    size_t count, kicked;
};

static void find_user(void *arg, const struct connection_view *view) {
    struct meant *meant = arg;
    if (view->user == NULL || strcmp(view->user, meant->user) != 0)
        return;
    meant->ids = realloc(meant->ids, (meant->count + 1) * sizeof(*meant->ids));
    if (meant->ids == NULL)
        abort();
    meant->ids[meant->count++] = view->id;
}

static bool kick_found(struct loop *loop, void *arg) {
    struct meant *meant = arg;
    meant->count = 0;
    connections_each(loop, find_user, meant);
    for (size_t i = 0; i < meant->count; i++)
        meant->kicked += kick(loop, &meant->ids[i]);
    return true;
}

static int kick_user(FILE *to, const char *user, const struct answers_of *of) {
    struct meant meant = {.user = user};
    unsigned reached = 0;
    for (unsigned i = 0; i < of->thread_count; i++)
        reached += thread_call(of->threads[i], kick_found, &meant, CALL_MS);
    free(meant.ids);
    if (reached < of->thread_count)
        fprintf(to, "%u of %u threads do not answer: consumers hold them\n",
                of->thread_count - reached, of->thread_count);
    if (meant.kicked == 0)
        fprintf(to, "no connection has the user %s\n", user);
    else
        fprintf(to, "%zu connections of user %s are closed with 1008\n", meant.kicked, user);
    if (reached < of->thread_count)
        return EX_TEMPFAIL;
    return meant.kicked == 0 ? 1 : EX_OK;
}

/* --- sending --- */

static void send_all(int fd, const char *text, size_t size) {
    while (size > 0) {
        ssize_t sent = send(fd, text, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        size -= (size_t)sent;
    }
}

static int answer(const char *question, int fd, const struct answers_of *of, FILE *to) {
    if (strcmp(question, "status") == 0 || strcmp(question, "status json") == 0)
        return answer_status(to, question[6] != '\0', of->threads, of->thread_count);
    if (strcmp(question, "connections") == 0)
        return answer_connections(to, of->threads, of->thread_count);
    if (strncmp(question, "kick user ", 10) == 0)
        return kick_user(to, question + 10, of);
    if (strncmp(question, "kick ", 5) == 0)
        return kick_one(to, question + 5, of);
    if (group_answers_know(question))
        return group_answers_give(question, fd, of, to);
    fprintf(to, "unknown command: %s\n", question);
    return EX_USAGE;
}

void answers_give(const char *question, int fd, const struct answers_of *of) {
    const struct timeval patience = {.tv_sec = 5};
    char *text = NULL, head[16];
    size_t size;
    FILE *to = open_memstream(&text, &size);
    if (to == NULL)
        abort();
    int status = answer(question, fd, of, to);
    fclose(to);
    fcntl(fd, F_SETFL, 0); /* waits for a client that reads slowly */
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    send_all(fd, head, (size_t)snprintf(head, sizeof(head), "%d\n", status));
    send_all(fd, text, size);
    free(text);
}
