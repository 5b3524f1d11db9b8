/* Any bytes as a configuration file: a tree or problems, and each node placed. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void visit(const yoml_t *node) {
    assert(tree_place(node).line >= 1);
    assert(node->type != YOML_TYPE_SCALAR || tree_place_within(node, 0).column >= 1);
    for (size_t i = 0; node->type == YOML_TYPE_SEQUENCE && i != node->data.sequence.size; i++)
        assert(node->data.sequence.elements[i] != NULL);
    for (size_t i = 0; node->type == YOML_TYPE_MAPPING && i != node->data.mapping.size; i++) {
        struct yoml_pair pair = node->data.mapping.elements[i];
        assert(tree_get(node, pair.key->data.scalar) == pair.value);
        visit(pair.value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    h2o_mem_pool_t pool;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct problems *problems = problems_create();
    h2o_mem_init_pool(&pool);
    const yoml_t *root = tree_load(path, &pool, problems);
    assert(root != NULL || problems_errors(problems) != 0);
    if (root != NULL)
        visit(root);
    h2o_mem_clear_pool(&pool);
    problems_free(problems);
    close(fd);
    return 0;
}
