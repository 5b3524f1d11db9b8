/*
 * A directory of a test's own, gone when the test is over.
 */
#ifndef SLUICE_TEST_DIRECTORY_H
#define SLUICE_TEST_DIRECTORY_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static inline void make_test_directory(char *path, size_t size) {
    const char *above = getenv("TMPDIR");
    snprintf(path, size, "%s/sluice-test-XXXXXX", above != NULL ? above : P_tmpdir);
    ck_assert_ptr_nonnull(mkdtemp(path));
}

static inline void remove_test_directory(const char *path) {
    char command[512];
    snprintf(command, sizeof(command), "rm -rf -- '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

#endif
