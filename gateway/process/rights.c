#include "process/rights.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "observe/log.h"

static bool fail(const char *what, const char *name) {
    log_line(LOG_AT_ERROR, "%s %s: %s", what, name, strerror(errno));
    return false;
}

bool rights_drop(const char *name) {
    if (name == NULL) {
        if (geteuid() == 0)
            log_line(LOG_AT_WARNING, "running as root: name a user in the configuration");
        return true;
    }
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (user == NULL && errno != 0)
        return fail("can't look up user", name);
    if (user == NULL) {
        log_line(LOG_AT_ERROR, "there is no user %s", name);
        return false;
    }
    if (geteuid() == user->pw_uid)
        return true;
    if (initgroups(name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
        setuid(user->pw_uid) != 0)
        return fail("can't become user", name);
    return true;
}

void rights_raise_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}
