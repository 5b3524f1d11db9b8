#include "config/spaces.h"

#include <stdio.h>
#include <string.h>

#include "observe/nearest.h"

static struct config_space *find(const struct config *config, const char *name) {
    struct config_space *space = config->spaces;
    while (space != NULL && strcmp(space->name, name) != 0)
        space = space->next;
    return space;
}

const struct config_space *spaces_find(const struct config *config, const char *name) {
    return find(config, name);
}

static bool same_terms(const struct group_terms *a, const struct group_terms *b) {
    return a->messages == b->messages && a->age_s == b->age_s && a->bytes == b->bytes;
}

bool spaces_add(struct load *load, const struct config_space *space) {
    struct config_space *first = find(load->config, space->name);
    if (first == NULL) {
        struct config_space *added = h2o_mem_alloc_pool(load->pool, sizeof(*added));
        *added = *space;
        added->next = load->config->spaces;
        load->config->spaces = added;
        return true;
    }
    if (first->message_max < space->message_max)
        first->message_max = space->message_max;
    if (same_terms(&first->history, &space->history))
        return true;
    problems_error(load->problems, space->place,
                   "this route and the one at %s:%zu share the groups of `%s`, and their `history` "
                   "must be the same; else give one of them `groups` of its own",
                   first->place.file, first->place.line, space->name);
    return false;
}

const char *spaces_hint(const struct config *config, const char *name, char buffer[256]) {
    char hint[128];
    struct nearest nearest = nearest_to(name);
    const struct config_space *space;
    for (space = config->spaces; space != NULL; space = space->next)
        nearest_offer(&nearest, space->name);
    snprintf(buffer, 256, "%s", nearest.best != NULL ? nearest_hint(&nearest, hint) : "");
    if (nearest.best != NULL)
        return buffer;
    size_t used = 0;
    for (space = config->spaces; space != NULL && used < 200; space = space->next)
        used += (size_t)snprintf(buffer + used, 256 - used, "%s`%.100s`",
                                 used == 0 ? "; there is " : ", ", space->name);
    return buffer;
}
