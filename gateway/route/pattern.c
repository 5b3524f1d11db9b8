#include "route/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "route/example.h"

/* Enough for any path that a person would write a pattern for; a hostile one ends here. */
#define MATCH_LIMIT 100000
#define HEAP_LIMIT_KIB 1024

#define WRAP_BEFORE "\\A(?:"
#define WRAP_AFTER ")\\z"

struct pattern {
    char *text;
    char *core; /* without the optional anchors and slash */
    pcre2_code *code;
    pcre2_match_context *limits;
    struct capture_names names;
    const char **name_table;
};

/* One for a thread, as large as any pattern needs; freed when the thread ends. */
static pthread_key_t match_data;
static pthread_once_t match_data_once = PTHREAD_ONCE_INIT;

static void free_match_data(void *data) { pcre2_match_data_free(data); }

static void make_match_data_key(void) {
    if (pthread_key_create(&match_data, free_match_data) != 0)
        abort();
}

static pcre2_match_data *thread_match_data(void) {
    pthread_once(&match_data_once, make_match_data_key);
    pcre2_match_data *data = pthread_getspecific(match_data);
    if (data != NULL)
        return data;
    data = pcre2_match_data_create(PATTERN_CAPTURES_MAX, NULL);
    if (data == NULL)
        abort();
    pthread_setspecific(match_data, data);
    return data;
}

static bool ends_in_anchor(const char *text, size_t size) {
    if (size == 0 || text[size - 1] != '$')
        return false;
    size_t slashes = 0;
    while (slashes < size - 1 && text[size - 2 - slashes] == '\\')
        slashes++;
    return slashes % 2 == 0;
}

/* Returns how many bytes were taken off the start. */
static size_t strip(const char *text, size_t *size) {
    size_t from = 0, end = strlen(text);
    if (text[from] == '^')
        from++;
    if (text[from] == '/')
        from++;
    if (ends_in_anchor(text + from, end - from))
        end--;
    *size = end - from;
    return from;
}

static pcre2_code *compile(const char *text, size_t size, int *fault, size_t *at) {
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY;
    return pcre2_compile((PCRE2_SPTR)text, size, options, fault, at, NULL);
}

/* Compiled bare first: `a)|(b` is an error, though it would be none inside the wrapping. */
static bool check_core(const char *core, size_t size, struct error *error, long *offset) {
    int fault;
    size_t at;
    pcre2_code *code = compile(core, size, &fault, &at);
    if (code == NULL) {
        PCRE2_UCHAR message[256];
        pcre2_get_error_message(fault, message, sizeof(message));
        *offset += (long)at;
        return error_set(error, "not a valid pattern: %s", (const char *)message);
    }
    uint32_t count;
    pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &count);
    pcre2_code_free(code);
    if (count + 1 > PATTERN_CAPTURES_MAX) {
        *offset = -1;
        return error_set(error, "the pattern has %u captures; at most %d are possible", count,
                         PATTERN_CAPTURES_MAX - 1);
    }
    return true;
}

static void read_names(struct pattern *pattern) {
    uint32_t captures, count, entry_size;
    PCRE2_SPTR entry;
    pcre2_pattern_info(pattern->code, PCRE2_INFO_CAPTURECOUNT, &captures);
    pcre2_pattern_info(pattern->code, PCRE2_INFO_NAMECOUNT, &count);
    pcre2_pattern_info(pattern->code, PCRE2_INFO_NAMEENTRYSIZE, &entry_size);
    pcre2_pattern_info(pattern->code, PCRE2_INFO_NAMETABLE, &entry);
    pattern->name_table = calloc(captures + 1, sizeof(*pattern->name_table));
    if (pattern->name_table == NULL)
        abort();
    for (uint32_t i = 0; i < count; i++, entry += entry_size)
        pattern->name_table[entry[0] << 8 | entry[1]] = (const char *)entry + 2;
    pattern->names = (struct capture_names){pattern->name_table, captures + 1};
}

static void compile_wrapped(struct pattern *pattern) {
    size_t room = strlen(pattern->core) + sizeof(WRAP_BEFORE) + sizeof(WRAP_AFTER);
    char *wrapped = malloc(room);
    int fault;
    size_t at;
    if (wrapped == NULL)
        abort();
    snprintf(wrapped, room, "%s%s%s", WRAP_BEFORE, pattern->core, WRAP_AFTER);
    pattern->code = compile(wrapped, strlen(wrapped), &fault, &at);
    free(wrapped);
    if (pattern->code == NULL)
        return;
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* without it the interpreter matches */
    pattern->limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(pattern->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(pattern->limits, HEAP_LIMIT_KIB);
    read_names(pattern);
}

struct pattern *pattern_create(const char *text, struct error *error, long *offset) {
    size_t size, from = strip(text, &size);
    *offset = (long)from;
    if (!check_core(text + from, size, error, offset))
        return NULL;
    struct pattern *pattern = calloc(1, sizeof(*pattern));
    if (pattern == NULL)
        abort();
    pattern->text = strdup(text);
    pattern->core = strndup(text + from, size);
    compile_wrapped(pattern);
    if (pattern->code != NULL)
        return pattern;
    *offset = -1; /* an unclosed comment or \Q swallows what stands behind the pattern */
    error_set(error, "not a valid pattern: it does not end (an open \\Q or comment?)");
    pattern_free(pattern);
    return NULL;
}

void pattern_free(struct pattern *pattern) {
    if (pattern == NULL)
        return;
    pcre2_code_free(pattern->code);
    pcre2_match_context_free(pattern->limits);
    free(pattern->name_table);
    free(pattern->text);
    free(pattern->core);
    free(pattern);
}

const char *pattern_text(const struct pattern *pattern) { return pattern->text; }

const struct capture_names *pattern_names(const struct pattern *pattern) { return &pattern->names; }

enum pattern_result pattern_match(const struct pattern *pattern, const char *path, size_t size,
                                  h2o_iovec_t *values) {
    if (size == 0 || path[0] != '/')
        return PATTERN_MISSED;
    pcre2_match_data *found = thread_match_data();
    int count =
        pcre2_match(pattern->code, (PCRE2_SPTR)path + 1, size - 1, 0, 0, found, pattern->limits);
    if (count == PCRE2_ERROR_NOMATCH)
        return PATTERN_MISSED;
    if (count <= PCRE2_ERROR_UTF8_ERR1 && count >= PCRE2_ERROR_UTF8_ERR21)
        return PATTERN_NOT_TEXT;
    if (count < 0)
        return PATTERN_EXHAUSTED;
    const size_t *bounds = pcre2_get_ovector_pointer(found);
    for (size_t i = 0; i < pattern->names.count; i++) {
        bool took_part = (int)i < count && bounds[2 * i] != PCRE2_UNSET;
        values[i] =
            took_part ? h2o_iovec_init(path + 1 + bounds[2 * i], bounds[2 * i + 1] - bounds[2 * i])
                      : h2o_iovec_init(NULL, 0);
    }
    return PATTERN_MATCHED;
}

bool pattern_example(const struct pattern *pattern, unsigned variant, char *path, size_t room) {
    h2o_iovec_t values[PATTERN_CAPTURES_MAX];
    path[0] = '/';
    if (!example_write(pattern->core, variant, path + 1, room - 1))
        return false;
    return pattern_match(pattern, path, strlen(path), values) == PATTERN_MATCHED;
}
