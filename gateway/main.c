/*
 * The command line: checks a configuration, shows its routes, or serves it.
 */
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <sluice/consumer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "config/config.h"
#include "config/listing.h"
#include "config/problems.h"
#include "consumer/host.h"
#include "process/worker.h"

static const char usage[] =
    "usage: sluice -c FILE                    serve\n"
    "       sluice -t -c FILE                 check the configuration and say all that is wrong\n"
    "       sluice --routes -c FILE           list the routes in order\n"
    "       sluice --route PATH [--host HOST] -c FILE\n"
    "                                         show where a path goes, and its captures\n"
    "       sluice --version\n";

struct arguments {
    const char *file;
    const char *path; /* of --route */
    const char *host;
    bool is_check, is_listing;
};

/* Exits where the command line ends here: with its mistakes, or with --version. */
static struct arguments read_arguments(int count, char **values) {
    static const struct option options[] = {
        {"conf", required_argument, NULL, 'c'}, {"test", no_argument, NULL, 't'},
        {"routes", no_argument, NULL, 'l'},     {"route", required_argument, NULL, 'r'},
        {"host", required_argument, NULL, 'H'}, {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0}};
    struct arguments arguments = {NULL, NULL, NULL, false, false};
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
static struct config *load(const char *file, struct problems *problems) {
    char binary[PATH_MAX] = "", built[PATH_MAX + 16], installed[PATH_MAX + 16];
    ssize_t size = readlink("/proc/self/exe", binary, sizeof(binary) - 1);
    binary[size < 0 ? 0 : size] = '\0';
    const char *folder = dirname(binary);
    snprintf(built, sizeof(built), "%s/../plugins", folder);
    snprintf(installed, sizeof(installed), "%s/../lib/sluice", folder);
    const char *const directories[] = {built, installed};
    return config_load(file, directories, 2, host_table(), problems);
}

int main(int count, char **values) {
    struct arguments arguments = read_arguments(count, values);
    struct problems *problems = problems_create();
    struct config *config = load(arguments.file, problems);
    problems_print(problems, stderr);
    int status = EX_OK;
    if (config == NULL) {
        fprintf(stderr, "%s: refused, %zu error%s\n", arguments.file, problems_errors(problems),
                problems_errors(problems) == 1 ? "" : "s");
        status = EX_CONFIG;
    } else if (arguments.is_check) {
        printf("%s: accepted\n", arguments.file);
    } else if (arguments.is_listing) {
        listing_print(config, stdout);
    } else if (arguments.path != NULL) {
        status = listing_print_way(config, arguments.host, arguments.path, stdout) ? EX_OK : 1;
    } else {
        problems_free(problems);
        return worker_run(config);
    }
    problems_free(problems);
    config_free(config);
    return status;
}
