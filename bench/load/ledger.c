#include "ledger.h"

#include <stdbool.h>

static void receive_late(struct ledger *ledger, uint32_t number, struct ledger_counts *counts) {
    uint32_t back = ledger->next - 1 - number;
    bool known = back < 64 ? (ledger->seen >> back & 1) != 0 : ledger->missing == 0;
    if (known) {
        counts->repeated++;
        return;
    }
    counts->out_of_order++;
    ledger->missing--;
    if (back < 64)
        ledger->seen |= (uint64_t)1 << back;
}

void ledger_receive(struct ledger *ledger, uint32_t number, struct ledger_counts *counts) {
    if (number < ledger->next) {
        receive_late(ledger, number, counts);
        return;
    }
    uint32_t gap = number - ledger->next;
    ledger->missing += gap;
    ledger->seen = gap >= 63 ? 1 : ledger->seen << (gap + 1) | 1;
    ledger->next = number + 1;
}

void ledger_finish(const struct ledger *ledger, uint32_t sent, struct ledger_counts *counts) {
    counts->lost += ledger->missing;
    if (sent > ledger->next)
        counts->lost += sent - ledger->next;
}
