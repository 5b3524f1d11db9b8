#include "net/proxies.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Addresses are compared as 16 bytes, IPv4 as IPv6 writes it (RFC 4291 section 2.5.5.2). */
struct network {
    uint8_t address[16];
    unsigned bits;
};

struct proxies {
    atomic_uint owners;
    bool paths; /* whoever connects to a socket with a path */
    struct network *networks;
    size_t count;
};

/* Longer than any address with a port. */
#define ADDRESS_TEXT_MAX 64

/* --- whom to trust --- */

struct proxies *proxies_create(void) {
    struct proxies *proxies = h2o_mem_alloc(sizeof(*proxies));
    *proxies = (struct proxies){.owners = 1};
    return proxies;
}

struct proxies *proxies_share(struct proxies *proxies) {
    atomic_fetch_add(&proxies->owners, 1);
    return proxies;
}

void proxies_free(struct proxies *proxies) {
    if (proxies == NULL || atomic_fetch_sub(&proxies->owners, 1) != 1)
        return;
    free(proxies->networks);
    free(proxies);
}

static void map_v4(uint8_t to[16], const void *address) {
    memset(to, 0, 10);
    memset(to + 10, 0xff, 2);
    memcpy(to + 12, address, 4);
}

static bool map(uint8_t to[16], const struct sockaddr *peer) {
    if (peer->sa_family == AF_INET)
        map_v4(to, &((const struct sockaddr_in *)(const void *)peer)->sin_addr);
    else if (peer->sa_family == AF_INET6)
        memcpy(to, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, 16);
    return peer->sa_family == AF_INET || peer->sa_family == AF_INET6;
}

static bool is_within(const struct network *network, const uint8_t address[16]) {
    unsigned bytes = network->bits / 8, bits = network->bits % 8;
    return memcmp(network->address, address, bytes) == 0 &&
           (bits == 0 || ((network->address[bytes] ^ address[bytes]) >> (8 - bits)) == 0);
}

bool proxies_trust(const struct proxies *proxies, const struct sockaddr *peer) {
    uint8_t address[16] = {0};
    if (proxies == NULL)
        return false;
    if (!map(address, peer))
        return peer->sa_family == AF_UNIX && proxies->paths;
    for (size_t i = 0; i < proxies->count; i++)
        if (is_within(&proxies->networks[i], address))
            return true;
    return false;
}

/* --- reading what the operator wrote --- */

static bool has_bits_beyond(const struct network *network) {
    struct network shorter = *network;
    for (unsigned bit = network->bits; bit < 128; bit++)
        shorter.address[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
    return memcmp(shorter.address, network->address, 16) != 0;
}

static bool read_bits(const char *text, unsigned most, unsigned *bits) {
    size_t size = strspn(text, "0123456789");
    if (size == 0 || size > 3 || text[size] != '\0')
        return false;
    *bits = (unsigned)strtoul(text, NULL, 10);
    return *bits <= most;
}

static bool read_network(const char *text, struct network *network) {
    char host[ADDRESS_TEXT_MAX];
    uint8_t v4[4];
    size_t size = strcspn(text, "/");
    unsigned bits;
    if (size >= sizeof(host))
        return false;
    memcpy(host, text, size);
    host[size] = '\0';
    bool is_v4 = inet_pton(AF_INET, host, v4) == 1;
    if (is_v4)
        map_v4(network->address, v4);
    else if (inet_pton(AF_INET6, host, network->address) != 1)
        return false;
    bits = is_v4 ? 32 : 128;
    if (text[size] == '/' && !read_bits(text + size + 1, bits, &bits))
        return false;
    network->bits = is_v4 ? bits + 96 : bits;
    return true;
}

bool proxies_add(struct proxies *proxies, const char *text, struct error *error) {
    struct network network;
    if (strcmp(text, "unix") == 0) {
        proxies->paths = true;
        return true;
    }
    if (!read_network(text, &network))
        return error_set(error,
                         "`%s` is no address; write one such as 192.0.2.7, a network such as "
                         "10.0.0.0/8 or 2001:db8::/32, or unix",
                         text);
    if (has_bits_beyond(&network))
        return error_set(error, "`%s` is no network: bits behind its length are set", text);
    proxies->networks =
        h2o_mem_realloc(proxies->networks, (proxies->count + 1) * sizeof(*proxies->networks));
    proxies->networks[proxies->count++] = network;
    return true;
}

/* --- whom they forward --- */

/* An address, perhaps with a port: 192.0.2.7, 192.0.2.7:80, 2001:db8::1, [2001:db8::1]:80. */
static socklen_t read_client(const char *text, size_t size, struct sockaddr_storage *client) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)client;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)client;
    char host[ADDRESS_TEXT_MAX];
    if (size == 0 || size >= sizeof(host))
        return 0;
    memcpy(host, text, size);
    host[size] = '\0';
    char *start = host, *colon = strchr(host, ':'), *bracket = strchr(host, ']');
    if (host[0] == '[' && bracket != NULL && (bracket[1] == '\0' || bracket[1] == ':')) {
        start++;
        *bracket = '\0';
    } else if (colon != NULL && strchr(colon + 1, ':') == NULL) {
        *colon = '\0';
    }
    *client = (struct sockaddr_storage){.ss_family = AF_INET};
    if (inet_pton(AF_INET, start, &v4->sin_addr) == 1)
        return sizeof(*v4);
    client->ss_family = AF_INET6;
    return inet_pton(AF_INET6, start, &v6->sin6_addr) == 1 ? sizeof(*v6) : 0;
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* The last element of the list, without blanks; *size is then that of the list before it. */
static const char *take_last(const char *list, size_t *size, size_t *length) {
    size_t start = *size, end = *size;
    while (start > 0 && list[start - 1] != ',')
        start--;
    *size = start == 0 ? 0 : start - 1;
    while (start < end && is_blank(list[start]))
        start++;
    while (end > start && is_blank(list[end - 1]))
        end--;
    *length = end - start;
    return list + start;
}

socklen_t proxies_client(const struct proxies *proxies, const char *list, size_t size,
                         struct sockaddr_storage *client) {
    struct sockaddr_storage next;
    socklen_t found = 0;
    while (size > 0) {
        size_t length;
        const char *element = take_last(list, &size, &length);
        socklen_t next_size = read_client(element, length, &next);
        if (next_size == 0)
            return found;
        *client = next;
        found = next_size;
        if (!proxies_trust(proxies, (const struct sockaddr *)client))
            return found;
    }
    return found;
}
