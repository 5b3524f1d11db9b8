/*
 * `sluice plugin check`: what a plugin is, or why a server would not take it. Main thread of a
 * process that serves nothing.
 */
#ifndef SLUICE_PROCESS_INSPECTION_H
#define SLUICE_PROCESS_INSPECTION_H

#include <stdio.h>

/* Loads the file as a server does, in a child process that may take limit_ms milliseconds, since
   constructors may crash, hang or end it. Writes what it is to out, or what is wrong with it to
   err; both are borrowed. Returns EX_OK, EX_DATAERR for a plugin that a server would refuse, or
   EX_OSERR when there can be no child. */
int inspection_run(const char *path, int limit_ms, FILE *out, FILE *err);

#endif
