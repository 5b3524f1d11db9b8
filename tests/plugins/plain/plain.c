/* A consumer without a fault. Each open stores its number, so that tests can see the code run. */
#include <sluice/consumer.h>

static int opened;

static int on_open(sluice_route *route, void **data) {
    (void)route;
    opened++;
    *data = &opened;
    return 0;
}

static void on_receive(sluice_conn *conn, sluice_message message) { sluice_send(conn, message); }

SLUICE_CONSUMER("plain", "1.0", .data_size = 24, .open = on_open, .receive = on_receive)
