#include "process/inquiry.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define CALL_MS 2000

struct inquiry {
    pthread_mutex_t lock; /* of these two */
    void *answer;
    bool is_left; /* the main thread waits no more */
    pthread_cond_t changed;
    void (*discard)(void *answer);
};

struct inquiry *inquiry_create(void (*discard)(void *answer)) {
    struct inquiry *inquiry = calloc(1, sizeof(*inquiry));
    pthread_condattr_t attributes;
    if (inquiry == NULL)
        abort();
    inquiry->discard = discard;
    pthread_mutex_init(&inquiry->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* the wall clock may be set */
    pthread_cond_init(&inquiry->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return inquiry;
}

static void destroy(struct inquiry *inquiry) {
    pthread_cond_destroy(&inquiry->changed);
    pthread_mutex_destroy(&inquiry->lock);
    free(inquiry);
}

static struct timespec from_now(uint32_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t nanoseconds = (uint64_t)until.tv_nsec + (uint64_t)(ms % 1000) * 1000000;
    until.tv_sec += (time_t)(ms / 1000 + nanoseconds / 1000000000);
    until.tv_nsec = (long)(nanoseconds % 1000000000);
    return until;
}

void *inquiry_ask(struct inquiry *inquiry, struct thread *thread, thread_call_fn begin, void *arg,
                  uint32_t ms) {
    if (!thread_call(thread, begin, arg, CALL_MS)) {
        destroy(inquiry);
        return NULL;
    }
    struct timespec until = from_now(ms);
    pthread_mutex_lock(&inquiry->lock);
    while (inquiry->answer == NULL &&
           pthread_cond_timedwait(&inquiry->changed, &inquiry->lock, &until) == 0)
        ;
    void *answer = inquiry->answer;
    inquiry->is_left = answer == NULL;
    pthread_mutex_unlock(&inquiry->lock);
    if (answer != NULL)
        destroy(inquiry);
    return answer;
}

void inquiry_answer(struct inquiry *inquiry, void *answer) {
    pthread_mutex_lock(&inquiry->lock);
    bool is_left = inquiry->is_left;
    inquiry->answer = answer;
    pthread_cond_signal(&inquiry->changed);
    pthread_mutex_unlock(&inquiry->lock);
    if (!is_left)
        return;
    inquiry->discard(answer);
    destroy(inquiry);
}
