#include "net/address.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct place {
    struct sockaddr_storage address;
    socklen_t size;
    bool dual; /* IPv4 through the IPv6 socket */
};

struct address {
    unsigned threads;
    size_t places;
    int *sockets;   /* thread after thread, places each; -1: taken, or never opened */
    char text[128]; /* a unix path has at most 107 bytes */
    bool is_path;
    dev_t device; /* of the file at the path, to know it again */
    ino_t inode;
};

/* --- sentences --- */

bool address_explain(int number, const char *host, const char *port, struct error *error) {
    switch (number) {
    case EADDRINUSE:
        return error_set(
            error,
            "port %s of %s is in use: stop the program that listens there, or choose another port",
            port, host);
    case EACCES:
        return error_set(
            error,
            "port %s of %s may not be opened by this user (ports below 1024 need a right): start "
            "as root "
            "with `user` set, give the program CAP_NET_BIND_SERVICE, or choose a port from 1024",
            port, host);
    case EADDRNOTAVAIL:
        return error_set(error, "%s is not an address of this machine", host);
    default:
        return error_set(error, "port %s of %s can't be listened on: %s", port, host,
                         strerror(number));
    }
}

static bool explain_path(const char *path, const char *what, struct error *error) {
    return error_set(error, "the socket %s can't be made: %s: %s", path, what, strerror(errno));
}

/* --- finding --- */

static size_t all_addresses(struct place *places, int family) {
    places[0] = (struct place){.dual = family == AF_INET6};
    places[0].address.ss_family = (sa_family_t)family;
    places[0].size = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    return 1;
}

static size_t resolve(const char *host, const char *port, struct place *places,
                      struct error *error) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    int result = getaddrinfo(host, port, &hints, &found);
    if (result != 0) {
        error_set(error, "%s port %s is no address to listen on: %s", host, port,
                  result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
        return 0;
    }
    size_t count = 0;
    for (struct addrinfo *next = found; next != NULL && count < ADDRESS_PLACES_MAX;
         next = next->ai_next) {
        if (next->ai_family != AF_INET && next->ai_family != AF_INET6)
            continue;
        places[count] = (struct place){.size = next->ai_addrlen};
        memcpy(&places[count++].address, next->ai_addr, next->ai_addrlen);
    }
    freeaddrinfo(found);
    return count;
}

static void set_port(struct place *place, in_port_t network_order) {
    if (place->address.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&place->address)->sin6_port = network_order;
    else
        ((struct sockaddr_in *)&place->address)->sin_port = network_order;
}

static in_port_t port_of(const struct place *place) {
    if (place->address.ss_family == AF_INET6)
        return ((const struct sockaddr_in6 *)&place->address)->sin6_port;
    return ((const struct sockaddr_in *)&place->address)->sin_port;
}

/* --- binding --- */

static bool set_option(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

/* Returns -1 with errno. */
static int bind_place(const struct place *place, bool shared) {
    int family = place->address.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1)
        return -1;
    bool bound = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
                 (!shared || set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1)) &&
                 (family != AF_INET6 || set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !place->dual)) &&
                 bind(fd, (const struct sockaddr *)&place->address, place->size) == 0;
    if (bound)
        return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

/* With SO_REUSEPORT a second server of the same user would bind without a word and take half of the
   connections. A socket without it is refused while another listens. Returns an errno. */
static int probe(const struct place *place) {
    int fd = bind_place(place, false);
    if (fd == -1)
        return errno;
    close(fd);
    return 0;
}

static bool is_missing(int number) { return number == EADDRNOTAVAIL || number == EAFNOSUPPORT; }

/* Leaves out what this machine does not have. Returns an errno when an address can't be bound, or
 * none is left. */
static int keep_usable(struct place *places, size_t *count) {
    size_t kept = 0;
    int number = 0, missing = EADDRNOTAVAIL;
    for (size_t i = 0; i < *count; i++) {
        number = probe(&places[i]);
        if (number != 0 && !is_missing(number))
            return number;
        if (number == 0)
            places[kept++] = places[i];
        else
            missing = number;
    }
    *count = kept;
    return kept == 0 ? missing : 0;
}

static bool read_back_port(int fd, struct place *places, size_t count) {
    struct place bound = {.size = sizeof(bound.address)};
    if (getsockname(fd, (struct sockaddr *)&bound.address, &bound.size) != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        set_port(&places[i], port_of(&bound));
    return true;
}

/* The first socket bound decides the port of all the others, where the kernel chooses it. Returns
 * an errno. */
static int bind_all(struct address *address, struct place *places) {
    for (size_t i = 0; i < address->threads * address->places; i++) {
        int fd = bind_place(&places[i % address->places], true);
        if (fd == -1)
            return errno;
        address->sockets[i] = fd;
        if (listen(fd, SOMAXCONN) != 0 || (i == 0 && !read_back_port(fd, places, address->places)))
            return errno;
    }
    return 0;
}

static void write_text(struct address *address, const struct place *place) {
    char host[NI_MAXHOST] = "127.0.0.1";
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&place->address;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&place->address;
    bool is_v6 = place->address.ss_family == AF_INET6;
    bool is_any =
        is_v6 ? IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) : v4->sin_addr.s_addr == htonl(INADDR_ANY);
    if (is_any && is_v6 && !place->dual)
        snprintf(host, sizeof(host), "::1");
    else if (!is_any)
        getnameinfo((const struct sockaddr *)&place->address, place->size, host, sizeof(host), NULL,
                    0, NI_NUMERICHOST);
    snprintf(address->text, sizeof(address->text),
             strchr(host, ':') != NULL ? "[%.99s]:%u" : "%.99s:%u", host,
             (unsigned)ntohs(port_of(place)));
}

static struct address *create(unsigned threads, size_t places) {
    struct address *address = calloc(1, sizeof(*address));
    size_t count = threads * places;
    int *sockets = calloc(count, sizeof(*sockets));
    if (address == NULL || sockets == NULL)
        abort();
    memset(sockets, 0xff, count * sizeof(*sockets));
    *address = (struct address){.threads = threads, .places = places, .sockets = sockets};
    return address;
}

static size_t find_places(const char *host, const char *port, struct place *places,
                          struct error *error) {
    if (host != NULL)
        return resolve(host, port, places, error);
    size_t count = all_addresses(places, AF_INET6);
    if (is_missing(probe(places)))
        count = all_addresses(places, AF_INET);
    set_port(places, htons((in_port_t)strtoul(port, NULL, 10)));
    return count;
}

struct address *address_open(const char *host, const char *port, unsigned threads,
                             struct error *error) {
    struct place places[ADDRESS_PLACES_MAX];
    const char *name = host != NULL ? host : "this machine";
    size_t count = find_places(host, port, places, error);
    if (count == 0)
        return NULL;
    int number = keep_usable(places, &count);
    if (number != 0) {
        address_explain(number, name, port, error);
        return NULL;
    }
    struct address *address = create(threads, count);
    number = bind_all(address, places);
    if (number != 0) {
        address_close(address);
        address_explain(number, name, port, error);
        return NULL;
    }
    write_text(address, &places[0]);
    return address;
}

/* --- paths --- */

/* A program that died leaves its socket behind; connecting tells whether anybody is still there. */
static bool is_stale(const struct sockaddr_un *where) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused =
        connect(fd, (const struct sockaddr *)where, sizeof(*where)) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static bool make_room(const struct sockaddr_un *where, struct error *error) {
    struct stat status;
    const char *path = where->sun_path;
    if (lstat(path, &status) != 0)
        return errno == ENOENT || explain_path(path, "lstat", error);
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, "%s exists and is no socket: remove it or choose another path",
                         path);
    if (!is_stale(where))
        return error_set(
            error,
            "the socket %s is in use: stop the program that listens there, or choose another path",
            path);
    return unlink(path) == 0 || explain_path(path, "unlink", error);
}

static bool remember_file(struct address *address) {
    struct stat status;
    if (stat(address->text, &status) != 0)
        return false;
    address->device = status.st_dev;
    address->inode = status.st_ino;
    return true;
}

/* The mode is set on the socket before it has a name, so that it is never more open than asked for;
   then on the file, since the umask may have taken bits from it. */
static bool bind_path(struct address *address, const struct sockaddr_un *where, mode_t mode,
                      struct error *error) {
    const char *path = where->sun_path;
    int fd = address->sockets[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1)
        return explain_path(path, "socket", error);
    if (fchmod(fd, mode) != 0 || bind(fd, (const struct sockaddr *)where, sizeof(*where)) != 0)
        return explain_path(path, "bind", error);
    if (!remember_file(address) || chmod(path, mode) != 0)
        return explain_path(path, "chmod", error);
    return listen(fd, SOMAXCONN) == 0 || explain_path(path, "listen", error);
}

static bool duplicate(struct address *address, struct error *error) {
    for (unsigned i = 1; i < address->threads; i++)
        if ((address->sockets[i] = fcntl(address->sockets[0], F_DUPFD_CLOEXEC, 0)) == -1)
            return explain_path(address->text, "dup", error);
    return true;
}

struct address *address_open_path(const char *path, unsigned mode, unsigned threads,
                                  struct error *error) {
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(where.sun_path)) {
        error_set(error, "the socket's path %s is longer than %zu bytes", path,
                  sizeof(where.sun_path) - 1);
        return NULL;
    }
    strcpy(where.sun_path, path);
    if (!make_room(&where, error))
        return NULL;
    struct address *address = create(threads, 1);
    address->is_path = true;
    strcpy(address->text, path);
    if (bind_path(address, &where, (mode_t)mode, error) && duplicate(address, error))
        return address;
    address_close(address);
    return NULL;
}

/* --- sockets that were open before --- */

static bool is_listening(int fd) {
    int listens = 0;
    socklen_t size = sizeof(listens);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
}

static bool read_place(int fd, struct place *place) {
    int v6_only = 1;
    socklen_t size = sizeof(v6_only);
    *place = (struct place){.size = sizeof(place->address)};
    if (getsockname(fd, (struct sockaddr *)&place->address, &place->size) != 0)
        return false;
    place->dual = place->address.ss_family == AF_INET6 &&
                  getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, &size) == 0 && v6_only == 0;
    return true;
}

static void close_all(const int *sockets, size_t count) {
    for (size_t i = 0; i < count; i++)
        close(sockets[i]);
}

/* As many a thread as hold them all. Where there are too few some threads share one; where there
   are more than threads can have the last are closed. */
static bool spread(struct address *address, const int *sockets, size_t count, struct error *error) {
    size_t room = address->threads * address->places;
    for (size_t i = 0; i < room && i < count; i++)
        address->sockets[i] = sockets[i];
    if (count > room)
        close_all(sockets + room, count - room);
    for (size_t i = count; i < room; i++)
        if ((address->sockets[i] = fcntl(sockets[i % count], F_DUPFD_CLOEXEC, 0)) == -1)
            return explain_path(address->text, "dup", error);
    return true;
}

static bool name_adopted(struct address *address, const struct place *place) {
    const struct sockaddr_un *path = (const struct sockaddr_un *)&place->address;
    address->is_path = place->address.ss_family == AF_UNIX;
    if (address->is_path)
        snprintf(address->text, sizeof(address->text), "%.107s", path->sun_path);
    else
        write_text(address, place);
    return true;
}

struct address *address_adopt(const int *sockets, size_t count, unsigned threads,
                              struct error *error) {
    struct place place;
    bool right = count > 0;
    for (size_t i = 0; right && i < count; i++)
        right = is_listening(sockets[i]) && fcntl(sockets[i], F_SETFL, O_NONBLOCK) == 0;
    if (!right || !read_place(sockets[0], &place)) {
        error_set(error, "what was handed over are no listening sockets");
        close_all(sockets, count);
        return NULL;
    }
    size_t places = (count + threads - 1) / threads;
    struct address *address =
        create(threads, places < ADDRESS_PLACES_MAX ? places : ADDRESS_PLACES_MAX);
    name_adopted(address, &place);
    if (spread(address, sockets, count, error))
        return address;
    address_close(address);
    return NULL;
}

static bool same_address(const struct place *a, const struct place *b) {
    if (a->address.ss_family != b->address.ss_family || port_of(a) != port_of(b))
        return false;
    if (a->address.ss_family == AF_INET)
        return ((const struct sockaddr_in *)&a->address)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)&b->address)->sin_addr.s_addr;
    return memcmp(&((const struct sockaddr_in6 *)&a->address)->sin6_addr,
                  &((const struct sockaddr_in6 *)&b->address)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

static size_t wanted_places(const char *host, const char *port, struct place *places) {
    struct error ignored;
    if (host != NULL)
        return resolve(host, port, places, &ignored);
    all_addresses(&places[0], AF_INET6);
    all_addresses(&places[1], AF_INET);
    for (size_t i = 0; i < 2; i++)
        set_port(&places[i], htons((in_port_t)strtoul(port, NULL, 10)));
    return 2;
}

bool address_matches(int fd, const char *host, const char *port, const char *path) {
    struct place bound, places[ADDRESS_PLACES_MAX];
    if (!is_listening(fd) || !read_place(fd, &bound))
        return false;
    if (path != NULL)
        return bound.address.ss_family == AF_UNIX &&
               strcmp(((const struct sockaddr_un *)&bound.address)->sun_path, path) == 0;
    if (bound.address.ss_family != AF_INET && bound.address.ss_family != AF_INET6)
        return false;
    size_t count = wanted_places(host, port, places);
    for (size_t i = 0; i < count; i++)
        if (same_address(&bound, &places[i]))
            return true;
    return false;
}

/* --- the rest of its life --- */

static void remove_path(const struct address *address) {
    struct stat status;
    if (address->inode != 0 && lstat(address->text, &status) == 0 &&
        status.st_dev == address->device && status.st_ino == address->inode)
        unlink(address->text);
}

void address_close(struct address *address) {
    if (address == NULL)
        return;
    for (size_t i = 0; i < address->threads * address->places; i++)
        if (address->sockets[i] != -1)
            close(address->sockets[i]);
    if (address->is_path)
        remove_path(address);
    free(address->sockets);
    free(address);
}

size_t address_take(struct address *address, unsigned thread, int sockets[ADDRESS_PLACES_MAX]) {
    assert(thread < address->threads);
    int *own = &address->sockets[thread * address->places];
    for (size_t i = 0; i < address->places; i++) {
        assert(own[i] != -1);
        sockets[i] = own[i];
        own[i] = -1;
    }
    return address->places;
}

void address_own_path(struct address *address) {
    if (address->is_path)
        remember_file(address);
}

size_t address_places(const struct address *address) { return address->places; }

const char *address_text(const struct address *address) { return address->text; }

bool address_is_path(const struct address *address) { return address->is_path; }
