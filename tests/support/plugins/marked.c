/*
 * A plugin that no host of this version may load: its note tells another ABI. It leaves a mark in
 * the environment if one instruction of it runs.
 */
#ifdef NEEDED
#define SLUICE_MINOR_NEEDED NEEDED
#endif
#include <sluice/consumer.h>

#include <stdlib.h>

#ifdef MAJOR
#undef SLUICE_ABI_MAJOR
#define SLUICE_ABI_MAJOR MAJOR
#endif

__attribute__((constructor)) static void leave_mark(void) { setenv("SLUICE_TEST_RAN", "1", 1); }

SLUICE_CONSUMER("marked", "1.0", .data_size = 0)
