/*
 * The server's own log: one line, one write, so that lines of several threads never mix. Everything
 * may include it; any thread may call it. Access logs are H2O's and are not written here.
 */
#ifndef SLUICE_OBSERVE_LOG_H
#define SLUICE_OBSERVE_LOG_H

#include <stdarg.h>

enum log_level { LOG_AT_ERROR, LOG_AT_WARNING, LOG_AT_INFO, LOG_AT_DEBUG };

/* Lines go to fd from now on (2 until then). Takes fd. Main thread, before the others start. */
void log_open(int fd);

/* Lines above this level are left out; LOG_AT_INFO until called. Main thread, before the others
 * start. */
void log_limit(enum log_level most);

/* Writes "<time> <level>: <text>\n". Control characters in the text are escaped; a line is cut at
 * 2,000 bytes. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
