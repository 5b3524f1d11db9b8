/*
 * A TLS handshake in memory, of a client and a server of this process, for unit tests.
 */
#ifndef SLUICE_TEST_MEETING_H
#define SLUICE_TEST_MEETING_H

#include <check.h>
#include <openssl/err.h>
#include <stdbool.h>

#include "net/tls.h"

struct meeting {
    SSL_CTX *client_context;
    SSL *client, *server;
    bool established;
};

static inline struct meeting meet(const struct tls *tls) {
    struct meeting meeting = {.client_context = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_security_level(meeting.client_context, 0);
    meeting.client = SSL_new(meeting.client_context);
    meeting.server = SSL_new(tls_context(tls));
    BIO *client_end, *server_end;
    ck_assert_int_eq(BIO_new_bio_pair(&client_end, 1 << 16, &server_end, 1 << 16), 1);
    SSL_set_bio(meeting.client, client_end, client_end);
    SSL_set_bio(meeting.server, server_end, server_end);
    SSL_set_connect_state(meeting.client);
    SSL_set_accept_state(meeting.server);
    return meeting;
}

/* Each side moves until neither can; a handshake takes at most three rounds. */
static inline bool shake(struct meeting *meeting) {
    char byte;
    int client = 0, server = 0;
    for (int round = 0; round < 6; round++) {
        client = SSL_do_handshake(meeting->client);
        server = SSL_do_handshake(meeting->server);
    }
    meeting->established = client == 1 && server == 1;
    if (meeting->established) /* takes in the tickets of TLS 1.3 */
        ck_assert_int_eq(SSL_read(meeting->client, &byte, 1), -1);
    ERR_clear_error();
    return meeting->established;
}

static inline void part(struct meeting *meeting) {
    SSL_free(meeting->client);
    SSL_free(meeting->server);
    SSL_CTX_free(meeting->client_context);
}

#endif
