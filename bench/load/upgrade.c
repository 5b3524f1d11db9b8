#include "upgrade.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static char key[25];          /* base64 of 16 bytes */
static char accept_value[29]; /* base64 of a SHA-1 */

static void make_key(void) {
    uint8_t nonce[16], digest[EVP_MAX_MD_SIZE];
    char text[64];
    if (RAND_bytes(nonce, sizeof(nonce)) != 1)
        abort();
    EVP_EncodeBlock((uint8_t *)key, nonce, sizeof(nonce));
    int size = snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    if (EVP_Digest(text, (size_t)size, digest, NULL, EVP_sha1(), NULL) != 1)
        abort();
    EVP_EncodeBlock((uint8_t *)accept_value, digest, 20);
}

static void append_path(struct buffer *to, const char *path, uint32_t room) {
    const char *place = strstr(path, "{room}");
    char name[16];
    if (place == NULL) {
        buffer_append(to, path, strlen(path));
        return;
    }
    int size = snprintf(name, sizeof(name), "r%u", room);
    buffer_append(to, path, (size_t)(place - path));
    buffer_append(to, name, (size_t)size);
    append_path(to, place + strlen("{room}"), room);
}

void upgrade_request(struct buffer *to, const struct options *options, uint32_t room) {
    char rest[512];
    if (key[0] == '\0')
        make_key();
    buffer_append(to, "GET ", 4);
    append_path(to, options->path, room);
    int size = snprintf(rest, sizeof(rest),
                        " HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
                        options->host, key);
    buffer_append(to, rest, (size_t)size);
}

/* The value of a header in a head that ends in an empty line; NULL when there is none. */
static const char *find_header(const char *head, const char *name) {
    size_t name_size = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, name_size) == 0 && line[name_size] == ':')
            return line + name_size + 1 + strspn(line + name_size + 1, " ");
    }
    return NULL;
}

static bool is_refused(const char *head, char *reason, size_t reason_size) {
    const char *value = find_header(head, "Sec-WebSocket-Accept");
    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0) {
        snprintf(reason, reason_size, "the answer was: %.*s", (int)strcspn(head, "\r\n"), head);
        return true;
    }
    if (value == NULL || strncmp(value, accept_value, strlen(accept_value)) != 0) {
        snprintf(reason, reason_size, "Sec-WebSocket-Accept is missing or wrong");
        return true;
    }
    if (find_header(head, "Sec-WebSocket-Extensions") != NULL) {
        snprintf(reason, reason_size, "an extension was answered that was not offered");
        return true;
    }
    return false;
}

enum upgrade_result upgrade_answer(const uint8_t *bytes, size_t size, size_t *head_size,
                                   char *reason, size_t reason_size) {
    char head[UPGRADE_HEAD_MAX + 1];
    const uint8_t *end = memmem(bytes, size, "\r\n\r\n", 4);
    if (end == NULL && size < UPGRADE_HEAD_MAX)
        return UPGRADE_PARTIAL;
    if (end == NULL || end - bytes > UPGRADE_HEAD_MAX - 4) {
        snprintf(reason, reason_size, "the answer's head is larger than %d bytes",
                 UPGRADE_HEAD_MAX);
        return UPGRADE_REFUSED;
    }
    *head_size = (size_t)(end - bytes) + 4;
    memcpy(head, bytes, *head_size);
    head[*head_size] = '\0';
    return is_refused(head, reason, reason_size) ? UPGRADE_REFUSED : UPGRADE_DONE;
}
