/* The library that is there when needing.c is linked, and nowhere when it is loaded. */
int absent_function(void);

__attribute__((visibility("default"))) int absent_function(void) { return 0; }
