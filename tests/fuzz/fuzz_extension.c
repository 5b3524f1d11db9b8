/*
 * Sec-WebSocket-Extensions from anybody: what is agreed on keeps to the route's word and to the
 * RFC's numbers, and our answer is an offer that we would take ourselves.
 *
 * The first byte is the route's word, the rest the field.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "websocket/extension.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
    if (!condition)
        abort();
}

static void check(const struct compression *route, const struct extension *made) {
    static const struct compression open = {.on = true, .takeover = true, .window_bits = 15};
    const struct agreement *agreement = &made->agreement;
    struct extension again;
    require(agreement->send_bits >= 8 && agreement->send_bits <= route->window_bits);
    require(agreement->receive_bits >= 8 && agreement->receive_bits <= 15);
    require(route->takeover || (!agreement->send_takeover && !agreement->receive_takeover));
    require(!agreement->receive_takeover || agreement->receive_bits <= route->window_bits);
    require(memchr(made->answer, '\0', sizeof(made->answer)) != NULL);
    require(extension_negotiate(&open, made->answer, strlen(made->answer), &again));
    require(again.agreement.send_takeover == agreement->send_takeover);
    require(again.agreement.receive_takeover == agreement->receive_takeover);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    const struct compression route = {.on = true,
                                      .takeover = (data[0] & 1) != 0,
                                      .window_bits = (uint8_t)(9 + (data[0] >> 1) % 7),
                                      .level = 1};
    struct extension made;
    char *field = malloc(size); /* exactly as much, for the sanitizer */
    memcpy(field, data + 1, size - 1);
    char *exact = size == 1 ? field : realloc(field, size - 1);
    if (extension_negotiate(&route, exact, size - 1, &made))
        check(&route, &made);
    free(exact);
    return 0;
}
