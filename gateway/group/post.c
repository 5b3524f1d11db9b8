#include "group/post.h"

#include <assert.h>
#include <stdatomic.h>

/* A line of cache each, since all threads write all of them. */
struct way {
    _Alignas(64) atomic_size_t bytes;
};

/* The loops are written before they run, then only read. */
static struct {
    struct loop *loops[LOOPS_MAX];
    unsigned count;
    struct way ways[LOOPS_MAX];
} post;

void post_open(struct loop **loops, unsigned count) {
    assert(count > 0 && count <= LOOPS_MAX);
    for (unsigned at = 0; at < count; at++) {
        assert(loop_index(loops[at]) == at);
        post.loops[at] = loops[at];
        atomic_init(&post.ways[at].bytes, 0);
    }
    post.count = count;
}

void post_close(void) {
    for (unsigned at = 0; at < post.count; at++)
        assert(atomic_load(&post.ways[at].bytes) == 0);
    post.count = 0;
}

unsigned post_threads(void) { return post.count; }

void post_letter(unsigned thread, struct mail *mail,
                 void (*deliver)(struct mail *, struct loop *)) {
    mail->deliver = deliver;
    loop_mail(post.loops[thread], mail);
}

/* The counts order nothing: the mailbox does that. */
void post_sets_out(unsigned thread, size_t bytes) {
    atomic_fetch_add_explicit(&post.ways[thread].bytes, bytes, memory_order_relaxed);
}

void post_arrived(unsigned thread, size_t bytes) {
    atomic_fetch_sub_explicit(&post.ways[thread].bytes, bytes, memory_order_relaxed);
}

bool post_is_full(void) {
    for (unsigned at = 0; at < post.count; at++)
        if (atomic_load_explicit(&post.ways[at].bytes, memory_order_relaxed) > POST_BYTES_MAX)
            return true;
    return false;
}
