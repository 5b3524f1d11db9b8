#include "process/channel.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "snapshot/snapshot.h"

#define SEND_SECONDS 10

struct head {
    uint32_t kind, number;
};

union control {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

bool channel_open(int ends[2]) {
    const struct timeval patience = {.tv_sec = SEND_SECONDS};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    for (int i = 0; i < 2; i++)
        setsockopt(ends[i], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return true;
}

void channel_hurry(int channel) {
    const struct timeval hardly = {.tv_usec = 50000};
    setsockopt(channel, SOL_SOCKET, SO_SNDTIMEO, &hardly, sizeof(hardly));
}

static void put_descriptor(struct msghdr *message, union control *control, int fd) {
    memset(control, 0, sizeof(*control));
    message->msg_control = control->bytes;
    message->msg_controllen = sizeof(control->bytes);
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof(fd));
}

bool channel_send_bytes(int channel, enum channel_kind kind, uint32_t number, const void *bytes,
                        size_t size, int fd) {
    struct head head = {kind, number};
    struct iovec parts[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)bytes, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    union control control;
    if (size > CHANNEL_TEXT_MAX)
        parts[1].iov_len = CHANNEL_TEXT_MAX;
    if (fd != -1)
        put_descriptor(&message, &control, fd);
    ssize_t sent;
    do
        sent = sendmsg(channel, &message, MSG_NOSIGNAL);
    while (sent == -1 && errno == EINTR);
    return sent != -1;
}

bool channel_send(int channel, enum channel_kind kind, uint32_t number, const char *text, int fd) {
    return channel_send_bytes(channel, kind, number, text, strlen(text), fd);
}

static bool send_entry(int channel, const struct snapshot_entry *entry) {
    char text[2 * SNAPSHOT_NAME_MAX];
    int size = snprintf(text, sizeof(text), "%s%c%s", entry->name, '\0',
                        entry->path == NULL ? "" : entry->path);
    return size >= 0 && (size_t)size < sizeof(text) &&
           channel_send_bytes(channel, CHANNEL_ENTRY, entry->kind, text, (size_t)size, entry->fd);
}

bool channel_send_snapshot(int channel, const struct snapshot *snapshot) {
    size_t count;
    const struct snapshot_entry *entries = snapshot_entries(snapshot, &count);
    for (size_t i = 0; i < count; i++)
        if (!send_entry(channel, &entries[i]))
            return false;
    return true;
}

static int take_descriptor(struct msghdr *message) {
    int fd = -1;
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    if (head != NULL && head->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(head), sizeof(fd));
    return fd;
}

int channel_receive(int channel, bool wait, struct channel_message *message) {
    struct head head;
    struct iovec parts[2] = {{&head, sizeof(head)}, {message->text, CHANNEL_TEXT_MAX}};
    union control control;
    struct msghdr whole = {.msg_iov = parts,
                           .msg_iovlen = 2,
                           .msg_control = control.bytes,
                           .msg_controllen = CMSG_LEN(sizeof(int))};
    ssize_t size;
    do
        size = recvmsg(channel, &whole, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    while (size == -1 && errno == EINTR);
    if (size == -1)
        return -1;
    message->fd = take_descriptor(&whole);
    if (size < (ssize_t)sizeof(head)) { /* the end, or no message: its descriptor is nobody's */
        if (message->fd != -1)
            close(message->fd);
        return 0;
    }
    message->kind = (enum channel_kind)head.kind;
    message->number = head.number;
    message->size = (size_t)size - sizeof(head);
    message->text[message->size] = '\0';
    return 1;
}

bool channel_add_entry(struct snapshot *snapshot, struct channel_message *message) {
    size_t name_size = strlen(message->text);
    if (message->kind != CHANNEL_ENTRY || message->number >= SNAPSHOT_KINDS ||
        name_size >= message->size + 1)
        return false;
    const char *path = name_size < message->size ? message->text + name_size + 1 : "";
    snapshot_add(snapshot, (enum snapshot_kind)message->number, message->text,
                 path[0] == '\0' ? NULL : path, message->fd);
    message->fd = -1;
    return true;
}
