/*
 * A route's `compress-messages`. Main thread.
 */
#ifndef SLUICE_CONFIG_COMPRESSION_H
#define SLUICE_CONFIG_COMPRESSION_H

#include "config/load.h"
#include "websocket/extension.h"

/* Reads ON, OFF or a mapping; node NULL: what holds when nothing is said. False when something was
   wrong, which is reported. */
bool compression_read(struct load *load, yoml_t *node, struct compression *compression);

#endif
