#include "process/group_answers.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sysexits.h>
#include <time.h>

#include "config/config.h"
#include "config/spaces.h"
#include "group/group.h"
#include "loop/loop.h"
#include "process/inquiry.h"
#include "process/json.h"
#include "process/thread.h"
#include "websocket/frame.h"
#include "websocket/utf8.h"

#define CALL_MS 2000
#define ANSWER_MS 5000 /* a message may wait for the disk */
#define BODY_S 5       /* for a message to come from who publishes it */

struct question {
    char text[512];
    const char *word, *space, *group; /* "": not given */
    size_t number;
    bool json;
    const struct config_space *terms; /* of the namespace; NULL: no route has it */
};

/* --- the question --- */

/* The next field; "" behind the last. */
static char *take_field(char **rest) {
    char *field = *rest, *tab = strchr(field, '\t');
    *rest = tab == NULL ? field + strlen(field) : tab + 1;
    if (tab != NULL)
        *tab = '\0';
    return field;
}

static void read_question(const char *text, const struct config *config,
                          struct question *question) {
    char *rest = question->text;
    snprintf(question->text, sizeof(question->text), "%s", text);
    question->word = take_field(&rest);
    question->number = strtoull(take_field(&rest), NULL, 10);
    question->json = strcmp(take_field(&rest), "json") == 0;
    question->space = take_field(&rest);
    question->group = take_field(&rest);
    question->terms = spaces_find(config, question->space);
}

static size_t most_of(const struct question *question) {
    return question->number < GROUP_ANSWERS_MOST ? question->number : GROUP_ANSWERS_MOST;
}

static int complain_space(const struct question *question, const struct config *config, FILE *to) {
    char hint[256];
    fprintf(to, "no route has the namespace `%s`%s\n", question->space,
            spaces_hint(config, question->space, hint));
    return 1;
}

static int complain_group(FILE *to) {
    fputs("a group's name is 1 to 200 bytes of UTF-8 without control characters\n", to);
    return EX_USAGE;
}

static int complain_held(FILE *to) {
    fputs("the threads do not answer: consumers hold them, or the disk is slow\n", to);
    return EX_TEMPFAIL;
}

/* --- pieces of answers --- */

static void print_string(FILE *to, const char *text) { json_print(to, text, strlen(text)); }

static void print_position(FILE *to, struct group_position position) {
    if (position.epoch == 0)
        fputs("null", to);
    else
        fprintf(to, "{\"epoch\":\"%016" PRIx64 "\",\"offset\":%" PRIu64 "}", position.epoch,
                position.offset);
}

static void print_time(FILE *to, uint64_t ms) {
    time_t seconds = (time_t)(ms / 1000);
    struct tm time;
    char text[32];
    gmtime_r(&seconds, &time);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &time);
    fprintf(to, "%s.%03uZ", text, (unsigned)(ms % 1000));
}

/* --- groups --- */

struct found {
    char space[GROUP_NAME_MAX * 2 + 1], name[GROUP_NAME_MAX + 1];
    size_t members, kept;
    struct group_position position;
};

struct search {
    const char *space; /* "": all */
    struct found *found;
    size_t count, most;
    bool more;
};

static bool find_group(void *arg, const struct group_summary *group) {
    struct search *search = arg;
    if (search->space[0] != '\0' && strcmp(search->space, group->space) != 0)
        return true;
    search->more = search->count == search->most;
    if (search->more)
        return false;
    struct found *found = &search->found[search->count++];
    snprintf(found->space, sizeof(found->space), "%s", group->space);
    snprintf(found->name, sizeof(found->name), "%s", group->name);
    found->members = group->members;
    found->kept = group->kept;
    found->position = group->position;
    return true;
}

static bool search_thread(struct loop *loop, void *arg) {
    groups_each(groups_of(loop), find_group, arg);
    return true;
}

static int compare_found(const void *one, const void *other) {
    const struct found *a = one, *b = other;
    int spaces = strcmp(a->space, b->space);
    return spaces != 0 ? spaces : strcmp(a->name, b->name);
}

static void print_groups(const struct search *search, FILE *to) {
    for (const struct found *at = search->found; at < search->found + search->count; at++) {
        fprintf(to, "%s %s: %zu members", at->space, at->name, at->members);
        if (at->position.epoch != 0)
            fprintf(to, ", %zu kept to %016" PRIx64 ":%" PRIu64, at->kept, at->position.epoch,
                    at->position.offset);
        putc('\n', to);
    }
    if (search->more)
        fprintf(to, "and more than these %zu: --limit shows up to %d\n", search->count,
                GROUP_ANSWERS_MOST);
}

static void print_groups_json(const struct search *search, FILE *to) {
    fputs("{\"groups\":[", to);
    for (const struct found *at = search->found; at < search->found + search->count; at++) {
        fputs(at == search->found ? "{\"namespace\":" : ",{\"namespace\":", to);
        print_string(to, at->space);
        fputs(",\"group\":", to);
        print_string(to, at->name);
        fprintf(to, ",\"members\":%zu,\"kept\":%zu,\"position\":", at->members, at->kept);
        print_position(to, at->position);
        putc('}', to);
    }
    fprintf(to, "],\"more\":%s}\n", search->more ? "true" : "false");
}

static int answer_groups(const struct question *question, const struct answers_of *of, FILE *to) {
    struct search search = {.space = question->space, .most = most_of(question)};
    unsigned reached = 0;
    search.found = calloc(search.most + 1, sizeof(*search.found));
    if (search.found == NULL)
        abort();
    for (unsigned at = 0; at < of->thread_count && !search.more; at++)
        reached += thread_call(of->threads[at], search_thread, &search, CALL_MS);
    bool known = question->space[0] == '\0' || question->terms != NULL || search.count > 0;
    bool held = !search.more && reached < of->thread_count;
    int status = held ? complain_held(to) : known ? EX_OK : 1;
    qsort(search.found, search.count, sizeof(*search.found), compare_found);
    if (!known && !held)
        complain_space(question, of->config, to);
    else if (!held)
        (question->json ? print_groups_json : print_groups)(&search, to);
    free(search.found);
    return status;
}

/* --- members --- */

struct person {
    uint64_t id;
    char info[GROUP_INFO_MAX + 1];
};

struct people {
    size_t count, total;
    struct person list[];
};

struct ask {
    const struct question *question;
    struct inquiry *inquiry;
    const struct group_message *message; /* to publish */
    enum group_result result;
};

static void on_listed(void *arg, const struct group_listing_entry *members, size_t count,
                      size_t total) {
    struct people *people = calloc(1, sizeof(*people) + count * sizeof(people->list[0]));
    if (people == NULL)
        abort();
    people->count = count;
    people->total = total;
    for (size_t at = 0; at < count; at++) {
        people->list[at].id = members[at].id;
        snprintf(people->list[at].info, sizeof(people->list[at].info), "%s", members[at].info);
    }
    inquiry_answer(arg, people);
}

static bool ask_members(struct loop *loop, void *arg) {
    struct ask *ask = arg;
    const struct question *question = ask->question;
    ask->result =
        group_list_with(groups_of(loop), question->space, question->group,
                        &question->terms->history, most_of(question), on_listed, ask->inquiry);
    return ask->result == GROUP_OK;
}

static void print_members(const struct people *people, FILE *to) {
    for (size_t at = 0; at < people->count; at++) {
        fprintf(to, "%" PRIu64, people->list[at].id);
        if (people->list[at].info[0] != '\0')
            putc(' ', to), print_string(to, people->list[at].info);
        putc('\n', to);
    }
    if (people->count < people->total)
        fprintf(to, "and %zu more: --limit shows up to %d\n", people->total - people->count,
                GROUP_ANSWERS_MOST);
}

/* Numbers of connections are strings: JSON's readers lose digits of what is above 2^53. */
static void print_members_json(const struct people *people, FILE *to) {
    fputs("{\"members\":[", to);
    for (size_t at = 0; at < people->count; at++) {
        fprintf(to, "%s{\"id\":\"%" PRIu64 "\",\"info\":", at == 0 ? "" : ",", people->list[at].id);
        print_string(to, people->list[at].info);
        putc('}', to);
    }
    fprintf(to, "],\"total\":%zu}\n", people->total);
}

static int answer_members(const struct question *question, const struct answers_of *of, FILE *to) {
    struct ask ask = {.question = question, .inquiry = inquiry_create(free)};
    struct people *people = inquiry_ask(ask.inquiry, of->threads[0], ask_members, &ask, ANSWER_MS);
    if (people == NULL)
        return complain_held(to);
    (question->json ? print_members_json : print_members)(people, to);
    free(people);
    return EX_OK;
}

/* --- history --- */

struct kept {
    struct group_position position;
    size_t count;
    struct group_kept messages[];
};

static void free_kept(void *answer) {
    struct kept *kept = answer;
    for (size_t at = 0; at < kept->count; at++)
        frame_unref(kept->messages[at].frame);
    free(kept);
}

static void on_history(void *arg, const struct group_history *history) {
    struct kept *kept = calloc(1, sizeof(*kept) + history->count * sizeof(kept->messages[0]));
    if (kept == NULL)
        abort();
    kept->position = history->position;
    kept->count = history->count;
    for (size_t at = 0; at < history->count; at++) {
        kept->messages[at] = history->messages[at];
        frame_ref(kept->messages[at].frame);
    }
    inquiry_answer(arg, kept);
}

static bool ask_history(struct loop *loop, void *arg) {
    struct ask *ask = arg;
    const struct question *question = ask->question;
    const struct group_position nowhere = {0};
    ask->result =
        group_read(groups_of(loop), question->space, question->group, &question->terms->history,
                   nowhere, most_of(question), on_history, ask->inquiry);
    return ask->result == GROUP_OK;
}

static void print_kept(const struct kept *kept, FILE *to) {
    for (size_t at = 0; at < kept->count; at++) {
        const struct group_kept *message = &kept->messages[at];
        size_t size;
        const uint8_t *payload = frame_payload(message->frame, &size);
        fprintf(to, "%" PRIu64 " ", message->offset);
        print_time(to, message->time_ms);
        putc(' ', to);
        if (frame_opcode(message->frame) == OPCODE_TEXT)
            json_print(to, (const char *)payload, size);
        else
            fprintf(to, "%zu bytes", size);
        putc('\n', to);
    }
}

static void print_base64(FILE *to, const uint8_t *bytes, size_t size) {
    unsigned char *text = malloc(size / 3 * 4 + 8);
    if (text == NULL)
        abort();
    EVP_EncodeBlock(text, bytes, (int)size);
    fprintf(to, "\"%s\"", (const char *)text);
    free(text);
}

static void print_kept_json(const struct kept *kept, FILE *to) {
    fputs("{\"position\":", to);
    print_position(to, kept->position);
    fputs(",\"messages\":[", to);
    for (size_t at = 0; at < kept->count; at++) {
        const struct group_kept *message = &kept->messages[at];
        bool is_text = frame_opcode(message->frame) == OPCODE_TEXT;
        size_t size;
        const uint8_t *payload = frame_payload(message->frame, &size);
        fprintf(to, "%s{\"offset\":%" PRIu64 ",\"time\":\"", at == 0 ? "" : ",", message->offset);
        print_time(to, message->time_ms);
        fputs(is_text ? "\",\"text\":" : "\",\"binary\":", to);
        if (is_text)
            json_print(to, (const char *)payload, size);
        else
            print_base64(to, payload, size);
        putc('}', to);
    }
    fputs("]}\n", to);
}

static int answer_history(const struct question *question, const struct answers_of *of, FILE *to) {
    if (question->terms->history.messages == 0) {
        fprintf(to, "the routes of `%s` have no `history`: nothing is kept\n", question->space);
        return 1;
    }
    struct ask ask = {.question = question, .inquiry = inquiry_create(free_kept)};
    struct kept *kept = inquiry_ask(ask.inquiry, of->threads[0], ask_history, &ask, ANSWER_MS);
    if (kept == NULL)
        return complain_held(to);
    (question->json ? print_kept_json : print_kept)(kept, to);
    free_kept(kept);
    return EX_OK;
}

/* --- publish --- */

/* All of it, within the time. */
static bool read_body(int fd, uint8_t *body, size_t size) {
    const struct timeval patience = {.tv_sec = BODY_S};
    time_t end = time(NULL) + BODY_S;
    fcntl(fd, F_SETFL, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    for (size_t used = 0; used < size;) {
        ssize_t count = recv(fd, body + used, size - used, 0);
        if ((count <= 0 && errno != EINTR) || count == 0 || time(NULL) > end)
            return false;
        used += count > 0 ? (size_t)count : 0;
    }
    return true;
}

static void on_report(void *arg, const struct group_report *report) {
    struct group_report *copy = malloc(sizeof(*copy));
    if (copy == NULL)
        abort();
    *copy = *report;
    inquiry_answer(arg, copy);
}

static bool ask_to_publish(struct loop *loop, void *arg) {
    struct ask *ask = arg;
    const struct group_tally tally = {on_report, ask->inquiry};
    ask->result = group_send_with(groups_of(loop), ask->question->space, ask->question->group,
                                  ask->message, &tally);
    return ask->result == GROUP_OK;
}

static int answer_report(const struct question *question, const struct group_report *report,
                         FILE *to) {
    bool kept = report->outcome == GROUP_KEPT;
    if (report->outcome == GROUP_NOT_KEPT) {
        fputs("the message could not be kept and was not sent\n", to);
        return EX_TEMPFAIL;
    }
    if (question->json) {
        fprintf(to, "{\"matched\":%" PRIu64 ",\"kept\":%s,\"position\":", report->matched,
                kept ? "true" : "false");
        print_position(to, report->position);
        fputs("}\n", to);
        return EX_OK;
    }
    fprintf(to, "sent to %" PRIu64 " members", report->matched);
    if (kept)
        fprintf(to, ", kept as %016" PRIx64 ":%" PRIu64, report->position.epoch,
                report->position.offset);
    putc('\n', to);
    return EX_OK;
}

static int publish(const struct question *question, const struct answers_of *of,
                   const struct group_message *message, FILE *to) {
    struct ask ask = {.question = question, .inquiry = inquiry_create(free), .message = message};
    struct group_report *report =
        inquiry_ask(ask.inquiry, of->threads[0], ask_to_publish, &ask, ANSWER_MS);
    int status = EX_TEMPFAIL;
    if (report != NULL)
        status = answer_report(question, report, to);
    else if (ask.result == GROUP_FULL)
        fputs("too many messages are on their way\n", to);
    else
        status = complain_held(to);
    free(report);
    return status;
}

static int answer_publish(const struct question *question, int fd, const struct answers_of *of,
                          FILE *to) {
    size_t size = question->number;
    if (size > question->terms->message_max) {
        fprintf(to, "a message of `%s` has at most %u bytes\n", question->space,
                question->terms->message_max);
        return EX_DATAERR;
    }
    uint8_t *body = malloc(size + 1);
    int status = EX_DATAERR;
    if (body == NULL)
        abort();
    if (!read_body(fd, body, size)) {
        fputs("the message did not come\n", to);
    } else if (!utf8_valid(body, size)) {
        fputs("the message is not UTF-8\n", to);
    } else {
        struct group_message message = {.frame = frame_create(OPCODE_TEXT, body, size),
                                        .keep = true,
                                        .terms = question->terms->history};
        status = publish(question, of, &message, to);
        frame_unref(message.frame);
    }
    free(body);
    return status;
}

/* --- all of them --- */

static const char *const words[] = {"groups", "members", "history", "publish"};

bool group_answers_know(const char *question) {
    size_t size = strcspn(question, "\t");
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strlen(words[i]) == size && strncmp(words[i], question, size) == 0)
            return true;
    return false;
}

int group_answers_give(const char *question, int fd, const struct answers_of *of, FILE *to) {
    struct question asked;
    read_question(question, of->config, &asked);
    if (strcmp(asked.word, "groups") == 0)
        return answer_groups(&asked, of, to);
    if (asked.terms == NULL)
        return complain_space(&asked, of->config, to);
    if (!group_name_valid(asked.group))
        return complain_group(to);
    if (strcmp(asked.word, "members") == 0)
        return answer_members(&asked, of, to);
    if (strcmp(asked.word, "history") == 0)
        return answer_history(&asked, of, to);
    return answer_publish(&asked, fd, of, to);
}
