#include "consumer/scope.h"

#include <sluice/consumer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "websocket/utf8.h"

static char *pool_string(h2o_req_t *req, const char *base, size_t size) {
    return h2o_strdup(&req->pool, base, size).base;
}

static const char *iovec_string(h2o_req_t *req, h2o_iovec_t text) {
    return text.base == NULL ? NULL : pool_string(req, text.base, text.len);
}

/* --- what lives on --- */

static void write_peer(h2o_req_t *req, char *text, size_t room) {
    struct sockaddr_storage address;
    struct sockaddr *sa = (struct sockaddr *)&address;
    socklen_t size = req->conn->callbacks->get_peername(req->conn, sa);
    char host[NI_MAXHOST];
    if (size == 0 || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6) ||
        h2o_socket_getnumerichost(sa, size, host) == SIZE_MAX) {
        snprintf(text, room, "unix");
        return;
    }
    int port = (int)h2o_socket_getport(sa);
    if (sa->sa_family == AF_INET6)
        snprintf(text, room, "[%s]:%d", host, port);
    else
        snprintf(text, room, "%s:%d", host, port);
}

/* Stands for a capture that took no part: no text of a path, which is UTF-8 or refused. */
#define ABSENT "\xff"

/* What is kept of a capture; a NUL in the path ends the text there, as for whoever reads it. */
static h2o_iovec_t kept_of(h2o_iovec_t value) {
    if (value.base == NULL)
        return h2o_iovec_init(ABSENT, strlen(ABSENT));
    return h2o_iovec_init(value.base, strnlen(value.base, value.len));
}

const char *scope_pack(h2o_req_t *req, const struct capture_names *names, const h2o_iovec_t *values,
                       size_t *size) {
    char peer[SCOPE_PEER_MAX];
    write_peer(req, peer, sizeof(peer));
    *size = strlen(peer) + 1;
    for (size_t i = 0; i < names->count; i++)
        *size += kept_of(values[i]).len + 1;
    char *packed = h2o_mem_alloc_pool(&req->pool, *size), *at = packed;
    for (size_t i = 0; i < names->count; i++) {
        h2o_iovec_t kept = kept_of(values[i]);
        memcpy(at, kept.base, kept.len);
        at += kept.len;
        *at++ = '\0';
    }
    memcpy(at, peer, strlen(peer) + 1);
    return packed;
}

/* The text at this place. */
static const char *place_of(const char *packed, size_t number) {
    while (number-- > 0)
        packed += strlen(packed) + 1;
    return packed;
}

const char *scope_peer(const char *packed, const struct capture_names *names) {
    return place_of(packed, names->count);
}

static const char *capture(const char *packed, size_t number) {
    const char *place = place_of(packed, number);
    return strcmp(place, ABSENT) == 0 ? NULL : place;
}

const char *scope_param(const char *packed, const struct capture_names *names, const char *name) {
    if (name == NULL)
        return NULL;
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (*name >= '0' && *name <= '9' && *end == '\0')
        return number < names->count ? capture(packed, number) : NULL;
    for (size_t i = 0; i < names->count; i++)
        if (names->names[i] != NULL && strcmp(names->names[i], name) == 0)
            return capture(packed, i);
    return NULL;
}

/* --- what the request holds --- */

const char *scope_header(h2o_req_t *req, const char *name) {
    if (strcmp(name, "host") == 0) /* h2o keeps it apart */
        return iovec_string(req, req->input.authority);
    size_t name_size = strlen(name), size = 0;
    char *joined = NULL;
    for (size_t i = 0; i < req->headers.size; i++) {
        const h2o_header_t *header = &req->headers.entries[i];
        if (!h2o_memis(header->name->base, header->name->len, name, name_size))
            continue;
        char *longer = h2o_mem_alloc_pool(&req->pool, size + 2 + header->value.len + 1);
        if (joined != NULL) {
            memcpy(longer, joined, size);
            memcpy(longer + size, ", ", 2);
            size += 2;
        }
        memcpy(longer + size, header->value.base, header->value.len);
        size += header->value.len;
        longer[size] = '\0';
        joined = longer;
    }
    return joined;
}

static const char *any_header(h2o_req_t *req, const char *name) {
    if (name == NULL)
        return NULL;
    char *lower = pool_string(req, name, strlen(name));
    h2o_strtolower(lower, strlen(lower));
    return scope_header(req, lower);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* application/x-www-form-urlencoded: "+" is a space, %XX a byte. A NUL would cut the string: the
 * parameter is absent. */
static const char *decode_parameter(h2o_req_t *req, const char *text, size_t size) {
    char *decoded = h2o_mem_alloc_pool(&req->pool, size + 1), *to = decoded;
    for (size_t i = 0; i < size; i++) {
        int high = 0, low = 0;
        if (text[i] == '%' && i + 2 < size && (high = hex_digit(text[i + 1])) >= 0 &&
            (low = hex_digit(text[i + 2])) >= 0) {
            *to = (char)(high * 16 + low);
            i += 2;
        } else {
            *to = text[i] == '+' ? ' ' : text[i];
        }
        if (*to++ == '\0')
            return NULL;
    }
    *to = '\0';
    return decoded;
}

static const char *query(h2o_req_t *req, const char *name) {
    if (req->query_at == SIZE_MAX || req->query_at >= req->path.len)
        return NULL;
    const char *at = req->path.base + req->query_at + 1, *end = req->path.base + req->path.len;
    if (name == NULL)
        return pool_string(req, at, (size_t)(end - at));
    for (const char *stop; at <= end; at = stop + 1) {
        stop = memchr(at, '&', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        const char *key_end = equals == NULL ? stop : equals;
        const char *key = decode_parameter(req, at, (size_t)(key_end - at));
        if (key != NULL && strcmp(key, name) == 0) {
            const char *value = equals == NULL ? stop : equals + 1;
            return decode_parameter(req, value, (size_t)(stop - value));
        }
    }
    return NULL;
}

/* RFC 6265 section 5.4: pairs split by semicolons; the first of a name counts. */
static const char *find_cookie(h2o_req_t *req, h2o_iovec_t pairs, const char *name) {
    const char *at = pairs.base, *end = pairs.base + pairs.len;
    size_t name_size = strlen(name);
    for (const char *stop; at < end; at = stop + 1) {
        stop = memchr(at, ';', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        h2o_iovec_t pair = h2o_str_stripws(at, (size_t)(stop - at));
        if (pair.len > name_size && pair.base[name_size] == '=' &&
            memcmp(pair.base, name, name_size) == 0)
            return pool_string(req, pair.base + name_size + 1, pair.len - name_size - 1);
    }
    return NULL;
}

static const char *cookie(h2o_req_t *req, const char *name) {
    for (size_t i = 0; name != NULL && i < req->headers.size; i++) {
        const h2o_header_t *header = &req->headers.entries[i];
        if (header->name != &H2O_TOKEN_COOKIE->buf)
            continue;
        const char *value = find_cookie(req, header->value, name);
        if (value != NULL)
            return value;
    }
    return NULL;
}

/* The offered subprotocols, however the client spaced them (RFC 6455 section 11.3.4). */
static const char *offered(h2o_req_t *req) {
    const char *all = scope_header(req, "sec-websocket-protocol"), *token;
    if (all == NULL)
        return NULL;
    h2o_iovec_t rest = h2o_iovec_init(all, strlen(all));
    char *list = h2o_mem_alloc_pool(&req->pool, rest.len * 3 + 1), *to = list;
    size_t size;
    while ((token = h2o_next_token(&rest, ',', &size, NULL)) != NULL) {
        if (size == 0 || *token == ',')
            continue;
        if (to != list)
            to = stpcpy(to, ", ");
        memcpy(to, token, size);
        to += size;
    }
    *to = '\0';
    return list;
}

static const char *request_text(h2o_req_t *req, int what, const char *name) {
    switch (what) {
    case SLUICE_PATH:
        return iovec_string(req, req->path_normalized);
    case SLUICE_QUERY:
        return query(req, name);
    case SLUICE_HEADER:
        return any_header(req, name);
    case SLUICE_COOKIE:
        return cookie(req, name);
    case SLUICE_METHOD:
        return iovec_string(req, req->input.method);
    case SLUICE_BODY:
        return iovec_string(req, req->entity);
    case SLUICE_OFFERED:
        return offered(req);
    case SLUICE_HOST:
        return iovec_string(req, req->input.authority);
    case SLUICE_SCHEME:
        return iovec_string(req, req->input.scheme->name);
    default:
        return NULL;
    }
}

/* A consumer is promised UTF-8; what a client sent that is none counts as absent. */
const char *scope_get(h2o_req_t *req, int what, const char *name) {
    const char *text = req == NULL ? NULL : request_text(req, what, name);
    return text != NULL && utf8_valid(text, strlen(text)) ? text : NULL;
}

bool scope_offers(h2o_req_t *req, const char *subprotocol) {
    const char *offered_all = req == NULL ? NULL : scope_header(req, "sec-websocket-protocol");
    size_t wanted = strlen(subprotocol), size;
    if (offered_all == NULL || wanted == 0)
        return false;
    h2o_iovec_t rest = h2o_iovec_init(offered_all, strlen(offered_all));
    const char *token;
    while ((token = h2o_next_token(&rest, ',', &size, NULL)) != NULL)
        if (size == wanted && memcmp(token, subprotocol, size) == 0)
            return true;
    return false;
}
