/*
 * Files that the server itself makes and writes: logs and the pid file. The supervisor may have the
 * rights of root, and somebody else may be able to write to such a file's folder: a link that he
 * puts there is not followed. [any thread]
 */
#ifndef SLUICE_SNAPSHOT_OWN_FILE_H
#define SLUICE_SNAPSHOT_OWN_FILE_H

/* Opens it for writing, with these flags beside, and makes it (0644, less the umask) where it is
   not there; never waits for the other end of a pipe. Returns the descriptor, which the caller owns
   and an exec closes, or -1 with errno; ELOOP: it is a link, in a folder that somebody else than
   root and this user may write to. */
int own_file_open(const char *path, int flags);

#endif
