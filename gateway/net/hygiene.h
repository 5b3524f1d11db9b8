/*
 * The first handler of every path: refuses what libh2o lets through and should not (request
 * smuggling, ambiguous heads, NUL in paths, dot files, multi-range requests), before any other
 * handler sees the request. It also sets right what is legal but unknown to libh2o: absolute-form
 * targets, `OPTIONS *` and white space behind values.
 */
#ifndef SLUICE_NET_HYGIENE_H
#define SLUICE_NET_HYGIENE_H

#include <stddef.h>

#include "loop/h2o.h"

/* Puts the handler at the end of the path's handlers: call it before any other is made. Main
   thread; the handler runs on the connection's thread and keeps nothing. */
void hygiene_register(h2o_pathconf_t *pathconf);

/* What is wrong with a raw request head, or NULL: RFC 9112 sections 2.2, 3, 5 and 6. head begins
   with the request line (one empty line before it is skipped); what follows the empty line that
   ends the head is not looked at; a head that does not end within size bytes is wrong. A pure
   function, for tests and fuzzing; any thread. */
const char *hygiene_check_head(const char *head, size_t size);

/* What is wrong with a request's path, decoded and without dot segments or query, or NULL. *status
   is then 400 (control characters, NUL among them; not UTF-8) or 404 (a segment that begins with a
   dot, but for /.well-known/ of RFC 8615). A pure function; any thread. */
const char *hygiene_check_path(const char *path, size_t size, int *status);

#endif
