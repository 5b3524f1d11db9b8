/*
 * What one receiver heard of one sender, whose messages are numbered from 0: finds those that are
 * lost, came twice, or came after a later one. Exact for messages up to 64 numbers late.
 */
#ifndef LOAD_LEDGER_H
#define LOAD_LEDGER_H

#include <stdint.h>

/* One receiver and one sender; starts as all zero. */
struct ledger {
    uint32_t next;    /* one more than the highest number that came */
    uint32_t missing; /* numbers below `next` that did not come yet */
    uint64_t seen;    /* bit i: number next - 1 - i came */
};

struct ledger_counts {
    uint64_t lost;
    uint64_t repeated;
    uint64_t out_of_order;
};

/* Message `number` came. A message that fills a gap is out of order, not lost. One that is more
   than 64 numbers late counts as out of order while one is missing, else as repeated. */
void ledger_receive(struct ledger *ledger, uint32_t number, struct ledger_counts *counts);

/* The sender has sent `sent` messages and no more will come: counts those that are lost. */
void ledger_finish(const struct ledger *ledger, uint32_t sent, struct ledger_counts *counts);

#endif
