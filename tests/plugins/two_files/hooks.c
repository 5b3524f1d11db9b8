#include "hooks.h"

#include <string.h>

void greet(sluice_conn *conn) {
    static const char text[] = "hello from the other file";
    sluice_accept(conn, NULL);
    sluice_send(conn, sluice_text(text, strlen(text)));
}
