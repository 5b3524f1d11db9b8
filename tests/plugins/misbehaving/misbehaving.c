/* A consumer with every fault that a host must live with, each on a client's word. */
#include <sluice/consumer.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int on_open(sluice_route *route, void **data) {
    (void)data;
    return strcmp(sluice_option_text(route, "open", "works"), "refuses") == 0 ? -1 : 0;
}

static void pause_ms(long ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0)
        ;
}

static void reply(sluice_conn *conn, const char *text) {
    sluice_send(conn, sluice_text(text, strlen(text)));
}

/* Volatile, so that the compiler neither sees the fault nor takes the loop away; not NULL, which a
   sanitizer would report before it happens. */
static int *volatile nowhere = (int *)8;
static volatile int spins = 1;

static void spin(void) {
    while (spins)
        ;
}

static char **leaked;

static void leak(long mebibytes) {
    for (long i = 0; i < mebibytes << 4; i++) {
        char **bytes = malloc(1 << 16);
        if (bytes == NULL)
            continue; /* the host finds out */
        memset(bytes, 1, 1 << 16);
        *bytes = (char *)leaked; /* reachable: a sanitizer has nothing to say */
        leaked = bytes;
    }
}

static void send_after_close(sluice_conn *conn) {
    sluice_close(conn, 4000, "closed first");
    for (int i = 0; i < 1000; i++)
        reply(conn, "after the close");
    sluice_close(conn, 4001, "closed again");
    sluice_group_send(conn, "room", sluice_text("after the close", 15));
}

static void work(void *arg) { pause_ms((long)(intptr_t)arg); }

static void done(sluice_conn *conn, void *arg) {
    (void)arg;
    if (conn != NULL)
        reply(conn, "done");
}

static void on_tick(sluice_conn *conn, void *arg) {
    (void)conn;
    (void)arg;
    *nowhere = 1;
}

/* The first word says what, a number how much. Anything else comes back. */
static void on_receive(sluice_conn *conn, sluice_message message) {
    char text[64] = "";
    memcpy(text, message.data, message.size < sizeof(text) ? message.size : sizeof(text) - 1);
    char *space = strchr(text, ' ');
    long number = space == NULL ? 0 : atol(space);
    size_t word = strcspn(text, " ");
    if (strncmp(text, "segv", word) == 0)
        *nowhere = 1;
    else if (strncmp(text, "abort", word) == 0)
        abort();
    else if (strncmp(text, "spin", word) == 0)
        spin();
    else if (strncmp(text, "block", word) == 0)
        pause_ms(number);
    else if (strncmp(text, "leak", word) == 0)
        leak(number);
    else if (strncmp(text, "after-close", word) == 0)
        send_after_close(conn);
    else if (strncmp(text, "offload", word) == 0)
        sluice_offload(conn, work, done, (void *)(intptr_t)number);
    else if (strncmp(text, "timer", word) == 0)
        sluice_timer(conn, 1, on_tick, NULL, NULL);
    else
        sluice_send(conn, message);
}

/* With ?falls it crashes before the client is answered. */
static void on_connect(sluice_conn *conn) {
    if (sluice_scope(conn, SLUICE_QUERY, "falls") != NULL)
        *nowhere = 1;
    sluice_accept(conn, NULL);
}

SLUICE_CONSUMER("misbehaving", "1.0", .open = on_open, .connect = on_connect, .receive = on_receive)
