/*
 * How a nick comes to one person only, though people join on several threads at once. The room's
 * home decides: who wants a nick writes that into its membership first and lists the members then.
 * The home takes both in order, so of two who want the same at least one sees the other.
 */
#ifndef GROUP_CHAT_NICK_H
#define GROUP_CHAT_NICK_H

#include "person.h"

/* Asks for a clean nick that is not empty. decided is called once, later, unless the connection
   ends: with taken when somebody else has it (only when person->numbers is false), and with how
   many windows this person has in the room, this one too. Until then person->wanted is set. As
   sluice_group_join. */
int nick_ask(sluice_conn *conn, const char *nick,
             void (*decided)(sluice_conn *conn, bool taken, size_t windows));

#endif
