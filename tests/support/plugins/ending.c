/*
 * A plugin whose constructor crashes, ends the process or never comes back, as WAY says.
 */
#include <sluice/consumer.h>

#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void end(void) {
    if (WAY == 1)
        abort();
    if (WAY == 2)
        _exit(0);
    for (;;)
        pause();
}

SLUICE_CONSUMER("ending", "1.0", .data_size = 0)
