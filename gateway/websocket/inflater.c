#include "websocket/inflater.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <zlib.h>

#include "loop/h2o.h"
#include "websocket/utf8.h"
#include "websocket/window.h"

#define OUTPUT_FIRST (4u << 10)
#define OUTPUT_KEPT (64u << 10)

/* One a thread, from its first compressed message on. */
struct inflater {
    z_stream stream;
    uint8_t *output;
    size_t capacity, filled;
    bool tail_given;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static _Thread_local struct inflater *mine;

/* --- its life --- */

static void free_inflater(void *value) {
    struct inflater *inflater = value;
    inflateEnd(&inflater->stream);
    free(inflater->output);
    free(inflater);
    mine = NULL;
}

static void make_key(void) {
    if (pthread_key_create(&key, free_inflater) != 0)
        abort();
}

/* The largest window, whatever the client uses: it is the thread's, and holds every smaller one. */
static struct inflater *inflater_of_thread(void) {
    if (mine != NULL)
        return mine;
    pthread_once(&once, make_key);
    mine = h2o_mem_alloc(sizeof(*mine));
    *mine = (struct inflater){0};
    if (inflateInit2(&mine->stream, -MAX_WBITS) != Z_OK || pthread_setspecific(key, mine) != 0)
        abort();
    return mine;
}

/* --- one message --- */

/* What RFC 7692 section 7.2.1 has the sender take off: the end of an empty stored block. */
static const uint8_t tail[4] = {0x00, 0x00, 0xff, 0xff};

static void give(struct inflater *inflater, const uint8_t *data, size_t size) {
    inflater->stream.next_in = (Bytef *)(uintptr_t)data; /* zlib reads only */
    inflater->stream.avail_in = (uInt)size;
}

/* No message of any peer takes more than it may become, and one byte that shows that it is more. */
static void make_room(struct inflater *inflater, uint32_t bytes_max) {
    if (inflater->filled == inflater->capacity) {
        size_t capacity = inflater->capacity == 0 ? OUTPUT_FIRST : inflater->capacity * 2;
        if (capacity > OUTPUT_KEPT && capacity > (size_t)bytes_max + 1)
            capacity = (size_t)bytes_max + 1;
        inflater->output = h2o_mem_realloc(inflater->output, capacity);
        inflater->capacity = capacity;
    }
    size_t end = inflater->capacity < (size_t)bytes_max + 1 ? inflater->capacity : bytes_max + 1;
    inflater->stream.next_out = inflater->output + inflater->filled;
    inflater->stream.avail_out = (uInt)(end - inflater->filled);
}

/* The stream stands between two blocks, at a whole byte: nothing of the message is missing. (zlib
   tells so in data_type, see inflate() in zlib.h.) */
static bool is_complete(const struct inflater *inflater) {
    return (inflater->stream.data_type & (128 | 64 | 63)) == 128;
}

static bool is_over(const struct inflater *inflater) { return inflater->stream.avail_in == 0; }

enum step { STEP_ON, STEP_DONE, STEP_BROKEN };

/* A block said that it is the last (section 7.2.3.4 has an example): others may follow, and refer
   back to what was before it. */
static enum step go_on_after_last(struct inflater *inflater) {
    if (inflater->tail_given)
        return STEP_BROKEN;
    if (is_over(inflater))
        return STEP_DONE;
    return inflateResetKeep(&inflater->stream) == Z_OK ? STEP_ON : STEP_BROKEN;
}

static enum step step(struct inflater *inflater) {
    int result = inflate(&inflater->stream, Z_SYNC_FLUSH);
    if (result == Z_STREAM_END)
        return go_on_after_last(inflater);
    if (result != Z_OK && result != Z_BUF_ERROR)
        return STEP_BROKEN;
    if (inflater->stream.avail_out == 0 || !is_over(inflater))
        return STEP_ON;
    if (inflater->tail_given)
        return is_complete(inflater) ? STEP_DONE : STEP_BROKEN;
    inflater->tail_given = true;
    give(inflater, tail, sizeof(tail));
    return STEP_ON;
}

/* Text is checked as it comes out, so that little more than the first fault is ever made. */
static enum inflater_result run(struct inflater *inflater, const struct inflater_input *input) {
    struct utf8 utf8 = {0};
    enum step done = STEP_ON;
    while (done == STEP_ON) {
        make_room(inflater, input->bytes_max);
        size_t before = inflater->filled;
        done = step(inflater);
        inflater->filled = (size_t)(inflater->stream.next_out - inflater->output);
        if (done == STEP_BROKEN)
            return INFLATER_BROKEN;
        if (inflater->filled > input->bytes_max)
            return INFLATER_TOO_BIG;
        if (input->is_text &&
            !utf8_check(&utf8, inflater->output + before, inflater->filled - before))
            return INFLATER_NOT_UTF8;
    }
    return input->is_text && !utf8_complete(&utf8) ? INFLATER_NOT_UTF8 : INFLATER_DONE;
}

static void start(struct inflater *inflater, const struct inflater_input *input) {
    int result = inflateReset(&inflater->stream);
    assert(result == Z_OK);
    if (input->window != NULL) {
        size_t size;
        const uint8_t *said = window_bytes(*input->window, &size);
        if (size > 0)
            result = inflateSetDictionary(&inflater->stream, said, (uInt)size);
        assert(result == Z_OK);
    }
    inflater->filled = 0;
    inflater->tail_given = false;
    give(inflater, input->data, input->size);
}

enum inflater_result inflater_read(const struct inflater_input *input, const uint8_t **message,
                                   size_t *size) {
    struct inflater *inflater = inflater_of_thread();
    *message = (const uint8_t *)"";
    *size = 0;
    /* A sender whose last message ended in a flush may have nothing to say for an empty one. */
    if (input->size == 0)
        return INFLATER_DONE;
    start(inflater, input);
    enum inflater_result result = run(inflater, input);
    if (result != INFLATER_DONE) {
        inflater_forget();
        return result;
    }
    if (input->window != NULL)
        window_append(input->window, (size_t)1 << input->window_bits, inflater->output,
                      inflater->filled);
    *message = inflater->output;
    *size = inflater->filled;
    return INFLATER_DONE;
}

void inflater_forget(void) {
    if (mine == NULL || mine->capacity <= OUTPUT_KEPT)
        return;
    free(mine->output);
    mine->output = NULL;
    mine->capacity = 0;
}
