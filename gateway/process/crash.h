/*
 * A process that crashes writes into the page where it was, for the supervisor to say.
 */
#ifndef SLUICE_PROCESS_CRASH_H
#define SLUICE_PROCESS_CRASH_H

/* Notes SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and SIGSYS, then lets them end the process.
   Nothing where a sanitizer watches. Main thread, before the others start; each thread that starts
   is to call crash_enter. */
void crash_watch(void);
/* Gives the calling thread a stack of its own for the handler, so that it runs when the thread's
   own is full. Lives as long as the process. */
void crash_enter(void);

#endif
