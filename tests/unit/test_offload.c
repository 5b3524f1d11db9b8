#include "consumer/offload.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "loop/loop.h"

#define JOBS_MAX 20000

static struct loop *loop;

/* A job of the tests: what happened to it, and where. */
struct job {
    atomic_uint worked, done;
    unsigned order; /* of its work, from 1 */
    pthread_t done_on;
    char worker[16];
    sem_t *gate; /* work waits for it */
};

static struct job jobs[JOBS_MAX];
static atomic_uint worked;
static unsigned done;

static void setup(void) {
    loop = loop_create(0);
    loop_enter(loop);
}

static void teardown(void) { loop_free(loop); }

static void work(void *arg) {
    struct job *job = arg;
    job->order = atomic_fetch_add(&worked, 1) + 1;
    pthread_getname_np(pthread_self(), job->worker, sizeof(job->worker));
    if (job->gate)
        sem_wait(job->gate);
    atomic_fetch_add(&job->worked, 1);
}

static void note_done(void *arg) {
    struct job *job = arg;
    atomic_fetch_add(&job->done, 1);
    job->done_on = pthread_self();
    done++;
}

/* Each turn ends with the next letter at the latest. */
static void turn_until_done(unsigned count) {
    while (done < count)
        loop_turn(loop, 1000);
}

START_TEST(work_runs_on_a_pool_thread_and_done_on_the_loops) {
    struct offload *pool = offload_create(1, 1);
    ck_assert(offload_run(pool, loop, work, note_done, &jobs[0]));
    ck_assert_uint_eq(done, 0);
    turn_until_done(1);
    ck_assert_str_eq(jobs[0].worker, "sluice-pool");
    ck_assert(pthread_equal(jobs[0].done_on, pthread_self()));
    offload_free(pool);
}
END_TEST

START_TEST(jobs_run_in_the_order_they_came) {
    struct offload *pool = offload_create(1, 100);
    for (unsigned i = 0; i < 100; i++)
        ck_assert(offload_run(pool, loop, work, note_done, &jobs[i]));
    turn_until_done(100);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_uint_eq(jobs[i].order, i + 1);
    offload_free(pool);
}
END_TEST

/* The pool's one thread has taken the job and waits in it. */
static void wait_until_held(void) {
    while (atomic_load(&worked) == 0)
        sched_yield();
}

START_TEST(a_full_queue_refuses_and_runs_nothing) {
    sem_t gate;
    sem_init(&gate, 0, 0);
    struct offload *pool = offload_create(1, 3);
    jobs[0].gate = &gate;
    ck_assert(offload_run(pool, loop, work, note_done, &jobs[0]));
    wait_until_held();
    for (unsigned i = 1; i <= 3; i++)
        ck_assert(offload_run(pool, loop, work, note_done, &jobs[i]));
    ck_assert(!offload_run(pool, loop, work, note_done, &jobs[4]));
    sem_post(&gate);
    turn_until_done(4);
    ck_assert(offload_run(pool, loop, work, note_done, &jobs[5]));
    turn_until_done(5);
    offload_free(pool);
    loop_turn(loop, 0);
    ck_assert_uint_eq(atomic_load(&jobs[4].worked), 0);
    ck_assert_uint_eq(atomic_load(&jobs[4].done), 0);
    ck_assert_uint_eq(done, 5);
    sem_destroy(&gate);
}
END_TEST

/* Holds the pool's only thread until offload_free has begun: the pool then refuses jobs. Those it
   takes meanwhile wait behind this one. */
struct holder {
    struct offload *pool;
    sem_t begin;
    unsigned taken;
};

static void work_until_the_pool_ends(void *arg) {
    struct holder *holder = arg;
    sem_wait(&holder->begin);
    while (holder->taken < JOBS_MAX &&
           offload_run(holder->pool, loop, work, note_done, &jobs[holder->taken])) {
        holder->taken++;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* asks again, at most 20 s */
    }
}

static void ignore(void *arg) { (void)arg; }

START_TEST(free_finishes_what_runs_and_only_ends_what_waits) {
    struct holder holder = {.pool = offload_create(1, 1000000)};
    sem_init(&holder.begin, 0, 0);
    ck_assert(offload_run(holder.pool, loop, work_until_the_pool_ends, ignore, &holder));
    ck_assert(offload_run(holder.pool, loop, work, note_done, &jobs[JOBS_MAX - 1]));
    sem_post(&holder.begin);
    offload_free(holder.pool);
    ck_assert_uint_eq(atomic_load(&worked), 0);
    ck_assert_uint_eq(done, 0);
    ck_assert_uint_lt(holder.taken, JOBS_MAX - 1);
    turn_until_done(holder.taken + 1);
    for (unsigned i = 0; i < holder.taken; i++)
        ck_assert_uint_eq(atomic_load(&jobs[i].done), 1);
    ck_assert_uint_eq(atomic_load(&jobs[JOBS_MAX - 1].done), 1);
    sem_destroy(&holder.begin);
}
END_TEST

START_TEST(free_of_an_idle_pool_returns) {
    offload_free(offload_create(8, 1));
    offload_free(NULL);
}
END_TEST

#define EACH 2000

/* A loop thread of its own, which hands in EACH jobs as fast as they are taken. */
struct caller {
    pthread_t thread;
    struct offload *pool;
    struct job *jobs;
    unsigned index, done;
};

static _Thread_local unsigned own_done;

static void count_done(void *arg) {
    struct job *job = arg;
    atomic_fetch_add(&job->done, 1);
    job->done_on = pthread_self();
    own_done++;
}

static void *hand_in_jobs(void *arg) {
    struct caller *caller = arg;
    struct loop *own = loop_create(caller->index);
    loop_enter(own);
    for (unsigned next = 0; own_done < EACH;) {
        while (next < EACH && offload_run(caller->pool, own, work, count_done, &caller->jobs[next]))
            next++;
        loop_turn(own, own_done < next ? 1000 : 0);
    }
    caller->done = own_done;
    loop_free(own);
    return NULL;
}

START_TEST(jobs_of_several_loops_come_home_exactly_once) {
    struct caller callers[3];
    struct offload *pool = offload_create(4, 16);
    for (unsigned i = 0; i < 3; i++) {
        callers[i] = (struct caller){.pool = pool, .jobs = &jobs[i * EACH], .index = i + 1};
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, hand_in_jobs, &callers[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_join(callers[i].thread, NULL), 0);
        ck_assert_uint_eq(callers[i].done, EACH);
        for (unsigned j = 0; j < EACH; j++) {
            ck_assert_uint_eq(atomic_load(&callers[i].jobs[j].worked), 1);
            ck_assert_uint_eq(atomic_load(&callers[i].jobs[j].done), 1);
            ck_assert(pthread_equal(callers[i].jobs[j].done_on, callers[i].thread));
        }
    }
    offload_free(pool);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("offload");
    TCase *pool = tcase_create("pool");
    tcase_set_timeout(pool, 30);
    tcase_add_checked_fixture(pool, setup, teardown);
    tcase_add_test(pool, work_runs_on_a_pool_thread_and_done_on_the_loops);
    tcase_add_test(pool, jobs_run_in_the_order_they_came);
    tcase_add_test(pool, a_full_queue_refuses_and_runs_nothing);
    tcase_add_test(pool, free_finishes_what_runs_and_only_ends_what_waits);
    tcase_add_test(pool, free_of_an_idle_pool_returns);
    tcase_add_test(pool, jobs_of_several_loops_come_home_exactly_once);
    suite_add_tcase(suite, pool);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
