/*
 * A consumer to copy for an authentication of your own: it lets in who brings a signed token, knows
 * who it is, and closes with 4401 when the token expires. What is between is a relay: what one says
 * in the group of the URL, all hear as "user: text".
 */
#include <sluice/consumer.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "secrets.h"
#include "token.h"

#define SUBPROTOCOL "auth.v1"
#define BEARER "bearer."
#define RENEW "renew "
#define EXPIRED_CODE 4401
#define TIMER_MS_MAX (30ll * 24 * 3600 * 1000) /* sluice_timer's */

struct settings {
    const char *cookie; /* "" for none */
    struct secrets secrets;
};

struct visitor {
    char user[TOKEN_USER_BYTES_MAX + 1];
    int64_t left_ms; /* of the token's life, behind the timer's end */
    sluice_id timer;
};

/* --- options --- */

/* NULL when the secrets are there, or else what is wrong. */
static const char *read_secrets(struct settings *settings, const char *path,
                                char fault[SECRETS_FAULT_BYTES]) {
    if (!path)
        return "name the file with the secrets that tokens are signed with";
    /* The server's folder is not the configuration's. */
    if (path[0] != '/')
        return "takes an absolute path";
    return secrets_read(&settings->secrets, path, fault) ? NULL : fault;
}

static int on_open(sluice_route *route, void **data) {
    char fault[SECRETS_FAULT_BYTES];
    struct settings *settings = calloc(1, sizeof(*settings));
    if (!settings)
        return -1;
    settings->cookie = sluice_option_text(route, "cookie", "session");
    const char *path = sluice_option_text(route, "secret-file", NULL);
    const char *wrong = read_secrets(settings, path, fault);
    if (wrong) {
        sluice_option_error(route, "secret-file", wrong);
        secrets_forget(&settings->secrets);
        free(settings);
        return -1;
    }
    *data = settings;
    return 0;
}

static void on_shut(sluice_route *route, void *data) {
    struct settings *settings = data;
    (void)route;
    secrets_forget(&settings->secrets);
    free(settings);
}

/* --- the token --- */

static const struct settings *settings_of(sluice_conn *conn) {
    return sluice_route_data(sluice_conn_route(conn));
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

/* The first "bearer.TOKEN" of a list of subprotocols: the token and its size. NULL for none. */
static const char *find_bearer(const char *list, size_t *size) {
    const size_t start = strlen(BEARER);
    while (list && *list) {
        size_t length = strcspn(list, ", ");
        if (length >= start && memcmp(list, BEARER, start) == 0) {
            *size = length - start;
            return list + start;
        }
        list += length;
        list += strspn(list, ", ");
    }
    return NULL;
}

/* What the client brought, or NULL. A bearer comes before a cookie, which browsers send by
   themselves. */
static const char *find_token(sluice_conn *conn, size_t *size) {
    const char *cookie = settings_of(conn)->cookie;
    const char *token = find_bearer(sluice_scope(conn, SLUICE_OFFERED, NULL), size);
    if (token || !cookie[0])
        return token;
    token = sluice_scope(conn, SLUICE_COOKIE, cookie);
    *size = token ? strlen(token) : 0;
    return token;
}

/* --- its end --- */

static void on_due(sluice_conn *conn, void *arg);

/* A life longer than a timer takes several. */
static void wait_for_end(sluice_conn *conn) {
    struct visitor *visitor = sluice_data(conn);
    int64_t wait_ms = visitor->left_ms < TIMER_MS_MAX ? visitor->left_ms : TIMER_MS_MAX;
    visitor->left_ms -= wait_ms;
    if (sluice_timer(conn, (uint64_t)wait_ms, on_due, NULL, &visitor->timer) != SLUICE_OK)
        sluice_close(conn, 1011, "out of timers");
}

static void on_due(sluice_conn *conn, void *arg) {
    (void)arg;
    if (!conn)
        return;
    const struct visitor *visitor = sluice_data(conn);
    if (visitor->left_ms > 0)
        wait_for_end(conn);
    else
        sluice_close(conn, EXPIRED_CODE, "the token has expired");
}

/* --- coming in --- */

/* RFC 6750 section 3: the header says error only of a token that was brought. */
static void refuse(sluice_conn *conn, const char *challenge, const char *why) {
    sluice_add_header(conn, "www-authenticate", challenge);
    sluice_deny(conn, 401, why, strlen(why));
}

static void let_in(sluice_conn *conn, const struct token *token, int64_t now) {
    struct visitor *visitor = sluice_data(conn);
    /* One subprotocol is chosen, never the one with the token. A client with a cookie may have
       offered none. */
    if (sluice_accept(conn, SUBPROTOCOL) != SLUICE_OK && sluice_accept(conn, NULL) != SLUICE_OK)
        return;
    /* From here on the client is known to be this user. */
    memcpy(visitor->user, token->user, sizeof(visitor->user));
    visitor->left_ms = token->expiry_ms - now;
    wait_for_end(conn);
    if (sluice_group_join(conn, sluice_param(conn, "group"), visitor->user, 0) != SLUICE_OK)
        sluice_close(conn, 1008, "this group can't be joined");
}

static void on_connect(sluice_conn *conn) {
    struct token token;
    size_t size = 0;
    const char *text = find_token(conn, &size);
    if (!text) {
        refuse(conn, "Bearer", "bring a token\n");
        return;
    }
    int64_t now = now_ms();
    switch (token_check(&settings_of(conn)->secrets, text, size, now, &token)) {
    case TOKEN_GOOD:
        let_in(conn, &token, now);
        return;
    case TOKEN_EXPIRED:
        refuse(conn, "Bearer error=\"invalid_token\"", "this token has expired\n");
        return;
    case TOKEN_WRONG:
        refuse(conn, "Bearer error=\"invalid_token\"", "this token is wrong\n");
        return;
    }
}

/* --- messages --- */

static void tell(sluice_conn *conn, const char *text) {
    sluice_send(conn, sluice_text(text, strlen(text)));
}

/* Another token of the same user counts from now on. */
static void renew(sluice_conn *conn, const char *text, size_t size) {
    struct visitor *visitor = sluice_data(conn);
    struct token token;
    int64_t now = now_ms();
    if (token_check(&settings_of(conn)->secrets, text, size, now, &token) != TOKEN_GOOD ||
        strcmp(token.user, visitor->user) != 0) {
        tell(conn, "not renewed");
        return;
    }
    sluice_timer_cancel(conn, visitor->timer);
    visitor->left_ms = token.expiry_ms - now;
    wait_for_end(conn);
    tell(conn, "renewed");
}

static void say(sluice_conn *conn, sluice_message message) {
    const struct visitor *visitor = sluice_data(conn);
    size_t start = strlen(visitor->user) + 2, size = start + message.size;
    char *line = malloc(size + 1);
    if (!line) {
        sluice_close(conn, 1011, "out of memory");
        return;
    }
    snprintf(line, start + 1, "%s: ", visitor->user);
    memcpy(line + start, message.data, message.size);
    if (sluice_group_send(conn, sluice_param(conn, "group"), sluice_text(line, size)) != SLUICE_OK)
        sluice_close(conn, 1013, "the server is busy");
    free(line);
}

static void on_receive(sluice_conn *conn, sluice_message message) {
    const size_t start = strlen(RENEW);
    if (message.kind != SLUICE_TEXT)
        sluice_close(conn, 1008, "text only");
    else if (message.size >= start && memcmp(message.data, RENEW, start) == 0)
        renew(conn, (const char *)message.data + start, message.size - start);
    else
        say(conn, message);
}

SLUICE_CONSUMER("auth_example", "1.0", .data_size = sizeof(struct visitor), .open = on_open,
                .shut = on_shut, .connect = on_connect, .receive = on_receive)
