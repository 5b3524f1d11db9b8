#include <sluice/consumer.h>
SLUICE_CONSUMER("group_chat", "0.1", .data_size = 0)
