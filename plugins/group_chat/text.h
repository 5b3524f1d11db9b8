/*
 * What people write, made safe to show beside what others wrote: valid UTF-8 without characters
 * that reorder, hide or control what stands around them.
 */
#ifndef GROUP_CHAT_TEXT_H
#define GROUP_CHAT_TEXT_H

#include <stddef.h>

/* Copies size bytes to a buffer of at least size bytes and returns how many it wrote. Tabs and line
   feeds stay, other controls (Unicode Cc, and the line and paragraph separators) become spaces;
   characters that override the direction of text (Unicode Bidi_Control, TR 9) and bytes that are no
   UTF-8 are left out. */
size_t text_clean(const char *from, size_t size, char *to);

/* The same for a name of one line: blanks around it are taken off and it is cut after most
   characters. to has room for strlen(from) + 1 bytes and ends in NUL. */
void text_clean_name(const char *from, size_t most, char *to);

#endif
