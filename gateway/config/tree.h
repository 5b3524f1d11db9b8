/*
 * The YAML file as a tree of libh2o's nodes, each with its file, line and column. Aliases are
 * shared, `<<` merges mappings, `!file PATH` includes a file (relative to the one that says so);
 * duplicate keys, alias loops, tags that nobody knows and files past the limits below are problems.
 * Main thread.
 */
#ifndef SLUICE_CONFIG_TREE_H
#define SLUICE_CONFIG_TREE_H

#include "loop/h2o.h"

#include "config/problems.h"
#include "config/yoml.h"

#define TREE_FILE_BYTES_MAX (4u << 20)
#define TREE_DEPTH_MAX 64      /* mappings and sequences within each other */
#define TREE_INCLUDES_MAX 8    /* files within each other */
#define TREE_NODES_MAX 50000   /* as written, all files together */
#define TREE_WEIGHT_MAX 500000 /* when every alias is written out */

/* Reads the file and what it includes. NULL when a fault leaves no whole tree; a duplicate key does
   not. The tree lives in the pool. */
yoml_t *tree_load(const char *path, h2o_mem_pool_t *pool, struct problems *problems);

/* Where the node begins. Its file name lives as long as the tree. */
struct place tree_place(const yoml_t *node);
/* Where in the file the byte at offset of a scalar stands; the scalar's begin when escapes or line
   breaks make that unknown. */
struct place tree_place_within(const yoml_t *scalar, size_t offset);

/* The value of a key, or NULL. */
yoml_t *tree_get(const yoml_t *mapping, const char *key);

/* scalar, sequence or mapping, with an article. */
const char *tree_kind(const yoml_t *node);

/* New nodes, placed where like is. */
yoml_t *tree_scalar(h2o_mem_pool_t *pool, const yoml_t *like, const char *text);
yoml_t *tree_mapping(h2o_mem_pool_t *pool, const yoml_t *like, size_t pairs);
/* A copy of the mapping with one more pair, or with another value where the key is there already.
 */
yoml_t *tree_with(h2o_mem_pool_t *pool, const yoml_t *mapping, const char *key, yoml_t *value);
/* The pairs of all mappings in a sequence as one mapping; NULL when an element is none. */
yoml_t *tree_join(h2o_mem_pool_t *pool, const yoml_t *sequence);

/* path as an absolute one; a relative path starts at the directory of the file that holds the node.
 * In the pool. */
char *tree_path(h2o_mem_pool_t *pool, const yoml_t *node, const char *path);
/* That directory, absolute. In the pool. */
char *tree_directory(h2o_mem_pool_t *pool, const yoml_t *node);

#endif
