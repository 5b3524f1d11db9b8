/*
 * The server's own log: one line, one write, so that lines of several threads never mix. Everything
 * may include it. Access logs are H2O's and are not written here.
 */
#ifndef SLUICE_OBSERVE_LOG_H
#define SLUICE_OBSERVE_LOG_H

#include <stdbool.h>

enum log_level { LOG_AT_ERROR, LOG_AT_WARNING, LOG_AT_INFO, LOG_AT_DEBUG };

/* Lines go to fd from now on (2 until then). Takes fd. When it is systemd's journal (JOURNAL_STREAM
 * in the environment names its device and inode) each line begins with the priority of
 * sd-daemon(3), and the journal adds the time. Main thread. */
void log_open(int fd);

/* Lines above this level are left out; LOG_AT_INFO until called. [any thread] */
void log_limit(enum log_level most);
bool log_says(enum log_level level);
/* "error", "warning", "info", "debug". */
const char *log_level_name(enum log_level level);

/* Writes "<time> <level>: <text>\n", in the journal "<priority><level>: <text>\n". Control
 * characters in the text are escaped as \xNN; a line is cut at 2,000 bytes. A line that can't be
 * written is lost and counted; behind the next one that can, a warning says how many. [any thread]
 */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
