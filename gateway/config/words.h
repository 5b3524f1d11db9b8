/*
 * Sluice's own words at the top of the file, in hosts and in routes, made known beside H2O's
 * directives. Main thread.
 */
#ifndef SLUICE_CONFIG_WORDS_H
#define SLUICE_CONFIG_WORDS_H

#include "config/load.h"

/* After directives_begin: a word of ours stands before H2O's of the same name. */
void words_define(struct load *load);

/* What holds when the file does not say. */
void words_set_defaults(struct config *config);

#endif
