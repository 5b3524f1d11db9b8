/*
 * @NAME@: what one member of a group says, all members hear, up to `most` messages from each.
 */
#include <sluice/consumer.h>
#include <stdlib.h>

/* What a route's options say. */
struct settings {
    int64_t most; /* messages of one client */
};

/* What belongs to one connection: sluice_data, zeroed when it begins. */
struct member {
    int64_t said;
};

static int on_open(sluice_route *route, void **data) {
    struct settings *settings = malloc(sizeof(*settings));
    if (settings == NULL)
        return -1;
    settings->most = sluice_option_number(route, "most", SLUICE_COUNT, 1, 1000000, 1000);
    *data = settings;
    return 0;
}

static void on_shut(sluice_route *route, void *data) {
    (void)route;
    free(data);
}

static void on_connect(sluice_conn *conn) {
    sluice_accept(conn, NULL);
    sluice_group_add(conn, sluice_param(conn, "group"));
}

static void on_receive(sluice_conn *conn, sluice_message message) {
    const struct settings *settings = sluice_route_data(sluice_conn_route(conn));
    struct member *member = sluice_data(conn);
    if (++member->said > settings->most)
        sluice_close(conn, 1008, "that is enough");
    else
        sluice_group_send(conn, sluice_param(conn, "group"), message);
}

SLUICE_CONSUMER("@NAME@", "0.1", .data_size = sizeof(struct member), .open = on_open,
                .shut = on_shut, .connect = on_connect, .receive = on_receive)
