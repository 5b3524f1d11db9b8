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

/* Only the words that say how the program itself runs (threads, user, files of its own, times), and
   their defaults: what the supervisor needs to know. libh2o is not asked. */
void words_read_process(struct load *load, const yoml_t *root);
void words_set_process_defaults(struct config *config);

#endif
