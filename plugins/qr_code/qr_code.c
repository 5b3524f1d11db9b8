/* Tells a page its own captures, at once and then each refreshTime seconds: what a page that shows
   a code which changes needs to know when to draw the next one. */
#include <sluice/consumer.h>

#define REFRESH_MOST 86400 /* seconds: a day */
#define ID_DIGITS_MOST 18
#define REFRESH_DIGITS_MOST 5

struct page {
    uint64_t every_ms;
    size_t size;
    char text[96];
};

/* The number that the text writes in 1 to most ASCII digits, or -1. Digits of other scripts, which
   \d in a pattern may match, are none here. */
static int64_t read_digits(const char *text, size_t most) {
    int64_t number = 0;
    size_t count = 0;
    for (; text != NULL && text[count] != '\0'; count++) {
        if (count == most || text[count] < '0' || text[count] > '9')
            return -1;
        number = number * 10 + (text[count] - '0');
    }
    return count == 0 ? -1 : number;
}

static void on_due(sluice_conn *conn, void *arg) {
    (void)arg;
    if (conn == NULL)
        return;
    const struct page *page = sluice_data(conn);
    sluice_send(conn, sluice_text(page->text, page->size));
    sluice_timer(conn, page->every_ms, on_due, NULL, NULL);
}

static void on_connect(sluice_conn *conn) {
    const int64_t id = read_digits(sluice_param(conn, "ID"), ID_DIGITS_MOST);
    const int64_t seconds = read_digits(sluice_param(conn, "refreshTime"), REFRESH_DIGITS_MOST);
    if (id < 0 || seconds < 1 || seconds > REFRESH_MOST) {
        static const char why[] = "ID is a number, refreshTime is 1 to 86400 seconds\n";
        sluice_deny(conn, 404, why, sizeof(why) - 1);
        return;
    }
    struct page *page = sluice_data(conn);
    page->every_ms = (uint64_t)seconds * 1000;
    page->size =
        (size_t)snprintf(page->text, sizeof(page->text), "{\"ID\":%lld,\"refreshTime\":%lld}",
                         (long long)id, (long long)seconds);
    sluice_accept(conn, NULL);
    on_due(conn, NULL);
}

SLUICE_CONSUMER("qr_code", "1.0", .data_size = sizeof(struct page), .connect = on_connect)
