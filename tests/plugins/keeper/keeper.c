/*
 * Keeps what is said in the group of the route's capture, and tells all about it in plain text:
 *
 *     keep KEY TEXT    KEY: - for none     ->  kept KEY OUTCOME EPOCH:OFFSET, once it is settled
 *     pass TEXT                                said, not kept
 *     read EPOCH:OFFSET MOST               ->  history RECOVERED EPOCH:OFFSET, then a line for each
 *     user NAME                                whose connection this is
 *
 * Who connects with ?since=EPOCH:OFFSET&last=N hears `joined RECOVERED EPOCH:OFFSET COUNT` and then
 * the messages, each as "@OFFSET TEXT". With ?user=NAME&most=N there is presence: `people COUNT`
 * and the first ten names come behind that, then +NAME, -NAME and of a crowd #COUNT.
 */
#define SLUICE_MINOR_NEEDED 1
#include <sluice/consumer.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *group_of(sluice_conn *conn) { return sluice_param(conn, "group"); }

static void tell(sluice_conn *conn, const char *text) {
    sluice_send(conn, sluice_text(text, strlen(text)));
}

static sluice_position read_position(const char *text) {
    sluice_position position = {0, 0};
    if (text != NULL)
        sscanf(text, "%" SCNx64 ":%" SCNu64, &position.epoch, &position.offset);
    return position;
}

static void on_joined(sluice_conn *conn, void *arg, const sluice_joined *joined) {
    char text[128];
    (void)arg;
    if (conn == NULL)
        return;
    snprintf(text, sizeof(text), "joined %d %016" PRIx64 ":%" PRIu64 " %" PRIu64, joined->recovered,
             joined->position.epoch, joined->position.offset, joined->count);
    tell(conn, text);
    if (joined->people_count == 0)
        return;
    int size = snprintf(text, sizeof(text), "people %" PRIu64, joined->people_count);
    for (size_t i = 0; i < joined->people_listed && size < 100; i++)
        size +=
            snprintf(text + size, sizeof(text) - (size_t)size, " %.20s", joined->people[i].user);
    tell(conn, text);
}

static sluice_message sign(char *to, char first, const char *name) {
    return sluice_text(to, (size_t)snprintf(to, 64, "%c%.60s", first, name));
}

static void on_connect(sluice_conn *conn) {
    static const char crowd[] = "#                ";
    const char *user = sluice_scope(conn, SLUICE_QUERY, "user");
    const char *most = sluice_scope(conn, SLUICE_QUERY, "most");
    char came[64], went[64];
    sluice_presence presence = {.size = sizeof(presence), .user = user, .crowd_stamp = 1};
    const char *last = sluice_scope(conn, SLUICE_QUERY, "last");
    sluice_join_options options = {.size = sizeof(options), .joined = on_joined};
    options.since = read_position(sluice_scope(conn, SLUICE_QUERY, "since"));
    options.last = last == NULL ? 0 : (uint32_t)strtoul(last, NULL, 10);
    if (user != NULL) {
        presence.came = sign(came, '+', user);
        presence.went = sign(went, '-', user);
        presence.crowd = sluice_text(crowd, sizeof(crowd) - 1);
        presence.most = most == NULL ? 0 : (uint32_t)strtoul(most, NULL, 10);
        options.presence = &presence;
        options.people = 10;
    }
    sluice_accept(conn, NULL);
    sluice_group_join_with(conn, group_of(conn), &options);
}

struct asked {
    char key[64];
};

static void on_report(sluice_conn *conn, void *arg, const sluice_send_report *report) {
    static const char *const outcomes[] = {"sent", "kept", "repeated", "not-kept"};
    struct asked *asked = arg;
    char text[192];
    snprintf(text, sizeof(text), "kept %s %s %016" PRIx64 ":%" PRIu64, asked->key,
             outcomes[report->outcome], report->epoch, report->position);
    if (conn != NULL)
        tell(conn, text);
    free(asked);
}

/* KEY TEXT, in place. */
static void keep(sluice_conn *conn, char *said) {
    char *text = strchr(said, ' '), stamped[4096];
    struct asked *asked = calloc(1, sizeof(*asked));
    if (asked == NULL || text == NULL)
        abort();
    *text++ = '\0';
    snprintf(asked->key, sizeof(asked->key), "%s", said);
    sluice_send_options options = {
        .size = sizeof(options), .report = on_report, .arg = asked, .keep = 1, .stamp = 1};
    if (strcmp(said, "-") != 0)
        options.key = said;
    int size = snprintf(stamped, sizeof(stamped), "@%*s %s", SLUICE_STAMP_SIZE, "", text);
    int result =
        sluice_group_send_with(conn, group_of(conn), sluice_text(stamped, (size_t)size), &options);
    if (result == SLUICE_OK)
        return;
    snprintf(stamped, sizeof(stamped), "kept %s %s", said, result == SLUICE_FULL ? "full" : "bad");
    tell(conn, stamped);
    free(asked);
}

static void on_history(sluice_conn *conn, void *arg, const sluice_history *history) {
    char text[128];
    (void)arg;
    if (conn == NULL)
        return;
    snprintf(text, sizeof(text), "history %d %016" PRIx64 ":%" PRIu64, history->recovered,
             history->position.epoch, history->position.offset);
    tell(conn, text);
    for (size_t i = 0; i < history->count; i++)
        sluice_send(conn, history->messages[i].message);
}

static void on_receive(sluice_conn *conn, sluice_message message) {
    char *said = malloc(message.size + 1);
    if (said == NULL)
        abort();
    memcpy(said, message.data, message.size);
    said[message.size] = '\0';
    char *rest = strchr(said, ' ');
    if (rest != NULL)
        *rest++ = '\0';
    if (rest != NULL && strcmp(said, "keep") == 0)
        keep(conn, rest);
    else if (rest != NULL && strcmp(said, "pass") == 0)
        sluice_group_send(conn, group_of(conn), sluice_text(rest, strlen(rest)));
    else if (rest != NULL && strcmp(said, "user") == 0)
        tell(conn, sluice_set_user(conn, rest) == SLUICE_OK ? "user ok" : "user bad");
    else if (rest != NULL && strcmp(said, "read") == 0)
        sluice_group_history(conn, group_of(conn), read_position(rest),
                             strchr(rest, ' ') == NULL ? 100 : strtoul(strchr(rest, ' '), NULL, 10),
                             on_history, NULL);
    free(said);
}

SLUICE_CONSUMER("keeper", "1", .connect = on_connect, .receive = on_receive)
