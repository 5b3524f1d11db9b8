#include "protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "past.h"
#include "ref.h"

#define WINDOW_SECONDS 10

static const char *const types[] = {"say", "nick", "typing", "who", "close", "resume"};
static const struct refusal no_json = {"json", "", "this is no JSON object"};
static const struct refusal no_type = {"missing", "type", "a message needs a type, a string"};
static const struct refusal other_type = {"unknown", "type",
                                          "the types are say, nick, typing, who, resume and close"};
static const struct refusal no_text = {"missing", "text", "say needs a text, a string"};
static const struct refusal bad_ref = {"invalid", "ref",
                                       "a ref has 1 to 40 letters, digits, - or _"};
static const struct refusal no_nick = {"missing", "nick", "nick needs a nick, a string"};

static const struct refusal *read_ref(const json_t *value, struct request *request) {
    const char *text = json_string_value(value);
    if (!value)
        return NULL;
    if (!text || !ref_fits(text, strlen(text)))
        return &bad_ref;
    request->ref = text;
    return NULL;
}

static const struct refusal bad_since = {"invalid", "since", "since is a string: <epoch>:<offset>"};
static const struct refusal bad_last = {"invalid", "last", "last is a number from 1 to 1000"};

static const struct refusal *read_resume(const json_t *root, struct request *request) {
    const json_t *since = json_object_get(root, "since"), *last = json_object_get(root, "last");
    json_int_t number = last ? json_integer_value(last) : PAST_LAST_DEFAULT;
    request->since = json_string_value(since);
    if (since && !request->since)
        return &bad_since;
    if (number < 1 || number > PAST_LAST_MOST)
        return &bad_last;
    request->last = (size_t)number;
    return NULL;
}

static const struct refusal *read_object(json_t *root, struct request *request) {
    const char *type = json_string_value(json_object_get(root, "type"));
    size_t count = sizeof(types) / sizeof(types[0]), i = 0;
    if (!json_is_object(root))
        return &no_json;
    if (!type)
        return &no_type;
    while (i < count && strcmp(type, types[i]) != 0)
        i++;
    if (i == count)
        return &other_type;
    request->type = (enum request_type)i;
    if (request->type == REQUEST_RESUME)
        return read_resume(root, request);
    if (request->type != REQUEST_SAY && request->type != REQUEST_NICK)
        return NULL;
    bool say = request->type == REQUEST_SAY;
    const struct refusal *refusal = say ? read_ref(json_object_get(root, "ref"), request) : NULL;
    if (refusal)
        return refusal;
    request->text = json_string_value(json_object_get(root, say ? "text" : "nick"));
    if (request->text)
        return NULL;
    return say ? &no_text : &no_nick;
}

const struct refusal *protocol_read(const char *data, size_t size, struct request *request) {
    *request = (struct request){0};
    request->root = json_loadb(data, size, JSON_REJECT_DUPLICATES, NULL);
    return request->root ? read_object(request->root, request) : &no_json;
}

bool protocol_offered(const char *offered) {
    size_t length = strlen(PROTOCOL_NAME);
    while (offered && *offered) {
        offered += strspn(offered, ", \t");
        size_t size = strcspn(offered, ", \t");
        if (size == length && memcmp(offered, PROTOCOL_NAME, size) == 0)
            return true;
        offered += size;
    }
    return false;
}

static void add_ref(json_t *object, const char *ref) {
    if (ref)
        json_object_set_new(object, "ref", json_string(ref));
}

/* Takes the object. */
static char *write_json(json_t *object) {
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

char *protocol_welcome(const struct person *person, const struct chat *chat, const char *room) {
    return write_json(json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:{s:I, s:I, s:I, s:i}}", "type", "welcome", "id", person->id,
        "nick", person->nick, "room", room, "greeting", chat->greeting, "limits", "nick",
        (json_int_t)chat->nick_max, "text", (json_int_t)chat->text_bytes_max, "rate",
        (json_int_t)chat->rate, "seconds", WINDOW_SECONDS));
}

/* ISO 8601 in UTC with milliseconds. */
static void write_time(char to[32]) {
    struct timespec now;
    struct tm parts;
    char seconds[24];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(to, 32, "%s.%03ldZ", seconds, now.tv_nsec / 1000000 % 1000);
}

/* Makes room for the offset at the end of the object; takes the text. */
static char *make_stamp(char *text, size_t *stamp) {
    static const char member[] = ",\"at\":";
    size_t size = text ? strlen(text) : 0, head = sizeof(member) - 1;
    char *longer = text ? realloc(text, size + head + SLUICE_STAMP_SIZE + 1) : NULL;
    if (!longer) {
        free(text);
        return NULL;
    }
    *stamp = size - 1 + head;
    memcpy(longer + size - 1, member, head);
    memset(longer + *stamp, ' ', SLUICE_STAMP_SIZE);
    memcpy(longer + *stamp + SLUICE_STAMP_SIZE, "}", 2);
    return longer;
}

char *protocol_said(const struct person *person, const char *text, size_t size, const char *ref,
                    size_t *stamp) {
    char at[32];
    write_time(at);
    json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:o}", "type", "said", "id", person->id,
                               "from", person->nick, "time", at, "text", json_stringn(text, size));
    add_ref(object, ref);
    char *said = write_json(object);
    return stamp ? make_stamp(said, stamp) : said;
}

static json_t *make_history(sluice_position position, size_t count, const int *recovered) {
    char epoch[17];
    snprintf(epoch, sizeof(epoch), "%016llx", (unsigned long long)position.epoch);
    json_t *object = json_pack("{s:s, s:s, s:I, s:I}", "type", "history", "epoch", epoch, "offset",
                               (json_int_t)position.offset, "count", (json_int_t)count);
    if (recovered)
        json_object_set_new(object, "recovered", json_boolean(*recovered));
    return object;
}

char *protocol_history(sluice_position position, size_t count, const int *recovered) {
    return write_json(make_history(position, count, recovered));
}

/* They are JSON already, so they are put in as they are. */
char *protocol_past(sluice_position position, const sluice_kept *messages, size_t count,
                    const int *recovered) {
    static const char member[] = ",\"messages\":[";
    char *head = protocol_history(position, count, recovered);
    size_t size = head ? strlen(head) + sizeof(member) + 2 : 0;
    for (size_t i = 0; i < count; i++)
        size += messages[i].message.size + 1;
    char *text = head ? malloc(size) : NULL, *to = text;
    if (text) {
        to = stpcpy(stpcpy(to, head) - 1, member);
        for (size_t i = 0; i < count; i++) {
            if (i > 0)
                *to++ = ',';
            memcpy(to, messages[i].message.data, messages[i].message.size);
            to += messages[i].message.size;
        }
        strcpy(to, "]}");
    }
    free(head);
    return text;
}

char *protocol_kept(const char *ref, uint64_t at) {
    return write_json(
        json_pack("{s:s, s:s, s:I}", "type", "kept", "ref", ref, "at", (json_int_t)at));
}

char *protocol_joined(const struct person *person, size_t windows) {
    return write_json(json_pack("{s:s, s:s, s:s, s:I}", "type", "joined", "id", person->id, "nick",
                                person->nick, "windows", (json_int_t)windows));
}

static char *write_event(const char *type, const char *key, const struct person *person) {
    return write_json(
        json_pack("{s:s, s:s, s:s}", "type", type, "id", person->id, key, person->nick));
}

char *protocol_left(const struct person *person) { return write_event("left", "nick", person); }

char *protocol_typing(const struct person *person) { return write_event("typing", "from", person); }

char *protocol_renamed(const struct person *person, const char *old) {
    return write_json(json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", "nick", "id", person->id,
                                "from", old, "old", old, "new", person->nick));
}

char *protocol_error(const struct refusal *refusal, const char *ref, long long retry_ms) {
    json_t *object = json_pack("{s:s, s:s, s:s, s:s}", "type", "error", "code", refusal->code,
                               "field", refusal->field, "message", refusal->message);
    add_ref(object, ref);
    if (retry_ms >= 0)
        json_object_set_new(object, "retry_ms", json_integer(retry_ms));
    return write_json(object);
}

/* Counts one more window of this person under this nick, and adds it when it is the first. */
static void add_person(json_t *people, json_t *places, const struct profile *profile) {
    char id[DIGEST_TEXT] = "", key[DIGEST_TEXT + NICK_BYTES + 1];
    memcpy(id, profile->id, DIGEST_TEXT - 1);
    snprintf(key, sizeof(key), "%s%s", id, profile->nick);
    json_t *person = json_object_get(places, key);
    if (person) {
        json_int_t windows = json_integer_value(json_object_get(person, "windows"));
        json_object_set_new(person, "windows", json_integer(windows + 1));
    } else if (json_array_size(people) < PROTOCOL_PEOPLE_MAX) {
        person = json_pack("{s:s, s:s, s:i}", "id", id, "nick", profile->nick, "windows", 1);
        json_object_set(places, key, person);
        json_array_append_new(people, person);
    }
}

char *protocol_who(const sluice_member *members, size_t count, size_t total) {
    json_t *people = json_array(), *places = json_object();
    size_t unnamed = 0;
    for (size_t i = 0; i < count; i++) {
        struct profile profile;
        if (!person_read_info(members[i].info, &profile) || profile.nick[0] == '\0')
            unnamed++;
        else
            add_person(people, places, &profile);
    }
    json_decref(places);
    return write_json(json_pack("{s:s, s:o, s:I, s:I}", "type", "who", "people", people, "unnamed",
                                (json_int_t)unnamed, "connections", (json_int_t)total));
}

char *protocol_plain(const char *data, size_t size) {
    json_t *root = json_loadb(data, size, 0, NULL);
    const char *type = json_string_value(json_object_get(root, "type"));
    const char *from = json_string_value(json_object_get(root, "from"));
    const char *text = json_string_value(json_object_get(root, "text"));
    char *line = NULL;
    if (type && from && text && strcmp(type, "said") == 0) {
        size_t room = strlen(from) + 2 + strlen(text) + 1;
        line = malloc(room);
        if (line)
            snprintf(line, room, "%s%s%s", from, from[0] ? ": " : "", text);
    }
    json_decref(root);
    return line;
}
