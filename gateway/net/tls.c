#include "net/tls.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "net/tickets.h"
#include "observe/log.h"
#include "snapshot/snapshot.h"

/* RFC 9325 section 4.2: forward secrecy and authenticated encryption. Where a processor has AES the
   shorter key is as safe and faster; clients without it say so by naming ChaCha20 first
   (SSL_OP_PRIORITIZE_CHACHA). */
#define TLS12_CIPHERS                                                                              \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define TLS13_CIPHERS "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

struct entry {
    SSL_CTX *context;
    X509 *certificate; /* borrowed from the context */
};

struct tls {
    atomic_size_t owners;
    size_t count;
    struct entry entries[];
};

/* --- handshake callbacks --- */

/* RFC 7301 section 3.2. HTTP/2 is not spoken here: libh2o's has holes that one client can end the
 * process with. */
static int on_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_size,
                   const unsigned char *offered, unsigned offered_size, void *data) {
    static const unsigned char http1[] = "\x08http/1.1";
    (void)ssl;
    (void)data;
    unsigned char *match;
    if (SSL_select_next_proto(&match, chosen_size, http1, sizeof(http1) - 1, offered,
                              offered_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = match;
    return SSL_TLSEXT_ERR_OK;
}

static bool certificate_has(X509 *certificate, const char *name, unsigned flags) {
    return X509_check_host(certificate, name, strlen(name), flags, NULL) == 1 ||
           X509_check_ip_asc(certificate, name, 0) == 1;
}

/* A name in full goes before a wildcard, whatever the order of the certificates. */
static SSL_CTX *context_for(const struct tls *tls, const char *name) {
    const unsigned strictness[] = {
        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS,
        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS};
    for (size_t pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < tls->count; i++)
            if (certificate_has(tls->entries[i].certificate, name, strictness[pass]))
                return tls->entries[i].context;
    return NULL;
}

/* RFC 6066 section 3. */
static int on_server_name(SSL *ssl, int *alert, void *data) {
    const struct tls *tls = data;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    if (name == NULL || tls->count == 1)
        return SSL_TLSEXT_ERR_OK;
    SSL_CTX *context = context_for(tls, name);
    if (context == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_SSL_CTX(ssl, context);
    return SSL_TLSEXT_ERR_OK;
}

/* --- files --- */

static const char *last_reason(void) {
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason != NULL ? reason : "unknown error";
}

static FILE *open_file(const char *path, struct error *error) {
    int fd = snapshot_open(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    struct stat status;
    if (file == NULL) {
        error_set(error, "%s: can't be read: %s", path, strerror(errno));
        return NULL;
    }
    if (fstat(fileno(file), &status) == 0 && S_ISDIR(status.st_mode)) {
        fclose(file);
        error_set(error, "%s: is a directory, not a file", path);
        return NULL;
    }
    return file;
}

/* The block that ended a list of PEM blocks: the end of the file, and no damaged one? */
static bool was_last(void) {
    unsigned long code = ERR_peek_last_error();
    bool last = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    return last;
}

static bool use_chain(SSL_CTX *context, FILE *file, const char *path, struct error *error) {
    X509 *link;
    size_t number = 2;
    while ((link = PEM_read_X509(file, NULL, NULL, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(context, link) != 1) {
            X509_free(link);
            return error_set(error, "%s: certificate %zu of the chain can't be used: %s", path,
                             number, last_reason());
        }
        number++;
    }
    if (!was_last())
        return error_set(error, "%s: certificate %zu of the chain is damaged", path, number);
    return true;
}

static bool use_leaf(SSL_CTX *context, FILE *file, const char *path, struct error *error) {
    ERR_clear_error();
    X509 *leaf = PEM_read_X509_AUX(file, NULL, NULL, NULL);
    if (leaf == NULL)
        return error_set(error,
                         was_last() ? "%s: holds no certificate in PEM form (a block that starts "
                                      "with -----BEGIN CERTIFICATE-----)"
                                    : "%s: the certificate is damaged",
                         path);
    bool used = SSL_CTX_use_certificate(context, leaf) == 1;
    X509_free(leaf);
    return used || error_set(error, "%s: the certificate can't be used: %s", path, last_reason());
}

static bool use_certificate(SSL_CTX *context, const char *path, struct error *error) {
    FILE *file = open_file(path, error);
    if (file == NULL)
        return false;
    bool used = use_leaf(context, file, path, error) && use_chain(context, file, path, error);
    fclose(file);
    return used;
}

/* Asked for the passphrase of an encrypted key: there is nobody to type it. */
static int note_encrypted(char *buffer, int size, int writing, void *data) {
    (void)buffer;
    (void)size;
    (void)writing;
    *(bool *)data = true;
    return -1;
}

/* OpenSSL 3 says of a file without a key the same as of one whose key is damaged. */
static bool holds_key_block(FILE *file) {
    BIO *bio = BIO_new_fp(file, BIO_NOCLOSE);
    unsigned char *data = NULL;
    long size;
    rewind(file);
    ERR_clear_error();
    bool read = PEM_bytes_read_bio(&data, &size, NULL, PEM_STRING_EVP_PKEY, bio, NULL, NULL) == 1;
    OPENSSL_clear_free(data, read ? (size_t)size : 0);
    BIO_free(bio);
    return read || !was_last();
}

static void explain_key(FILE *file, const char *path, bool encrypted, struct error *error) {
    if (encrypted)
        error_set(error,
                  "%s: the key is encrypted; store it without a passphrase, readable by its owner "
                  "alone (openssl pkey -in OLD -out NEW)",
                  path);
    else if (holds_key_block(file))
        error_set(error, "%s: the private key is damaged", path);
    else
        error_set(error,
                  "%s: holds no private key in PEM form (a block that starts with "
                  "-----BEGIN PRIVATE KEY-----)",
                  path);
}

static EVP_PKEY *read_key(const char *path, struct error *error) {
    FILE *file = open_file(path, error);
    if (file == NULL)
        return NULL;
    bool encrypted = false;
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, note_encrypted, &encrypted);
    if (key == NULL)
        explain_key(file, path, encrypted, error);
    fclose(file);
    return key;
}

static bool use_key(SSL_CTX *context, const struct tls_certificate *files, struct error *error) {
    EVP_PKEY *key = read_key(files->key_file, error);
    if (key == NULL)
        return false;
    bool matches = X509_check_private_key(SSL_CTX_get0_certificate(context), key) == 1;
    bool used = matches && SSL_CTX_use_PrivateKey(context, key) == 1;
    EVP_PKEY_free(key);
    if (!matches)
        return error_set(error, "%s: the key is not that of %s", files->key_file,
                         files->certificate_file);
    return used ||
           error_set(error, "%s: the key can't be used: %s", files->key_file, last_reason());
}

static void warn_of_certificate(X509 *certificate, const char *path) {
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        log_line(LOG_AT_WARNING, "%s: the certificate has expired: clients will refuse it", path);
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        log_line(LOG_AT_WARNING, "%s: the certificate is not valid yet: clients will refuse it",
                 path);
    if (X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1) == -1)
        log_line(LOG_AT_WARNING,
                 "%s: the certificate names no host (it has no subjectAltName): browsers will "
                 "refuse it",
                 path);
}

/* --- contexts --- */

/* All contexts of a listener are alike but for the certificate, so that choosing another one by SNI
   changes nothing else: the options of a connection stay those of the context that it started with.
 */
static SSL_CTX *create_context(const struct tls *tls, int minimum_version) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL)
        abort();
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                     SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* An idle connection would hold 34 kB of record buffers. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(context, TICKETS_SECONDS);
    SSL_CTX_set_security_level(context, 2);
    bool known = SSL_CTX_set_min_proto_version(context, minimum_version) == 1 &&
                 SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
                 SSL_CTX_set_cipher_list(context, TLS12_CIPHERS) == 1 &&
                 SSL_CTX_set_ciphersuites(context, TLS13_CIPHERS) == 1 &&
                 SSL_CTX_set1_groups_list(context, GROUPS) == 1 &&
                 SSL_CTX_set_tlsext_ticket_key_evp_cb(context, tickets_use) == 1;
    assert(known);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(context, (void *)(uintptr_t)tls);
    return context;
}

static bool load(struct entry *entry, const struct tls_certificate *files, struct error *error,
                 bool *is_key) {
    *is_key = false;
    if (!use_certificate(entry->context, files->certificate_file, error))
        return false;
    entry->certificate = SSL_CTX_get0_certificate(entry->context);
    *is_key = true;
    if (!use_key(entry->context, files, error))
        return false;
    warn_of_certificate(entry->certificate, files->certificate_file);
    return true;
}

struct tls *tls_create(const struct tls_conf *conf, struct error *error, size_t *which,
                       bool *is_key) {
    assert(conf->count > 0);
    struct tls *tls = calloc(1, sizeof(*tls) + conf->count * sizeof(tls->entries[0]));
    if (tls == NULL)
        abort();
    atomic_init(&tls->owners, 1);
    for (; tls->count < conf->count; tls->count++) {
        struct entry *entry = &tls->entries[tls->count];
        entry->context = create_context(tls, conf->minimum_version);
        if (!load(entry, &conf->certificates[tls->count], error, is_key)) {
            *which = tls->count++;
            tls_free(tls);
            ERR_clear_error();
            return NULL;
        }
    }
    return tls;
}

struct tls *tls_share(struct tls *tls) {
    atomic_fetch_add_explicit(&tls->owners, 1, memory_order_relaxed);
    return tls;
}

void tls_free(struct tls *tls) {
    if (tls == NULL || atomic_fetch_sub_explicit(&tls->owners, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < tls->count; i++)
        SSL_CTX_free(tls->entries[i].context);
    free(tls);
}

SSL_CTX *tls_context(const struct tls *tls) { return tls->entries[0].context; }
