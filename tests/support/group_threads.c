#include "support/group_threads.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "group/key.h"
#include "websocket/frame.h"

struct loop *threads[THREADS];
struct member_events threads_events;

static void on_event(struct member *member, const char *group, struct frame *frame);

void threads_open(void) {
    threads_events = (struct member_events){.event = on_event};
    for (unsigned at = 0; at < THREADS; at++)
        threads[at] = loop_create(at);
    groups_create_all(threads, THREADS, &threads_events);
    key_seed(1, 2);
}

void threads_close(void) {
    groups_free_all(threads, THREADS);
    for (unsigned at = 0; at < THREADS; at++)
        loop_free(threads[at]);
    loop_enter(NULL);
}

struct groups *threads_be(unsigned thread) {
    loop_enter(threads[thread]);
    return groups_of(threads[thread]);
}

void threads_turn(unsigned thread) {
    loop_enter(threads[thread]);
    loop_turn(threads[thread], 0);
}

/* More rounds than the longest way has letters: a tally's, over the home and back. */
void threads_settle(void) {
    for (int round = 0; round < 12; round++)
        for (unsigned thread = 0; thread < THREADS; thread++)
            threads_turn(thread);
}

void threads_assert_nothing_is_held(void) {
    for (unsigned thread = 0; thread < THREADS; thread++) {
        struct group_counts counts = groups_count(threads_be(thread));
        ck_assert_uint_eq(counts.memberships, 0);
        ck_assert_uint_eq(counts.views, 0);
        ck_assert_uint_eq(counts.homes, 0);
        ck_assert_uint_eq(counts.members, 0);
    }
}

const char *threads_name_at(unsigned home, unsigned number) {
    static char names[THREADS][4][16];
    char *name = names[home][number];
    for (unsigned tried = 0;; tried++) {
        snprintf(name, sizeof(names[0][0]), "room-%u", tried);
        struct group_key key = key_of(SPACE, name);
        if (key_home(&key, THREADS) == home && number-- == 0)
            return name;
    }
}

void threads_say_with(unsigned thread, const char *group, const char *text, uint64_t except,
                      const struct group_tally *tally) {
    struct frame *frame = frame_create(OPCODE_TEXT, text, strlen(text));
    struct groups *groups = threads_be(thread);
    ck_assert_int_eq(group_send(groups, SPACE, group, frame, except, tally), GROUP_OK);
    frame_unref(frame);
}

void threads_say(unsigned thread, const char *group, const char *text) {
    threads_say_with(thread, group, text, 0, NULL);
}

/* --- ears --- */

void ear_note(char *text, size_t size, struct frame *frame) {
    size_t payload_size, at = strlen(text);
    const uint8_t *payload = frame_payload(frame, &payload_size);
    ck_assert_uint_lt(at + payload_size + 1, size);
    memcpy(text + at, payload, payload_size);
    strcpy(text + at + payload_size, " ");
}

static void on_event(struct member *member, const char *group, struct frame *frame) {
    struct ear *ear = (struct ear *)member;
    ck_assert_ptr_eq(loop_current(), threads[ear->thread]);
    ck_assert_str_eq(group, ear->group);
    ear_note(ear->heard, sizeof(ear->heard), frame);
    if (ear->then != NULL)
        ear->then(ear);
}

struct ear ear_make(unsigned thread, const char *group) {
    static uint64_t ids;
    return (struct ear){.member = {.id = ++ids}, .thread = thread, .group = group};
}

void ear_join(struct ear *ear) {
    struct groups *groups = threads_be(ear->thread);
    ck_assert_int_eq(
        group_join(groups, &ear->member, SPACE, ear->group, NULL, GROUP_EVENTS, PLENTY), GROUP_OK);
}

void ear_leave(struct ear *ear) {
    struct groups *groups = threads_be(ear->thread);
    ck_assert_int_eq(group_leave(groups, &ear->member, SPACE, ear->group), GROUP_OK);
}

void ear_end(struct ear *ear) { group_leave_all(threads_be(ear->thread), &ear->member); }
