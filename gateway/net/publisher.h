/*
 * Publishing from outside: `publish` of a path takes POST PATH/GROUP of who has a token, and sends
 * the body to the group as a member's message would be, in its order and kept as its namespace
 * keeps. The answer waits until the group has said what became of it.
 */
#ifndef SLUICE_NET_PUBLISHER_H
#define SLUICE_NET_PUBLISHER_H

#include <stdbool.h>

#include "group/group.h"
#include "loop/h2o.h"

struct pattern;
struct tokens;

struct publisher_conf {
    const char *space;      /* whose groups; lives as long as the configuration */
    struct pattern *groups; /* which of them, matched with a slash before; taken; NULL: all */
    struct tokens *tokens;  /* taken */
    uint32_t rate;          /* messages a second, and as many at once; 0: any number */
    bool keep;              /* as the namespace's terms say */
};

/* What the namespace's routes say. */
struct publisher_terms {
    struct group_terms history;
    uint32_t message_max; /* bytes of a body, to FRAME_PAYLOAD_MAX */
};

/* What answers requests below one path. */
struct publisher;

/* Stands at the path until the configuration is disposed of, and answers 503 until it is opened.
   Main thread, as the next one. */
struct publisher *publisher_register(h2o_pathconf_t *pathconf, const struct publisher_conf *conf);
void publisher_open(struct publisher *publisher, const struct publisher_terms *terms);

#endif
