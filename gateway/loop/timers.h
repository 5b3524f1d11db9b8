/*
 * A loop's timers: a binary heap of pointers to timers that their owners embed, the earliest on
 * top. Setting and clearing cost O(log n); nothing is paid while nothing is due. Loop's thread.
 */
#ifndef SLUICE_LOOP_TIMERS_H
#define SLUICE_LOOP_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct timer;

struct timers {
    struct timer **heap; /* from 1 */
    size_t count, capacity;
};

/* (Re)places the timer by its `at`. */
void timers_place(struct timers *timers, struct timer *timer);
/* Takes the timer out; nothing when it is not set. */
void timers_remove(struct timers *timers, struct timer *timer);
/* The earliest, or NULL. */
struct timer *timers_first(const struct timers *timers);

#endif
