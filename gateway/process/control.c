#include "process/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "config/config.h"
#include "observe/log.h"

/* --- the place --- */

static char *join(const char *start, size_t size, const char *end) {
    char *path;
    if (asprintf(&path, "%.*s%s", (int)size, start, end) < 0)
        abort();
    return path;
}

/* Two servers with pid files in one folder have a socket each. */
static char *path_beside(const char *pid_file) {
    size_t size = strlen(pid_file);
    if (size > 4 && strcmp(pid_file + size - 4, ".pid") == 0)
        size -= 4;
    return join(pid_file, size, ".control");
}

char *control_path(const struct config *process) {
    const char *folder = getenv("RUNTIME_DIRECTORY");
    if (process->control != NULL)
        return strdup(process->control);
    if (folder != NULL && folder[0] == '/')
        return join(folder, strcspn(folder, ":"), "/sluice.control");
    return process->pid_file == NULL ? NULL : path_beside(process->pid_file);
}

static bool name_socket(const char *path, struct sockaddr_un *where) {
    *where = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(where->sun_path))
        return false;
    strcpy(where->sun_path, path);
    return true;
}

/* --- the supervisor's side --- */

/* A server that died leaves its socket behind. */
static bool make_room(const struct sockaddr_un *where, struct error *error) {
    struct stat status;
    if (lstat(where->sun_path, &status) != 0)
        return true;
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, "%s exists and is no socket", where->sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool stale =
        connect(fd, (const struct sockaddr *)where, sizeof(*where)) != 0 && errno == ECONNREFUSED;
    close(fd);
    if (!stale)
        return error_set(error, "%s is another server's control socket", where->sun_path);
    return unlink(where->sun_path) == 0 ||
           error_set(error, "%s: %s", where->sun_path, strerror(errno));
}

int control_listen(const char *path, struct error *error) {
    struct sockaddr_un where;
    if (!name_socket(path, &where)) {
        error_set(error, "%s: the path of a socket has at most 107 bytes", path);
        return -1;
    }
    if (!make_room(&where, error))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd != -1 && fchmod(fd, 0600) == 0 &&
        bind(fd, (const struct sockaddr *)&where, sizeof(where)) == 0 && chmod(path, 0600) == 0 &&
        listen(fd, 16) == 0)
        return fd;
    error_set(error, "the control socket %s can't be made: %s", path, strerror(errno));
    if (fd != -1)
        close(fd);
    return -1;
}

int control_accept(int listening) {
    struct ucred who;
    socklen_t size = sizeof(who);
    int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd == -1)
        return -1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
        (who.uid == 0 || who.uid == geteuid()))
        return fd;
    log_line(LOG_AT_WARNING, "the control socket was opened by user %u, who may not ask",
             (unsigned)who.uid);
    close(fd);
    return -1;
}

/* Behind the end of line begins what another reads. */
int control_read(int client, char *question, size_t *used) {
    char *at = question + *used;
    ssize_t size = recv(client, at, CONTROL_QUESTION_MAX - 1 - *used, MSG_PEEK);
    if (size > 0) {
        const char *end = memchr(at, '\n', (size_t)size);
        size = recv(client, at, end == NULL ? (size_t)size : (size_t)(end - at) + 1, 0);
    }
    if (size <= 0)
        return size == -1 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    *used += (size_t)size;
    question[*used] = '\0';
    size_t length = strcspn(question, "\n");
    if (length == *used)
        return length == CONTROL_QUESTION_MAX - 1 ? -1 : 0;
    if (question[length] == '\0') /* no text: its end of line would never be seen */
        return -1;
    question[length] = '\0';
    return 1;
}

void control_answer(int client, int status, const char *text) {
    char head[16];
    int size = snprintf(head, sizeof(head), "%d\n", status);
    if (send(client, head, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT) == size)
        send(client, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    close(client);
}

/* --- the command's side --- */

static int open_client(const char *path) {
    struct sockaddr_un where;
    if (!name_socket(path, &where)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1 || connect(fd, (const struct sockaddr *)&where, sizeof(where)) == 0)
        return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

static int print_answer(FILE *answer) {
    char line[64], text[4096];
    if (fgets(line, sizeof(line), answer) == NULL) {
        fputs("the server ended before it answered\n", stderr);
        return EX_UNAVAILABLE;
    }
    int status = atoi(line);
    for (size_t size; (size = fread(text, 1, sizeof(text), answer)) > 0;)
        fwrite(text, 1, size, status == EX_OK ? stdout : stderr);
    return status;
}

static void send_all(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return;
        bytes += sent;
        size -= (size_t)sent;
    }
}

int control_ask(const char *path, const char *question, const void *body, size_t body_size) {
    char line[CONTROL_QUESTION_MAX];
    int size = snprintf(line, sizeof(line), "%s\n", question);
    if (size >= (int)sizeof(line)) {
        fprintf(stderr, "the command is longer than %d bytes\n", CONTROL_QUESTION_MAX - 2);
        return EX_USAGE;
    }
    int fd = open_client(path);
    if (fd == -1) {
        fprintf(stderr, "there is no server at %s: %s\n", path, strerror(errno));
        return EX_UNAVAILABLE;
    }
    FILE *answer = fdopen(fd, "r+");
    if (answer == NULL)
        abort();
    if (send(fd, line, (size_t)size, MSG_NOSIGNAL) != size) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        fclose(answer);
        return EX_UNAVAILABLE;
    }
    if (body != NULL)
        send_all(fd, body, body_size); /* who does not want it says so */
    int status = print_answer(answer);
    fclose(answer);
    return status;
}
