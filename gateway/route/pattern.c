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

static void explain(int fault, size_t at, struct error *error, long *offset) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(fault, message, sizeof(message));
    *offset += (long)at;
    error_set(error, "not a valid pattern: %s", (const char *)message);
}

/* Anchored at both ends by options, not by text around it: an alternative, a comment or a verb in
   the pattern can't get out of that. */
static pcre2_code *compile(const char *core, struct error *error, long *offset) {
    const uint32_t options =
        PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_ANCHORED | PCRE2_ENDANCHORED;
    int fault;
    size_t at;
    uint32_t count;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)core, PCRE2_ZERO_TERMINATED, options, &fault, &at, NULL);
    if (code == NULL) {
        explain(fault, at, error, offset);
        return NULL;
    }
    pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &count);
    if (count < PATTERN_CAPTURES_MAX)
        return code;
    pcre2_code_free(code);
    *offset = -1;
    error_set(error, "the pattern has %u captures; at most %d are possible", count,
              PATTERN_CAPTURES_MAX - 1);
    return NULL;
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

struct pattern *pattern_create(const char *text, struct error *error, long *offset) {
    size_t size, from = strip(text, &size);
    char *core = strndup(text + from, size);
    *offset = (long)from;
    pcre2_code *code = compile(core, error, offset);
    if (code == NULL) {
        free(core);
        return NULL;
    }
    struct pattern *pattern = calloc(1, sizeof(*pattern));
    if (pattern == NULL)
        abort();
    pattern->text = strdup(text);
    pattern->core = core;
    pattern->code = code;
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* without it the interpreter matches */
    pattern->limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(pattern->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(pattern->limits, HEAP_LIMIT_KIB);
    read_names(pattern);
    return pattern;
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
