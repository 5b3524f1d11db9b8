/* A consumer with an option of each kind, a check of its own, and the hook that drop policies need.
 */
#include <sluice/consumer.h>
#include <string.h>

static int on_open(sluice_route *route, void **data) {
    *data = NULL;
    const char *greeting = sluice_option_text(route, "greeting", "hello");
    if (strcmp(greeting, "fail silently") == 0)
        return -1;
    if (strchr(greeting, '<') != NULL)
        sluice_option_error(route, "greeting", "must be plain text, without <");
    sluice_option_number(route, "history.keep", SLUICE_BYTES, 1024, 1 << 20, 65536);
    sluice_option_number(route, "history.age", SLUICE_MS, 1000, 60000, 5000);
    sluice_option_number(route, "members", SLUICE_COUNT, -1, 100, 10);
    return 0;
}

static void on_dropped(sluice_conn *conn, uint64_t count) {
    (void)conn;
    (void)count;
}

SLUICE_CONSUMER("options", "1.0", .open = on_open, .dropped = on_dropped)
