#include "observe/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2000

static atomic_int log_fd = 2;
static atomic_int log_most = LOG_AT_INFO;

void log_open(int fd) {
    int old = atomic_exchange(&log_fd, fd);
    if (old > 2)
        close(old);
}

void log_limit(enum log_level most) { atomic_store(&log_most, (int)most); }

static size_t write_head(char *line, size_t size, enum log_level level) {
    static const char *const names[] = {"error", "warning", "info", "debug"};
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    int rest =
        snprintf(line + used, size - used, ".%03ldZ %s: ", now.tv_nsec / 1000000, names[level]);
    return used + (size_t)rest;
}

/* A peer's bytes can stand in a line: what could move the cursor, colour the text or forge a second
   line is shown as \xNN. */
static size_t escape(char *to, size_t room, const char *text) {
    size_t used = 0;
    for (; *text != '\0' && used + 5 < room; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 0x20 || byte == 0x7f)
            used += (size_t)snprintf(to + used, room - used, "\\x%02x", byte);
        else
            to[used++] = *text;
    }
    return used;
}

void log_line(enum log_level level, const char *format, ...) {
    if ((int)level > atomic_load_explicit(&log_most, memory_order_relaxed))
        return;
    int saved = errno;
    char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t size = write_head(line, sizeof(line), level);
    size += escape(line + size, sizeof(line) - size - 1, text);
    line[size++] = '\n';
    ssize_t written = write(atomic_load(&log_fd), line, size);
    (void)written; /* there is nowhere left to say so */
    errno = saved;
}
