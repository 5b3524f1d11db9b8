#include "group/store.h"
#include <stdlib.h>
bool store_keep(struct store *store, struct store_room *room, const struct store_message *message,
                store_kept_fn fn, void *arg) {
    (void)store;
    (void)room;
    (void)message;
    (void)fn;
    (void)arg;
    abort();
}
void store_reserve(struct store *store, struct store_room *room, uint64_t to, store_kept_fn fn,
                   void *arg) {
    (void)store;
    (void)room;
    (void)to;
    (void)fn;
    (void)arg;
    abort();
}
void store_let_go(struct store *store, struct store_room *room) {
    (void)store;
    (void)room;
    abort();
}
bool store_is_full(const struct store *store) {
    (void)store;
    abort();
}
void store_load(struct store *store, const struct group_key *key, store_loaded_fn fn, void *arg) {
    (void)store;
    (void)key;
    (void)fn;
    (void)arg;
    abort();
}
void store_loaded_free(struct store_loaded *loaded) {
    (void)loaded;
    abort();
}
