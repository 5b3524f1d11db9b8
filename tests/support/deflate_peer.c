#include "support/deflate_peer.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static void add(struct deflate_peer *peer, const uint8_t *data, size_t size) {
    if (peer->size + size > peer->capacity) {
        peer->capacity = (peer->size + size) * 2;
        peer->bytes = realloc(peer->bytes, peer->capacity);
        ck_assert_ptr_nonnull(peer->bytes);
    }
    memcpy(peer->bytes + peer->size, data, size);
    peer->size += size;
}

void deflate_peer_open(struct deflate_peer *peer, int out_bits, bool out_takeover, int in_bits,
                       bool in_takeover) {
    *peer = (struct deflate_peer){.out_takeover = out_takeover, .in_takeover = in_takeover};
    ck_assert_int_eq(deflateInit2(&peer->out, 9, Z_DEFLATED, -out_bits, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    ck_assert_int_eq(inflateInit2(&peer->in, -in_bits), Z_OK);
}

void deflate_peer_pack(struct deflate_peer *peer, const void *message, size_t size) {
    z_stream *out = &peer->out;
    uint8_t piece[4096];
    if (!peer->out_takeover)
        deflateReset(out);
    peer->size = 0;
    out->next_in = (Bytef *)(uintptr_t)message;
    out->avail_in = (uInt)size;
    do {
        out->next_out = piece;
        out->avail_out = sizeof(piece);
        deflate(out, Z_SYNC_FLUSH);
        add(peer, piece, sizeof(piece) - out->avail_out);
    } while (out->avail_out == 0);
    /* Behind a flush there is nothing to flush for an empty message (section 7.2.3.6). */
    if (peer->size == 0)
        add(peer, (const uint8_t *)"\0\0\0\xff\xff", 5);
    ck_assert_uint_ge(peer->size, 5);
    ck_assert_mem_eq(peer->bytes + peer->size - 4, "\0\0\xff\xff", 4);
    peer->size -= 4;
}

/* Byte by byte: zlib looks into its window then, and not into what it has just put out. */
static bool unpack_piece(struct deflate_peer *peer, const uint8_t *data, size_t size) {
    z_stream *in = &peer->in;
    int result;
    in->next_in = (Bytef *)(uintptr_t)data;
    in->avail_in = (uInt)size;
    do {
        uint8_t byte;
        in->next_out = &byte;
        in->avail_out = 1;
        result = inflate(in, Z_SYNC_FLUSH);
        add(peer, &byte, 1 - in->avail_out);
    } while (result == Z_OK && in->avail_out == 0);
    return (result == Z_OK || result == Z_BUF_ERROR) && in->avail_in == 0;
}

bool deflate_peer_unpack(struct deflate_peer *peer, const void *payload, size_t size) {
    if (!peer->in_takeover)
        inflateReset(&peer->in);
    peer->size = 0;
    return unpack_piece(peer, payload, size) &&
           unpack_piece(peer, (const uint8_t *)"\0\0\xff\xff", 4) &&
           (peer->in.data_type & (128 | 63)) == 128;
}

void deflate_peer_close(struct deflate_peer *peer) {
    deflateEnd(&peer->out);
    inflateEnd(&peer->in);
    free(peer->bytes);
}

void deflate_peer_text(char *text, size_t size, unsigned seed) {
    static const char *const words[] = {"gateway ", "session ", "frame ",    "who ",   "hears ",
                                        "message ", "{\"a\":",  "\"b\"},\n", "route ", "of "};
    size_t at = 0;
    while (at < size) {
        seed = seed * 1103515245u + 12345u;
        const char *word = words[(seed >> 16) % (sizeof(words) / sizeof(words[0]))];
        for (; *word != '\0' && at < size; word++)
            text[at++] = *word;
        if (at < size && (seed >> 28) == 3)
            text[at++] = (char)('a' + (seed >> 20) % 26);
    }
}
