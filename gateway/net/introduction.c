#include "net/introduction.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "loop/loop.h"
#include "net/proxy_line.h"

struct introductions {
    struct loop *loop;
    introduced_fn introduced;
    void *arg;
    h2o_linklist_t waiting;
};

struct introduction {
    struct introductions *all;
    h2o_linklist_t link;
    h2o_socket_t *socket; /* h2o does not read it */
    struct timer deadline;
    struct proxy_line line;
};

/* h2o's flags of a socket can't be changed: another is made around the descriptor. */
static h2o_socket_t *wrap_anew(struct loop *loop, h2o_socket_t *socket, int flags) {
    h2o_socket_export_t inside;
    if (h2o_socket_export(socket, &inside) != 0)
        return NULL;
    h2o_buffer_dispose(&inside.input);
    return h2o_evloop_socket_create(loop_h2o(loop), inside.fd, flags);
}

static h2o_socket_t *take_socket(struct introduction *introduction) {
    struct loop *loop = introduction->all->loop;
    struct sockaddr_storage client;
    socklen_t size = proxy_line_client(&introduction->line, &client);
    h2o_socket_t *socket =
        wrap_anew(loop, introduction->socket, H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION);
    if (socket != NULL && size != 0)
        h2o_socket_setpeername(socket, (struct sockaddr *)&client, size);
    return socket;
}

static void finish(struct introduction *introduction, bool is_right) {
    struct introductions *all = introduction->all;
    h2o_socket_t *socket = NULL;
    loop_timer_clear(all->loop, &introduction->deadline);
    h2o_linklist_unlink(&introduction->link);
    if (is_right)
        socket = take_socket(introduction);
    else
        h2o_socket_close(introduction->socket);
    free(introduction);
    all->introduced(all->arg, socket);
}

static void on_deadline(struct timer *timer) {
    finish(H2O_STRUCT_FROM_MEMBER(struct introduction, deadline, timer), false);
}

/* Looks first, and takes only what is the proxy's: TLS may follow, for which h2o reads. */
static void on_readable(h2o_socket_t *socket, const char *error) {
    struct introduction *introduction = socket->data;
    struct proxy_line *line = &introduction->line;
    int fd = h2o_socket_get_fd(socket);
    uint8_t bytes[1024];
    ssize_t size = error != NULL ? 0 : recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) {
        finish(introduction, false);
        return;
    }
    size_t taken = proxy_line_feed(line, bytes, (size_t)size);
    if (recv(fd, bytes, taken, MSG_DONTWAIT) != (ssize_t)taken)
        line->state = PROXY_LINE_WRONG;
    if (line->state != PROXY_LINE_GOES_ON)
        finish(introduction, line->state == PROXY_LINE_ENDS);
}

void introductions_add(struct introductions *all, h2o_socket_t *socket, uint64_t ms) {
    h2o_socket_t *shell = wrap_anew(all->loop, socket, H2O_SOCKET_FLAG_DONT_READ);
    assert(shell != NULL);
    struct introduction *introduction = h2o_mem_alloc(sizeof(*introduction));
    *introduction =
        (struct introduction){.all = all, .socket = shell, .deadline = {.run = on_deadline}};
    h2o_linklist_insert(&all->waiting, &introduction->link);
    shell->data = introduction;
    h2o_socket_read_start(shell, on_readable);
    loop_timer_set(all->loop, &introduction->deadline, ms);
}

void introductions_end(struct introductions *all) {
    h2o_linklist_t *next;
    for (h2o_linklist_t *link = all->waiting.next; link != &all->waiting; link = next) {
        next = link->next;
        finish(H2O_STRUCT_FROM_MEMBER(struct introduction, link, link), false);
    }
}

struct introductions *introductions_create(struct loop *loop, introduced_fn introduced, void *arg) {
    struct introductions *all = h2o_mem_alloc(sizeof(*all));
    *all = (struct introductions){.loop = loop, .introduced = introduced, .arg = arg};
    h2o_linklist_init_anchor(&all->waiting);
    return all;
}

void introductions_free(struct introductions *all) {
    assert(all == NULL || h2o_linklist_is_empty(&all->waiting));
    free(all);
}
