/*
 * What was said before one came: the messages that the route keeps. README.md has what clients see.
 */
#ifndef GROUP_CHAT_PAST_H
#define GROUP_CHAT_PAST_H

#include <stddef.h>

#include <sluice/consumer.h>

#define PAST_LAST_DEFAULT 50
#define PAST_LAST_MOST 1000

/* Reads ?since=, which is there until the handshake is answered. In connect. */
void past_begin(sluice_conn *conn);

/* Joins for the first time: `history` and the messages come once the group has it, and the person's
   `entered` runs. As sluice_group_join. */
int past_join(sluice_conn *conn, const char *info, unsigned flags);

/* Answers `resume` with what was kept behind since ("<epoch>:<offset>"), or with the last ones. As
   sluice_group_history. */
int past_resume(sluice_conn *conn, const char *since, size_t last);

#endif
