/* A consumer of two C files: both call the host through the one table. */
#include "hooks.h"

static void on_receive(sluice_conn *conn, sluice_message message) { sluice_send(conn, message); }

SLUICE_CONSUMER("two_files", "1.0", .connect = greet, .receive = on_receive)
