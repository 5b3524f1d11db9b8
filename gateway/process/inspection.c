#include "process/inspection.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sluice/consumer.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "consumer/host.h"
#include "consumer/image.h"
#include "consumer/plugin.h"
#include "observe/error.h"

static void print_hooks(const sluice_consumer *consumer, FILE *out) {
    const struct {
        const char *name;
        bool is_there;
    } hooks[] = {
        {"open", consumer->open},
        {"shut", consumer->shut},
        {"thread_start", consumer->thread_start},
        {"thread_stop", consumer->thread_stop},
        {"connect", consumer->connect},
        {"receive", consumer->receive},
        {"event", consumer->event},
        {"dropped", consumer->dropped},
        {"disconnect", consumer->disconnect},
        {"release", consumer->release},
        {"drain", consumer->drain},
        {"http", consumer->http},
    };
    const char *between = "  hooks     ";
    for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++) {
        if (!hooks[i].is_there)
            continue;
        fprintf(out, "%s%s", between, hooks[i].name);
        between = ", ";
    }
    fputs(between[0] == ',' ? "\n" : "  hooks     none: it accepts everybody and says nothing\n",
          out);
}

/* The plugin is loaded already, so its file was whole a moment ago. */
static void print_libraries(const char *path, FILE *out) {
    struct image image;
    struct error ignored;
    struct stat status;
    const char *name;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0)
        return;
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED || !image_open(&image, bytes, (size_t)status.st_size, &ignored))
        return;
    const char *between = "  libraries ";
    for (size_t i = 0; (name = image_needed(&image, i)) != NULL; i++) {
        fprintf(out, "%s%s", between, name);
        between = ", ";
    }
    if (between[0] == ',')
        fputc('\n', out);
}

static void print_consumer(const char *path, const sluice_consumer *consumer, FILE *out) {
    fprintf(out,
            "%s: accepted\n"
            "  consumer  %s %s\n"
            "  ABI       %u.%u, needs %u.%u; this server has %u.%u\n"
            "  data      %u bytes for each connection\n",
            path, consumer->name, consumer->version, consumer->abi_major, consumer->abi_minor,
            consumer->abi_major, consumer->minor_needed, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR,
            consumer->data_size);
    print_hooks(consumer, out);
    print_libraries(path, out);
}

struct inspection {
    const char *path;
    FILE *out, *err;
    int verdict[2]; /* a pipe: the child's status as one byte */
};

/* _exit: what the plugin registered for the end is none of our business. */
static _Noreturn void inspect(const struct inspection *inspection) {
    struct plugin *plugin;
    struct error error;
    unsigned char status = EX_OK;
    if (plugin_load(inspection->path, -1, host_table(), &plugin, &error)) {
        print_consumer(inspection->path, plugin_consumer(plugin), inspection->out);
    } else {
        fprintf(inspection->err, "%s\n", error.text);
        status = EX_DATAERR;
    }
    fflush(inspection->out);
    fflush(inspection->err);
    ssize_t written = write(inspection->verdict[1], &status, 1);
    _exit(written == 1 ? status : EX_OSERR);
}

/* Reads the verdict, or says how the child ended without one. */
static int await(const struct inspection *inspection, pid_t child, int limit_ms) {
    struct pollfd verdict = {.fd = inspection->verdict[0], .events = POLLIN};
    unsigned char status = EX_DATAERR;
    int ended = 0, came;
    while ((came = poll(&verdict, 1, limit_ms)) < 0 && errno == EINTR)
        ;
    bool is_told = came > 0 && read(inspection->verdict[0], &status, 1) == 1;
    /* What is left to it is to end, and what it started may hold that up. */
    kill(child, SIGKILL);
    while (waitpid(child, &ended, 0) < 0 && errno == EINTR)
        ;
    if (is_told)
        return status;
    if (came == 0)
        fprintf(inspection->err, "%s does not come back from being loaded within %d ms\n",
                inspection->path, limit_ms);
    else if (WIFSIGNALED(ended) && WTERMSIG(ended) != SIGKILL)
        fprintf(inspection->err, "%s crashes when it is loaded: %s\n", inspection->path,
                strsignal(WTERMSIG(ended)));
    else
        fprintf(inspection->err, "%s ends the process when it is loaded\n", inspection->path);
    return EX_DATAERR;
}

int inspection_run(const char *path, int limit_ms, FILE *out, FILE *err) {
    struct inspection inspection = {.path = path, .out = out, .err = err};
    fflush(out);
    fflush(err);
    if (pipe2(inspection.verdict, O_CLOEXEC) != 0) {
        fprintf(err, "no pipe: %s\n", strerror(errno));
        return EX_OSERR;
    }
    pid_t child = fork();
    if (child == 0)
        inspect(&inspection);
    int status = EX_OSERR;
    if (child < 0)
        fprintf(err, "no process: %s\n", strerror(errno));
    close(inspection.verdict[1]);
    if (child > 0)
        status = await(&inspection, child, limit_ms);
    close(inspection.verdict[0]);
    return status;
}
