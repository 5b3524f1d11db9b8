#include "websocket/progress.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static atomic_uint_least32_t stall_ms = 60000;

void progress_allow_stall(uint32_t ms) {
    atomic_store_explicit(&stall_ms, ms, memory_order_relaxed);
}

uint32_t progress_stall_ms(void) { return atomic_load_explicit(&stall_ms, memory_order_relaxed); }

/* What the peer acknowledged is the one figure that moves with each byte taken: the length of a
   queue that is refilled does not. Sockets with a path have no such figure; bytes handed over less
   bytes queued comes near. */
uint64_t progress_of(int fd, uint64_t given) {
    int queued = 0;
    struct tcp_info info;
    socklen_t size = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0)
        return info.tcpi_bytes_acked;
    ioctl(fd, SIOCOUTQ, &queued);
    return given - (uint64_t)queued;
}

/* Lingering for 0 s lets the kernel drop what it holds for the client. */
void progress_cut_off(int fd) {
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    shutdown(fd, SHUT_RDWR);
}
