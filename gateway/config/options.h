/*
 * A route's `options` as its consumer asks for them: the option source that instance_open is given.
 * Main thread.
 */
#ifndef SLUICE_CONFIG_OPTIONS_H
#define SLUICE_CONFIG_OPTIONS_H

#include "config/load.h"
#include "consumer/instance.h"

struct option;

struct options {
    struct load *load;
    const yoml_t *at; /* for messages about keys that are not there */
    struct option *items;
    size_t count;
    const char **asked; /* keys that were asked for, there or not */
    size_t asked_count;
    struct option_source source;
};

/* mapping: of the options, or NULL; route: where it is missing. Zeroed structs are ready to be
 * closed. */
void options_open(struct options *options, struct load *load, yoml_t *mapping, const yoml_t *route);
/* Reports each key that nobody asked for, with the nearest that somebody did. */
void options_check_asked(const struct options *options, const char *consumer);
void options_close(struct options *options);

#endif
