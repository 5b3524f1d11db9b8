/*
 * What all messages that wait to be sent take together, each counted once however many it goes to.
 * Threads add up their own changes and publish them when they have become large, so that no message
 * costs more than an addition.
 */
#ifndef SLUICE_WEBSOCKET_BUDGET_H
#define SLUICE_WEBSOCKET_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A thread's changes up to this size are not seen by the others. */
#define BUDGET_BATCH (64 * 1024)

/* So many bytes may be used from now on; 0: any number, as before the first call. [any thread] */
void budget_limit(uint64_t most);

/* Memory of a message was taken, or given back. A loop's thread publishes in batches, any other at
 * once. [any thread] */
void budget_change(ptrdiff_t bytes);
/* A session begins (1) or ends (-1). [any thread] */
void budget_count_session(int change);

/* Whether more is used than may be, as far as was published. Two plain loads: who asks is one for
   whom something waits already. [any thread] */
bool budget_is_spent(void);
/* What each session may use when all may be used: when more is, one at least has more than this.
   [any thread] */
uint64_t budget_share(void);

/* What was published, for metrics. [any thread] */
uint64_t budget_used(void);

#endif
