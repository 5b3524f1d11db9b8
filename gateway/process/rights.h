/*
 * What a process may do: the user that it runs as, and how many descriptors it may open. Main
 * thread, before others start.
 */
#ifndef SLUICE_PROCESS_RIGHTS_H
#define SLUICE_PROCESS_RIGHTS_H

#include <stdbool.h>

/* Becomes the user, with its groups. NULL: stays, with a warning as root. False when it can't: said
   in the log. */
bool rights_drop(const char *user);

/* The descriptor limit goes up to the hard one. */
void rights_raise_descriptors(void);

#endif
