#include "process/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sysexits.h>
#include <unistd.h>

#include <linux/close_range.h>

#include "process/channel.h"
#include "process/rights.h"

/* The numbers that the child knows may be others' here: so first out of their way. */
static bool place_descriptors(int channel, int page, int tickets) {
    const int from[] = {channel, page, tickets};
    int high[3];
    for (int i = 0; i < 3; i++)
        high[i] = from[i] == -1 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, CHILD_TICKETS + 1);
    for (int i = 0; i < 3; i++)
        if (from[i] != -1 && (high[i] == -1 || dup2(high[i], CHILD_CHANNEL + i) == -1))
            return false;
    return true;
}

/* Descriptors of the supervisor's own close by themselves; those that it was started with by
   mistake are closed here, but for the standard ones. */
static void become_child(const struct child_conf *conf, int channel) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (!place_descriptors(channel, conf->page, conf->tickets))
        _exit(EX_OSERR);
    close_range(CHILD_TICKETS + 1, ~0u, CLOSE_RANGE_CLOEXEC);
    /* A process that changed users without exec could not open its own descriptors by name. */
    if (conf->user != NULL && !rights_drop(conf->user))
        _exit(EX_NOUSER);
    execl(conf->program != NULL ? conf->program : "/proc/self/exe", "sluice", conf->role,
          (char *)NULL);
    _exit(EX_OSERR);
}

bool child_start(struct child *child, const struct child_conf *conf) {
    int ends[2];
    if (!channel_open(ends))
        return false;
    pid_t pid = fork();
    if (pid == 0)
        become_child(conf, ends[1]);
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
