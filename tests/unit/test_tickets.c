/* The random numbers of a child are the test's, by a way that OpenSSL no longer recommends. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "net/tickets.h"

#include <check.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/certificate.h"
#include "support/directory.h"
#include "support/meeting.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static char directory[128];
static struct tls *tls;
static void *shared; /* a ring, prepared */

/* --- time --- */

static long skipped;

/* Stands before libc's. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_BOOTTIME)
        now->tv_sec += skipped;
    return result;
}

/* --- servers and sessions --- */

static struct tls *create_server(void) {
    char certificate[160], key[160];
    snprintf(certificate, sizeof(certificate), "%s/one.pem", directory);
    snprintf(key, sizeof(key), "%s/one.key", directory);
    struct tls_certificate files = {certificate, key};
    struct tls_conf conf = {&files, 1, TLS1_2_VERSION};
    struct error error = {"none"};
    size_t which;
    bool is_key;
    struct tls *created = tls_create(&conf, &error, &which, &is_key);
    ck_assert_msg(created != NULL, "%s", error.text);
    return created;
}

static void set_up(void) {
    make_test_directory(directory, sizeof(directory));
    write_pair(directory, "one", make_ec_key(), "DNS:a.example");
    tls = create_server();
    shared = mmap(NULL, TICKETS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    tickets_prepare(shared, TICKETS_BYTES);
}

static void tear_down(void) {
    tls_free(tls);
    munmap(shared, TICKETS_BYTES);
    remove_test_directory(directory);
}

/* Without a close, OpenSSL takes the session for broken and would not offer it again. */
static SSL_SESSION *session_of(const struct tls *server, int version) {
    struct meeting meeting = meet(server);
    SSL_set_max_proto_version(meeting.client, version);
    ck_assert(shake(&meeting));
    ck_assert(!SSL_session_reused(meeting.client));
    SSL_SESSION *session = SSL_get1_session(meeting.client);
    ck_assert(SSL_SESSION_has_ticket(session));
    SSL_shutdown(meeting.client);
    SSL_shutdown(meeting.server);
    part(&meeting);
    return session;
}

/* The session may be asked for again: it is a copy that is offered. */
static bool resumes(const struct tls *server, SSL_SESSION *session) {
    struct meeting meeting = meet(server);
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    SSL_set_max_proto_version(meeting.client, SSL_SESSION_get_protocol_version(session));
    SSL_set_session(meeting.client, copy);
    ck_assert(shake(&meeting));
    bool reused = SSL_session_reused(meeting.client) && SSL_session_reused(meeting.server);
    SSL_shutdown(meeting.client);
    part(&meeting);
    SSL_SESSION_free(copy);
    return reused;
}

/* RFC 5077 section 4: a ticket begins with the name of its key. */
static bool same_key(const SSL_SESSION *one, const SSL_SESSION *other) {
    const unsigned char *names[2];
    size_t sizes[2];
    SSL_SESSION_get0_ticket(one, &names[0], &sizes[0]);
    SSL_SESSION_get0_ticket(other, &names[1], &sizes[1]);
    return memcmp(names[0], names[1], 16) == 0;
}

/* --- one process --- */

START_TEST(ticket_outlives_one_rotation_and_not_two) {
    SSL_SESSION *session = session_of(tls, versions[_i]);
    ck_assert(resumes(tls, session));
    tickets_rotate();
    ck_assert(resumes(tls, session));
    tickets_rotate();
    ck_assert(!resumes(tls, session));
    SSL_SESSION_free(session);
}
END_TEST

START_TEST(every_rotation_begins_a_new_key) {
    SSL_SESSION *last = session_of(tls, TLS1_3_VERSION);
    for (int i = 0; i < 10; i++) {
        tickets_rotate();
        SSL_SESSION *next = session_of(tls, TLS1_3_VERSION);
        ck_assert(!same_key(last, next));
        ck_assert(resumes(tls, next) && resumes(tls, last));
        SSL_SESSION_free(last);
        last = next;
    }
    SSL_SESSION_free(last);
}
END_TEST

/* As after a reload, or on another listener. */
START_TEST(ticket_is_good_for_another_listener) {
    SSL_SESSION *session = session_of(tls, versions[_i]);
    struct tls *other = create_server();
    ck_assert(resumes(other, session));
    SSL_SESSION_free(session);
    tls_free(other);
}
END_TEST

START_TEST(key_seals_for_an_hour_and_opens_for_two) {
    SSL_SESSION *first = session_of(tls, versions[_i]);
    skipped = TICKETS_SECONDS - 60;
    SSL_SESSION *second = session_of(tls, versions[_i]);
    ck_assert(same_key(first, second));
    skipped = TICKETS_SECONDS + 60;
    SSL_SESSION *third = session_of(tls, versions[_i]);
    ck_assert(!same_key(first, third));
    ck_assert(resumes(tls, first));
    skipped = 2 * TICKETS_SECONDS + 30;
    ck_assert(!resumes(tls, first));
    ck_assert(resumes(tls, third));
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    SSL_SESSION_free(third);
}
END_TEST

/* --- processes --- */

static void join_ring(void) { ck_assert(tickets_live_in(shared, TICKETS_BYTES)); }

/* Runs a server of its own process: one that lives in the ring and writes a session to the pipe, as
   a worker that ends later; joins tells whether it lives there at all. */
static SSL_SESSION *session_of_another(int version, bool joins) {
    unsigned char bytes[16384];
    const unsigned char *at = bytes;
    int ends[2], status;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        unsigned char *to = bytes;
        if (joins)
            join_ring();
        SSL_SESSION *session = session_of(tls, version);
        int size = i2d_SSL_SESSION(session, &to);
        _exit(write(ends[1], bytes, (size_t)size) == size ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ssize_t size = read(ends[0], bytes, sizeof(bytes));
    close(ends[0]);
    close(ends[1]);
    SSL_SESSION *session = d2i_SSL_SESSION(NULL, &at, size);
    ck_assert_ptr_nonnull(session);
    return session;
}

START_TEST(ticket_outlives_its_process) {
    SSL_SESSION *session = session_of_another(versions[_i], true);
    join_ring();
    ck_assert(resumes(tls, session));
    tickets_rotate();
    SSL_SESSION *later = session_of_another(versions[_i], true);
    ck_assert(resumes(tls, session) && resumes(tls, later));
    SSL_SESSION_free(session);
    SSL_SESSION_free(later);
}
END_TEST

START_TEST(ticket_of_a_process_of_its_own_is_none_of_ours) {
    SSL_SESSION *session = session_of_another(versions[_i], false);
    join_ring();
    ck_assert(!resumes(tls, session));
    SSL_SESSION_free(session);
}
END_TEST

START_TEST(memory_without_a_ring_is_refused) {
    static unsigned char zero[TICKETS_BYTES];
    SSL_SESSION *session = session_of(tls, TLS1_3_VERSION);
    ck_assert(!tickets_live_in(zero, sizeof(zero)));
    ck_assert(!tickets_live_in(shared, TICKETS_BYTES - 1));
    ck_assert(resumes(tls, session));
    SSL_SESSION_free(session);
}
END_TEST

/* --- a process that ends or stops in the middle --- */

static int numbers_left; /* how many more random numbers there are */
static int signal_then;

static int fill_or_fall(unsigned char *bytes, int size) {
    if (numbers_left-- == 0)
        raise(signal_then);
    memset(bytes, 0x5a, (size_t)size);
    return 1;
}

static int is_ready(void) { return 1; }

/* A child that changes the ring's key and gets the signal before its n-th random number, from 0. */
static pid_t rotate_and_fall(int n, int number) {
    static const RAND_METHOD method = {.bytes = fill_or_fall, .status = is_ready};
    int status;
    pid_t child = fork();
    if (child == 0) {
        join_ring();
        numbers_left = n;
        signal_then = number;
        RAND_set_rand_method(&method);
        tickets_rotate();
        _exit(1);
    }
    ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
    ck_assert(number == SIGSTOP ? WIFSTOPPED(status) : WIFSIGNALED(status));
    return child;
}

START_TEST(death_in_a_rotation_changes_nothing) {
    join_ring();
    SSL_SESSION *session = session_of(tls, TLS1_3_VERSION);
    rotate_and_fall(_i, SIGKILL);
    SSL_SESSION *next = session_of(tls, TLS1_3_VERSION);
    ck_assert(same_key(session, next));
    rotate_and_fall(_i, SIGKILL);
    ck_assert(resumes(tls, session) && resumes(tls, next));
    tickets_rotate();
    SSL_SESSION *last = session_of(tls, TLS1_3_VERSION);
    ck_assert(!same_key(session, last));
    ck_assert(resumes(tls, session) && resumes(tls, last));
    SSL_SESSION_free(session);
    SSL_SESSION_free(next);
    SSL_SESSION_free(last);
}
END_TEST

START_TEST(death_in_the_first_rotation_leaves_an_empty_ring) {
    rotate_and_fall(_i, SIGKILL);
    join_ring();
    SSL_SESSION *session = session_of(tls, TLS1_3_VERSION);
    ck_assert(resumes(tls, session));
    SSL_SESSION_free(session);
}
END_TEST

START_TEST(stop_in_a_rotation_costs_others_tickets_alone) {
    int version = versions[_i], status;
    join_ring();
    SSL_SESSION *session = session_of(tls, version);
    pid_t stopped = rotate_and_fall(1, SIGSTOP);
    ck_assert(!resumes(tls, session));
    SSL_SESSION *useless = session_of(tls, version), *another = session_of(tls, version);
    ck_assert(!same_key(useless, another));
    kill(stopped, SIGKILL);
    ck_assert_int_eq(waitpid(stopped, &status, 0), stopped);
    ck_assert(resumes(tls, session));
    ck_assert(!resumes(tls, useless));
    SSL_SESSION_free(session);
    SSL_SESSION_free(useless);
    SSL_SESSION_free(another);
}
END_TEST

/* --- where the keys are --- */

static size_t count_in(FILE *memory, unsigned long from, unsigned long to, const void *bytes,
                       size_t size) {
    unsigned char chunk[1 << 14];
    size_t found = 0;
    for (; from + size <= to; from += sizeof(chunk) - size + 1) {
        size_t whole = to - from < sizeof(chunk) ? to - from : sizeof(chunk);
        ssize_t got = pread(fileno(memory), chunk, whole, (off_t)from);
        for (unsigned char *at = chunk; got > 0; at++, found++)
            if ((at = memmem(at, (size_t)(chunk + got - at), bytes, size)) == NULL)
                break;
    }
    return found;
}

/* How often the bytes are in the process's writable memory, but for the ring's. */
static size_t count_copies(const unsigned char *bytes, size_t size) {
    char line[512], kind[8];
    unsigned long from, to;
    size_t found = 0;
    FILE *maps = fopen("/proc/self/maps", "re"), *memory = fopen("/proc/self/mem", "re");
    ck_assert(maps != NULL && memory != NULL);
    while (fgets(line, sizeof(line), maps) != NULL)
        if (sscanf(line, "%lx-%lx %7s", &from, &to, kind) == 3 && strncmp(kind, "rw", 2) == 0 &&
            to - from <= 1ul << 30 /* a sanitizer's shadow is larger */ &&
            from != (unsigned long)shared)
            found += count_in(memory, from, to, bytes, size);
    fclose(maps);
    fclose(memory);
    return found;
}

/* The same, in the program's own variables. */
static size_t count_static_copies(const unsigned char *bytes, size_t size) {
    extern char __bss_start, _end;
    FILE *memory = fopen("/proc/self/mem", "re");
    ck_assert_ptr_nonnull(memory);
    size_t found = count_in(memory, (unsigned long)&__bss_start, (unsigned long)&_end, bytes, size);
    fclose(memory);
    return found;
}

static const unsigned char *key_name(const SSL_SESSION *session) {
    const unsigned char *name;
    size_t size;
    SSL_SESSION_get0_ticket(session, &name, &size);
    return name;
}

START_TEST(keys_before_the_ring_are_gone) {
    SSL_SESSION *session = session_of(tls, versions[_i]);
    ck_assert(resumes(tls, session));
    ck_assert_uint_eq(count_static_copies(key_name(session), 16), 1);
    join_ring();
    ck_assert_uint_eq(count_static_copies(key_name(session), 16), 0);
    ck_assert(!resumes(tls, session));
    SSL_SESSION_free(session);
}
END_TEST

static void expect_nowhere_else(const unsigned char *name) {
    const unsigned char *key = memmem(shared, TICKETS_BYTES, name, 16);
    ck_assert_ptr_nonnull(key);
    ck_assert_uint_gt(count_copies(key, 16), 0); /* the name is no secret: the ticket has it */
    ck_assert_uint_eq(count_copies(key + 16, 32), 0);
    ck_assert_uint_eq(count_copies(key + 48, 32), 0);
}

START_TEST(keys_are_nowhere_else) {
    join_ring();
    SSL_SESSION *session = session_of(tls, versions[_i]);
    ck_assert(resumes(tls, session));
    expect_nowhere_else(key_name(session));
    SSL_SESSION_free(session);
}
END_TEST

struct sealing {
    unsigned char name[16], iv[16];
    EVP_CIPHER_CTX *cipher;
    EVP_MAC_CTX *mac;
    int sealed_it;
    pthread_barrier_t sealed, looked;
};

/* Deeper than what the thread calls afterwards, so that nobody writes there again. */
static __attribute__((noinline)) void seal_deep_down(struct sealing *sealing) {
    volatile unsigned char depth[8192];
    depth[0] = 1;
    sealing->sealed_it =
        tickets_use(NULL, sealing->name, sealing->iv, sealing->cipher, sealing->mac, depth[0]);
    depth[8191] = depth[0]; /* so that the call above is not the last thing */
}

static void *seal(void *data) {
    struct sealing *sealing = data;
    seal_deep_down(sealing);
    pthread_barrier_wait(&sealing->sealed);
    pthread_barrier_wait(&sealing->looked);
    return NULL;
}

START_TEST(keys_are_not_left_on_the_stack) {
    pthread_t thread;
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    struct sealing sealing = {.cipher = EVP_CIPHER_CTX_new(), .mac = EVP_MAC_CTX_new(hmac)};
    join_ring();
    pthread_barrier_init(&sealing.sealed, NULL, 2);
    pthread_barrier_init(&sealing.looked, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, seal, &sealing), 0);
    pthread_barrier_wait(&sealing.sealed);
    EVP_CIPHER_CTX_free(sealing.cipher);
    EVP_MAC_CTX_free(sealing.mac);
    EVP_MAC_free(hmac);
    ck_assert_int_eq(sealing.sealed_it, 1);
    expect_nowhere_else(sealing.name);
    pthread_barrier_wait(&sealing.looked);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&sealing.sealed);
    pthread_barrier_destroy(&sealing.looked);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tickets");
    TCase *tests = tcase_create("tickets");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, ticket_outlives_one_rotation_and_not_two, 0, 2);
    tcase_add_test(tests, every_rotation_begins_a_new_key);
    tcase_add_loop_test(tests, ticket_is_good_for_another_listener, 0, 2);
    tcase_add_loop_test(tests, key_seals_for_an_hour_and_opens_for_two, 0, 2);
    tcase_add_loop_test(tests, ticket_outlives_its_process, 0, 2);
    tcase_add_loop_test(tests, ticket_of_a_process_of_its_own_is_none_of_ours, 0, 2);
    tcase_add_loop_test(tests, keys_before_the_ring_are_gone, 0, 2);
    tcase_add_test(tests, memory_without_a_ring_is_refused);
    tcase_add_loop_test(tests, death_in_a_rotation_changes_nothing, 0, 3);
    tcase_add_loop_test(tests, death_in_the_first_rotation_leaves_an_empty_ring, 0, 3);
    tcase_add_loop_test(tests, stop_in_a_rotation_costs_others_tickets_alone, 0, 2);
    tcase_add_loop_test(tests, keys_are_nowhere_else, 0, 2);
    if (!SANITIZED) /* whose own functions leave what they copied */
        tcase_add_test(tests, keys_are_not_left_on_the_stack);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
