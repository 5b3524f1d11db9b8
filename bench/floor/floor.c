/*
 * The floor: how little a WebSocket server can do and still serve the
 * benchmark. One thread, one epoll set, one recv() an event, one send() a
 * delivery; an echo's replies to what one recv() brought leave in one send().
 * It takes whole, masked text and binary frames, looks into no payload, and
 * answers nothing else: no ping, no UTF-8, no fragments, no limits on rooms.
 *
 *   floor PORT        serves ws://127.0.0.1:PORT/echo and /room/NAME
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE ((size_t)256 << 10)
#define HEAD_MAX 4096
#define WAITING_MAX ((size_t)16 << 20)
#define ROOM_NAME_MAX 32
#define EVENTS 512

struct bytes {
    uint8_t *data;
    size_t size, capacity;
};

struct room {
    char name[ROOM_NAME_MAX];
    struct client **members;
    uint32_t count, capacity;
    struct room *next;
};

struct client {
    int fd;
    uint32_t place; /* among the room's members */
    bool open, doomed;
    struct room *room;     /* NULL: echo */
    struct bytes *partial; /* of a frame or head; NULL: none */
    struct bytes *waiting; /* what the socket did not take; NULL: none */
    struct client *next_doomed;
};

static int epoll;
static struct room *rooms;
static struct client *doomed;
static uint8_t input[READ_SIZE], output[READ_SIZE];

static void *must(void *memory) {
    if (memory == NULL)
        abort();
    return memory;
}

static void append(struct bytes **to, const uint8_t *data, size_t size) {
    if (*to == NULL)
        *to = must(calloc(1, sizeof(**to)));
    struct bytes *bytes = *to;
    if (bytes->size + size > bytes->capacity) {
        bytes->capacity = (bytes->size + size) * 2;
        bytes->data = must(realloc(bytes->data, bytes->capacity));
    }
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static void drop(struct bytes **from) {
    if (*from == NULL)
        return;
    free((*from)->data);
    free(*from);
    *from = NULL;
}

/* Freed after the turn: a room that is being walked, or an event of this turn,
 * may still name it. */
static void doom(struct client *client) {
    if (client->doomed)
        return;
    client->doomed = true;
    client->next_doomed = doomed;
    doomed = client;
}

static void leave_room(struct client *client) {
    struct room *room = client->room;
    if (room == NULL)
        return;
    struct client *last = room->members[--room->count];
    room->members[client->place] = last;
    last->place = client->place;
}

static void free_doomed(void) {
    while (doomed != NULL) {
        struct client *client = doomed;
        doomed = client->next_doomed;
        leave_room(client);
        close(client->fd);
        drop(&client->partial);
        drop(&client->waiting);
        free(client);
    }
}

static void watch(struct client *client, bool writable) {
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = client};
    epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event);
}

static void write_to(struct client *client, const uint8_t *data, size_t size) {
    size_t done = 0;
    if (client->doomed)
        return;
    if (client->waiting == NULL) {
        ssize_t sent = send(client->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == (ssize_t)size)
            return;
        if (sent < 0 && errno != EAGAIN) {
            doom(client);
            return;
        }
        done = sent > 0 ? (size_t)sent : 0;
        watch(client, true);
    }
    append(&client->waiting, data + done, size - done);
    if (client->waiting->size > WAITING_MAX)
        doom(client);
}

static void write_waiting(struct client *client) {
    struct bytes *waiting = client->waiting;
    if (waiting == NULL)
        return;
    ssize_t sent = send(client->fd, waiting->data, waiting->size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        if (errno != EAGAIN)
            doom(client);
        return;
    }
    waiting->size -= (size_t)sent;
    memmove(waiting->data, waiting->data + sent, waiting->size);
    if (waiting->size != 0)
        return;
    drop(&client->waiting);
    watch(client, false);
}

static struct room *find_room(const char *name, size_t size) {
    struct room *room = rooms;
    while (room != NULL && (strlen(room->name) != size || memcmp(room->name, name, size) != 0))
        room = room->next;
    if (room != NULL)
        return room;
    room = must(calloc(1, sizeof(*room)));
    memcpy(room->name, name, size);
    room->next = rooms;
    rooms = room;
    return room;
}

static void join(struct client *client, struct room *room) {
    if (room->count == room->capacity) {
        room->capacity = room->capacity * 2 + 8;
        room->members = must(realloc(room->members, room->capacity * sizeof(room->members[0])));
    }
    client->room = room;
    client->place = room->count;
    room->members[room->count++] = client;
}

static void answer(struct client *client, const char *key, size_t key_size) {
    char text[256], reply[256], digest_text[32];
    uint8_t digest[EVP_MAX_MD_SIZE];
    int size = snprintf(text, sizeof(text), "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
                        (int)key_size, key);
    EVP_Digest(text, (size_t)size, digest, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock((uint8_t *)digest_text, digest, 20);
    size = snprintf(reply, sizeof(reply),
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                    digest_text);
    write_to(client, (const uint8_t *)reply, (size_t)size);
}

/* Returns the bytes that are done with: the whole head, or none while it is not
 * whole. */
static size_t read_head(struct client *client, const uint8_t *bytes, size_t size) {
    char head[HEAD_MAX + 1];
    const uint8_t *end = memmem(bytes, size, "\r\n\r\n", 4);
    size_t head_size = end == NULL ? size : (size_t)(end - bytes) + 4;
    if (head_size > HEAD_MAX)
        doom(client);
    if (head_size > HEAD_MAX || end == NULL)
        return 0;
    memcpy(head, bytes, head_size);
    head[head_size] = '\0';
    const char *key = strcasestr(head, "\r\nsec-websocket-key: ");
    const char *path = head + 4;
    size_t path_size = strcspn(path, " \r");
    bool room = strncmp(path, "/room/", 6) == 0;
    if (key == NULL || strcspn(key + 21, "\r") != 24 || path_size >= 6 + ROOM_NAME_MAX ||
        (!room && strncmp(path, "/echo ", 6) != 0)) {
        static const char refusal[] = "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n";
        write_to(client, (const uint8_t *)refusal, sizeof(refusal) - 1);
        doom(client);
        return 0;
    }
    if (room)
        join(client, find_room(path + 6, path_size - 6));
    answer(client, key + 21, 24);
    client->open = true;
    return head_size;
}

struct frame {
    size_t head, payload, whole; /* head with the mask */
};

/* False while the frame is not whole, or when it is none that is served. */
static bool read_frame(struct client *client, const uint8_t *bytes, size_t size,
                       struct frame *frame) {
    if (size < 2)
        return false;
    if ((bytes[0] != 0x81 && bytes[0] != 0x82) || (bytes[1] & 0x80) == 0) {
        doom(client); /* a close frame, too */
        return false;
    }
    size_t length = bytes[1] & 0x7f;
    size_t octets = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (size < 2 + octets)
        return false;
    for (size_t i = 0; octets != 0 && i < octets; i++)
        length = (i == 0 ? 0 : length << 8) | bytes[2 + i];
    if (length > WAITING_MAX) {
        doom(client);
        return false;
    }
    *frame = (struct frame){2 + octets + 4, length, 2 + octets + 4 + length};
    return size >= frame->whole;
}

static void unmask(uint8_t *to, const uint8_t *from, size_t size, const uint8_t *key) {
    uint64_t wide, word;
    uint8_t both[8];
    memcpy(both, key, 4);
    memcpy(both + 4, key, 4);
    memcpy(&wide, both, 8);
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= wide;
        memcpy(to + i, &word, 8);
    }
    for (; i < size; i++)
        to[i] = from[i] ^ key[i & 3];
}

/* Writes the frame as a server sends it: the same without its mask. Returns its
 * size. */
static size_t rewrite(uint8_t *to, const uint8_t *bytes, const struct frame *frame) {
    size_t head = frame->head - 4;
    memcpy(to, bytes, head);
    to[1] &= 0x7f;
    unmask(to + head, bytes + frame->head, frame->payload, bytes + head);
    return head + frame->payload;
}

static void fan_out(struct room *room, const uint8_t *data, size_t size) {
    for (uint32_t i = 0; i < room->count; i++)
        write_to(room->members[i], data, size);
}

static size_t read_frames(struct client *client, const uint8_t *bytes, size_t size) {
    struct frame frame;
    size_t done = 0, filled = 0; /* of output: an echo's replies */
    while (!client->doomed && read_frame(client, bytes + done, size - done, &frame)) {
        bool large = frame.whole > READ_SIZE;
        if (filled != 0 && filled + frame.whole > READ_SIZE) {
            write_to(client, output, filled);
            filled = 0;
        }
        uint8_t *to = large ? must(malloc(frame.whole)) : output + filled;
        size_t made = rewrite(to, bytes + done, &frame);
        done += frame.whole;
        if (client->room != NULL)
            fan_out(client->room, to, made);
        else if (large)
            write_to(client, to, made);
        else
            filled += made;
        if (large)
            free(to);
    }
    if (filled != 0)
        write_to(client, output, filled);
    return done;
}

static void read_from(struct client *client) {
    ssize_t got = recv(client->fd, input, READ_SIZE, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        doom(client);
    if (got <= 0)
        return;
    const uint8_t *bytes = input;
    size_t size = (size_t)got;
    if (client->partial != NULL) {
        append(&client->partial, input, size);
        bytes = client->partial->data;
        size = client->partial->size;
    }
    size_t done = client->open ? 0 : read_head(client, bytes, size);
    if (client->open)
        done += read_frames(client, bytes + done, size - done);
    if (client->partial != NULL) {
        client->partial->size -= done;
        memmove(client->partial->data, client->partial->data + done, client->partial->size);
        if (client->partial->size == 0)
            drop(&client->partial);
    } else if (done < size && !client->doomed) {
        append(&client->partial, bytes + done, size - done);
    }
}

static void accept_all(int listener) {
    const int on = 1;
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *client = must(calloc(1, sizeof(*client)));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        client->fd = fd;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static int listen_on(uint16_t port) {
    const int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 4096) != 0) {
        fprintf(stderr, "floor: port %u: %s\n", port, strerror(errno));
        exit(1);
    }
    return fd;
}

static void turn(int listener) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        if (client == NULL) {
            accept_all(listener);
            continue;
        }
        if ((events[i].events & EPOLLOUT) != 0 && !client->doomed)
            write_waiting(client);
        if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0 && !client->doomed)
            read_from(client);
    }
    free_doomed();
}

int main(int count, char **words) {
    struct rlimit limit;
    char *end = NULL;
    long port = count == 2 ? strtol(words[1], &end, 10) : 0;
    if (port < 1 || port > 65535 || *end != '\0') {
        fprintf(stderr, "usage: floor PORT (1 to 65535)\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int listener = listen_on((uint16_t)port);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;)
        turn(listener);
}
