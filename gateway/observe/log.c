#include "observe/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2000

static atomic_int log_fd = 2;
static atomic_int log_most = LOG_AT_INFO;

/* Lines that could not be written (the disk is full), and whether a part of the last one was. */
static atomic_uint lost_lines;
static atomic_int lost_why;
static atomic_bool is_cut;

/* Asked when the first line is written, unless log_open came before. */
static atomic_int is_journal = -1;

/* JOURNAL_STREAM is inherited by who has another standard error: systemd.exec(5) says to compare.
 */
static bool leads_to_journal(int fd) {
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat is;
    return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(fd, &is) == 0 && is.st_dev == device && is.st_ino == inode;
}

void log_open(int fd) {
    atomic_store(&is_journal, leads_to_journal(fd));
    int old = atomic_exchange(&log_fd, fd);
    if (old > 2)
        close(old);
}

void log_limit(enum log_level most) { atomic_store(&log_most, (int)most); }

bool log_says(enum log_level level) {
    return (int)level <= atomic_load_explicit(&log_most, memory_order_relaxed);
}

static const char *const names[] = {"error", "warning", "info", "debug"};

const char *log_level_name(enum log_level level) { return names[level]; }

static size_t write_head(char *line, size_t size, enum log_level level) {
    static const int priorities[] = {3, 4, 6, 7}; /* syslog(3) */
    struct timespec now;
    struct tm utc;
    if (atomic_load_explicit(&is_journal, memory_order_relaxed) == -1)
        atomic_store(&is_journal, leads_to_journal(atomic_load(&log_fd)));
    if (atomic_load_explicit(&is_journal, memory_order_relaxed))
        return (size_t)snprintf(line, size, "<%d>%s: ", priorities[level], names[level]);
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
    bool is_c1 = false; /* U+0080 to U+009F: 0xc2 and a byte below 0xa0 */
    for (; *text != '\0' && used + 5 < room; text++) {
        unsigned char byte = (unsigned char)*text;
        bool begins_c1 =
            byte == 0xc2 && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xa0;
        if (byte < 0x20 || byte == 0x7f || begins_c1 || is_c1)
            used += (size_t)snprintf(to + used, room - used, "\\x%02x", byte);
        else
            to[used++] = *text;
        is_c1 = begins_c1;
    }
    return used;
}

/* The byte before line is writable: behind a line that was cut it is an end of line. */
static bool put(char *line, size_t size) {
    bool was_cut = atomic_exchange(&is_cut, false);
    if (was_cut) {
        *--line = '\n';
        size++;
    }
    ssize_t written = write(atomic_load(&log_fd), line, size);
    if (written == (ssize_t)size)
        return true;
    atomic_store(&lost_why, written < 0 ? errno : ENOSPC);
    atomic_fetch_add(&lost_lines, 1);
    if (written > 0 ? !was_cut || written > 1 : was_cut)
        atomic_store(&is_cut, true);
    return false;
}

/* Nothing could be said while nothing could be written: it is said when that is over. */
static void tell_of_lost_lines(void) {
    unsigned lost = atomic_exchange(&lost_lines, 0);
    if (lost == 0)
        return;
    char line[200];
    size_t size = 1 + write_head(line + 1, sizeof(line) - 1, LOG_AT_WARNING);
    size += (size_t)snprintf(line + size, sizeof(line) - size,
                             "lines of this log that are lost: %u (%s)\n", lost,
                             strerror(atomic_load(&lost_why)));
    if (!put(line + 1, size - 1))
        atomic_fetch_add(&lost_lines, lost - 1);
}

void log_line(enum log_level level, const char *format, ...) {
    if (!log_says(level))
        return;
    int saved = errno;
    char text[LINE_MAX_BYTES], space[1 + LINE_MAX_BYTES], *line = space + 1;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t size = write_head(line, LINE_MAX_BYTES, level);
    size += escape(line + size, LINE_MAX_BYTES - size - 1, text);
    line[size++] = '\n';
    if (put(line, size))
        tell_of_lost_lines();
    errno = saved;
}
