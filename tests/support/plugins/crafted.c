/* What SLUICE_CONSUMER makes, made by hand and wrong in the one way that FAULT says. */
#include <sluice/consumer.h>

#include <stdlib.h>
#include <string.h>

enum fault {
    NO_NOTE = 1,
    NO_ENTRY,
    NO_CONSUMER,
    NO_NAME,
    NO_MAGIC,
    OTHER_MAJOR,
    TOO_SHORT,
    GREEDY,
    /* not faults, but of another minor */
    SHORTER,
    LONGER
};

#if FAULT != 1
__attribute__((section(".note.sluice"), used, aligned(4))) static const struct sluice_note note = {
    7, 16, SLUICE_NOTE_TYPE, "Sluice", SLUICE_MAGIC, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR, 0};
#endif

static int on_open(sluice_route *route, void **data) {
    (void)route;
    (void)data;
    return 0;
}

/* Longer than any host of this version knows, with what it must not read behind. */
static struct {
    sluice_consumer known;
    unsigned char unknown[64];
} consumer = {.known = {.size = sizeof(sluice_consumer),
                        .magic = SLUICE_MAGIC,
                        .abi_major = SLUICE_ABI_MAJOR,
                        .name = "crafted",
                        .version = "1.0",
                        .data_size = 8,
                        .open = on_open}};

#if FAULT == 2
#define ENTRY_NAME another_function
#else
#define ENTRY_NAME sluice_consumer_entry
#endif

__attribute__((visibility("default"))) const sluice_consumer *
ENTRY_NAME(const struct sluice_host *host);

__attribute__((constructor)) static void leave_mark(void) { setenv("SLUICE_TEST_RAN", "1", 1); }

__attribute__((visibility("default"))) const sluice_consumer *
ENTRY_NAME(const struct sluice_host *host) {
    (void)host;
    memset(consumer.unknown, 0xa5, sizeof(consumer.unknown));
    switch ((enum fault)FAULT) {
    case NO_CONSUMER:
        return NULL;
    case NO_NAME:
        consumer.known.name = NULL;
        break;
    case NO_MAGIC:
        consumer.known.magic = 1;
        break;
    case OTHER_MAJOR:
        consumer.known.abi_major = SLUICE_ABI_MAJOR + 1;
        break;
    case TOO_SHORT:
        consumer.known.size = offsetof(sluice_consumer, name);
        break;
    case GREEDY:
        consumer.known.data_size = UINT32_MAX;
        break;
    case SHORTER: /* ends before open, which must then count as absent */
        consumer.known.size = offsetof(sluice_consumer, open);
        break;
    case LONGER:
        consumer.known.size = sizeof(consumer);
        break;
    case NO_NOTE:
    case NO_ENTRY:
        break;
    }
    return &consumer.known;
}
