#include "net/tls.h"

#include <check.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "observe/log.h"
#include "support/certificate.h"
#include "support/directory.h"
#include "support/meeting.h"

static char directory[128];

static void make_directory(void) { make_test_directory(directory, sizeof(directory)); }

static void remove_directory(void) { remove_test_directory(directory); }

/* Eight buffers, so that a test may hold the names of four pairs. */
static const char *in_directory(const char *file) {
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, 256, "%s/%s", directory, file);
    return path;
}

static struct tls *create_from(const struct tls_certificate *certificates, size_t count,
                               int minimum_version) {
    struct tls_conf conf = {
        .certificates = certificates, .count = count, .minimum_version = minimum_version};
    struct error error = {"none"};
    size_t which;
    bool is_key;
    struct tls *tls = tls_create(&conf, &error, &which, &is_key);
    ck_assert_msg(tls != NULL, "%s", error.text);
    return tls;
}

static struct tls *create_one(EVP_PKEY *key, const char *names, int minimum_version) {
    write_pair(directory, "one", key, names);
    struct tls_certificate files = {in_directory("one.pem"), in_directory("one.key")};
    return create_from(&files, 1, minimum_version);
}

/* --- versions and ciphers --- */

static bool shakes_with_version(const struct tls *tls, int version) {
    struct meeting meeting = meet(tls);
    SSL_set_min_proto_version(meeting.client, version);
    SSL_set_max_proto_version(meeting.client, version);
    bool established = shake(&meeting);
    if (established)
        ck_assert_int_eq(SSL_version(meeting.server), version);
    part(&meeting);
    return established;
}

START_TEST(versions_are_1_2_and_1_3) {
    struct tls *tls = create_one(make_ec_key(), "DNS:a.example", TLS1_2_VERSION);
    ck_assert(shakes_with_version(tls, TLS1_3_VERSION));
    ck_assert(shakes_with_version(tls, TLS1_2_VERSION));
    ck_assert(!shakes_with_version(tls, TLS1_1_VERSION));
    ck_assert(!shakes_with_version(tls, TLS1_VERSION));
    tls_free(tls);
}
END_TEST

START_TEST(minimum_version_1_3_refuses_1_2) {
    struct tls *tls = create_one(make_ec_key(), "DNS:a.example", TLS1_3_VERSION);
    ck_assert(shakes_with_version(tls, TLS1_3_VERSION));
    ck_assert(!shakes_with_version(tls, TLS1_2_VERSION));
    tls_free(tls);
}
END_TEST

static bool shakes_with_ciphers(const struct tls *tls, const char *ciphers, const char *groups) {
    struct meeting meeting = meet(tls);
    SSL_set_max_proto_version(meeting.client, TLS1_2_VERSION);
    ck_assert_int_eq(SSL_set_cipher_list(meeting.client, ciphers), 1);
    if (groups != NULL)
        ck_assert_int_eq(SSL_set1_groups_list(meeting.client, groups), 1);
    bool established = shake(&meeting);
    part(&meeting);
    return established;
}

/* The RSA certificate would do for all of these; only key exchange, mode or curve is what is
 * refused. */
START_TEST(ciphers_without_forward_secrecy_or_aead_are_refused) {
    static const char *const refused[] = {
        "AES128-GCM-SHA256",      "AES256-GCM-SHA384",       "AES128-SHA",
        "ECDHE-RSA-AES128-SHA",   "ECDHE-RSA-AES256-SHA384", "DHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-SHA256"};
    static const char *const taken[] = {"ECDHE-RSA-AES128-GCM-SHA256",
                                        "ECDHE-RSA-AES256-GCM-SHA384",
                                        "ECDHE-RSA-CHACHA20-POLY1305"};
    struct tls *tls = create_one(make_rsa_key(2048), "DNS:a.example", TLS1_2_VERSION);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        ck_assert_msg(!shakes_with_ciphers(tls, refused[i], NULL), "%s", refused[i]);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        ck_assert_msg(shakes_with_ciphers(tls, taken[i], NULL), "%s", taken[i]);
    ck_assert(shakes_with_ciphers(tls, taken[0], "X25519"));
    ck_assert(shakes_with_ciphers(tls, taken[0], "P-256"));
    ck_assert(!shakes_with_ciphers(tls, taken[0], "secp256k1"));
    tls_free(tls);
}
END_TEST

START_TEST(server_chooses_the_cipher) {
    struct tls *tls = create_one(make_ec_key(), "DNS:a.example", TLS1_2_VERSION);
    struct meeting meeting = meet(tls);
    SSL_set_max_proto_version(meeting.client, TLS1_2_VERSION);
    ck_assert_int_eq(
        SSL_set_cipher_list(meeting.client,
                            "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"),
        1);
    ck_assert(shake(&meeting));
    ck_assert_str_eq(SSL_get_cipher_name(meeting.server), "ECDHE-ECDSA-AES128-GCM-SHA256");
    part(&meeting);
    tls_free(tls);
}
END_TEST

START_TEST(renegotiation_is_refused_and_idle_buffers_are_released) {
    struct tls *tls = create_one(make_ec_key(), "DNS:a.example", TLS1_2_VERSION);
    struct meeting meeting = meet(tls);
    char byte;
    SSL_set_max_proto_version(meeting.client, TLS1_2_VERSION);
    ck_assert(shake(&meeting));
    ck_assert_int_eq(SSL_renegotiate(meeting.client), 1);
    SSL_do_handshake(meeting.client);
    SSL_read(meeting.server, &byte, 1); /* answers with the alert no_renegotiation */
    ck_assert_int_eq(SSL_do_handshake(meeting.client), -1);
    ck_assert_int_eq(SSL_get_error(meeting.client, -1), SSL_ERROR_SSL);
    ck_assert_int_eq(SSL_num_renegotiations(meeting.server), 0);
    ck_assert((SSL_get_options(meeting.server) & SSL_OP_NO_RENEGOTIATION) != 0);
    ck_assert((SSL_get_mode(meeting.server) & SSL_MODE_RELEASE_BUFFERS) != 0);
    ERR_clear_error();
    part(&meeting);
    tls_free(tls);
}
END_TEST

/* --- ALPN --- */

static const struct {
    const char *offered; /* NULL: the client does not speak of it */
    const char *chosen;  /* NULL: the handshake fails */
} offers[] = {
    {NULL, ""},
    {"\x08http/1.1", "http/1.1"},
    {"\x02h2\x08http/1.1", "http/1.1"},
    {"\x08http/1.1\x02h2", "http/1.1"},
    {"\x02h2", NULL},
    {"\x05h2-16\x02h2\x08http/1.0", NULL},
};

START_TEST(alpn_never_chooses_http2) {
    struct tls *tls = create_one(make_ec_key(), "DNS:a.example", TLS1_2_VERSION);
    const char *offered = offers[_i].offered, *chosen = offers[_i].chosen;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct meeting meeting = meet(tls);
        SSL_set_max_proto_version(meeting.client, version);
        if (offered != NULL)
            SSL_set_alpn_protos(meeting.client, (const unsigned char *)offered,
                                (unsigned)strlen(offered));
        ck_assert_int_eq(shake(&meeting), chosen != NULL);
        const unsigned char *name;
        unsigned size;
        SSL_get0_alpn_selected(meeting.client, &name, &size);
        if (chosen != NULL) {
            ck_assert_uint_eq(size, strlen(chosen));
            ck_assert(size == 0 || memcmp(name, chosen, size) == 0);
        }
        part(&meeting);
    }
    tls_free(tls);
}
END_TEST

/* --- SNI --- */

static void expect_certificate(const struct tls *tls, const char *name, const char *wanted) {
    struct meeting meeting = meet(tls);
    if (name != NULL)
        ck_assert_int_eq(SSL_set_tlsext_host_name(meeting.client, name), 1);
    ck_assert(shake(&meeting));
    X509 *got = SSL_get1_peer_certificate(meeting.client);
    ck_assert_ptr_nonnull(got);
    ck_assert_msg(X509_check_host(got, wanted, 0, X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1,
                  "%s got another certificate than that of %s", name != NULL ? name : "no name",
                  wanted);
    X509_free(got);
    part(&meeting);
}

START_TEST(name_chooses_the_certificate) {
    write_pair(directory, "first", make_ec_key(), "DNS:first.example");
    write_pair(directory, "wild", make_ec_key(), "DNS:wild,DNS:*.example.org");
    write_pair(directory, "exact", make_rsa_key(2048),
               "DNS:exact,DNS:www.example.org,IP:127.0.0.1");
    struct tls_certificate all[] = {{in_directory("first.pem"), in_directory("first.key")},
                                    {in_directory("wild.pem"), in_directory("wild.key")},
                                    {in_directory("exact.pem"), in_directory("exact.key")}};
    struct tls *tls = create_from(all, 3, TLS1_2_VERSION);
    expect_certificate(tls, NULL, "first.example");
    expect_certificate(tls, "first.example", "first.example");
    expect_certificate(tls, "other.example", "first.example");
    expect_certificate(tls, "a.example.org", "wild");
    expect_certificate(tls, "A.Example.ORG", "wild");
    expect_certificate(tls, "a.b.example.org", "first.example");
    expect_certificate(tls, "example.org", "first.example");
    expect_certificate(tls, "www.example.org", "exact");
    expect_certificate(tls, "127.0.0.1", "exact");
    expect_certificate(tls, "test", "first.example"); /* the common name of all is no name */
    tls_free(tls);
}
END_TEST

START_TEST(chosen_context_keeps_the_minimum_version) {
    write_pair(directory, "first", make_ec_key(), "DNS:first.example");
    write_pair(directory, "other", make_ec_key(), "DNS:other.example");
    struct tls_certificate files[] = {{in_directory("first.pem"), in_directory("first.key")},
                                      {in_directory("other.pem"), in_directory("other.key")}};
    struct tls *tls = create_from(files, 2, TLS1_3_VERSION);
    struct meeting meeting = meet(tls);
    SSL_set_tlsext_host_name(meeting.client, "other.example");
    SSL_set_max_proto_version(meeting.client, TLS1_2_VERSION);
    ck_assert(!shake(&meeting));
    part(&meeting);
    tls_free(tls);
}
END_TEST

START_TEST(shared_contexts_live_until_the_last_owner) {
    struct tls *tls = create_one(make_ec_key(), "DNS:a.example", TLS1_2_VERSION);
    ck_assert_ptr_eq(tls_share(tls), tls);
    tls_free(tls);
    ck_assert(shakes_with_version(tls, TLS1_3_VERSION));
    tls_free(tls);
    tls_free(NULL);
}
END_TEST

/* --- files that are wrong --- */

/* The second of two pairs is made of these files; says what is wrong with it. */
static void expect_refusal(const char *certificate, const char *key, bool key_at_fault,
                           const char *sentence) {
    unlink(in_directory("good.pem")); /* written anew */
    write_pair(directory, "good", make_ec_key(), "DNS:a.example");
    char wanted[1024];
    struct tls_certificate files[] = {{in_directory("good.pem"), in_directory("good.key")},
                                      {in_directory(certificate), in_directory(key)}};
    struct tls_conf conf = {.certificates = files, .count = 2, .minimum_version = TLS1_2_VERSION};
    struct error error;
    size_t which = 9;
    bool is_key = !key_at_fault;
    ck_assert_ptr_null(tls_create(&conf, &error, &which, &is_key));
    ck_assert_uint_eq(which, 1);
    ck_assert_int_eq(is_key, key_at_fault);
    snprintf(wanted, sizeof(wanted), "%s: %s",
             key_at_fault ? files[1].key_file : files[1].certificate_file, sentence);
    ck_assert_msg(strncmp(error.text, wanted, strlen(wanted)) == 0, "wanted: %s\ngot: %s", wanted,
                  error.text);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}

static void write_text(const char *file, const char *text) {
    FILE *opened = open_in(directory, file, "w");
    fputs(text, opened);
    fclose(opened);
}

static void cut_file(const char *file, long bytes_left) {
    ck_assert_int_eq(truncate(in_directory(file), bytes_left), 0);
}

START_TEST(missing_files_are_named) {
    write_pair(directory, "b", make_ec_key(), "DNS:b.example");
    expect_refusal("absent.pem", "b.key", false, "can't be read: No such file or directory");
    expect_refusal("b.pem", "absent.key", true, "can't be read: No such file or directory");
}
END_TEST

START_TEST(directories_are_named) {
    write_pair(directory, "b", make_ec_key(), "DNS:b.example");
    mkdir(in_directory("folder"), 0700);
    expect_refusal("folder", "b.key", false, "is a directory");
    expect_refusal("b.pem", "folder", true, "is a directory");
}
END_TEST

START_TEST(files_without_pem_are_named) {
    write_pair(directory, "b", make_ec_key(), "DNS:b.example");
    write_text("text", "hello\n");
    write_text("empty", "");
    expect_refusal("text", "b.key", false, "holds no certificate in PEM form");
    expect_refusal("empty", "b.key", false, "holds no certificate in PEM form");
    expect_refusal("b.key", "b.key", false, "holds no certificate in PEM form");
    expect_refusal("b.pem", "text", true, "holds no private key in PEM form");
    expect_refusal("b.pem", "empty", true, "holds no private key in PEM form");
    expect_refusal("b.pem", "b.pem", true, "holds no private key in PEM form");
}
END_TEST

START_TEST(damaged_files_are_named) {
    write_pair(directory, "b", make_ec_key(), "DNS:b.example");
    write_pair(directory, "c", make_ec_key(), "DNS:c.example");
    cut_file("c.pem", 120);
    cut_file("c.key", 60);
    expect_refusal("c.pem", "b.key", false, "the certificate is damaged");
    expect_refusal("b.pem", "c.key", true, "the private key is damaged");
    write_text("d.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    expect_refusal("d.pem", "b.key", false, "the certificate is damaged");
}
END_TEST

START_TEST(damaged_chain_is_named) {
    EVP_PKEY *key = make_ec_key();
    struct certificate_plan plan = {.key = key, .names = "DNS:b.example", .to = 3600};
    X509 *certificate = make_certificate(&plan);
    write_certificate(directory, "b.pem", certificate);
    write_certificate(directory, "b.pem", certificate);
    write_key(directory, "b.key", key);
    struct tls_certificate files = {in_directory("b.pem"), in_directory("b.key")};
    tls_free(create_from(&files, 1, TLS1_2_VERSION));
    FILE *opened = open_in(directory, "b.pem", "a");
    fputs("-----BEGIN CERTIFICATE-----\nAAAA\n", opened);
    fclose(opened);
    expect_refusal("b.pem", "b.key", false, "certificate 3 of the chain is damaged");
    X509_free(certificate);
    EVP_PKEY_free(key);
}
END_TEST

START_TEST(chain_is_sent) {
    EVP_PKEY *key = make_ec_key(), *other = make_ec_key();
    struct certificate_plan plan = {.key = key, .names = "DNS:b.example", .to = 3600};
    struct certificate_plan second = {.key = other, .to = 3600};
    X509 *leaf = make_certificate(&plan), *link = make_certificate(&second);
    write_certificate(directory, "b.pem", leaf);
    write_certificate(directory, "b.pem", link);
    write_key(directory, "b.key", key);
    struct tls_certificate files = {in_directory("b.pem"), in_directory("b.key")};
    struct tls *tls = create_from(&files, 1, TLS1_2_VERSION);
    struct meeting meeting = meet(tls);
    ck_assert(shake(&meeting));
    ck_assert_int_eq(sk_X509_num(SSL_get_peer_cert_chain(meeting.client)), 2);
    ck_assert_int_eq(X509_cmp(sk_X509_value(SSL_get_peer_cert_chain(meeting.client), 1), link), 0);
    part(&meeting);
    tls_free(tls);
    X509_free(leaf);
    X509_free(link);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}
END_TEST

START_TEST(encrypted_key_is_named) {
    EVP_PKEY *key = make_ec_key();
    write_pair(directory, "b", make_ec_key(), "DNS:b.example");
    FILE *opened = open_in(directory, "secret.key", "w");
    unsigned char phrase[] = "secret";
    ck_assert_int_eq(
        PEM_write_PKCS8PrivateKey(opened, key, EVP_aes_128_cbc(), (char *)phrase, 6, NULL, NULL),
        1);
    fclose(opened);
    expect_refusal("b.pem", "secret.key", true, "the key is encrypted");
    BIO *old = BIO_new_file(in_directory("old.key"), "w");
    ck_assert_int_eq(
        PEM_write_bio_PrivateKey_traditional(old, key, EVP_aes_128_cbc(), phrase, 6, NULL, NULL),
        1);
    BIO_free(old);
    expect_refusal("b.pem", "old.key", true, "the key is encrypted");
    EVP_PKEY_free(key);
}
END_TEST

START_TEST(key_of_another_certificate_is_named) {
    char sentence[512];
    write_pair(directory, "b", make_ec_key(), "DNS:b.example");
    write_pair(directory, "c", make_ec_key(), "DNS:c.example");
    write_pair(directory, "d", make_rsa_key(2048), "DNS:d.example");
    snprintf(sentence, sizeof(sentence), "the key is not that of %s/b.pem", directory);
    expect_refusal("b.pem", "c.key", true, sentence);
    expect_refusal("b.pem", "d.key", true, sentence);
}
END_TEST

START_TEST(weak_key_is_named) {
    write_pair(directory, "b", make_rsa_key(1024), "DNS:b.example");
    expect_refusal("b.pem", "b.key", false, "the certificate can't be used: ee key too small");
}
END_TEST

/* What the log says while this pair is loaded. */
static void load_and_read_log(const struct certificate_plan *plan, char *text, size_t size) {
    X509 *certificate = make_certificate(plan);
    write_certificate(directory, "b.pem", certificate);
    write_key(directory, "b.key", plan->key);
    int log = open(in_directory("log"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    log_open(dup(log));
    struct tls_certificate files = {in_directory("b.pem"), in_directory("b.key")};
    tls_free(create_from(&files, 1, TLS1_2_VERSION));
    ssize_t got = pread(log, text, size - 1, 0);
    ck_assert_int_ge(got, 0);
    text[got] = '\0';
    close(log);
    X509_free(certificate);
    EVP_PKEY_free(plan->key);
}

static const struct {
    long from, to;
    const char *names;
    const char *warning; /* NULL: none */
} doubtful[] = {
    {-7200, -3600, "DNS:b.example", "has expired"},
    {3600, 7200, "DNS:b.example", "is not valid yet"},
    {-60, 3600, NULL, "names no host"},
    {-60, 3600, "DNS:b.example", NULL},
};

START_TEST(doubtful_certificate_is_a_warning) {
    char text[4096];
    struct certificate_plan plan = {.key = make_ec_key(),
                                    .names = doubtful[_i].names,
                                    .from = doubtful[_i].from,
                                    .to = doubtful[_i].to};
    load_and_read_log(&plan, text, sizeof(text));
    if (doubtful[_i].warning == NULL) {
        ck_assert_str_eq(text, "");
        return;
    }
    ck_assert_ptr_nonnull(strstr(text, "warning"));
    ck_assert_ptr_nonnull(strstr(text, "b.pem"));
    ck_assert_msg(strstr(text, doubtful[_i].warning) != NULL, "%s", text);
}
END_TEST

static void add_handshakes(TCase *cases) {
    tcase_add_test(cases, versions_are_1_2_and_1_3);
    tcase_add_test(cases, minimum_version_1_3_refuses_1_2);
    tcase_add_test(cases, ciphers_without_forward_secrecy_or_aead_are_refused);
    tcase_add_test(cases, server_chooses_the_cipher);
    tcase_add_test(cases, renegotiation_is_refused_and_idle_buffers_are_released);
    tcase_add_loop_test(cases, alpn_never_chooses_http2, 0,
                        (int)(sizeof(offers) / sizeof(offers[0])));
    tcase_add_test(cases, name_chooses_the_certificate);
    tcase_add_test(cases, chosen_context_keeps_the_minimum_version);
    tcase_add_test(cases, shared_contexts_live_until_the_last_owner);
}

static void add_files(TCase *cases) {
    tcase_add_test(cases, missing_files_are_named);
    tcase_add_test(cases, directories_are_named);
    tcase_add_test(cases, files_without_pem_are_named);
    tcase_add_test(cases, damaged_files_are_named);
    tcase_add_test(cases, damaged_chain_is_named);
    tcase_add_test(cases, chain_is_sent);
    tcase_add_test(cases, encrypted_key_is_named);
    tcase_add_test(cases, key_of_another_certificate_is_named);
    tcase_add_test(cases, weak_key_is_named);
    tcase_add_loop_test(cases, doubtful_certificate_is_a_warning, 0,
                        (int)(sizeof(doubtful) / sizeof(doubtful[0])));
}

int main(void) {
    Suite *suite = suite_create("tls");
    TCase *handshakes = tcase_create("handshakes"), *files = tcase_create("files");
    tcase_set_timeout(handshakes, 30);
    tcase_set_timeout(files, 30);
    tcase_add_checked_fixture(handshakes, make_directory, remove_directory);
    tcase_add_checked_fixture(files, make_directory, remove_directory);
    add_handshakes(handshakes);
    add_files(files);
    suite_add_tcase(suite, handshakes);
    suite_add_tcase(suite, files);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
