#include "net/proxy_line.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* Version 2, section 2.2 of the specification: signature, version and command, family, size. */
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_SIZE 12
#define HEAD_SIZE 16
#define PROXIED 0x21
#define LOCAL 0x20
#define TCP4 0x11
#define TCP6 0x21
#define TCP4_SIZE 12
#define TCP6_SIZE 36

static bool is_second(const struct proxy_line *line) { return line->bytes[0] == '\r'; }

/* --- version 1 --- */

struct words {
    char text[PROXY_LINE_MAX + 1];
    const char *word[7];
    size_t count;
};

/* One space between each, as section 2.1 wants. */
static void split(struct words *words, const struct proxy_line *line) {
    memcpy(words->text, line->bytes, line->taken);
    words->text[line->taken - 2] = '\0'; /* the end of the line */
    words->count = 0;
    for (char *at = words->text; at != NULL && words->count < 7;) {
        char *space = strchr(at, ' ');
        words->word[words->count++] = at;
        if (space != NULL)
            *space++ = '\0';
        at = space;
    }
}

static bool is_port(const char *text, in_port_t *port) {
    size_t size = strspn(text, "0123456789");
    unsigned long number = size == 0 || size > 5 ? 65536 : strtoul(text, NULL, 10);
    *port = htons((in_port_t)number);
    return text[size] == '\0' && number <= 65535;
}

/* Size 0: wrong. */
static socklen_t read_address(int family, const char *host, const char *port,
                              struct sockaddr_storage *to) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    *to = (struct sockaddr_storage){.ss_family = (sa_family_t)family};
    if (family == AF_INET)
        return inet_pton(AF_INET, host, &v4->sin_addr) == 1 && is_port(port, &v4->sin_port)
                   ? sizeof(*v4)
                   : 0;
    return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1 && is_port(port, &v6->sin6_port)
               ? sizeof(*v6)
               : 0;
}

static socklen_t first_client(const struct proxy_line *line, struct sockaddr_storage *client,
                              bool *is_right) {
    struct words words;
    struct sockaddr_storage own;
    split(&words, line);
    *is_right = words.count >= 2 && strcmp(words.word[0], "PROXY") == 0;
    if (*is_right && strcmp(words.word[1], "UNKNOWN") == 0)
        return 0;
    int family = words.count == 6 && strcmp(words.word[1], "TCP4") == 0   ? AF_INET
                 : words.count == 6 && strcmp(words.word[1], "TCP6") == 0 ? AF_INET6
                                                                          : AF_UNSPEC;
    *is_right = *is_right && family != AF_UNSPEC &&
                read_address(family, words.word[3], words.word[5], &own) != 0;
    socklen_t size = *is_right ? read_address(family, words.word[2], words.word[4], client) : 0;
    *is_right = size != 0;
    return size;
}

static enum proxy_line_state check_first(const struct proxy_line *line) {
    struct sockaddr_storage client;
    static const char name[] = "PROXY ";
    size_t known = line->taken < sizeof(name) - 1 ? line->taken : sizeof(name) - 1;
    bool is_right;
    if (memcmp(line->bytes, name, known) != 0)
        return PROXY_LINE_WRONG;
    if (line->bytes[line->taken - 1] != '\n')
        return line->taken == PROXY_LINE_MAX ? PROXY_LINE_WRONG : PROXY_LINE_GOES_ON;
    if (line->bytes[line->taken - 2] != '\r')
        return PROXY_LINE_WRONG;
    first_client(line, &client, &is_right);
    return is_right ? PROXY_LINE_ENDS : PROXY_LINE_WRONG;
}

/* --- version 2 --- */

static size_t size_of(const struct proxy_line *line) {
    return HEAD_SIZE + (size_t)(line->bytes[14] << 8 | line->bytes[15]);
}

static bool is_right_head(const struct proxy_line *line) {
    uint8_t command = line->bytes[12], family = line->bytes[13];
    size_t size = size_of(line) - HEAD_SIZE;
    return command == LOCAL || (command == PROXIED && (family != TCP4 || size >= TCP4_SIZE) &&
                                (family != TCP6 || size >= TCP6_SIZE));
}

static enum proxy_line_state check_second(const struct proxy_line *line) {
    size_t known = line->taken < SIGNATURE_SIZE ? line->taken : SIGNATURE_SIZE;
    if (memcmp(line->bytes, SIGNATURE, known) != 0)
        return PROXY_LINE_WRONG;
    if (line->taken < HEAD_SIZE)
        return PROXY_LINE_GOES_ON;
    if (line->taken == HEAD_SIZE && !is_right_head(line))
        return PROXY_LINE_WRONG;
    return line->taken == size_of(line) ? PROXY_LINE_ENDS : PROXY_LINE_GOES_ON;
}

static socklen_t second_client(const struct proxy_line *line, struct sockaddr_storage *client) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)client;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)client;
    const uint8_t *at = line->bytes + HEAD_SIZE;
    *client = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    if (line->bytes[12] != PROXIED)
        return 0;
    if (line->bytes[13] == TCP4) {
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_addr, at, 4);
        memcpy(&v4->sin_port, at + 8, 2);
        return sizeof(*v4);
    }
    if (line->bytes[13] != TCP6)
        return 0;
    v6->sin6_family = AF_INET6;
    memcpy(&v6->sin6_addr, at, 16);
    memcpy(&v6->sin6_port, at + 32, 2);
    return sizeof(*v6);
}

/* --- both --- */

size_t proxy_line_feed(struct proxy_line *line, const uint8_t *bytes, size_t size) {
    size_t used = 0;
    while (used < size && line->state == PROXY_LINE_GOES_ON) {
        /* What comes behind the addresses of version 2 is skipped. */
        if (line->taken < PROXY_LINE_MAX)
            line->bytes[line->taken] = bytes[used];
        used++;
        line->taken++;
        line->state = is_second(line) ? check_second(line) : check_first(line);
    }
    return used;
}

socklen_t proxy_line_client(const struct proxy_line *line, struct sockaddr_storage *client) {
    bool is_right;
    assert(line->state == PROXY_LINE_ENDS);
    return is_second(line) ? second_client(line, client) : first_client(line, client, &is_right);
}
