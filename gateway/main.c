/*
 * The command line: checks a configuration, shows its routes, or serves it.
 */
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <sluice/consumer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sysexits.h>
#include <unistd.h>

#include "config/config.h"
#include "config/listing.h"
#include "config/problems.h"
#include "consumer/host.h"
#include "net/tickets.h"
#include "observe/log.h"
#include "observe/page.h"
#include "process/child.h"
#include "process/command.h"
#include "process/plugin_command.h"
#include "process/supervisor.h"
#include "process/worker.h"

static const char usage[] =
    "usage: sluice -c FILE [--no-supervisor]  serve\n"
    "       sluice -t -c FILE                 check the configuration and say all that is wrong\n"
    "       sluice --routes -c FILE           list the routes in order\n"
    "       sluice --route PATH [--host HOST] -c FILE\n"
    "                                         show where a path goes, and its captures\n"
    "       sluice reload | reopen | stop | restart | status [--json] | connections |\n"
    "              kick ID | kick --user KEY | groups [NAMESPACE] | members NAMESPACE GROUP |\n"
    "              history NAMESPACE GROUP [--last N] | publish NAMESPACE GROUP [TEXT]\n"
    "              -c FILE | --control PATH  ask a server that runs\n"
    "       sluice plugin check FILE.so | new NAME\n"
    "                                         for authors of consumers\n"
    "       sluice --version\n";

struct arguments {
    const char *file;
    const char *path; /* of --route */
    const char *host;
    bool is_check, is_listing, is_alone;
};

/* Exits where the command line ends here: with its mistakes, or with --version. */
static struct arguments read_arguments(int count, char **values) {
    static const struct option options[] = {{"conf", required_argument, NULL, 'c'},
                                            {"test", no_argument, NULL, 't'},
                                            {"routes", no_argument, NULL, 'l'},
                                            {"route", required_argument, NULL, 'r'},
                                            {"host", required_argument, NULL, 'H'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"no-supervisor", no_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    struct arguments arguments = {NULL, NULL, NULL, false, false, false};
    int option;
    while ((option = getopt_long(count, values, "c:tvh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            arguments.file = optarg;
            break;
        case 't':
            arguments.is_check = true;
            break;
        case 'l':
            arguments.is_listing = true;
            break;
        case 'r':
            arguments.path = optarg;
            break;
        case 'H':
            arguments.host = optarg;
            break;
        case 'n':
            arguments.is_alone = true;
            break;
        case 'v':
            printf("sluice %s (consumer ABI %d.%d, libh2o %s)\n", SLUICE_VERSION, SLUICE_ABI_MAJOR,
                   SLUICE_ABI_MINOR, H2O_VERSION);
            exit(EX_OK);
        case 'h':
            fputs(usage, stdout);
            exit(EX_OK);
        default:
            fputs(usage, stderr);
            exit(EX_USAGE);
        }
    }
    if (arguments.file == NULL || optind < count) {
        fputs(usage, stderr);
        exit(EX_USAGE);
    }
    return arguments;
}

/* Where plugins are looked for when the file does not say: beside the binary, as built and as
 * installed. */
static struct folders {
    char program[PATH_MAX], built[PATH_MAX + 16], installed[PATH_MAX + 16];
    const char *list[2];
} folders;

static void find_folders(void) {
    char binary[PATH_MAX] = "";
    ssize_t size = readlink("/proc/self/exe", binary, sizeof(binary) - 1);
    binary[size < 0 ? 0 : size] = '\0';
    snprintf(folders.program, sizeof(folders.program), "%s", binary);
    const char *folder = dirname(binary);
    snprintf(folders.built, sizeof(folders.built), "%s/../plugins", folder);
    snprintf(folders.installed, sizeof(folders.installed), "%s/../lib/sluice", folder);
    folders.list[0] = folders.built;
    folders.list[1] = folders.installed;
}

static struct config *load(const char *file, struct problems *problems) {
    return config_load(file, folders.list, 2, host_table(), problems);
}

/* TLS sessions outlive workers: their keys lie in memory that the supervisor made. */
static void share_tickets(void) {
    void *memory = mmap(NULL, TICKETS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, CHILD_TICKETS, 0);
    close(CHILD_TICKETS);
    if (memory == MAP_FAILED || !tickets_live_in(memory, TICKETS_BYTES))
        log_line(LOG_AT_WARNING, "TLS sessions end with this worker: their keys can't be shared");
}

/* What the supervisor starts. */
static int run_child(const char *role) {
    page_map(CHILD_PAGE);
    close(CHILD_PAGE);
    fcntl(CHILD_CHANNEL, F_SETFD, FD_CLOEXEC);
    if (strcmp(role, "--worker") == 0)
        share_tickets();
    return strcmp(role, "--worker") == 0 ? worker_run(CHILD_CHANNEL, load)
                                         : worker_try(CHILD_CHANNEL, load);
}

static int supervise(const struct arguments *arguments, char **values) {
    const struct supervisor_conf conf = {.file = arguments->file,
                                         .program = folders.program,
                                         .arguments = values,
                                         .plugin_dirs = folders.list,
                                         .plugin_dir_count = 2};
    return supervisor_run(&conf);
}

/* Whatever needs the whole configuration, in this process. */
static int run_here(const struct arguments *arguments) {
    struct problems *problems = problems_create();
    struct config *config = load(arguments->file, problems);
    problems_print(problems, stderr);
    int status = EX_OK;
    if (config == NULL) {
        fprintf(stderr, "%s: refused, %zu error%s\n", arguments->file, problems_errors(problems),
                problems_errors(problems) == 1 ? "" : "s");
        status = EX_CONFIG;
    } else if (arguments->is_check) {
        printf("%s: accepted\n", arguments->file);
    } else if (arguments->is_listing) {
        listing_print(config, stdout);
    } else if (arguments->path != NULL) {
        status = listing_print_way(config, arguments->host, arguments->path, stdout) ? EX_OK : 1;
    } else {
        problems_free(problems);
        return worker_run_alone(config);
    }
    problems_free(problems);
    config_free(config);
    return status;
}

int main(int count, char **values) {
    if (count > 1 && strcmp(values[1], "plugin") == 0)
        return plugin_command(count - 1, values + 1);
    find_folders();
    if (count == 2 && (strcmp(values[1], "--worker") == 0 || strcmp(values[1], "--trial") == 0))
        return run_child(values[1]);
    if (count > 1 && command_is(values[1]))
        return command_run(count, values);
    struct arguments arguments = read_arguments(count, values);
    bool serves = !arguments.is_check && !arguments.is_listing && arguments.path == NULL;
    return serves && !arguments.is_alone ? supervise(&arguments, values) : run_here(&arguments);
}
