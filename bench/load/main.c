/*
 * bench-load: WebSocket load for one server on this machine. Prints one JSON object and ends with
 * 0; with 1 when the run was not whole (lost messages, closed connections…); with 2 for a wrong
 * argument.
 */
#include "options.h"
#include "workload.h"

#include <signal.h>

int main(int count, char **words) {
    struct options options;
    if (!options_parse(&options, count, words))
        return 2;
    signal(SIGPIPE, SIG_IGN);
    switch (options.mode) {
    case MODE_ECHO:
    case MODE_FANOUT:
        return workload_traffic(&options) ? 0 : 1;
    case MODE_IDLE:
        return workload_idle(&options) ? 0 : 1;
    case MODE_HANDSHAKES:
        return workload_handshakes(&options) ? 0 : 1;
    }
    return 2;
}
