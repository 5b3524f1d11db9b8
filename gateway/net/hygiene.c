#include "net/hygiene.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "observe/counters.h"
#include "websocket/utf8.h"

/* No method of the IANA registry is longer than UPDATEREDIRECTREF with its 17 letters. */
#define METHOD_SIZE_MAX 32

/* The methods that pass: TRACE shows a client its own head, cookies included, and CONNECT is for
 * proxies. */
#define ALLOWED "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

struct slice {
    const char *at;
    size_t size;
};

/* What the lines of a head have said so far. */
struct facts {
    bool http10;
    unsigned hosts;
    unsigned lengths;
    unsigned encodings;
};

static struct slice slice_of(const char *from, const char *to) {
    return (struct slice){from, (size_t)(to - from)};
}

static bool slice_is(struct slice slice, const char *lower_case) {
    return slice.size == strlen(lower_case) && strncasecmp(slice.at, lower_case, slice.size) == 0;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_alnum(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* RFC 9110 section 5.6.2. */
static bool is_token(struct slice slice) {
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < slice.size; i++)
        if (!is_alnum(slice.at[i]) && memchr(marks, slice.at[i], sizeof(marks) - 1) == NULL)
            return false;
    return slice.size != 0;
}

static bool is_number(struct slice slice) {
    for (size_t i = 0; i < slice.size; i++)
        if (!is_digit(slice.at[i]))
            return false;
    return slice.size != 0;
}

static struct slice trimmed(struct slice slice) {
    while (slice.size != 0 && is_blank(slice.at[0]))
        slice = (struct slice){slice.at + 1, slice.size - 1};
    while (slice.size != 0 && is_blank(slice.at[slice.size - 1]))
        slice.size--;
    return slice;
}

/* An address literal in brackets; its inside is not taken apart further. Returns its end, or NULL.
 */
static const char *end_of_literal(struct slice host) {
    const char *close = memchr(host.at, ']', host.size);
    if (close == NULL || close == host.at + 1)
        return NULL;
    for (const char *c = host.at + 1; c < close; c++)
        if (!is_alnum(*c) && *c != ':' && *c != '.')
            return NULL;
    return close + 1;
}

/* RFC 3986 allows more in a registered name (commas, quotes, percent signs); no name that resolves
   holds them, and they end in redirects and logs. */
static const char *end_of_name(struct slice host) {
    const char *end = host.at + host.size, *c = host.at;
    while (c < end && (is_alnum(*c) || *c == '-' || *c == '.' || *c == '_' || *c == '~'))
        c++;
    return c == host.at ? NULL : c;
}

/* RFC 9112 section 3.2: uri-host [ ":" port ]. An empty host is no http authority: RFC 9110
 * section 4.2.1. */
static bool is_authority(struct slice host) {
    if (host.size == 0)
        return false;
    const char *end = host.at + host.size;
    const char *port = *host.at == '[' ? end_of_literal(host) : end_of_name(host);
    if (port == NULL)
        return false;
    if (port == end)
        return true;
    struct slice digits = slice_of(port + 1, end);
    return *port == ':' && digits.size <= 5 && (digits.size == 0 || is_number(digits));
}

/* The next line, without its end. RFC 9112 section 2.2: a line ends with CRLF; a CR or LF elsewhere
   is what smuggling is made of, and section 5.5 of RFC 9110 forbids the other control characters.
 */
static const char *take_line(struct slice *rest, struct slice *line) {
    const char *lf = memchr(rest->at, '\n', rest->size);
    if (lf == NULL)
        return "the head does not end";
    if (lf == rest->at || lf[-1] != '\r')
        return "a line ends with a bare LF";
    *line = slice_of(rest->at, lf - 1);
    *rest = slice_of(lf + 1, rest->at + rest->size);
    for (size_t i = 0; i < line->size; i++) {
        unsigned char c = (unsigned char)line->at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return "a control character in the head";
    }
    return NULL;
}

/* RFC 9112 section 3: method SP target SP version, one space each. */
static const char *check_request_line(struct slice line, struct facts *facts) {
    const char *end = line.at + line.size;
    const char *first = memchr(line.at, ' ', line.size);
    if (first == NULL || !is_token(slice_of(line.at, first)))
        return "the method is not a token";
    const char *second = memchr(first + 1, ' ', (size_t)(end - first - 1));
    if (second == NULL || second == first + 1)
        return "the request line has no target";
    if (memchr(first + 1, '\t', (size_t)(second - first - 1)) != NULL)
        return "a control character in the target";
    if (memchr(first + 1, '#', (size_t)(second - first - 1)) != NULL)
        return "a fragment in the target";
    struct slice version = slice_of(second + 1, end);
    if (version.size != 8 || memcmp(version.at, "HTTP/1.", 7) != 0 || !is_digit(version.at[7]))
        return "the version is not HTTP/1";
    facts->http10 = version.at[7] == '0';
    return NULL;
}

static const char *check_host(struct slice value, struct facts *facts) {
    if (facts->hosts++ != 0)
        return "more than one Host";
    return is_authority(value) ? NULL : "the Host is not a name and a port";
}

/* RFC 9112 section 6.3 lets a recipient keep one of several equal lengths; nobody honest sends two.
 */
static const char *check_length(struct slice value, struct facts *facts) {
    if (facts->lengths++ != 0)
        return "more than one Content-Length";
    return is_number(value) ? NULL : "the Content-Length is not a number";
}

static const char *check_encoding(struct slice value, struct facts *facts) {
    if (facts->encodings++ != 0)
        return "more than one Transfer-Encoding";
    return slice_is(value, "chunked") ? NULL : "the Transfer-Encoding is not chunked";
}

static const char *check_field(struct slice line, struct facts *facts) {
    if (is_blank(line.at[0]))
        return "a folded header line";
    const char *colon = memchr(line.at, ':', line.size);
    if (colon == NULL)
        return "a header line without a colon";
    struct slice name = slice_of(line.at, colon);
    if (!is_token(name))
        return "a header name is not a token";
    struct slice value = trimmed(slice_of(colon + 1, line.at + line.size));
    if (slice_is(name, "host"))
        return check_host(value, facts);
    if (slice_is(name, "content-length"))
        return check_length(value, facts);
    if (slice_is(name, "transfer-encoding"))
        return check_encoding(value, facts);
    return NULL;
}

/* RFC 9112 sections 3.2, 6.1 and 6.3. */
static const char *check_together(const struct facts *facts) {
    if (facts->hosts == 0 && !facts->http10)
        return "no Host";
    if (facts->encodings != 0 && facts->lengths != 0)
        return "both Transfer-Encoding and Content-Length";
    if (facts->encodings != 0 && facts->http10)
        return "Transfer-Encoding in HTTP/1.0";
    return NULL;
}

const char *hygiene_check_head(const char *head, size_t size) {
    struct slice rest = {head, size}, line;
    struct facts facts = {0};
    const char *wrong = take_line(&rest, &line);
    /* Some clients send one CRLF too many behind a body: RFC 9112 section 2.2. */
    if (wrong == NULL && line.size == 0)
        wrong = take_line(&rest, &line);
    if (wrong == NULL)
        wrong = check_request_line(line, &facts);
    while (wrong == NULL && (wrong = take_line(&rest, &line)) == NULL && line.size != 0)
        wrong = check_field(line, &facts);
    return wrong != NULL ? wrong : check_together(&facts);
}

/* C0, DEL and C1, which UTF-8 writes as 0xc2 and a byte below 0xa0. Text is valid here, so that
   0xc2 is never its last byte. */
static bool is_control(const unsigned char *at) {
    return at[0] < 0x20 || at[0] == 0x7f || (at[0] == 0xc2 && at[1] < 0xa0);
}

static const char *check_characters(const unsigned char *path, size_t size) {
    if (!utf8_valid(path, size))
        return "the path is not UTF-8";
    for (size_t i = 0; i < size; i++)
        if (is_control(path + i))
            return "a control character in the path";
    return NULL;
}

const char *hygiene_check_path(const char *path, size_t size, int *status) {
    static const char well_known[] = "/.well-known/";
    const size_t well_known_size = sizeof(well_known) - 1;
    const char *wrong = check_characters((const unsigned char *)path, size);
    if (wrong != NULL) {
        *status = 400;
        return wrong;
    }
    size_t from = size >= well_known_size && memcmp(path, well_known, well_known_size) == 0
                      ? well_known_size - 1
                      : 0;
    if (memmem(path + from, size - from, "/.", 2) == NULL)
        return NULL;
    *status = 404;
    return "a dot file";
}

static int refuse(h2o_req_t *req, const char *why, enum counter cause) {
    counters_add(cause, 1);
    h2o_send_error_400(req, "Bad Request", why, H2O_SEND_ERROR_HTTP1_CLOSE_CONNECTION);
    return 0;
}

static void add_allow(h2o_req_t *req) {
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_ALLOW, NULL, H2O_STRLIT(ALLOWED));
}

/* The head is still where libh2o parsed it, at the start of the input: names in lower case, values
 * untouched. */
static const char *check_input(h2o_req_t *req) {
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    return hygiene_check_head(socket->input->bytes, socket->input->size);
}

static bool refuse_method(h2o_req_t *req) {
    struct slice method = {req->input.method.base, req->input.method.len};
    if (method.size > METHOD_SIZE_MAX) {
        counters_add(COUNTER_REFUSED_METHOD, 1);
        req->http1_is_persistent = 0;
        h2o_send_error_generic(req, 501, "Not Implemented", "unknown method", 0);
        return true;
    }
    if (!slice_is(method, "trace") && !slice_is(method, "connect"))
        return false;
    counters_add(COUNTER_REFUSED_METHOD, 1);
    add_allow(req);
    h2o_send_error_405(req, "Method Not Allowed", "method not allowed",
                       H2O_SEND_ERROR_KEEP_HEADERS | H2O_SEND_ERROR_HTTP1_CLOSE_CONNECTION);
    return true;
}

/* RFC 9110 section 9.3.7: asked of the server as a whole, it only shows that the server is there.
 */
static int answer_asterisk(h2o_req_t *req) {
    if (!h2o_memis(req->input.method.base, req->input.method.len, H2O_STRLIT("OPTIONS")))
        return refuse(req, "the target * is for OPTIONS alone", COUNTER_REFUSED_HEAD);
    req->res.status = 200;
    req->res.reason = "OK";
    req->res.content_length = 0;
    add_allow(req);
    h2o_send_inline(req, H2O_STRLIT(""));
    return 0;
}

/* RFC 9112 section 3.2.2: the authority in the target replaces the Host. libh2o would take the
 * whole target for a path. */
static bool split_absolute(h2o_req_t *req) {
    struct slice target = {req->input.path.base, req->input.path.len};
    size_t scheme = 0;
    if (target.size > 7 && strncasecmp(target.at, "http://", 7) == 0)
        scheme = 7;
    else if (target.size > 8 && strncasecmp(target.at, "https://", 8) == 0)
        scheme = 8;
    const char *end = target.at + target.size, *start = target.at + scheme, *path = start;
    while (path < end && *path != '/' && *path != '?')
        path++;
    if (scheme == 0 || !is_authority(slice_of(start, path)))
        return false;
    req->input.authority = h2o_iovec_init(start, (size_t)(path - start));
    req->input.path = h2o_iovec_init(path, (size_t)(end - path));
    if (path == end || *path == '?')
        req->input.path = h2o_concat(&req->pool, h2o_iovec_init(H2O_STRLIT("/")), req->input.path);
    return true;
}

/* RFC 9112 section 5.1: white space behind a value is no part of it; libh2o leaves it there. */
static void trim_value(h2o_iovec_t *value) {
    while (value->len != 0 && is_blank(value->base[value->len - 1]))
        value->len--;
}

/* Returns true when the host was changed, so that it has to be looked up anew. */
static bool trim_values(h2o_req_t *req) {
    size_t before = req->input.authority.len;
    for (size_t i = 0; i < req->headers.size; i++)
        trim_value(&req->headers.entries[i].value);
    trim_value(&req->upgrade);
    trim_value(&req->input.authority);
    return req->input.authority.len != before;
}

/* A file that shrinks while libh2o sends several ranges of it makes the loop spin for ever. RFC
   9110 section 14.2: a server may ignore Range; a repeated field is one list. */
static void drop_ranges(h2o_req_t *req) {
    ssize_t first = h2o_find_header(&req->headers, H2O_TOKEN_RANGE, -1), at = first;
    if (first == -1)
        return;
    const h2o_iovec_t *value = &req->headers.entries[first].value;
    if (memchr(value->base, ',', value->len) == NULL &&
        h2o_find_header(&req->headers, H2O_TOKEN_RANGE, first) == -1)
        return;
    while (at != -1) {
        h2o_delete_header(&req->headers, at);
        at = h2o_find_header(&req->headers, H2O_TOKEN_RANGE, -1);
    }
}

static int check_resource(h2o_req_t *req) {
    int status = 0;
    const char *wrong =
        hygiene_check_path(req->path_normalized.base, req->path_normalized.len, &status);
    if (wrong != NULL && status == 404) {
        counters_add(COUNTER_REFUSED_DOT_FILE, 1);
        /* Word for word what libh2o says of a file that does not exist. */
        h2o_send_error_404(req, "File Not Found", "not found", 0);
        return 0;
    }
    if (wrong != NULL)
        return refuse(req, wrong, COUNTER_REFUSED_PATH);
    drop_ranges(req);
    return -1;
}

/* What a request as it came from the client has to pass, and once: RFC 9112 section 3.2 for the
 * targets. */
static int check_arrival(h2o_req_t *req) {
    const char *wrong = check_input(req);
    if (wrong != NULL)
        return refuse(req, wrong, COUNTER_REFUSED_HEAD);
    if (refuse_method(req))
        return 0;
    bool again = trim_values(req);
    if (h2o_memis(req->input.path.base, req->input.path.len, H2O_STRLIT("*")))
        return answer_asterisk(req);
    if (req->input.path.base[0] != '/') {
        if (!split_absolute(req))
            return refuse(req, "the target is neither a path nor an http URL",
                          COUNTER_REFUSED_HEAD);
        again = true;
    }
    if (!again)
        return check_resource(req);
    /* Host and path are others now: processed afresh, the request comes back here in origin form.
     */
    h2o_process_request(req);
    return 0;
}

/* A request that libh2o or another handler redirected internally has been through check_arrival;
 * its path is new. */
static int on_request(h2o_handler_t *self, h2o_req_t *req) {
    (void)self;
    bool arrived = req->num_reprocessed == 0 && req->num_delegated == 0 && req->version < 0x200;
    return arrived ? check_arrival(req) : check_resource(req);
}

void hygiene_register(h2o_pathconf_t *pathconf) {
    h2o_handler_t *handler = h2o_create_handler(pathconf, sizeof(*handler));
    handler->on_req = on_request;
}
