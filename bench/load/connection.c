#include "connection.h"

#include "options.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

/* One read takes at most this much, so that no connection holds the loop. */
#define READ_SIZE ((size_t)256 << 10)

static uint8_t shared[READ_SIZE];

static uint32_t next_mask(void) {
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

void connection_send(struct connection *connection, enum opcode opcode, const uint8_t *payload,
                     size_t size) {
    uint8_t *place = buffer_reserve(&connection->out, FRAME_HEAD_MAX + size);
    connection->out.size += frame_write(place, opcode, payload, size, next_mask());
}

/* Bytes taken, or -1: EAGAIN when the socket is full or TLS must read first. */
static ssize_t write_some(struct connection *connection) {
    struct buffer *out = &connection->out;
    if (connection->ssl == NULL)
        return send(connection->fd, out->bytes, out->size, MSG_NOSIGNAL | MSG_DONTWAIT);
    int size = out->size < READ_SIZE ? (int)out->size : (int)READ_SIZE;
    ERR_clear_error(); /* SSL_get_error reads what an earlier call left there */
    int written = SSL_write(connection->ssl, out->bytes, size);
    if (written > 0)
        return written;
    int error = SSL_get_error(connection->ssl, written);
    errno = error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ ? EAGAIN : EPIPE;
    return -1;
}

void connection_flush(struct connection *connection) {
    while (connection->out.size != 0 && !connection->failed) {
        ssize_t written = write_some(connection);
        if (written < 0) {
            connection->failed = errno != EAGAIN && errno != EINTR;
            return;
        }
        buffer_consume(&connection->out, (size_t)written);
    }
}

static bool bind_to(int fd, uint32_t source) {
    const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source)};
    /* The port is chosen at connect(), where it need only differ for the same two addresses. */
    return setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) == 0 &&
           bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

bool connection_start(struct connection *connection, const struct options *options, uint32_t source,
                      SSL_CTX *tls) {
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    *connection = (struct connection){.index = connection->index, .fd = fd};
    if ((source != 0 && !bind_to(fd, source)) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        (connect(fd, (const struct sockaddr *)&options->server, sizeof(options->server)) != 0 &&
         errno != EINPROGRESS)) {
        int error = errno;
        close(fd);
        errno = error;
        return false;
    }
    connection->state = CONNECTION_CONNECTING;
    if (tls != NULL) {
        connection->ssl = SSL_new(tls);
        if (connection->ssl == NULL || SSL_set_fd(connection->ssl, fd) != 1) {
            connection_stop(connection);
            errno = ENOMEM;
            return false;
        }
    }
    return true;
}

bool connection_secure(struct connection *connection) {
    ERR_clear_error();
    int result = SSL_connect(connection->ssl);
    if (result == 1)
        return true;
    int error = SSL_get_error(connection->ssl, result);
    connection->failed = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
    return false;
}

static size_t read_some(struct connection *connection, uint8_t *to, size_t room) {
    if (connection->ssl == NULL) {
        ssize_t size = recv(connection->fd, to, room, MSG_DONTWAIT);
        if (size > 0)
            return (size_t)size;
        connection->failed = size == 0 || (errno != EAGAIN && errno != EINTR);
        return 0;
    }
    ERR_clear_error();
    int size = SSL_read(connection->ssl, to, room < READ_SIZE ? (int)room : (int)READ_SIZE);
    if (size > 0)
        return (size_t)size;
    int error = SSL_get_error(connection->ssl, size);
    connection->failed = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
    return 0;
}

uint8_t *connection_read(struct connection *connection, size_t *size, bool *full) {
    struct buffer *in = &connection->in;
    if (in->size == 0) {
        *size = read_some(connection, shared, READ_SIZE);
        *full = *size != 0 && (connection->ssl != NULL || *size == READ_SIZE);
        return shared;
    }
    if (in->capacity == in->size)
        buffer_reserve(in, 4096);
    size_t room = in->capacity - in->size;
    size_t more = read_some(connection, in->bytes + in->size, room);
    *full = more != 0 && (connection->ssl != NULL || more == room);
    in->size += more;
    *size = more != 0 ? in->size : 0;
    return in->bytes;
}

void connection_keep(struct connection *connection, size_t done, size_t size, size_t needed) {
    struct buffer *in = &connection->in;
    /* What was kept before is read on behind it; otherwise all of it lies in the shared bytes. */
    if (in->size != 0)
        buffer_consume(in, done);
    else
        buffer_append(in, shared + done, size - done);
    if (in->size == 0)
        buffer_free(in);
    else if (needed > in->size)
        buffer_reserve(in, needed - in->size);
}

void connection_stop(struct connection *connection) {
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (connection->state == CONNECTION_CLOSED)
        return;
    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(connection->fd);
    SSL_free(connection->ssl);
    buffer_free(&connection->in);
    buffer_free(&connection->fragmented);
    buffer_free(&connection->out);
    *connection = (struct connection){.index = connection->index, .fd = -1};
}
