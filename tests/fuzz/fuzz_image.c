/* Any bytes may lie where a plugin is looked for: reading them must never leave them. */
#include <stdlib.h>
#include <string.h>

#include "consumer/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t read_all(const struct image *image) {
    struct sluice_note note;
    const char *first, *runpath = image_runpath(image);
    size_t length = runpath ? strlen(runpath) : 0;
    const char *library;
    for (size_t i = 0; (library = image_needed(image, i)); i++)
        length += strlen(library);
    if (image_exports(image, SLUICE_ENTRY, &first) > 0)
        length += strlen(first);
    return length + image_note(image, &note);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct image image;
    struct error error = {""};
    if (image_open(&image, data, size, &error))
        return read_all(&image) == SIZE_MAX;
    if (error.text[0] == '\0') /* a refusal says why */
        abort();
    return 0;
}
