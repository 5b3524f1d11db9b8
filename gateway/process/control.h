/*
 * The control socket: how operators' commands reach a running server. One line asks, and bytes that
 * it announces may follow; the answer is a line with the command's exit status, then text to the
 * end. The supervisor listens; each command
 * is a short-lived client. Only the server's own user and root are heard.
 */
#ifndef SLUICE_PROCESS_CONTROL_H
#define SLUICE_PROCESS_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "observe/error.h"

/* Questions are shorter, with their end of line. */
#define CONTROL_QUESTION_MAX 512

struct config;

/* Where the socket of a server with this configuration is: `control`, else sluice.control in
   $RUNTIME_DIRECTORY, else NAME.control beside the pid file NAME.pid; NULL: nowhere. Writes a text
   to free. */
char *control_path(const struct config *process);

/* Listens there, mode 0600; a stale socket is replaced. -1 with the error. */
int control_listen(const char *path, struct error *error);

/* Accepts one client; -1 when there is none, or it is a stranger: said in the log. */
int control_accept(int listening);

/* Reads what has come of the question, and nothing behind it; room: CONTROL_QUESTION_MAX. 1: it is
   whole, without its end of line; 0: not yet; -1: the client has gone, or sends what is no
   question. *used: bytes so far, 0 at first.
 */
int control_read(int client, char *question, size_t *used);

/* Answers and closes: best effort. */
void control_answer(int client, int status, const char *text);

/* Asks the server behind path, and prints its answer: an error's to standard error. Returns the
   exit status: 69 when there is none, 64 for a question that is too long. body: body_size bytes
   that follow the question, NULL for none. */
int control_ask(const char *path, const char *question, const void *body, size_t body_size);

#endif
