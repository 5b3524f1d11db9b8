/*
 * The consumer in a host in memory: no socket, no thread, no waiting. sluice/fake_host.h says what
 * it can do; it ends the test with a sentence when the consumer breaks its side of the contract.
 */
#include <sluice/fake_host.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) check(condition, __LINE__, #condition)

static void check(bool is_so, int line, const char *condition) {
    if (is_so)
        return;
    fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, line, condition);
    exit(1);
}

static sluice_conn *join(sluice_route *route, const char *group) {
    const char *const params[] = {"group", group, NULL};
    sluice_conn *conn = fake_connect(route, &(struct fake_scope){.params = params});
    CHECK(fake_answer(conn) == 101);
    return conn;
}

static void members_hear_each_other(void) {
    struct fake_host *host = fake_host_create(sluice_consumer_entry);
    sluice_route *route = fake_open(host, NULL);
    sluice_conn *ann = join(route, "kitchen"), *bob = join(route, "kitchen");
    sluice_conn *cem = join(route, "garden");
    fake_receive(ann, "dinner is ready");
    CHECK(fake_count(bob) == 1 && strcmp(fake_last_text(bob), "dinner is ready") == 0);
    CHECK(fake_count(ann) == 1);
    CHECK(fake_count(cem) == 0);
    fake_host_free(host);
}

static void who_says_too_much_is_closed(void) {
    struct fake_host *host = fake_host_create(sluice_consumer_entry);
    sluice_route *route = fake_open(host, (const char *const[]){"most", "2", NULL});
    sluice_conn *ann = join(route, "kitchen");
    fake_receive(ann, "1");
    fake_receive(ann, "2");
    CHECK(fake_closed(ann) == 0);
    fake_receive(ann, "3");
    CHECK(fake_closed(ann) == 1008);
    CHECK(fake_count(ann) == 2);
    fake_host_free(host);
}

static void a_bad_option_is_refused(void) {
    struct fake_host *host = fake_host_create(sluice_consumer_entry);
    CHECK(fake_open(host, (const char *const[]){"most", "none", NULL}) == NULL);
    CHECK(strstr(fake_problem(host), "most") != NULL);
    fake_host_free(host);
}

int main(void) {
    members_hear_each_other();
    who_says_too_much_is_closed();
    a_bad_option_is_refused();
    return 0;
}
