/*
 * libh2o's headers as they must be included: its pkg-config file does not say which event loop the
 * library was built with, and without the definition its sockets silently take another layout.
 */
#ifndef SLUICE_LOOP_H2O_H
#define SLUICE_LOOP_H2O_H

#include <h2o.h>

#if H2O_USE_LIBUV
#error "compile with -DH2O_USE_LIBUV=0: libh2o-evloop has its own event loop"
#endif

#endif
