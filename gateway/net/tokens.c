#include "net/tokens.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/snapshot.h"

struct tokens {
    size_t count;
    unsigned char digests[TOKENS_MAX][SHA256_DIGEST_LENGTH];
};

/* --- the file --- */

static bool is_exposed(const struct stat *status) {
    return (status->st_mode & (S_IROTH | S_IWOTH)) != 0;
}

bool tokens_exposed(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && is_exposed(&status);
}

static bool complain_exposed(const char *path, struct error *error) {
    return error_set(error,
                     "%s: everybody may read or write it; a secret is its owner's and perhaps "
                     "its group's: chmod o= %s",
                     path, path);
}

/* A snapshot's copy has no mode of its own: whoever took it has looked. */
static bool check_file(int fd, const char *path, struct error *error) {
    struct stat status;
    if (fstat(fd, &status) != 0)
        return error_set(error, "%s: can't be read: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return error_set(error, "%s: is no file", path);
    if (snapshot_file(path) == NULL && is_exposed(&status))
        return complain_exposed(path, error);
    return true;
}

/* To its end, or as far as the room goes. */
static bool read_bytes(int fd, char *bytes, size_t room, size_t *size) {
    ssize_t count = 0;
    *size = 0;
    while (*size < room && (count = read(fd, bytes + *size, room - *size)) != 0) {
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return false;
        *size += (size_t)count;
    }
    return true;
}

static bool read_file(const char *path, char *bytes, size_t *size, struct error *error) {
    if (snapshot_find(snapshot_used(), SNAPSHOT_BARRED, path) != NULL)
        return complain_exposed(path, error);
    int fd = snapshot_open(path);
    if (fd < 0)
        return error_set(error, "%s: can't be read: %s", path, strerror(errno));
    bool right = check_file(fd, path, error);
    if (right && !read_bytes(fd, bytes, TOKENS_FILE_MAX + 1, size))
        right = error_set(error, "%s: can't be read: %s", path, strerror(errno));
    close(fd);
    if (right && *size > TOKENS_FILE_MAX)
        right = error_set(error, "%s: is larger than %u KiB", path, TOKENS_FILE_MAX >> 10);
    return right;
}

/* --- its lines --- */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static bool is_token(const char *text, size_t size) {
    for (size_t at = 0; at < size; at++)
        if (text[at] <= ' ' || text[at] > '~')
            return false;
    return size >= TOKEN_LEAST && size <= TOKEN_MOST;
}

static bool take_line(struct tokens *tokens, const char *line, size_t size, struct error *error) {
    while (size > 0 && is_blank(line[0]))
        line++, size--;
    while (size > 0 && is_blank(line[size - 1]))
        size--;
    if (size == 0 || line[0] == '#')
        return true;
    if (!is_token(line, size))
        return error_set(error, "a token is %d to %d visible ASCII characters, alone in its line",
                         TOKEN_LEAST, TOKEN_MOST);
    if (tokens->count == TOKENS_MAX)
        return error_set(error, "more than %d tokens", TOKENS_MAX);
    SHA256((const unsigned char *)line, size, tokens->digests[tokens->count++]);
    return true;
}

static bool take_lines(struct tokens *tokens, const char *path, const char *text, size_t size,
                       struct error *error) {
    struct error why;
    for (size_t number = 1; size > 0; number++) {
        const char *end = memchr(text, '\n', size);
        size_t length = end == NULL ? size : (size_t)(end - text);
        if (!take_line(tokens, text, length, &why))
            return error_set(error, "%s:%zu: %s", path, number, why.text);
        length += end != NULL;
        text += length;
        size -= length;
    }
    return tokens->count > 0 || error_set(error, "%s: holds no token", path);
}

struct tokens *tokens_read(const char *path, struct error *error) {
    struct tokens *tokens = calloc(1, sizeof(*tokens));
    char *text = malloc(TOKENS_FILE_MAX + 1);
    size_t size = 0;
    if (tokens == NULL || text == NULL)
        abort();
    bool right = read_file(path, text, &size, error) && take_lines(tokens, path, text, size, error);
    OPENSSL_cleanse(text, size);
    free(text);
    if (right)
        return tokens;
    tokens_free(tokens);
    return NULL;
}

void tokens_free(struct tokens *tokens) { free(tokens); }

size_t tokens_count(const struct tokens *tokens) { return tokens->count; }

/* Digests are compared, so that neither a token's length nor its begin shows; and always all. */
bool tokens_have(const struct tokens *tokens, const char *bytes, size_t size) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    int found = 0;
    SHA256((const unsigned char *)bytes, size, digest);
    for (size_t at = 0; at < tokens->count; at++)
        found |= CRYPTO_memcmp(digest, tokens->digests[at], sizeof(digest)) == 0;
    return found != 0;
}
