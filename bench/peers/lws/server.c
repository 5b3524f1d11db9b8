/*
 * The benchmark's server on libwebsockets: /echo and /room/NAME.
 *
 *   bench-lws PORT        with CERT and KEY in the environment it speaks TLS
 */
#include <libwebsockets.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define ROOM_NAME_MAX 32
#define MESSAGE_MAX ((size_t)16 << 20)

/* A message with room for the head that lws_write puts before it; shared by all who wait for it. */
struct message {
    size_t size;
    unsigned references;
    bool binary;
    uint8_t bytes[];
};

struct waiting {
    struct message *message;
    struct waiting *next;
};

struct room;

struct session {
    struct lws *wsi;
    struct room *room; /* NULL: echo */
    struct session *next;
    struct waiting *first, **last;
    uint8_t *partial; /* of a message whose end has not come */
    size_t partial_size;
};

struct room {
    char name[ROOM_NAME_MAX];
    struct session *members;
    struct room *next;
};

static struct room *rooms;

static void *must(void *memory) {
    if (memory == NULL)
        abort();
    return memory;
}

static struct room *find_room(const char *name) {
    struct room *room = rooms;
    while (room != NULL && strcmp(room->name, name) != 0)
        room = room->next;
    if (room != NULL)
        return room;
    room = must(calloc(1, sizeof(*room)));
    snprintf(room->name, sizeof(room->name), "%s", name);
    room->next = rooms;
    rooms = room;
    return room;
}

static void release(struct message *message) {
    if (--message->references == 0)
        free(message);
}

static int on_open(struct lws *wsi, struct session *session) {
    char path[64];
    session->wsi = wsi;
    session->last = &session->first;
    if (lws_hdr_copy(wsi, path, sizeof(path), WSI_TOKEN_GET_URI) <= 0)
        return -1;
    if (strcmp(path, "/echo") == 0)
        return 0;
    if (strncmp(path, "/room/", 6) != 0 || strlen(path + 6) >= ROOM_NAME_MAX)
        return -1;
    session->room = find_room(path + 6);
    session->next = session->room->members;
    session->room->members = session;
    return 0;
}

static void on_closed(struct session *session) {
    if (session->room != NULL) {
        struct session **place = &session->room->members;
        while (*place != session)
            place = &(*place)->next;
        *place = session->next;
    }
    while (session->first != NULL) {
        struct waiting *waiting = session->first;
        session->first = waiting->next;
        release(waiting->message);
        free(waiting);
    }
    free(session->partial);
}

static void enqueue(struct session *session, struct message *message) {
    struct waiting *waiting = must(malloc(sizeof(*waiting)));
    *waiting = (struct waiting){message, NULL};
    message->references++;
    *session->last = waiting;
    session->last = &waiting->next;
    lws_callback_on_writable(session->wsi);
}

static void deliver(struct session *session, const uint8_t *bytes, size_t size) {
    struct message *message = must(malloc(sizeof(*message) + LWS_PRE + size));
    *message = (struct message){
        .size = size, .references = 1, .binary = lws_frame_is_binary(session->wsi) != 0};
    memcpy(message->bytes + LWS_PRE, bytes, size);
    if (session->room == NULL)
        enqueue(session, message);
    else
        for (struct session *member = session->room->members; member != NULL; member = member->next)
            enqueue(member, message);
    release(message);
}

static int on_receive(struct session *session, const uint8_t *bytes, size_t size) {
    bool whole =
        lws_is_final_fragment(session->wsi) != 0 && lws_remaining_packet_payload(session->wsi) == 0;
    if (whole && session->partial == NULL) {
        deliver(session, bytes, size);
        return 0;
    }
    if (session->partial_size + size > MESSAGE_MAX)
        return -1;
    session->partial = must(realloc(session->partial, session->partial_size + size + 1));
    memcpy(session->partial + session->partial_size, bytes, size);
    session->partial_size += size;
    if (!whole)
        return 0;
    deliver(session, session->partial, session->partial_size);
    free(session->partial);
    session->partial = NULL;
    session->partial_size = 0;
    return 0;
}

static int on_writable(struct session *session) {
    while (session->first != NULL) {
        struct waiting *waiting = session->first;
        struct message *message = waiting->message;
        session->first = waiting->next;
        if (session->first == NULL)
            session->last = &session->first;
        free(waiting);
        /* lws_write puts the frame's head before the bytes, the same one for every member. */
        int written = lws_write(session->wsi, message->bytes + LWS_PRE, message->size,
                                message->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
        bool failed = written < (int)message->size;
        release(message);
        if (failed)
            return -1;
        /* It asks the kernel, which for the first message has just said that there is room. */
        if (session->first != NULL && lws_send_pipe_choked(session->wsi) != 0) {
            lws_callback_on_writable(session->wsi);
            break;
        }
    }
    return 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t size) {
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        return on_open(wsi, user);
    case LWS_CALLBACK_CLOSED:
        on_closed(user);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        return on_receive(user, in, size);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return on_writable(user);
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, size);
    }
}

int main(int count, char **words) {
    static const struct lws_protocols protocols[] = {
        {.name = "bench",
         .callback = on_event,
         .per_session_data_size = sizeof(struct session),
         .rx_buffer_size = 4096},
        {0},
    };
    struct rlimit limit;
    long port = count == 2 ? strtol(words[1], NULL, 10) : 0;
    if (port < 1 || port > 65535) {
        fprintf(stderr, "usage: bench-lws PORT (1 to 65535)\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    lws_set_log_level(LLL_ERR, NULL);
    struct lws_context_creation_info info = {
        .port = (int)port,
        .iface = "127.0.0.1",
        .protocols = protocols,
        .ssl_cert_filepath = getenv("CERT"),
        .ssl_private_key_filepath = getenv("KEY"),
        .options = getenv("CERT") != NULL ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0,
    };
    struct lws_context *context = lws_create_context(&info);
    if (context == NULL) {
        fprintf(stderr, "bench-lws: port %ld can't be served\n", port);
        return 1;
    }
    while (lws_service(context, 0) >= 0)
        continue;
    lws_context_destroy(context);
    return 0;
}
