#include "observe/nearest.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define LENGTH_MAX 63

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Letters alike but for their case cost nothing: `Listen` means `listen`. */
static size_t differs(char a, char b) {
    return tolower((unsigned char)a) != tolower((unsigned char)b);
}

size_t nearest_distance(const char *a, const char *b) {
    size_t rows[3][LENGTH_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    size_t length_a = strlen(a), length_b = strlen(b);
    if (length_a > LENGTH_MAX || length_b > LENGTH_MAX)
        return LENGTH_MAX + 1;
    for (size_t j = 0; j <= length_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= length_a; i++) {
        size_t *reused = before;
        before = last;
        last = row;
        row = reused;
        row[0] = i;
        for (size_t j = 1; j <= length_b; j++) {
            row[j] =
                least(least(last[j], row[j - 1]) + 1, last[j - 1] + differs(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && !differs(a[i - 1], b[j - 2]) && !differs(a[i - 2], b[j - 1]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return row[length_b];
}

struct nearest nearest_to(const char *word) {
    /* A third of the letters may be wrong, at least one. */
    return (struct nearest){.word = word, .distance = strlen(word) / 3 + 2};
}

void nearest_offer(struct nearest *nearest, const char *known) {
    size_t distance = nearest_distance(nearest->word, known);
    if (distance >= nearest->distance || distance >= strlen(known))
        return;
    nearest->distance = distance;
    nearest->best = known;
}

const char *nearest_hint(const struct nearest *nearest, char buffer[128]) {
    buffer[0] = '\0';
    if (nearest->best != NULL)
        snprintf(buffer, 128, "; did you mean `%s`?", nearest->best);
    return buffer;
}
