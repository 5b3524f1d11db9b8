#include "websocket/batch.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Up to so many requests a system call each is cheaper. */
#define FEW 2

struct request {
    int fd;
    bool sends;
    void *data;
    size_t size;
};

struct batch {
    struct io_uring io;
    bool has_ring;
    size_t few; /* up to so many go by calls */
    size_t count;
    struct request requests[BATCH_MAX];
    ssize_t results[BATCH_MAX];
};

/* --- the ring --- */

/* Whoever takes over the process finds no door here: the ring sends and receives, it can do nothing
   else, and nothing can be registered with it, not even less restriction. */
static int restrict_ring(struct io_uring *io) {
    struct io_uring_restriction restrictions[] = {
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_SEND},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_RECV},
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_CQE_SKIP_SUCCESS}};
    const unsigned fd = (unsigned)io->ring_fd;
    /* liburing 2.3 declares a function for each of the two and exports neither. */
    int fault = io_uring_register(fd, IORING_REGISTER_RESTRICTIONS, restrictions,
                                  sizeof(restrictions) / sizeof(restrictions[0]));
    return fault == 0 ? io_uring_register(fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) : fault;
}

/* Twice as many completions as requests fit, so none is lost. A ring that can't be restricted is
   none. */
static int open_ring(struct io_uring *io) {
    const unsigned flags =
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_R_DISABLED;
    int fault = io_uring_queue_init(BATCH_MAX, io, flags);
    if (fault == -EINVAL) /* a kernel before 6.0 does not know the others */
        fault = io_uring_queue_init(BATCH_MAX, io, IORING_SETUP_R_DISABLED);
    if (fault != 0)
        return fault;
    fault = (io->features & IORING_FEAT_CQE_SKIP) == 0 ? -ENOSYS : restrict_ring(io);
    if (fault != 0)
        io_uring_queue_exit(io);
    return fault;
}

bool batch_probe(void) {
    static atomic_bool allowed;
    struct io_uring io;
    if (atomic_load(&allowed))
        return true;
    int fault = open_ring(&io);
    if (fault == 0)
        io_uring_queue_exit(&io);
    atomic_store(&allowed, fault == 0);
    errno = -fault;
    return fault == 0;
}

struct batch *batch_create(enum batch_way way) {
    struct batch *batch = calloc(1, sizeof(*batch));
    if (batch == NULL)
        abort();
    batch->few = way == BATCH_RING ? 0 : FEW;
    batch->has_ring = way != BATCH_CALLS && open_ring(&batch->io) == 0;
    return batch;
}

void batch_free(struct batch *batch) {
    if (batch != NULL && batch->has_ring)
        io_uring_queue_exit(&batch->io);
    free(batch);
}

/* With MSG_WAITALL a short send counts as failed, and of the sends only failed ones are to be heard
 * of. */
static void prepare(struct batch *batch, size_t at) {
    const struct request *request = &batch->requests[at];
    struct io_uring_sqe *sqe = io_uring_get_sqe(&batch->io);
    assert(sqe != NULL);
    if (request->sends) {
        io_uring_prep_send(sqe, request->fd, request->data, request->size,
                           MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        batch->results[at] = (ssize_t)request->size;
    } else {
        io_uring_prep_recv(sqe, request->fd, request->data, request->size, MSG_DONTWAIT);
        batch->results[at] = -EAGAIN;
    }
    io_uring_sqe_set_data64(sqe, at);
}

static void take_completions(struct batch *batch) {
    struct io_uring_cqe *cqe;
    unsigned head, taken = 0;
    io_uring_for_each_cqe(&batch->io, head, cqe) {
        batch->results[io_uring_cqe_get_data64(cqe)] = cqe->res;
        taken++;
    }
    io_uring_cq_advance(&batch->io, taken);
}

/* Returns how many of the requests were taken; of the others the kernel has seen nothing. */
static size_t run_ring(struct batch *batch) {
    size_t taken = 0;
    for (size_t at = 0; at < batch->count; at++)
        prepare(batch, at);
    while (taken < batch->count) {
        int count = io_uring_submit(&batch->io);
        if (count == -EINTR)
            continue;
        if (count <= 0)
            break;
        taken += (size_t)count;
    }
    take_completions(batch);
    return taken;
}

/* The ring holds requests that it will not give back: it is left to calls from here on. */
static void give_up_ring(struct batch *batch) {
    io_uring_queue_exit(&batch->io);
    batch->has_ring = false;
}

/* --- calls --- */

static ssize_t run_call(const struct request *request) {
    ssize_t size;
    do {
        size = request->sends
                   ? send(request->fd, request->data, request->size, MSG_DONTWAIT | MSG_NOSIGNAL)
                   : recv(request->fd, request->data, request->size, MSG_DONTWAIT);
    } while (size == -1 && errno == EINTR);
    return size == -1 ? -errno : size;
}

/* --- for all --- */

static void add(struct batch *batch, const struct request *request) {
    assert(batch->count < BATCH_MAX);
    batch->requests[batch->count++] = *request;
}

void batch_send(struct batch *batch, int fd, const void *data, size_t size) {
    /* A request has no const: sending never changes the bytes. */
    add(batch, &(struct request){fd, true, (void *)(uintptr_t)data, size});
}

void batch_receive(struct batch *batch, int fd, void *data, size_t size) {
    add(batch, &(struct request){fd, false, data, size});
}

void batch_grow(struct batch *batch, size_t size) {
    assert(batch->count > 0 && batch->requests[batch->count - 1].sends);
    batch->requests[batch->count - 1].size += size;
}

size_t batch_count(const struct batch *batch) { return batch->count; }

const ssize_t *batch_run(struct batch *batch) {
    size_t done = 0;
    if (batch->has_ring && batch->count > batch->few) {
        done = run_ring(batch);
        if (done < batch->count)
            give_up_ring(batch);
    }
    for (; done < batch->count; done++)
        batch->results[done] = run_call(&batch->requests[done]);
    batch->count = 0;
    return batch->results;
}
