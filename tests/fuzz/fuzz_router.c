/* Lines of patterns, an empty line, a path: compiled, listed, matched. What is captured lies in the
 * path, and the examples of a pattern match it. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "route/pattern.h"
#include "route/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROUTES_MAX 8

struct place {
    const char *path;
    size_t size;
};

static void check_capture(void *arg, const char *name, const char *value, size_t size) {
    const struct place *place = arg;
    assert(name == NULL || name[0] != '\0');
    assert(value == NULL || (value >= place->path && value + size <= place->path + place->size));
}

static void check_pattern(const char *text) {
    struct error error = {0};
    char example[256];
    long offset = -1;
    struct pattern *pattern = pattern_create(text, &error, &offset);
    if (pattern == NULL) {
        assert(offset >= -1 && offset <= (long)strlen(text));
        return;
    }
    h2o_iovec_t values[PATTERN_CAPTURES_MAX];
    assert(pattern_names(pattern)->count <= PATTERN_CAPTURES_MAX);
    for (unsigned variant = 0; variant < PATTERN_EXAMPLES; variant++)
        if (pattern_example(pattern, variant, example, sizeof(example)))
            assert(pattern_match(pattern, example, strlen(example), values) == PATTERN_MATCHED);
    pattern_free(pattern);
}

static void add(struct router *router, const char *text) {
    struct error error = {0};
    long offset = -1;
    const char *const origins[] = {"same-host"};
    const struct route_conf conf = {
        .pattern = text, .place = "fuzz:1", .origins = origins, .origin_count = 1};
    check_pattern(text);
    const struct route *route = router_add(router, &conf, &error, &offset);
    if (route != NULL)
        (void)router_shadows(router, route);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1), *line = text;
    if (text == NULL || size > 4096) {
        free(text);
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    struct router *router = router_create();
    for (int count = 0; count < ROUTES_MAX && *line != '\0' && *line != '\n'; count++) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        add(router, line);
        line = end != NULL ? end + 1 : line + strlen(line);
    }
    /* Exactly as much memory as the path has. */
    size_t left = (size_t)(text + size - line);
    char *path = malloc(left + 1);
    path[0] = '/';
    memcpy(path + 1, line, left);
    struct place place = {path, left + 1};
    (void)router_find(router, path, left + 1, check_capture, &place);
    router_free(router);
    free(path);
    free(text);
    return 0;
}
