#ifndef TWO_FILES_HOOKS_H
#define TWO_FILES_HOOKS_H

#include <sluice/consumer.h>

void greet(sluice_conn *conn);

#endif
