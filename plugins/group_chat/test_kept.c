/* What is said is kept: who comes later, or back, hears it; who is not sure says it again. */
#include <check.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "person.h"
#include "support/fake_host.h"

#define ANN "person=annannannannannann"
#define BEN "person=benbenbenbenbenben"

static struct fake_host *host;
static sluice_route *route;

static void setup(void) {
    host = fake_host_create(sluice_consumer_entry);
    fake_keep(host, 100);
    route = fake_open(host, NULL);
    ck_assert_ptr_nonnull(route);
}

static void teardown(void) { fake_host_free(host); }

static sluice_conn *join_as(const char *query, const char *offered) {
    const char *const params[] = {"group", "lobby", NULL};
    sluice_conn *conn = fake_connect(
        route, &(struct fake_scope){.params = params, .query = query, .offered = offered});
    ck_assert_int_eq(fake_answer(conn), 101);
    return conn;
}

static sluice_conn *join(const char *query) { return join_as(query, "chat.v1"); }

static const char *since(const char *who, uint64_t epoch, int offset) {
    static char query[128];
    snprintf(query, sizeof(query), "%s&since=%016" PRIx64 ":%d", who, epoch, offset);
    return query;
}

static void say(sluice_conn *conn, const char *text, const char *ref) {
    char message[128];
    snprintf(message, sizeof(message), "{\"type\":\"say\",\"text\":\"%s\"%s%s%s}", text,
             ref ? ",\"ref\":\"" : "", ref ? ref : "", ref ? "\"" : "");
    ck_assert(fake_receive(conn, message));
}

/* "history(offset,count,recovered) said(at,text) kept(ref,at) error(code,ref)" of what one got. */
static const char *story(const sluice_conn *conn) {
    static char text[4096];
    char *to = text;
    *to = '\0';
    for (size_t i = 0; i < fake_count(conn); i++) {
        json_t *root = json_loads(fake_text(conn, i), 0, NULL);
        ck_assert_msg(root != NULL, "no JSON: %s", fake_text(conn, i));
        const char *type = json_string_value(json_object_get(root, "type"));
        const char *ref = json_string_value(json_object_get(root, "ref"));
        const json_t *recovered = json_object_get(root, "recovered");
        int at = (int)json_integer_value(json_object_get(root, "at"));
        if (strcmp(type, "history") == 0)
            to += sprintf(to, "history(%d,%d,%s) ",
                          (int)json_integer_value(json_object_get(root, "offset")),
                          (int)json_integer_value(json_object_get(root, "count")),
                          !recovered                      ? "-"
                          : json_boolean_value(recovered) ? "all"
                                                          : "part");
        else if (strcmp(type, "said") == 0)
            to += sprintf(to, "said(%d,%s) ", at, json_string_value(json_object_get(root, "text")));
        else if (strcmp(type, "kept") == 0)
            to += sprintf(to, "kept(%s,%d) ", ref, at);
        else if (strcmp(type, "error") == 0)
            to += sprintf(to, "error(%s,%s) ", json_string_value(json_object_get(root, "code")),
                          ref ? ref : "");
        json_decref(root);
    }
    return text;
}

static const char *member(const char *text, const char *key) {
    static char copy[256];
    json_t *root = json_loads(text, 0, NULL);
    snprintf(copy, sizeof(copy), "%s", json_string_value(json_object_get(root, key)));
    json_decref(root);
    return copy;
}

START_TEST(a_newcomer_hears_what_was_said) {
    sluice_conn *ann = join(ANN);
    say(ann, "one", NULL);
    say(ann, "two", "r");
    ck_assert_str_eq(story(ann), "history(0,0,-) said(1,one) said(2,two) ");
    ck_assert_str_eq(story(join(BEN)), "history(2,2,-) said(1,one) said(2,two) ");
    const char *epoch = member(fake_text(ann, 0), "epoch");
    ck_assert_str_eq(epoch, "000000000000fa4e");
}
END_TEST

START_TEST(as_many_as_the_option_says) {
    route = fake_open(host, (const char *const[]){"last", "1", NULL});
    say(join(ANN), "one", NULL);
    say(join(ANN), "two", NULL);
    ck_assert_str_eq(story(join(BEN)), "history(2,1,-) said(2,two) ");
    route = fake_open(host, (const char *const[]){"last", "0", NULL});
    ck_assert_str_eq(story(join(BEN)), "history(2,0,-) ");
    ck_assert_ptr_null(fake_open(host, (const char *const[]){"last", "1001", NULL}));
}
END_TEST

START_TEST(who_comes_back_hears_what_was_missed) {
    sluice_conn *ann = join(ANN);
    for (int i = 1; i <= 3; i++)
        say(ann, "x", NULL);
    ck_assert_str_eq(story(join(since(BEN, FAKE_EPOCH, 2))), "history(3,1,all) said(3,x) ");
    ck_assert_str_eq(story(join(since(BEN, FAKE_EPOCH, 3))), "history(3,0,all) ");
    ck_assert_str_eq(story(join(since(BEN, FAKE_EPOCH, 0))),
                     "history(3,3,all) said(1,x) said(2,x) said(3,x) ");
}
END_TEST

static const char *const unknown[] = {
    BEN "&since=",
    BEN "&since=x",
    BEN "&since=000000000000fa4e",
    BEN "&since=000000000000fa4e:",
    BEN "&since=000000000000fa4e:1x",
    BEN "&since=000000000000fa4e:-1",
    BEN "&since=000000000000FA4E:1",
    BEN "&since=000000000000fa4e:9999999999999999999",
    BEN "&since=0000000000000000:1",
    BEN "&since=fa4e:1",
    BEN "&since=000000000000fa4f:1",
    BEN "&since=000000000000fa4e:2",
};

START_TEST(a_place_that_is_none_is_told_honestly) {
    say(join(ANN), "one", NULL);
    ck_assert_str_eq(story(join(unknown[_i])), "history(1,1,part) said(1,one) ");
}
END_TEST

START_TEST(what_is_gone_is_told_honestly) {
    sluice_conn *ann = join(ANN);
    for (int i = 1; i <= 3; i++)
        say(ann, "x", NULL);
    fake_forget(host, "lobby", 2);
    ck_assert_str_eq(story(join(since(BEN, FAKE_EPOCH, 1))), "history(3,1,part) said(3,x) ");
}
END_TEST

START_TEST(a_retry_is_kept_once) {
    sluice_conn *ann = join(ANN), *again, *ben = join(BEN);
    say(ann, "one", "r1");
    fake_leave(ann, 1006, "");
    again = join(since(ANN, FAKE_EPOCH, 1));
    say(again, "one", "r1");
    say(again, "two", "r2");
    say(ben, "mine", "r1");
    ck_assert_str_eq(story(again), "history(1,0,all) kept(r1,1) said(2,two) said(3,mine) ");
    ck_assert_str_eq(story(ben), "history(0,0,-) said(1,one) said(2,two) said(3,mine) ");
}
END_TEST

START_TEST(without_a_person_or_a_ref_each_is_a_message) {
    sluice_conn *ann = join("nick=Ann"), *ben = join(BEN);
    say(ann, "one", "r");
    say(ann, "one", "r");
    say(ben, "two", NULL);
    say(ben, "two", NULL);
    ck_assert_str_eq(story(ben), "history(0,0,-) said(1,one) said(2,one) said(3,two) said(4,two) ");
}
END_TEST

START_TEST(what_can_not_be_kept_is_told_to_the_sender_alone) {
    sluice_conn *ann = join(ANN), *ben = join(BEN), *plain = join_as("nick=Cem", NULL);
    fake_refuse_keeping(host, true);
    say(ann, "one", "r");
    say(ann, "one", NULL);
    ck_assert_str_eq(story(ann), "history(0,0,-) error(not-kept,r) error(not-kept,) ");
    ck_assert_str_eq(story(ben), "history(0,0,-) ");
    fake_receive(plain, "hello");
    ck_assert_str_eq(fake_last_text(plain),
                     "(your last message could not be kept and was not sent)");
    fake_refuse_keeping(host, false);
    say(ann, "one", "r");
    ck_assert_str_eq(story(ben), "history(0,0,-) said(1,one) ");
}
END_TEST

START_TEST(plain_members_hear_what_was_said) {
    sluice_conn *plain = join_as("nick=Cem", NULL);
    fake_receive(plain, "hello");
    sluice_conn *other = join_as("nick=Dan", NULL);
    ck_assert_uint_eq(fake_count(other), 1);
    ck_assert_str_eq(fake_text(other, 0), "Cem: hello");
    ck_assert_str_eq(story(join(ANN)), "history(1,1,-) said(1,hello) ");
}
END_TEST

START_TEST(a_person_has_one_id_in_every_process) {
    sluice_conn *ann = join(ANN);
    /* SHA-256 of "sluice chat person annannannannannann": its first 8 bytes. */
    ck_assert_str_eq(member(fake_text(ann, 1), "id"), "4e5df03daede7aab");
}
END_TEST

START_TEST(resume_reads_in_one_answer) {
    sluice_conn *ann = join(ANN);
    say(ann, "one", NULL);
    say(ann, "two", NULL);
    fake_receive(ann, "{\"type\":\"resume\",\"since\":\"000000000000fa4e:1\"}");
    json_t *root = json_loads(fake_last_text(ann), 0, NULL);
    json_t *messages = json_object_get(root, "messages");
    ck_assert_uint_eq(json_array_size(messages), 1);
    ck_assert(json_is_true(json_object_get(root, "recovered")));
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(messages, 0), "text")),
                     "two");
    json_decref(root);
    fake_receive(ann, "{\"type\":\"resume\",\"last\":1}");
    root = json_loads(fake_last_text(ann), 0, NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(root, "messages")), 1);
    ck_assert_ptr_null(json_object_get(root, "recovered"));
    json_decref(root);
}
END_TEST

static const char *const bad_resumes[] = {
    "{\"type\":\"resume\",\"since\":1}",
    "{\"type\":\"resume\",\"last\":0}",
    "{\"type\":\"resume\",\"last\":1001}",
    "{\"type\":\"resume\",\"last\":\"1\"}",
};

START_TEST(a_bad_resume_is_refused) {
    sluice_conn *ann = join(ANN);
    fake_receive(ann, bad_resumes[_i]);
    ck_assert_str_eq(story(ann), "history(0,0,-) error(invalid,) ");
}
END_TEST

START_TEST(where_nothing_is_kept_nothing_changes) {
    fake_keep(host, 0);
    sluice_conn *ann = join(since(ANN, FAKE_EPOCH, 1));
    say(ann, "one", "r");
    ck_assert_str_eq(story(ann), "said(0,one) ");
    ck_assert_ptr_null(strstr(fake_last_text(ann), "\"at\""));
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("kept");
    TCase *tests = tcase_create("kept");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_newcomer_hears_what_was_said);
    tcase_add_test(tests, as_many_as_the_option_says);
    tcase_add_test(tests, who_comes_back_hears_what_was_missed);
    tcase_add_loop_test(tests, a_place_that_is_none_is_told_honestly, 0, 12);
    tcase_add_test(tests, what_is_gone_is_told_honestly);
    tcase_add_test(tests, a_retry_is_kept_once);
    tcase_add_test(tests, without_a_person_or_a_ref_each_is_a_message);
    tcase_add_test(tests, what_can_not_be_kept_is_told_to_the_sender_alone);
    tcase_add_test(tests, plain_members_hear_what_was_said);
    tcase_add_test(tests, a_person_has_one_id_in_every_process);
    tcase_add_test(tests, resume_reads_in_one_answer);
    tcase_add_loop_test(tests, a_bad_resume_is_refused, 0, 4);
    tcase_add_test(tests, where_nothing_is_kept_nothing_changes);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(void) {
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
