#include "websocket/extension.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define WINDOW_BITS_LEAST 8
#define WINDOW_BITS_MOST 15

/* Longer than every name and value we know: what does not fit is something else. */
#define TOKEN_MAX 32

enum parameter {
    SERVER_NO_TAKEOVER,
    CLIENT_NO_TAKEOVER,
    SERVER_BITS,
    CLIENT_BITS,
    PARAMETERS,
};

static const char *const names[PARAMETERS] = {
    [SERVER_NO_TAKEOVER] = "server_no_context_takeover",
    [CLIENT_NO_TAKEOVER] = "client_no_context_takeover",
    [SERVER_BITS] = "server_max_window_bits",
    [CLIENT_BITS] = "client_max_window_bits",
};

/* One element of the list. */
struct offer {
    bool is_deflate;
    bool wrong; /* not to be accepted as it is */
    bool given[PARAMETERS];
    uint8_t bits[PARAMETERS]; /* 0: without a value */
};

struct reader {
    const char *at, *end;
};

/* --- the grammar (RFC 6455 section 9.1, RFC 9110 section 5.6) --- */

static bool is_space(char letter) { return letter == ' ' || letter == '\t'; }

static bool is_token_letter(char letter) {
    return (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') ||
           (letter >= 'A' && letter <= 'Z') ||
           (letter != '\0' && strchr("!#$%&'*+-.^_`|~", letter) != NULL);
}

static void skip_space(struct reader *reader) {
    while (reader->at < reader->end && is_space(*reader->at))
        reader->at++;
}

/* Whether this letter is next, behind spaces; it is read then. */
static bool read_mark(struct reader *reader, char mark) {
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != mark)
        return false;
    reader->at++;
    return true;
}

static void add_letter(char text[TOKEN_MAX], size_t *size, char letter) {
    if (*size < TOKEN_MAX - 1)
        text[*size] = letter;
    ++*size;
}

/* A token that is too long for the text becomes an empty one, which is nobody's name. */
static void end_text(char text[TOKEN_MAX], size_t size) {
    text[size < TOKEN_MAX ? size : 0] = '\0';
}

static bool read_token(struct reader *reader, char text[TOKEN_MAX]) {
    size_t size = 0;
    skip_space(reader);
    while (reader->at < reader->end && is_token_letter(*reader->at))
        add_letter(text, &size, *reader->at++);
    end_text(text, size);
    return size > 0;
}

/* Behind the opening quote. What it holds, once unescaped, must be a token. */
static bool read_quoted(struct reader *reader, char text[TOKEN_MAX]) {
    size_t size = 0;
    while (reader->at < reader->end && *reader->at != '"') {
        reader->at += *reader->at == '\\';
        if (reader->at == reader->end || !is_token_letter(*reader->at))
            return false;
        add_letter(text, &size, *reader->at++);
    }
    end_text(text, size);
    return read_mark(reader, '"') && size > 0;
}

/* To the end of this element: a comma that no quotes hold. */
static void skip_element(struct reader *reader) {
    bool quoted = false;
    for (; reader->at < reader->end && (quoted || *reader->at != ','); reader->at++) {
        if (*reader->at == '"')
            quoted = !quoted;
        else if (quoted && *reader->at == '\\' && reader->at + 1 < reader->end)
            reader->at++;
    }
}

/* --- offers (RFC 7692 section 7.1) --- */

/* A number from 8 to 15 without leading zeros; 0: it is none. */
static uint8_t read_bits(const char *text) {
    for (uint8_t bits = WINDOW_BITS_LEAST; bits <= WINDOW_BITS_MOST; bits++) {
        char number[4];
        snprintf(number, sizeof(number), "%u", bits);
        if (strcmp(text, number) == 0)
            return bits;
    }
    return 0;
}

/* value: NULL when there is none. False when the offer can't be accepted with it. */
static bool take_parameter(struct offer *offer, const char *name, const char *value) {
    unsigned at = 0;
    while (at < PARAMETERS && strcasecmp(name, names[at]) != 0)
        at++;
    if (at == PARAMETERS || offer->given[at])
        return false;
    offer->given[at] = true;
    if (value == NULL)
        return at != SERVER_BITS;
    offer->bits[at] = read_bits(value);
    return (at == SERVER_BITS || at == CLIENT_BITS) && offer->bits[at] != 0;
}

/* One parameter, behind its semicolon. False when the grammar is broken. */
static bool read_parameter(struct reader *reader, struct offer *offer) {
    char name[TOKEN_MAX], value[TOKEN_MAX];
    if (!read_token(reader, name))
        return false;
    bool has_value = read_mark(reader, '=');
    if (has_value &&
        !(read_mark(reader, '"') ? read_quoted(reader, value) : read_token(reader, value)))
        return false;
    if (!take_parameter(offer, name, has_value ? value : NULL))
        offer->wrong = true;
    return true;
}

static void read_offer(struct reader *reader, struct offer *offer) {
    char name[TOKEN_MAX];
    const char *start = reader->at;
    bool whole = read_token(reader, name);
    offer->is_deflate = whole && strcasecmp(name, "permessage-deflate") == 0;
    while (whole && read_mark(reader, ';'))
        whole = read_parameter(reader, offer);
    skip_space(reader);
    if (whole && (reader->at == reader->end || *reader->at == ','))
        return;
    offer->wrong = true;
    reader->at = start; /* what was read may have ended within quotes */
    skip_element(reader);
}

/* --- the answer --- */

static uint8_t smaller(uint8_t one, uint8_t other) { return one < other ? one : other; }

/* What a client's takeover would keep must not be more than the route allows: a client that can't
   be told to use a smaller window gets none (section 7.1.1.2 lets us say so unasked). */
static struct agreement agree(const struct compression *compression, const struct offer *offer) {
    struct agreement made = {.send_bits = compression->window_bits,
                             .receive_bits = WINDOW_BITS_MOST,
                             .send_takeover = compression->takeover,
                             .receive_takeover = compression->takeover};
    if (offer->given[SERVER_BITS])
        made.send_bits = smaller(made.send_bits, offer->bits[SERVER_BITS]);
    if (offer->given[SERVER_NO_TAKEOVER])
        made.send_takeover = false;
    if (offer->given[CLIENT_NO_TAKEOVER] ||
        (!offer->given[CLIENT_BITS] && compression->window_bits < WINDOW_BITS_MOST))
        made.receive_takeover = false;
    if (!made.receive_takeover)
        return made;
    made.receive_bits = compression->window_bits;
    if (offer->bits[CLIENT_BITS] != 0)
        made.receive_bits = smaller(made.receive_bits, offer->bits[CLIENT_BITS]);
    return made;
}

/* A limit on our window must be repeated when it was asked for (section 7.1.2.1); one on the
   client's may only be said when the client knows the parameter (section 7.1.2.2). */
static void write_answer(const struct agreement *agreement, const struct offer *offer, char *answer,
                         size_t size) {
    char send[40] = "", receive[40] = "";
    if (offer->given[SERVER_BITS])
        snprintf(send, sizeof(send), "; %s=%u", names[SERVER_BITS], agreement->send_bits);
    if (agreement->receive_bits < WINDOW_BITS_MOST)
        snprintf(receive, sizeof(receive), "; %s=%u", names[CLIENT_BITS], agreement->receive_bits);
    snprintf(answer, size, "permessage-deflate%s%s%s%s",
             agreement->send_takeover ? "" : "; server_no_context_takeover",
             agreement->receive_takeover ? "" : "; client_no_context_takeover", send, receive);
}

bool extension_negotiate(const struct compression *compression, const char *field, size_t size,
                         struct extension *extension) {
    struct reader reader = {field, field + size};
    while (compression->on && reader.at < reader.end) {
        struct offer offer = {0};
        if (!read_mark(&reader, ',') && reader.at < reader.end)
            read_offer(&reader, &offer);
        if (!offer.is_deflate || offer.wrong)
            continue;
        extension->agreement = agree(compression, &offer);
        write_answer(&extension->agreement, &offer, extension->answer, sizeof(extension->answer));
        return true;
    }
    return false;
}
