/* Needs a function of a library: one that is not installed, or that was never named to the
   linker. */
#include <sluice/consumer.h>

int absent_function(void);

static int on_open(sluice_route *route, void **data) {
    (void)route;
    (void)data;
    return absent_function();
}

SLUICE_CONSUMER("needing", "1.0", .open = on_open)
