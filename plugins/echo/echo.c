/* Sends every message back to the one who sent it. */
#include <sluice/consumer.h>

static void on_receive(sluice_conn *conn, sluice_message message) { sluice_send(conn, message); }

SLUICE_CONSUMER("echo", "1.0", .receive = on_receive)
