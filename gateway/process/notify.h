/*
 * What systemd is told of the service, when it asks to be told (sd_notify(3)). Main thread.
 */
#ifndef SLUICE_PROCESS_NOTIFY_H
#define SLUICE_PROCESS_NOTIFY_H

/* "READY=1", "RELOADING=1\nMONOTONIC_USEC=…" and their like. Nothing where nobody listens. */
void notify(const char *state);
/* RELOADING=1 with the time that systemd wants beside it. */
void notify_reloading(void);

#endif
