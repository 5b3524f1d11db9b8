/*
 * What libh2o takes on trust in its own directives: numbers with a tail, files that are not there,
 * keys that it does not know, a log format that overruns its buffer. Each is looked at before
 * libh2o sees it. Main thread.
 */
#ifndef SLUICE_CONFIG_CHECKS_H
#define SLUICE_CONFIG_CHECKS_H

#include "config/load.h"

/* The value that the directive is to be called with: the same, or one with its paths made absolute.
   NULL: not to be called; what was wrong is reported. */
yoml_t *checks_directive(struct load *load, const char *name, const yoml_t *key, yoml_t *value);

/* The range of a directive that takes one bare number, and what it counts; NULL for one without a
 * rule. */
struct bare_number {
    const char *name, *counts;
    int64_t least, most;
};
const struct bare_number *checks_bare_number(const char *name);

/* H2O's own program has this word and Sluice does not: why, or NULL. */
const char *checks_foreign_word(const char *name);

/* Each reports at node and returns false when the file or directory can't be used so. */
bool checks_readable_file(struct load *load, const yoml_t *node, const char *path);
bool checks_directory(struct load *load, const yoml_t *node, const char *path);
bool checks_log(struct load *load, const yoml_t *node, const char *path);
/* The scalar names a log as H2O writes a pipe to a command? name: of its directive. */
bool checks_no_pipe(struct load *load, const yoml_t *node, const char *name);

#endif
