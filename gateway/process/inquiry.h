/*
 * A question that a thread answers later, by a callback: the main thread waits for the answer, but
 * not for ever, and an answer that comes too late finds nobody and is discarded.
 */
#ifndef SLUICE_PROCESS_INQUIRY_H
#define SLUICE_PROCESS_INQUIRY_H

#include <stdbool.h>
#include <stdint.h>

#include "process/thread.h"

struct inquiry;

/* discard: frees an answer that nobody waits for. Main thread, as the next one. */
struct inquiry *inquiry_create(void (*discard)(void *answer));

/* Runs begin on the thread; if that says true, which it must when inquiry_answer will be called,
   waits at most ms milliseconds more for the answer, which is the caller's then. NULL: the thread
   did not come to it, begin said false, or no answer came. The inquiry is gone. */
void *inquiry_ask(struct inquiry *inquiry, struct thread *thread, thread_call_fn begin, void *arg,
                  uint32_t ms);

/* Takes the answer, not NULL; once, on the thread. */
void inquiry_answer(struct inquiry *inquiry, void *answer);

#endif
