#include "websocket/deflater.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>

#include "loop/h2o.h"
#include "websocket/frame.h"
#include "websocket/window.h"

#define BITS_LEAST 9 /* zlib has no smaller window for raw data; see window_for */
#define BITS_MOST 15
#define MEMORY_LEVEL 8
#define OUTPUT_KEPT (64u << 10)
#define TAIL_SIZE 4 /* 00 00 ff ff, which every flush ends with and nobody sends */
#define LOCKS 16

/* One a thread, from its first compressed message on. */
struct deflater {
    z_stream streams[BITS_MOST - BITS_LEAST + 1];
    uint8_t levels[BITS_MOST - BITS_LEAST + 1]; /* 0: that stream is not there */
    uint8_t *output;
    size_t capacity;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static _Thread_local struct deflater *mine;

/* --- its life --- */

static void free_deflater(void *value) {
    struct deflater *deflater = value;
    for (unsigned at = 0; at <= BITS_MOST - BITS_LEAST; at++)
        if (deflater->levels[at] != 0)
            deflateEnd(&deflater->streams[at]);
    free(deflater->output);
    free(deflater);
    mine = NULL;
}

static void make_key(void) {
    if (pthread_key_create(&key, free_deflater) != 0)
        abort();
}

static struct deflater *deflater_of_thread(void) {
    if (mine != NULL)
        return mine;
    pthread_once(&once, make_key);
    mine = h2o_mem_alloc(sizeof(*mine));
    *mine = (struct deflater){0};
    if (pthread_setspecific(key, mine) != 0)
        abort();
    return mine;
}

/* The stream with that window, as new. */
static z_stream *stream_of(struct deflater *deflater, unsigned bits, unsigned level) {
    z_stream *stream = &deflater->streams[bits - BITS_LEAST];
    uint8_t *made = &deflater->levels[bits - BITS_LEAST];
    int result;
    if (*made == 0)
        result = deflateInit2(stream, (int)level, Z_DEFLATED, -(int)bits, MEMORY_LEVEL,
                              Z_DEFAULT_STRATEGY);
    else
        result = deflateReset(stream);
    if (result == Z_OK && *made != 0 && *made != level)
        result = deflateParams(stream, (int)level, Z_DEFAULT_STRATEGY);
    if (result != Z_OK)
        abort(); /* out of memory */
    *made = (uint8_t)level;
    return stream;
}

/* --- one message --- */

/* A message can't refer back further than it is long, so that what fits the peer's window as a
   whole is made with the largest: one form for all peers, and one stream for most of them. For a
   window of 256 bytes that of 512 is right, since zlib never refers back further than 262 bytes
   less than its own. */
static unsigned window_for(unsigned bits, size_t size) {
    if (size <= (size_t)1 << bits)
        return BITS_MOST;
    return bits < BITS_LEAST ? BITS_LEAST : bits;
}

/* Room for one byte less than the message, the tail, and the byte that must stay free (deflate() in
   zlib.h): what does not fit is not smaller. */
static size_t output_size(size_t size) { return size + TAIL_SIZE; }

static void reserve(struct deflater *deflater, size_t size) {
    if (size <= deflater->capacity)
        return;
    deflater->capacity = size < OUTPUT_KEPT ? OUTPUT_KEPT : size;
    free(deflater->output);
    deflater->output = h2o_mem_alloc(deflater->capacity);
}

static void release_large(struct deflater *deflater) {
    if (deflater->capacity <= OUTPUT_KEPT)
        return;
    free(deflater->output);
    deflater->output = NULL;
    deflater->capacity = 0;
}

/* Returns how many bytes of output the payload became, without the tail; 0: not fewer than it has.
 */
static size_t compress_payload(struct deflater *deflater, z_stream *stream, const uint8_t *payload,
                               size_t size) {
    reserve(deflater, output_size(size));
    stream->next_in = (Bytef *)(uintptr_t)payload; /* zlib reads only */
    stream->avail_in = (uInt)size;
    stream->next_out = deflater->output;
    stream->avail_out = (uInt)output_size(size);
    int result = deflate(stream, Z_SYNC_FLUSH);
    if (result != Z_OK || stream->avail_in > 0 || stream->avail_out == 0)
        return 0;
    return output_size(size) - stream->avail_out - TAIL_SIZE;
}

/* NULL: it would not be smaller. */
static struct frame *make_form(const struct frame *frame, unsigned window_bits, unsigned level,
                               const struct window *window) {
    struct deflater *deflater = deflater_of_thread();
    z_stream *stream = stream_of(deflater, window_bits, level);
    size_t size, said_size;
    const uint8_t *payload = frame_payload(frame, &size);
    const uint8_t *said = window_bytes(window, &said_size);
    if (said_size > 0 && deflateSetDictionary(stream, said, (uInt)said_size) != Z_OK)
        abort();
    size_t made = compress_payload(deflater, stream, payload, size);
    struct frame *form =
        made == 0 ? NULL : frame_create_compressed(frame_opcode(frame), deflater->output, made);
    release_large(deflater);
    return form;
}

/* --- forms --- */

static bool is_too_big(const struct frame *frame) {
    size_t size;
    frame_payload(frame, &size);
    return size > DEFLATER_PAYLOAD_MAX;
}

/* Taken only to make a form. */
static pthread_mutex_t *lock_of(const struct frame *frame) {
    static pthread_mutex_t locks[LOCKS] = {[0 ... LOCKS - 1] = PTHREAD_MUTEX_INITIALIZER};
    return &locks[((uintptr_t)frame >> 6) % LOCKS];
}

static struct frame *make_shared_form(struct frame *frame, unsigned window_bits, unsigned level,
                                      unsigned form_key) {
    pthread_mutex_t *lock = lock_of(frame);
    pthread_mutex_lock(lock);
    struct frame *form = frame_form(frame, form_key);
    if (form == NULL)
        form = frame_keep_form(frame, form_key, make_form(frame, window_bits, level, NULL));
    pthread_mutex_unlock(lock);
    return form;
}

struct frame *deflater_shared_form(struct frame *frame, unsigned bits, unsigned level) {
    size_t size;
    frame_payload(frame, &size);
    if (is_too_big(frame))
        return frame;
    unsigned window_bits = window_for(bits, size), form_key = window_bits << 4 | level;
    struct frame *form = frame_form(frame, form_key);
    return form != NULL ? form : make_shared_form(frame, window_bits, level, form_key);
}

struct frame *deflater_own_form(const struct frame *frame, unsigned bits, unsigned level,
                                const struct window *window) {
    size_t size, said_size;
    frame_payload(frame, &size);
    window_bytes(window, &said_size);
    if (is_too_big(frame))
        return NULL;
    return make_form(frame, window_for(bits, said_size + size), level, window);
}
