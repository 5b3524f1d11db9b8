#include "consumer/offload.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "loop/loop.h"

/* A job is a letter from the start: when its work is done it goes home as it is. */
struct job {
    struct mail mail;
    struct job *next;
    struct loop *loop;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

struct offload {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct job *first, **last;
    size_t waiting, waiting_max;
    bool ending;

    unsigned thread_count;
    pthread_t threads[];
};

static void deliver(struct mail *mail, struct loop *to) {
    struct job *job = (struct job *)mail; /* the letter is its first field */
    (void)to;
    job->done(job->arg);
    free(job);
}

static struct job *take_first(struct offload *pool) {
    struct job *job = pool->first;
    if (!job)
        return NULL;
    pool->first = job->next;
    if (!pool->first)
        pool->last = &pool->first;
    pool->waiting--;
    return job;
}

/* The next job, or NULL when the pool ends. */
static struct job *wait_for_job(struct offload *pool) {
    pthread_mutex_lock(&pool->lock);
    while (!pool->first && !pool->ending)
        pthread_cond_wait(&pool->changed, &pool->lock);
    struct job *job = pool->ending ? NULL : take_first(pool);
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void *run_jobs(void *arg) {
    struct offload *pool = arg;
    pthread_setname_np(pthread_self(), "sluice-pool");
    for (struct job *job; (job = wait_for_job(pool));) {
        job->work(job->arg);
        loop_mail(job->loop, &job->mail);
    }
    return NULL;
}

struct offload *offload_create(unsigned threads, size_t queue) {
    assert(threads >= 1 && threads <= 256 && queue >= 1 && queue <= 1000000);
    struct offload *pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->threads[0]));
    if (!pool)
        abort();
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    pool->last = &pool->first;
    pool->waiting_max = queue;
    pool->thread_count = threads;
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&pool->threads[i], NULL, run_jobs, pool) != 0)
            abort();
    return pool;
}

bool offload_run(struct offload *pool, struct loop *loop, void (*work)(void *arg),
                 void (*done)(void *arg), void *arg) {
    struct job *job = malloc(sizeof(*job));
    if (!job)
        abort();
    *job = (struct job){
        .mail = {.deliver = deliver}, .loop = loop, .work = work, .done = done, .arg = arg};
    pthread_mutex_lock(&pool->lock);
    bool taken = pool->waiting < pool->waiting_max && !pool->ending;
    if (taken) {
        *pool->last = job;
        pool->last = &job->next;
        pool->waiting++;
        pthread_cond_signal(&pool->changed);
    }
    pthread_mutex_unlock(&pool->lock);
    if (!taken)
        free(job);
    return taken;
}

size_t offload_waiting(struct offload *pool) {
    pthread_mutex_lock(&pool->lock);
    size_t waiting = pool->waiting;
    pthread_mutex_unlock(&pool->lock);
    return waiting;
}

void offload_free(struct offload *pool) {
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    for (struct job *job; (job = take_first(pool));)
        loop_mail(job->loop, &job->mail);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
