/* The README's example: what one member of a group says, all members hear. */
#include <sluice/consumer.h>

static void on_connect(sluice_conn *conn) {
    sluice_accept(conn, NULL);
    sluice_group_add(conn, sluice_param(conn, "group"));
}

static void on_receive(sluice_conn *conn, sluice_message message) {
    sluice_group_send(conn, sluice_param(conn, "group"), message);
}

SLUICE_CONSUMER("relay", "1.0", .connect = on_connect, .receive = on_receive)
