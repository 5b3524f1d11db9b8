/*
 * What a proxy says of its client before the client's first byte: the PROXY protocol, version 1 and
 * 2. It is fed with bytes and takes none that belong to the client, so that TLS may follow. Pure
 * functions. [any thread]
 */
#ifndef SLUICE_NET_PROXY_LINE_H
#define SLUICE_NET_PROXY_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* The longest line of version 1, and more than what counts of version 2. */
#define PROXY_LINE_MAX 107

enum proxy_line_state {
    PROXY_LINE_GOES_ON,
    PROXY_LINE_ENDS, /* the client's bytes follow */
    PROXY_LINE_WRONG
};

/* Zeroed before first use. */
struct proxy_line {
    enum proxy_line_state state;
    size_t taken; /* so far, skipped ones included; 65,551 at most */
    uint8_t bytes[PROXY_LINE_MAX];
};

/* Returns how many of the bytes it has taken: all of them, while it goes on. */
size_t proxy_line_feed(struct proxy_line *line, const uint8_t *bytes, size_t size);

/* The client of a line that has ended: its size, or 0 when the proxy speaks for itself or names no
   address (LOCAL, UNKNOWN, a path). */
socklen_t proxy_line_client(const struct proxy_line *line, struct sockaddr_storage *client);

#endif
