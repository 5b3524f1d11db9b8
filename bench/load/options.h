/*
 * The command line, checked: what to do, to which server, and for how long.
 */
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define STEPS_MAX 16

enum mode { MODE_ECHO, MODE_FANOUT, MODE_IDLE, MODE_HANDSHAKES };

struct options {
    enum mode mode;

    /* From the URL. */
    bool tls;
    struct sockaddr_in server;
    char host[64];  /* with the port, as the Host header has it */
    char path[256]; /* {room} in it stands for the room's name */

    /* Whom to connect. */
    long connections; /* echo, handshakes: at the same time */
    long rooms, members, publishers;
    long steps[STEPS_MAX]; /* idle: numbers of connections to measure at, growing */
    size_t step_count;
    long addresses; /* source addresses; 0: one for each 8,000 connections */
    long burst;     /* handshakes under way at the same time */

    /* What to send. */
    long depth; /* messages under way for each publisher */
    long rate;  /* messages a second of all publishers together; 0: as fast as answers come */
    long size;
    bool binary, unicode;

    /* For how long. */
    long warmup_ms, measure_ms, drain_ms, settle_ms, patience_ms;
    bool hold;

    /* Whose costs. */
    pid_t pid; /* with its descendants; 0: not measured */
    long core; /* the processor that the server alone runs on; -1: none */
    char ciphersuites[128];
};

/* Reads the command line. Writes what is wrong to stderr and returns false when there is anything
   wrong. */
bool options_parse(struct options *options, int count, char **words);

/* The most connections that the run holds at the same time. */
long options_connections(const struct options *options);

#endif
