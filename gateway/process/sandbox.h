/*
 * What the serving process gives up for good before it runs a consumer or reads a client's byte:
 * system calls that no server needs and that a flaw in it could be turned into more with. A filter
 * in the kernel (seccomp) answers each with EPERM; all else is untouched.
 *
 * It is a list of what is denied, not of what is allowed: a consumer is code of its own that may
 * block, map, watch and connect as it likes, and a list of all that it and the libraries beneath it
 * may ever call would break with their next version. Built with a sanitizer, what that needs itself
 * stays allowed: to trace its own threads and to run a program that names addresses.
 */
#ifndef SLUICE_PROCESS_SANDBOX_H
#define SLUICE_PROCESS_SANDBOX_H

#include <stdbool.h>

#include "observe/error.h"

struct sandbox_terms {
    bool io_uring; /* rings may still be made and used; sandbox_end_rings ends that */
};

/* Holds for every thread of the process, also those that run already, and for all that they start;
   there is no way back. After it no program can be run and no signal sent to another process. False
   when the kernel refuses or a thread already has a filter of its own: the process is then as
   before. Main thread. */
bool sandbox_enter(const struct sandbox_terms *terms, struct error *error);

/* From here on no ring can be made; with in_use false, none be used either. False as above. Main
   thread, after sandbox_enter. */
bool sandbox_end_rings(bool in_use, struct error *error);

#endif
