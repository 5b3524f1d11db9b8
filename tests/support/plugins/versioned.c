/* Two versions of one consumer. A client hears which one it is on, whatever it says; the log hears
   which one has ended, but not from a process that only tries the configuration. */
#include <sluice/consumer.h>

static int has_served;

static void on_connect(sluice_conn *conn) {
    has_served = 1;
    sluice_accept(conn, NULL);
}

static void on_receive(sluice_conn *conn, sluice_message message) {
    (void)message;
    sluice_send(conn, sluice_text("version " VERSION, sizeof("version " VERSION) - 1));
}

static void on_shut(sluice_route *route, void *data) {
    (void)data;
    if (has_served)
        sluice_log(route, NULL, SLUICE_LOG_INFO, "version %s has been shut", VERSION);
}

SLUICE_CONSUMER("versioned", VERSION, .connect = on_connect, .receive = on_receive, .shut = on_shut)
