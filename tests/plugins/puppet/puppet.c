/* A consumer whose hooks are a test's own: the option `hooks` is the address of its table in the
   same process, which becomes the route's data. */
#include <sluice/consumer.h>
#include <stdlib.h>

static const sluice_consumer *hooks_of(sluice_conn *conn) {
    return sluice_route_data(sluice_conn_route(conn));
}

static int on_open(sluice_route *route, void **data) {
    const sluice_consumer *hooks =
        (void *)(uintptr_t)strtoull(sluice_option_text(route, "hooks", "0"), NULL, 16);
    if (hooks == NULL)
        return -1;
    *data = (void *)(uintptr_t)hooks;
    return hooks->open == NULL ? 0 : hooks->open(route, data);
}

static void on_shut(sluice_route *route, void *data) {
    const sluice_consumer *hooks = data;
    if (hooks->shut != NULL)
        hooks->shut(route, data);
}

static int on_thread_start(sluice_thread *thread, sluice_route *route, void **data) {
    const sluice_consumer *hooks = sluice_route_data(route);
    *data = (void *)(uintptr_t)hooks;
    return hooks->thread_start == NULL ? 0 : hooks->thread_start(thread, route, data);
}

static void on_thread_stop(sluice_thread *thread, void *data) {
    const sluice_consumer *hooks = data;
    if (hooks->thread_stop != NULL)
        hooks->thread_stop(thread, data);
}

static void on_connect(sluice_conn *conn) { hooks_of(conn)->connect(conn); }

static void on_receive(sluice_conn *conn, sluice_message message) {
    hooks_of(conn)->receive(conn, message);
}

static void on_event(sluice_conn *conn, const char *group, sluice_message message) {
    hooks_of(conn)->event(conn, group, message);
}

static void on_dropped(sluice_conn *conn, uint64_t count) { hooks_of(conn)->dropped(conn, count); }

static void on_disconnect(sluice_conn *conn, int code) { hooks_of(conn)->disconnect(conn, code); }

static void on_release(sluice_conn *conn) { hooks_of(conn)->release(conn); }

static void on_drain(sluice_conn *conn, uint32_t ms_left) { hooks_of(conn)->drain(conn, ms_left); }

static void on_http(sluice_conn *conn) { hooks_of(conn)->http(conn); }

SLUICE_CONSUMER("puppet", "1.0", .data_size = 40, .open = on_open, .shut = on_shut,
                .thread_start = on_thread_start, .thread_stop = on_thread_stop,
                .connect = on_connect, .receive = on_receive, .event = on_event,
                .dropped = on_dropped, .disconnect = on_disconnect, .release = on_release,
                .drain = on_drain, .http = on_http)
