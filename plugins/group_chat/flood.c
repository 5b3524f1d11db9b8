#include "flood.h"

#include <time.h>

#include "person.h"

#define WINDOW_MS 10000

uint64_t flood_clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_window_end(sluice_conn *conn, void *arg) {
    (void)arg;
    if (!conn)
        return;
    struct person *person = sluice_data(conn);
    person->said = 0;
}

long long flood_count(sluice_conn *conn, unsigned rate) {
    struct person *person = sluice_data(conn);
    if (person->said == 0) {
        person->window_start_ms = flood_clock_ms();
        sluice_timer(conn, WINDOW_MS, on_window_end, NULL, NULL);
    }
    if (person->said < rate) {
        person->said++;
        return -1;
    }
    uint64_t passed = flood_clock_ms() - person->window_start_ms;
    return passed < WINDOW_MS ? (long long)(WINDOW_MS - passed) : 0;
}
