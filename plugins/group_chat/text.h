/*
 * What people write, made safe to show beside what others wrote: valid UTF-8 without characters
 * that reorder, hide or control what stands around them.
 */
#ifndef GROUP_CHAT_TEXT_H
#define GROUP_CHAT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Copies size bytes to a buffer of at least size bytes and returns how many it wrote. Tabs and line
   feeds stay, other controls (Unicode Cc, and the line and paragraph separators) become spaces;
   characters that override the direction of text (Unicode Bidi_Control, TR 9) and bytes that are no
   UTF-8 are left out. */
size_t text_clean(const char *from, size_t size, char *to);

/* The same for a name of one line: blanks of all kinds become spaces, those around it are taken
   off, and it is cut after most characters. to has room for strlen(from) + 1 bytes and ends in NUL.
 */
void text_clean_name(const char *from, size_t most, char *to);

/* Whether a text shows anything: more than blanks and characters that show nothing (zero-width,
   fillers, variation selectors). */
bool text_shows(const char *text, size_t size);

/* Characters (code points) of a text in UTF-8. */
size_t text_characters(const char *text);

/* What two names must differ in to be told apart: without blanks, without characters that show
   nothing (zero-width, fillers, variation selectors), ASCII letters small. to has room for
   strlen(name) bytes; returns how many it wrote, 0 for a name that shows nothing. */
size_t text_bare_name(const char *name, char *to);

/* Puts " 2" behind "Ann", so that the whole has at most most (8 or more) characters: a long name
   loses its end. name: clean. to: room for the four bytes a character that most may need, and
   NUL. */
void text_number_name(const char *name, unsigned number, size_t most, char *to);

#endif
