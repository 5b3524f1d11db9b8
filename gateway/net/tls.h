/*
 * A TLS listener's contexts: TLS 1.2 and 1.3, ECDHE with AEAD only, certificates chosen by SNI,
 * session tickets (tickets.h), buffers released while idle, ALPN http/1.1 alone. Made while a
 * configuration is loaded; used by all threads, unchanged.
 *
 * A client that offers protocols by ALPN but not http/1.1 (h2 alone, say) fails its handshake, as
 * RFC 7301 section 3.2 wants; one that offers none speaks HTTP/1.1. A client that names no host, or
 * one that no certificate has, gets the first certificate.
 */
#ifndef SLUICE_NET_TLS_H
#define SLUICE_NET_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "observe/error.h"

struct tls;

struct tls_certificate {
    const char *certificate_file; /* PEM, the chain behind it */
    const char *key_file;         /* PEM, not encrypted; RSA from 2048 bits, EC or Ed25519 */
};

struct tls_conf {
    const struct tls_certificate
        *certificates;   /* the first is the default; names come from subjectAltName */
    size_t count;        /* at least 1 */
    int minimum_version; /* TLS1_2_VERSION or TLS1_3_VERSION */
};

/* Reads the files; keeps nothing of conf. On failure NULL, *which is the certificate at fault and
   *is_key whether its key is. Errors name the file and what is wrong (missing, unreadable, no PEM,
   encrypted, too weak, key of another certificate). A certificate that has expired, is not valid
   yet or names no host is only a warning in the log. */
struct tls *tls_create(const struct tls_conf *conf, struct error *error, size_t *which,
                       bool *is_key);
/* Another owner of the same contexts. Any thread. */
struct tls *tls_share(struct tls *tls);
/* Gives one ownership back. Any thread; NULL is accepted. */
void tls_free(struct tls *tls);

/* What a socket's handshake starts with. Borrowed; a handshake needs the tls to live until it ends.
 */
SSL_CTX *tls_context(const struct tls *tls);

#endif
