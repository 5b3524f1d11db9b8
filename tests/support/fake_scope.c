/* What a client brought: captures, query, headers, cookies, as the server reads them. */
#include "fake_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- names and values --- */

void fake_pairs_add(struct pairs *pairs, const char *name, const char *value) {
    pairs->items = realloc(pairs->items, (pairs->count + 1) * sizeof(pairs->items[0]));
    if (!pairs->items)
        abort();
    pairs->items[pairs->count++] = (struct pair){fake_copy(name), fake_copy(value)};
}

char *fake_pairs_join(const struct pairs *pairs, const char *name) {
    char *joined = NULL, *longer;
    for (size_t i = 0; i < pairs->count; i++) {
        if (strcasecmp(pairs->items[i].name, name) != 0)
            continue;
        if (asprintf(&longer, "%s%s%s", joined ? joined : "", joined ? ", " : "",
                     pairs->items[i].value) < 0)
            abort();
        free(joined);
        joined = longer;
    }
    return joined;
}

void fake_pairs_free(struct pairs *pairs) {
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->items[i].name);
        free(pairs->items[i].value);
    }
    free(pairs->items);
    *pairs = (struct pairs){NULL, 0};
}

static void add_list(struct pairs *pairs, const char *const *list) {
    for (size_t i = 0; list && list[i]; i += 2) {
        if (!list[i + 1])
            fake_fault("the test's list of names and values ends after the name \"%s\"", list[i]);
        fake_pairs_add(pairs, list[i], list[i + 1]);
    }
}

/* --- life --- */

static char *copy_or(const char *text, const char *otherwise) {
    return fake_copy(text ? text : otherwise);
}

void fake_scope_set(sluice_conn *conn, const struct fake_scope *scope) {
    static const struct fake_scope nothing;
    if (!scope)
        scope = &nothing;
    conn->path = copy_or(scope->path, "/");
    conn->query = fake_copy(scope->query);
    conn->method = copy_or(scope->method, "GET");
    conn->authority = copy_or(scope->host, "example.test");
    conn->scheme = copy_or(scope->scheme, "http");
    conn->peer = copy_or(scope->peer, "192.0.2.1:5000");
    conn->body = fake_copy(scope->body);
    conn->offered = fake_copy(scope->offered);
    add_list(&conn->params, scope->params);
    add_list(&conn->headers, scope->headers);
}

static void free_text(char **text) {
    free(*text);
    *text = NULL;
}

void fake_scope_forget_request(sluice_conn *conn) {
    free_text(&conn->path);
    free_text(&conn->query);
    free_text(&conn->method);
    free_text(&conn->authority);
    free_text(&conn->scheme);
    free_text(&conn->body);
    free_text(&conn->offered);
    fake_pairs_free(&conn->headers);
}

void fake_scope_free(sluice_conn *conn) {
    fake_scope_forget_request(conn);
    free_text(&conn->peer);
    free_text(&conn->subprotocol);
    free_text(&conn->reason);
    fake_pairs_free(&conn->params);
}

/* --- reading --- */

const char *fake_scope_param(const sluice_conn *conn, const char *name) {
    for (size_t i = 0; name && i < conn->params.count; i++)
        if (strcmp(conn->params.items[i].name, name) == 0)
            return conn->params.items[i].value;
    return NULL;
}

static int hex_digit(char digit) {
    static const char digits[] = "0123456789abcdef";
    const char *at = digit ? strchr(digits, digit | 0x20) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* application/x-www-form-urlencoded: a plus is a space, %XX a byte; NULL for one that holds a NUL.
   To free. */
static char *decode(const char *text, size_t size) {
    char *decoded = fake_alloc(size + 1), *to = decoded;
    for (size_t i = 0; i < size; i++, to++) {
        bool escaped = text[i] == '%' && i + 2 < size && hex_digit(text[i + 1]) >= 0 &&
                       hex_digit(text[i + 2]) >= 0;
        *to = text[i] == '+' ? ' ' : text[i];
        if (!escaped)
            continue;
        *to = (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
        i += 2;
        if (*to == '\0') {
            free(decoded);
            return NULL;
        }
    }
    *to = '\0';
    return decoded;
}

static char *find_parameter(const char *query, const char *name) {
    for (const char *at = query; at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL) {
        size_t size = strcspn(at, "&"), key_size = strcspn(at, "&=");
        char *key = decode(at, key_size);
        bool found = key && strcmp(key, name) == 0;
        free(key);
        if (found && key_size == size)
            return fake_copy("");
        if (found)
            return decode(at + key_size + 1, size - key_size - 1);
    }
    return NULL;
}

static char *find_cookie(const struct pairs *headers, const char *name) {
    size_t name_size = strlen(name);
    for (size_t i = 0; i < headers->count; i++) {
        if (strcasecmp(headers->items[i].name, "cookie") != 0)
            continue;
        for (const char *at = headers->items[i].value; *at;
             at += strcspn(at, ";"), at += *at == ';') {
            at += strspn(at, " \t");
            if (strncmp(at, name, name_size) == 0 && at[name_size] == '=') {
                size_t size = strcspn(at + name_size + 1, "; \t");
                return strndup(at + name_size + 1, size);
            }
        }
    }
    return NULL;
}

/* What was asked for, as a copy to free, or NULL. */
static char *find(sluice_conn *conn, int what, const char *name) {
    switch (what) {
    case SLUICE_PATH:
        return fake_copy(conn->path);
    case SLUICE_QUERY:
        return name && conn->query ? find_parameter(conn->query, name)
               : name              ? NULL
                                   : fake_copy(conn->query);
    case SLUICE_HEADER:
        return name ? fake_pairs_join(&conn->headers, name) : NULL;
    case SLUICE_COOKIE:
        return name ? find_cookie(&conn->headers, name) : NULL;
    case SLUICE_METHOD:
        return fake_copy(conn->method);
    case SLUICE_BODY:
        return fake_copy(conn->body);
    case SLUICE_OFFERED:
        return fake_copy(conn->offered);
    case SLUICE_REASON:
        return fake_copy(conn->reason);
    case SLUICE_HOST:
        return fake_copy(conn->authority);
    case SLUICE_SCHEME:
        return fake_copy(conn->scheme);
    default:
        return NULL;
    }
}

const char *fake_scope_get(sluice_conn *conn, int what, const char *name) {
    if (what == SLUICE_PEER)
        return conn->peer;
    if (what == SLUICE_SUBPROTOCOL)
        return conn->subprotocol;
    char *found = find(conn, what, name);
    const char *lent = found ? fake_lend(conn->host, found, strlen(found)) : NULL;
    free(found);
    return lent;
}

bool fake_scope_choose(sluice_conn *conn, const char *subprotocol) {
    size_t size = strlen(subprotocol);
    for (const char *at = conn->offered; at && *at; at += strcspn(at, ","), at += *at == ',') {
        at += strspn(at, " \t");
        if (size > 0 && strcspn(at, ", \t") == size && strncmp(at, subprotocol, size) == 0) {
            conn->subprotocol = fake_copy(subprotocol);
            return true;
        }
    }
    return false;
}
