#include "websocket/progress.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

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
