/*
 * What the counters say, told in the two ways that are asked for: Prometheus' text and JSON, with
 * the same figures under the same names. docs/operation.md lists them. Any thread.
 */
#ifndef SLUICE_OBSERVE_FIGURES_H
#define SLUICE_OBSERVE_FIGURES_H

struct text;

/* Prometheus' text format 0.0.4: HELP and TYPE of each metric, then its series; none twice. */
void figures_write_prometheus(struct text *text);

/* One JSON object. A metric's name loses sluice_ and _total; one with a label is an object of the
   label's values; those of routes are an array, `routes`. */
void figures_write_json(struct text *text);

/* The version of libh2o, for both; lent for good. */
void figures_set_library(const char *version);

#endif
