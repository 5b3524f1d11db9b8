/*
 * A group chat in plain text: what one says, all in the group hear, with the speaker's nick in
 * front. The group is the route's capture `group`, the nick comes from ?nick=.
 */
#include <sluice/consumer.h>

#include <stdlib.h>
#include <string.h>

#include "text.h"

#define NICK_MAX 40 /* characters */
#define GROUP_BYTES_MAX 200
#define CHARACTER_BYTES_MAX 4

struct chat {
    const char *greeting;
};

struct person {
    char nick[NICK_MAX * CHARACTER_BYTES_MAX + 1]; /* "" for none */
};

static int on_open(sluice_route *route, void **data) {
    struct chat *chat = calloc(1, sizeof(*chat));
    if (!chat)
        return -1;
    chat->greeting = sluice_option_text(route, "greeting", "");
    *data = chat;
    return 0;
}

static void on_shut(sluice_route *route, void *data) {
    (void)route;
    free(data);
}

static void deny(sluice_conn *conn, int status, const char *why) {
    sluice_deny(conn, status, why, strlen(why));
}

/* The group's name, or NULL when the handshake has been refused. */
static const char *find_group(sluice_conn *conn) {
    const char *group = sluice_param(conn, "group");
    if (!group) {
        sluice_log(sluice_conn_route(conn), conn, SLUICE_LOG_ERROR,
                   "group_chat needs the group's name from the path: put (?P<group>...) into the "
                   "route's `match`");
        deny(conn, 500, "this route names no group\n");
        return NULL;
    }
    if (group[0] == '\0' || strlen(group) > GROUP_BYTES_MAX) {
        deny(conn, 400, "a group's name has 1 to 200 bytes\n");
        return NULL;
    }
    return group;
}

static void read_nick(sluice_conn *conn, struct person *person) {
    const char *asked = sluice_scope(conn, SLUICE_QUERY, "nick");
    char *clean = asked ? malloc(strlen(asked) + 1) : NULL;
    if (!clean)
        return;
    text_clean_name(asked, NICK_MAX, clean);
    memcpy(person->nick, clean, strlen(clean) + 1);
    free(clean);
}

static void on_connect(sluice_conn *conn) {
    const struct chat *chat = sluice_route_data(sluice_conn_route(conn));
    struct person *person = sluice_data(conn);
    const char *group = find_group(conn);
    if (!group)
        return;
    read_nick(conn, person);
    if (sluice_accept(conn, NULL) != SLUICE_OK) {
        deny(conn, 503, "the server is full\n");
        return;
    }
    if (chat->greeting[0])
        sluice_send(conn, sluice_text(chat->greeting, strlen(chat->greeting)));
    if (sluice_group_join(conn, group, person->nick, 0) != SLUICE_OK)
        sluice_close(conn, 1008, "this group cannot be joined");
}

/* Says to the group "nick: text", or the text alone. */
static void say(sluice_conn *conn, const char *nick, sluice_message message) {
    size_t nick_size = strlen(nick), size = 0;
    char *line = malloc(nick_size + 2 + message.size);
    if (!line) {
        sluice_close(conn, 1011, "out of memory");
        return;
    }
    if (nick_size > 0) {
        memcpy(line, nick, nick_size);
        memcpy(line + nick_size, ": ", 2);
        size = nick_size + 2;
    }
    size += text_clean(message.data, message.size, line + size);
    if (sluice_group_send(conn, sluice_param(conn, "group"), sluice_text(line, size)) ==
        SLUICE_TOO_BIG)
        sluice_close(conn, 1009, "this message is too big");
    free(line);
}

static void on_receive(sluice_conn *conn, sluice_message message) {
    const struct person *person = sluice_data(conn);
    if (message.kind != SLUICE_TEXT)
        sluice_close(conn, 1008, "this chat takes text only");
    else if (message.size == 5 && memcmp(message.data, "close", 5) == 0)
        sluice_close(conn, 1000, "as you asked");
    else
        say(conn, person->nick, message);
}

SLUICE_CONSUMER("group_chat", "0.1", .data_size = sizeof(struct person), .open = on_open,
                .shut = on_shut, .connect = on_connect, .receive = on_receive)
