/*
 * The functions that a plugin may call, as the table that each plugin is handed when it is loaded.
 */
#ifndef SLUICE_CONSUMER_HOST_H
#define SLUICE_CONSUMER_HOST_H

#include <stddef.h>

struct loop;
struct sluice_host;

/* The one table, for every plugin. [any] */
const struct sluice_host *host_table(void);

/* Makes the loop known to sluice_post. Main thread, before the loops run. */
void host_set_loop(struct loop *loop);

/* Callbacks of sluice_offload, sluice_group_send_with and sluice_group_members that this loop still
   owes. Loop's thread. */
size_t host_promises(const struct loop *loop);

#endif
