/*
 * A group chat: what one says, all in the group hear. The group is the route's capture `group`, the
 * nick comes from ?nick=. All that is said goes to the group as chat.v1, one encoded frame for
 * everybody who speaks that; members without a subprotocol join with SLUICE_EVENTS and are sent
 * "nick: text".
 */
#define SLUICE_MINOR_NEEDED 1
#include <sluice/consumer.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flood.h"
#include "nick.h"
#include "past.h"
#include "person.h"
#include "protocol.h"
#include "ref.h"
#include "text.h"

#define GROUP_BYTES_MAX 200
#define TEXT_BYTES_DEFAULT 4000
#define TEXT_BYTES_LEAST 16
#define TEXT_BYTES_MOST (1 << 20)
#define RATE_DEFAULT 20
#define RATE_MOST 100000
#define NICK_LEAST 8
#define TYPING_MS 1000

static const struct refusal binary = {"binary", "", "this chat takes text only"};
static const struct refusal long_text = {"too-long", "text", "the text is longer than limits.text"};
static const struct refusal empty_text = {"empty", "text", "there is nothing to say in this text"};
static const struct refusal long_nick = {"too-long", "nick", "the nick is longer than limits.nick"};
static const struct refusal empty_nick = {"empty", "nick", "this nick shows nothing"};
static const struct refusal taken_nick = {"taken", "nick", "somebody else has this nick"};
static const struct refusal flood = {"flood", "", "too many messages; this one was not sent"};
static const struct refusal not_kept = {"not-kept", "", "this could not be kept and was not sent"};
static const struct refusal busy = {"busy", "", "the server is busy; this was not sent"};

static int on_open(sluice_route *route, void **data) {
    struct chat *chat = calloc(1, sizeof(*chat));
    if (!chat || !digest_ready()) {
        free(chat);
        return -1;
    }
    chat->greeting = sluice_option_text(route, "greeting", "");
    chat->text_bytes_max = (size_t)sluice_option_number(
        route, "text", SLUICE_BYTES, TEXT_BYTES_LEAST, TEXT_BYTES_MOST, TEXT_BYTES_DEFAULT);
    chat->rate =
        (unsigned)sluice_option_number(route, "rate", SLUICE_COUNT, 1, RATE_MOST, RATE_DEFAULT);
    chat->nick_max = (size_t)sluice_option_number(route, "nick-max", SLUICE_COUNT, NICK_LEAST,
                                                  NICK_MAX, NICK_MAX);
    chat->last = (uint32_t)sluice_option_number(route, "last", SLUICE_COUNT, 0, PAST_LAST_MOST,
                                                PAST_LAST_DEFAULT);
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

/* --- sending; each takes the text --- */

static void tell(sluice_conn *conn, char *text) {
    if (text)
        sluice_send(conn, sluice_text(text, strlen(text)));
    free(text);
}

static void refuse(sluice_conn *conn, const struct refusal *refusal) {
    tell(conn, protocol_error(refusal, NULL, -1));
}

static void refuse_said(sluice_conn *conn, const struct refusal *refusal, const char *ref) {
    tell(conn, protocol_error(refusal, ref, -1));
}

/* Of a message that was not read. */
static void refuse_unread(sluice_conn *conn, const struct refusal *refusal, sluice_message message,
                          long long retry_ms) {
    char ref[REF_MAX + 1] = "";
    if (message.kind == SLUICE_TEXT)
        ref_find(message.data, message.size, ref);
    tell(conn, protocol_error(refusal, ref[0] ? ref : NULL, retry_ms));
}

static int publish(sluice_conn *conn, char *text, sluice_id except) {
    if (!text)
        return SLUICE_FULL;
    sluice_send_options options = {.size = sizeof(options), .except = except};
    int result = sluice_group_send_with(conn, sluice_param(conn, "group"),
                                        sluice_text(text, strlen(text)), &options);
    free(text);
    return result;
}

/* --- saying what is kept --- */

/* Its ref, as long as the answer may come. */
struct saying {
    char ref[REF_MAX + 1]; /* "" for none */
};

static void on_settled(sluice_conn *conn, void *arg, const sluice_send_report *report) {
    static const char lost[] = "(your last message could not be kept and was not sent)";
    struct saying *saying = arg;
    const struct person *person = conn ? sluice_data(conn) : NULL;
    if (person && report->outcome == SLUICE_REPEATED)
        tell(conn, protocol_kept(saying->ref, report->position));
    else if (person && report->outcome == SLUICE_NOT_KEPT && person->json)
        refuse_said(conn, &not_kept, saying->ref[0] ? saying->ref : NULL);
    else if (person && report->outcome == SLUICE_NOT_KEPT)
        sluice_send(conn, sluice_text(lost, strlen(lost)));
    free(saying);
}

/* A client that knows its message by a ref, and itself by a key, may say it again: it is kept
   once. */
static int publish_kept(sluice_conn *conn, const char *clean, size_t size, const char *ref) {
    const struct person *person = sluice_data(conn);
    char key[DIGEST_TEXT + 1 + REF_MAX + 1];
    sluice_send_options options = {.size = sizeof(options), .keep = 1, .report = on_settled};
    struct saying *saying = calloc(1, sizeof(*saying));
    char *text = protocol_said(person, clean, size, ref, &options.stamp);
    int result = SLUICE_FULL;
    if (ref && person->has_key) {
        snprintf(key, sizeof(key), "%s:%s", person->id, ref);
        options.key = key;
    }
    if (saying && text) {
        snprintf(saying->ref, sizeof(saying->ref), "%s", ref ? ref : "");
        options.arg = saying;
        result = sluice_group_send_with(conn, sluice_param(conn, "group"),
                                        sluice_text(text, strlen(text)), &options);
    }
    if (result != SLUICE_OK)
        free(saying);
    free(text);
    return result;
}

/* --- what people ask for --- */

static void on_renamed(sluice_conn *conn, bool taken, size_t windows);

static int publish_said(sluice_conn *conn, const char *clean, size_t size, const char *ref) {
    const struct person *person = sluice_data(conn);
    if (person->keeps)
        return publish_kept(conn, clean, size, ref);
    return publish(conn, protocol_said(person, clean, size, ref, NULL), 0);
}

/* ref: NULL for none, as of a plain member. */
static void say(sluice_conn *conn, const char *text, size_t size, const char *ref) {
    const struct person *person = sluice_data(conn);
    char *clean = malloc(size + 1);
    size_t written = clean ? text_clean(text, size, clean) : 0;
    if (!clean)
        sluice_close(conn, 1011, "out of memory");
    else if (person->json && !text_shows(clean, written))
        refuse_said(conn, &empty_text, ref);
    else if (publish_said(conn, clean, written, ref) == SLUICE_FULL) {
        if (person->json)
            refuse_said(conn, &busy, ref);
        else
            sluice_close(conn, 1013, "the server is busy");
    }
    free(clean);
}

static void rename_person(sluice_conn *conn, const char *nick) {
    struct person *person = sluice_data(conn);
    size_t size = strlen(nick);
    char *clean = malloc(size + 1), bare[NICK_BYTES + 1];
    if (!clean)
        return;
    text_clean_name(nick, size, clean);
    if (text_characters(clean) > person_chat(conn)->nick_max) {
        refuse(conn, &long_nick);
    } else if (text_bare_name(clean, bare) == 0) {
        refuse(conn, &empty_nick);
    } else {
        person->numbers = false;
        if (nick_ask(conn, clean, on_renamed) != SLUICE_OK) {
            person->wanted[0] = '\0';
            refuse(conn, &busy);
        }
    }
    free(clean);
}

static void on_who(sluice_conn *conn, void *arg, const sluice_member *members, size_t count,
                   size_t total) {
    (void)arg;
    if (conn)
        tell(conn, protocol_who(members, count, total));
}

static void show_typing(sluice_conn *conn) {
    struct person *person = sluice_data(conn);
    uint64_t now = flood_clock_ms();
    if (person->typed_ms != 0 && now - person->typed_ms < TYPING_MS)
        return;
    person->typed_ms = now;
    publish(conn, protocol_typing(person), sluice_conn_id(conn));
}

static void answer(sluice_conn *conn, const struct request *request) {
    switch (request->type) {
    case REQUEST_SAY:
        if (strlen(request->text) > person_chat(conn)->text_bytes_max)
            refuse_said(conn, &long_text, request->ref);
        else
            say(conn, request->text, strlen(request->text), request->ref);
        return;
    case REQUEST_NICK:
        rename_person(conn, request->text);
        return;
    case REQUEST_TYPING:
        show_typing(conn);
        return;
    case REQUEST_WHO:
        if (sluice_group_members(conn, sluice_param(conn, "group"), 10000, on_who, NULL) !=
            SLUICE_OK)
            refuse(conn, &busy);
        return;
    case REQUEST_RESUME:
        if (past_resume(conn, request->since, request->last) != SLUICE_OK)
            refuse(conn, &busy);
        return;
    case REQUEST_CLOSE:
        sluice_close(conn, 1000, "as you asked");
        return;
    }
}

/* --- the two forms of what comes --- */

/* A byte takes up to six in JSON; the rest is room for the other members. */
static size_t json_bytes_max(const struct chat *chat) { return 6 * chat->text_bytes_max + 1024; }

static void read_json(sluice_conn *conn, sluice_message message) {
    struct request request;
    const struct refusal *refusal = protocol_read(message.data, message.size, &request);
    if (refusal)
        refuse_said(conn, refusal, request.ref);
    else
        answer(conn, &request);
    json_decref(request.root);
}

static void receive_json(sluice_conn *conn, sluice_message message) {
    const struct chat *chat = person_chat(conn);
    long long retry_ms = flood_count(conn, chat->rate);
    if (retry_ms >= 0)
        refuse_unread(conn, &flood, message, retry_ms);
    else if (message.kind != SLUICE_TEXT)
        refuse(conn, &binary);
    else if (message.size > json_bytes_max(chat))
        refuse_unread(conn, &long_text, message, -1);
    else
        read_json(conn, message);
}

static void receive_plain(sluice_conn *conn, sluice_message message) {
    static const char slow[] = "(too many messages: your last one was not sent)";
    const struct chat *chat = person_chat(conn);
    if (message.kind != SLUICE_TEXT)
        sluice_close(conn, 1008, "this chat takes text only");
    else if (message.size == 5 && memcmp(message.data, "close", 5) == 0)
        sluice_close(conn, 1000, "as you asked");
    else if (message.size > chat->text_bytes_max)
        sluice_close(conn, 1009, "this message is too big");
    else if (flood_count(conn, chat->rate) >= 0)
        sluice_send(conn, sluice_text(slow, strlen(slow)));
    else
        say(conn, message.data, message.size, NULL);
}

/* Nothing is done before it is known who one is, and whether what one says is kept. */
static bool waits(const struct person *person) { return person->wanted[0] || !person->is_in; }

static void on_receive(sluice_conn *conn, sluice_message message) {
    struct person *person = sluice_data(conn);
    if (message.size > json_bytes_max(person_chat(conn)) && !person->json)
        sluice_close(conn, 1009, "this message is too big");
    else if (waits(person) && message.size > json_bytes_max(person_chat(conn)))
        refuse_unread(conn, &long_text, message, -1);
    else if (waits(person) && !person_hold(person, message))
        sluice_close(conn, 1008, "too many messages before the nick was decided");
    else if (!waits(person) && person->json)
        receive_json(conn, message);
    else if (!waits(person))
        receive_plain(conn, message);
}

static void on_event(sluice_conn *conn, const char *group, sluice_message message) {
    (void)group;
    if (message.kind == SLUICE_TEXT)
        tell(conn, protocol_plain(message.data, message.size));
}

/* --- coming, renaming, going --- */

/* What came while the nick was not decided; it may ask for another one. */
static void receive_held(sluice_conn *conn) {
    struct person *person = sluice_data(conn);
    while (!waits(person)) {
        struct held *held = person_next_held(person);
        if (!held)
            return;
        on_receive(conn, (sluice_message){held->data, held->size, held->kind});
        free(held);
    }
}

static void on_joined(sluice_conn *conn, bool taken, size_t windows) {
    struct person *person = sluice_data(conn);
    (void)taken;
    memcpy(person->old, person->nick, sizeof(person->old));
    if (person->json)
        tell(conn, protocol_welcome(person, person_chat(conn), sluice_param(conn, "group")));
    person->joined = publish(conn, protocol_joined(person, windows), 0) == SLUICE_OK;
    receive_held(conn);
}

static void on_renamed(sluice_conn *conn, bool taken, size_t windows) {
    struct person *person = sluice_data(conn);
    (void)windows;
    if (taken)
        refuse(conn, &taken_nick);
    else
        publish(conn, protocol_renamed(person, person->old), 0);
    memcpy(person->old, person->nick, sizeof(person->old));
    receive_held(conn);
}

/* The nick that the query asks for, clean; "" when there is none that shows anything. */
static void read_nick(sluice_conn *conn, char nick[NICK_BYTES + 1]) {
    const char *asked = sluice_scope(conn, SLUICE_QUERY, "nick");
    char *clean = asked ? malloc(strlen(asked) + 1) : NULL, bare[NICK_BYTES + 1];
    nick[0] = '\0';
    if (!clean)
        return;
    text_clean_name(asked, person_chat(conn)->nick_max, clean);
    if (text_bare_name(clean, bare) > 0)
        memcpy(nick, clean, strlen(clean) + 1);
    free(clean);
}

/* Plain members may go without a nick. */
static int enter(sluice_conn *conn, const char *nick) {
    struct person *person = sluice_data(conn);
    person->numbers = true;
    person->entered = receive_held;
    if (nick[0])
        return nick_ask(conn, nick, on_joined);
    return person->json ? nick_ask(conn, "guest", on_joined) : person_join(conn);
}

static void on_connect(sluice_conn *conn) {
    const struct chat *chat = person_chat(conn);
    struct person *person = sluice_data(conn);
    char nick[NICK_BYTES + 1];
    if (!find_group(conn))
        return;
    read_nick(conn, nick);
    person_identify(conn, person);
    past_begin(conn);
    person->json = protocol_offered(sluice_scope(conn, SLUICE_OFFERED, NULL));
    if (sluice_accept(conn, person->json ? PROTOCOL_NAME : NULL) != SLUICE_OK) {
        deny(conn, 503, "the server is full\n");
        return;
    }
    if (chat->greeting[0] && !person->json)
        sluice_send(conn, sluice_text(chat->greeting, strlen(chat->greeting)));
    if (enter(conn, nick) != SLUICE_OK)
        sluice_close(conn, 1008, "this group cannot be joined");
}

static void on_disconnect(sluice_conn *conn, int code) {
    const struct person *person = sluice_data(conn);
    (void)code;
    char *text = person->joined ? protocol_left(person) : NULL;
    if (text)
        sluice_route_send(sluice_conn_route(conn), sluice_param(conn, "group"),
                          sluice_text(text, strlen(text)), 0);
    free(text);
}

static void on_release(sluice_conn *conn) { person_drop_held(sluice_data(conn)); }

SLUICE_CONSUMER("group_chat", "0.3", .data_size = sizeof(struct person), .open = on_open,
                .shut = on_shut, .connect = on_connect, .receive = on_receive, .event = on_event,
                .disconnect = on_disconnect, .release = on_release)
