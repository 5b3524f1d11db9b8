/*
 * Certificates for unit tests, made when they run: self-signed, in a directory of the test's own.
 */
#ifndef SLUICE_TEST_CERTIFICATE_H
#define SLUICE_TEST_CERTIFICATE_H

#include <check.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct certificate_plan {
    EVP_PKEY *key;
    const char *names; /* "DNS:a.example,IP:127.0.0.1", or NULL */
    long from, to;     /* seconds from now */
};

static inline EVP_PKEY *make_ec_key(void) { return EVP_EC_gen("P-256"); }

static inline EVP_PKEY *make_rsa_key(unsigned bits) { return EVP_RSA_gen(bits); }

static inline X509 *make_certificate(const struct certificate_plan *plan) {
    static long serial = 1;
    X509 *certificate = X509_new();
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_gmtime_adj(X509_getm_notBefore(certificate), plan->from);
    X509_gmtime_adj(X509_getm_notAfter(certificate), plan->to);
    X509_set_pubkey(certificate, plan->key);
    if (plan->names != NULL) {
        X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, plan->names);
        ck_assert_ptr_nonnull(names);
        X509_add_ext(certificate, names, -1);
        X509_EXTENSION_free(names);
    }
    ck_assert_int_gt(X509_sign(certificate, plan->key, EVP_sha256()), 0);
    return certificate;
}

static inline FILE *open_in(const char *directory, const char *file, const char *mode) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", directory, file);
    FILE *opened = fopen(path, mode);
    ck_assert_ptr_nonnull(opened);
    return opened;
}

static inline void write_certificate(const char *directory, const char *file, X509 *certificate) {
    FILE *opened = open_in(directory, file, "a");
    ck_assert_int_eq(PEM_write_X509(opened, certificate), 1);
    fclose(opened);
}

static inline void write_key(const char *directory, const char *file, EVP_PKEY *key) {
    FILE *opened = open_in(directory, file, "w");
    ck_assert_int_eq(PEM_write_PrivateKey(opened, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(opened);
}

/* <name>.pem and <name>.key, good for an hour. The key is taken. */
static inline void write_pair(const char *directory, const char *name, EVP_PKEY *key,
                              const char *names) {
    char file[64];
    struct certificate_plan plan = {.key = key, .names = names, .from = -60, .to = 3600};
    X509 *certificate = make_certificate(&plan);
    snprintf(file, sizeof(file), "%s.pem", name);
    write_certificate(directory, file, certificate);
    snprintf(file, sizeof(file), "%s.key", name);
    write_key(directory, file, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

#endif
