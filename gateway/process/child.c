#include "process/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sysexits.h>
#include <unistd.h>

#include "process/channel.h"
#include "process/rights.h"

/* Descriptors of the supervisor's close by themselves, but for the standard ones. */
static void become_child(const char *role, const char *user, int channel, int page) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int high_channel = fcntl(channel, F_DUPFD_CLOEXEC, CHILD_PAGE + 1);
    int high_page = fcntl(page, F_DUPFD_CLOEXEC, CHILD_PAGE + 1);
    if (high_channel == -1 || high_page == -1 || dup2(high_channel, CHILD_CHANNEL) == -1 ||
        dup2(high_page, CHILD_PAGE) == -1)
        _exit(EX_OSERR);
    /* A process that changed users without exec could not open its own descriptors by name. */
    if (user != NULL && !rights_drop(user))
        _exit(EX_NOUSER);
    execl("/proc/self/exe", "sluice", role, (char *)NULL);
    _exit(EX_OSERR);
}

bool child_start(struct child *child, const char *role, const char *user, int page) {
    int ends[2];
    if (!channel_open(ends))
        return false;
    pid_t pid = fork();
    if (pid == 0)
        become_child(role, user, ends[1], page);
    int number = errno;
    close(ends[1]);
    if (pid == -1) {
        close(ends[0]);
        errno = number;
        return false;
    }
    child->pid = pid;
    child->channel = ends[0];
    return true;
}

void child_forget(struct child *child) {
    if (child->channel != -1)
        close(child->channel);
    child->channel = -1;
    child->pid = 0;
}
