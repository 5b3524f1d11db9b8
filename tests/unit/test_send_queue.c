#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "websocket/frame.h"
#include "websocket/send_queue.h"

static struct send_queue queue;
static char written[4096];
static size_t written_size;

static void setup(void) {
    queue = (struct send_queue){0};
    written_size = 0;
}

static void teardown(void) { send_queue_clear(&queue); }

/* A message of one letter, three bytes on the wire; upper case: a pong, urgent. */
static void push(char letter) {
    int urgent = letter >= 'A' && letter <= 'Z';
    struct frame *frame = frame_create(urgent ? OPCODE_PONG : OPCODE_TEXT, &letter, 1);
    if (urgent)
        send_queue_push_urgent(&queue, frame);
    else
        send_queue_push(&queue, frame);
    frame_unref(frame);
}

static void push_all(const char *letters) {
    for (; *letters != '\0'; letters++)
        push(*letters);
}

static size_t begin(size_t most, size_t bytes_most) {
    struct iovec parts[64];
    size_t count = send_queue_begin(&queue, parts, most, bytes_most);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].iov_len == 0)
            ck_abort_msg("an empty part");
        memcpy(written + written_size, parts[i].iov_base, parts[i].iov_len);
        written_size += parts[i].iov_len;
    }
    return count;
}

/* Whether the bytes on the wire are exactly these one-letter frames. */
static void check_written(const char *letters) {
    ck_assert_uint_eq(written_size, strlen(letters) * 3);
    for (size_t i = 0; letters[i] != '\0'; i++) {
        char first = (char)(letters[i] >= 'A' && letters[i] <= 'Z' ? 0x8a : 0x81);
        if (written[i * 3] != first || written[i * 3 + 2] != letters[i])
            ck_abort_msg("frame %zu is not \"%c\"", i, letters[i]);
    }
}

static void write_the_rest(void) {
    while (begin(64, 4096) > 0)
        send_queue_written(&queue, queue.writing);
    ck_assert_uint_eq(queue.count, 0);
    ck_assert_uint_eq(queue.bytes, 0);
    ck_assert_ptr_null(queue.ring);
}

START_TEST(frames_leave_in_order_however_many) {
    char letters[200];
    for (size_t i = 0; i < sizeof(letters) - 1; i++)
        letters[i] = (char)('a' + i % 26);
    letters[sizeof(letters) - 1] = '\0';
    push_all(letters);
    ck_assert_uint_eq(queue.bytes, 199 * 3);
    ck_assert_uint_eq(begin(64, 4096), 64);
    send_queue_written(&queue, queue.writing);
    ck_assert_uint_eq(queue.bytes, 135 * 3);
    push_all("xyz");
    write_the_rest();
    ck_assert_uint_eq(written_size, 202 * 3);
    written_size = 199 * 3;
    check_written(letters);
}
END_TEST

START_TEST(the_ring_turns_while_it_grows) {
    push_all("ab");
    for (int i = 0; i < 50; i++) {
        push('c');
        begin(1, 4096);
        send_queue_written(&queue, queue.writing);
        push('d');
    }
    write_the_rest();
    ck_assert_uint_eq(written_size, 102 * 3);
}
END_TEST

START_TEST(bytes_are_bounded_and_a_frame_may_leave_in_pieces) {
    push_all("abc");
    for (int i = 0; i < 4; i++) {
        ck_assert_uint_ge(begin(64, 2), 1);
        ck_assert_uint_eq(queue.writing, 2);
        send_queue_written(&queue, queue.writing);
    }
    ck_assert_uint_eq(queue.count, 1);
    ck_assert_uint_eq(queue.begun, 2);
    ck_assert_uint_eq(begin(64, 2), 1);
    ck_assert_uint_eq(queue.writing, 1);
    send_queue_written(&queue, queue.writing);
    check_written("abc");
    ck_assert_ptr_null(queue.ring);
}
END_TEST

START_TEST(an_urgent_frame_goes_before_what_has_not_begun) {
    push_all("abc");
    push('P');
    write_the_rest();
    check_written("Pabc");
}
END_TEST

START_TEST(an_urgent_frame_stays_behind_the_write_under_way) {
    push_all("abcd");
    begin(2, 4096);
    push('P');
    send_queue_written(&queue, queue.writing);
    write_the_rest();
    check_written("abPcd");
}
END_TEST

START_TEST(an_urgent_frame_never_splits_a_frame) {
    push_all("ab");
    begin(64, 1);
    send_queue_written(&queue, queue.writing);
    push('P');
    write_the_rest();
    check_written("aPb");
}
END_TEST

START_TEST(the_oldest_that_has_not_begun_is_dropped) {
    push_all("abcd");
    begin(2, 4096);
    ck_assert(send_queue_drop_oldest(&queue));
    send_queue_written(&queue, queue.writing);
    write_the_rest();
    check_written("abd");
}
END_TEST

START_TEST(a_partly_written_frame_is_never_dropped) {
    push_all("ab");
    begin(64, 1);
    send_queue_written(&queue, queue.writing);
    ck_assert_uint_eq(send_queue_fixed_bytes(&queue), 3);
    ck_assert(send_queue_drop_oldest(&queue));
    ck_assert(!send_queue_drop_oldest(&queue));
    write_the_rest();
    check_written("a");
}
END_TEST

START_TEST(control_frames_are_never_dropped) {
    push_all("aPQb");
    ck_assert(send_queue_drop_oldest(&queue));
    ck_assert(send_queue_drop_oldest(&queue));
    ck_assert(!send_queue_drop_oldest(&queue));
    write_the_rest();
    check_written("QP");
}
END_TEST

START_TEST(nothing_to_drop_in_an_empty_queue) {
    ck_assert(!send_queue_drop_oldest(&queue));
    ck_assert_uint_eq(begin(64, 4096), 0);
    push('a');
    ck_assert(send_queue_drop_oldest(&queue));
    ck_assert_ptr_null(queue.ring);
}
END_TEST

START_TEST(clearing_forgets_a_write_under_way) {
    push_all("abc");
    begin(2, 4096);
    send_queue_clear(&queue);
    ck_assert_uint_eq(queue.count + queue.busy + queue.bytes + queue.writing, 0);
    ck_assert_ptr_null(queue.ring);
}
END_TEST

/* A queue of strings that does the same in the plainest way. */
struct model {
    char letters[512];
    size_t count, busy;
};

static void model_insert(struct model *model, size_t place, char letter) {
    memmove(model->letters + place + 1, model->letters + place, model->count - place);
    model->letters[place] = letter;
    model->count++;
}

static int model_drop(struct model *model) {
    for (size_t i = model->busy; i < model->count; i++) {
        if (model->letters[i] >= 'a') {
            memmove(model->letters + i, model->letters + i + 1, model->count - i - 1);
            model->count--;
            return 1;
        }
    }
    return 0;
}

static void model_written(struct model *model) {
    memmove(model->letters, model->letters + model->busy, model->count - model->busy);
    model->count -= model->busy;
    model->busy = 0;
}

/* One random step on both. */
static void step_both(struct model *model, unsigned random) {
    char letter = (char)('a' + random / 8 % 26);
    switch (random % 8) {
    case 0:
        push((char)(letter - 32));
        model_insert(model, model->busy, (char)(letter - 32));
        return;
    case 1:
        ck_assert_int_eq(send_queue_drop_oldest(&queue), model_drop(model));
        return;
    case 2:
    case 3:
        if (model->busy > 0)
            send_queue_written(&queue, queue.writing);
        model_written(model);
        return;
    case 4:
        if (model->busy == 0) {
            written_size = 0;
            model->busy = begin(random / 8 % 7 + 1, 4096);
            char sent[64] = {0};
            memcpy(sent, model->letters, model->busy);
            check_written(sent);
        }
        return;
    default:
        push(letter);
        model_insert(model, model->count, letter);
    }
}

START_TEST(any_sequence_of_steps_does_what_a_plain_list_does) {
    struct model model = {.count = 0};
    unsigned random = 12345u + (unsigned)_i;
    for (int i = 0; i < 3000 && model.count < 400; i++) {
        random = random * 1103515245u + 12345u;
        step_both(&model, random >> 8);
        if (queue.count != model.count || queue.bytes != model.count * 3)
            ck_abort_msg("step %d: %u frames instead of %zu", i, queue.count, model.count);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("send_queue");
    TCase *tests = tcase_create("send_queue");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, frames_leave_in_order_however_many);
    tcase_add_test(tests, the_ring_turns_while_it_grows);
    tcase_add_test(tests, bytes_are_bounded_and_a_frame_may_leave_in_pieces);
    tcase_add_test(tests, an_urgent_frame_goes_before_what_has_not_begun);
    tcase_add_test(tests, an_urgent_frame_stays_behind_the_write_under_way);
    tcase_add_test(tests, an_urgent_frame_never_splits_a_frame);
    tcase_add_test(tests, the_oldest_that_has_not_begun_is_dropped);
    tcase_add_test(tests, a_partly_written_frame_is_never_dropped);
    tcase_add_test(tests, control_frames_are_never_dropped);
    tcase_add_test(tests, nothing_to_drop_in_an_empty_queue);
    tcase_add_test(tests, clearing_forgets_a_write_under_way);
    tcase_add_loop_test(tests, any_sequence_of_steps_does_what_a_plain_list_does, 0, 20);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
