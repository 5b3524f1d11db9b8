#include "consumer/image.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* Larger objects exist, but no consumer: such a size in a header is a broken header. */
#define SPAN_MAX (UINT64_C(1) << 30)

/* Where the linker put this program's own ELF header: it says which machine the build is for. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

struct range {
    uint64_t at, size;
};

static bool within(const struct image *image, uint64_t at, uint64_t size) {
    return at <= image->size && size <= image->size - at;
}

/* The bytes may hold anything at any alignment, so they are copied out. */
static bool copy_out(const struct image *image, uint64_t at, void *to, size_t size) {
    if (!within(image, at, size))
        return false;
    memcpy(to, image->bytes + at, size);
    return true;
}

static bool cut_off(const struct image *image, const char *what, struct error *error) {
    return error_set(error,
                     "is cut off or damaged: %s lies outside its %zu bytes; copy or build it again",
                     what, image->size);
}

static bool damaged(const char *what, struct error *error) {
    return error_set(error, "is damaged or half copied: %s; copy or build it again", what);
}

static const char *machine_name(unsigned machine) {
    switch (machine) {
    case EM_386:
        return "32-bit x86";
    case EM_X86_64:
        return "x86-64";
    case EM_ARM:
        return "32-bit ARM";
    case EM_AARCH64:
        return "AArch64";
    case EM_RISCV:
        return "RISC-V";
    case EM_PPC64:
        return "POWER";
    case EM_S390:
        return "s390";
    case EM_LOONGARCH:
        return "LoongArch";
    default:
        return "another machine";
    }
}

static bool check_identity(const struct image *image, struct error *error) {
    const ElfW(Ehdr) *header = &image->header, *own = &__ehdr_start;
    if (header->e_ident[EI_CLASS] != own->e_ident[EI_CLASS] ||
        header->e_ident[EI_DATA] != own->e_ident[EI_DATA])
        return error_set(
            error,
            "is built for a machine of other word size or byte order; this server runs on %s: "
            "build it for that",
            machine_name(own->e_machine));
    if (header->e_machine != own->e_machine)
        return error_set(
            error,
            "is built for %s (ELF machine %u), and this server runs on %s: build it for that",
            machine_name(header->e_machine), header->e_machine, machine_name(own->e_machine));
    if (header->e_type == ET_REL)
        return error_set(error, "is an object file, not a shared object: link it with cc -shared");
    if (header->e_type == ET_EXEC)
        return error_set(error,
                         "is a program, not a shared object: build it with cc -shared -fPIC");
    if (header->e_type != ET_DYN)
        return error_set(error,
                         "is not a shared object (ELF type %u): build it with cc -shared -fPIC",
                         header->e_type);
    return true;
}

static bool read_segments(struct image *image, struct error *error) {
    const ElfW(Ehdr) *header = &image->header;
    if (header->e_version != EV_CURRENT || header->e_ident[EI_VERSION] != EV_CURRENT ||
        header->e_ehsize != sizeof(ElfW(Ehdr)) || header->e_phentsize != sizeof(ElfW(Phdr)))
        return damaged("its ELF header is not of version 1", error);
    if (header->e_phnum == 0 || header->e_phnum > IMAGE_SEGMENTS_MAX)
        return damaged("it has no segments, or too many", error);
    image->segment_count = header->e_phnum;
    if (!copy_out(image, header->e_phoff, image->segments,
                  image->segment_count * sizeof(ElfW(Phdr))))
        return cut_off(image, "its table of segments", error);
    return true;
}

/* Sections are of no use to the loader, but linkers put their table last: a file that ends early
   lacks it. */
static bool check_section_table(const struct image *image, struct error *error) {
    const ElfW(Ehdr) *header = &image->header;
    if (header->e_shoff == 0)
        return true;
    if (header->e_shentsize != sizeof(ElfW(Shdr)))
        return damaged("its section headers have an odd size", error);
    if (!within(image, header->e_shoff, (uint64_t)header->e_shnum * sizeof(ElfW(Shdr))))
        return cut_off(image, "its table of sections", error);
    return true;
}

static bool power_of_two(uint64_t number) { return number != 0 && (number & (number - 1)) == 0; }

/* What is mapped must be in the file, in rising order, and laid out so that mapping it by pages is
   possible. */
static bool check_load(const struct image *image, const ElfW(Phdr) * load, uint64_t *end,
                       struct error *error) {
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (!within(image, load->p_offset, load->p_filesz))
        return cut_off(image, "a segment", error);
    if (load->p_memsz < load->p_filesz || load->p_memsz > SPAN_MAX || load->p_vaddr > SPAN_MAX)
        return damaged("a segment's size is wrong", error);
    if (!power_of_two(load->p_align) || load->p_align < page || load->p_align > SPAN_MAX)
        return damaged("a segment's alignment is wrong", error);
    if ((load->p_vaddr - load->p_offset) % load->p_align != 0)
        return damaged("a segment's offset and address do not match", error);
    if (load->p_vaddr / page * page < *end)
        return damaged("its segments overlap", error);
    *end = load->p_vaddr + load->p_memsz;
    return true;
}

/* The loaded segment that holds this range of addresses, in its part that comes from the file, or
   NULL. */
static const ElfW(Phdr) * find_load(const struct image *image, struct range addresses) {
    for (unsigned i = 0; i < image->segment_count; i++) {
        const ElfW(Phdr) *load = &image->segments[i];
        if (load->p_type == PT_LOAD && addresses.at >= load->p_vaddr &&
            addresses.at - load->p_vaddr <= load->p_filesz &&
            addresses.size <= load->p_filesz - (addresses.at - load->p_vaddr))
            return load;
    }
    return NULL;
}

/* The loader reads these by address, without looking. */
static bool must_be_loaded(const ElfW(Phdr) * segment) {
    switch (segment->p_type) {
    case PT_DYNAMIC:
    case PT_NOTE:
    case PT_TLS:
    case PT_PHDR:
    case PT_GNU_EH_FRAME:
    case PT_GNU_PROPERTY:
        return segment->p_filesz != 0;
    default:
        return false;
    }
}

/* Read-only after relocation: inside one writable segment, or the loader protects what is not
   there. */
static bool relro_fits(const struct image *image, const ElfW(Phdr) * relro) {
    for (unsigned i = 0; i < image->segment_count; i++) {
        const ElfW(Phdr) *load = &image->segments[i];
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        uint64_t end = (load->p_vaddr + load->p_memsz + page - 1) / page * page;
        if (load->p_type == PT_LOAD && (load->p_flags & PF_W) && relro->p_vaddr >= load->p_vaddr &&
            relro->p_vaddr <= end && relro->p_memsz <= end - relro->p_vaddr)
            return true;
    }
    return false;
}

static bool check_segments(const struct image *image, struct error *error) {
    uint64_t end = 0;
    for (unsigned i = 0; i < image->segment_count; i++)
        if (image->segments[i].p_type == PT_LOAD &&
            !check_load(image, &image->segments[i], &end, error))
            return false;
    if (end == 0)
        return damaged("it has nothing to load", error);
    for (unsigned i = 0; i < image->segment_count; i++) {
        const ElfW(Phdr) *segment = &image->segments[i];
        if (segment->p_type == PT_GNU_RELRO && !relro_fits(image, segment))
            return damaged("what it protects is not in it", error);
        if (!must_be_loaded(segment))
            continue;
        struct range addresses = {segment->p_vaddr, segment->p_filesz};
        const ElfW(Phdr) *load = find_load(image, addresses);
        if (!load || load->p_vaddr - load->p_offset != segment->p_vaddr - segment->p_offset)
            return damaged("a segment lies outside what is loaded", error);
    }
    return true;
}

/* Whether a loaded section lies where a segment loads it from, with the rights that it asks for. */
static bool section_is_loaded(const struct image *image, const ElfW(Shdr) * section) {
    bool from_file = section->sh_type != SHT_NOBITS;
    for (unsigned i = 0; i < image->segment_count; i++) {
        const ElfW(Phdr) *load = &image->segments[i];
        uint64_t size = from_file ? load->p_filesz : load->p_memsz;
        if (load->p_type != PT_LOAD || section->sh_addr < load->p_vaddr ||
            section->sh_addr - load->p_vaddr > size ||
            section->sh_size > size - (section->sh_addr - load->p_vaddr))
            continue;
        if (from_file && section->sh_addr - section->sh_offset != load->p_vaddr - load->p_offset)
            continue;
        return (!(section->sh_flags & SHF_WRITE) || (load->p_flags & PF_W)) &&
               (!(section->sh_flags & SHF_EXECINSTR) || (load->p_flags & PF_X)) &&
               (load->p_flags & PF_R);
    }
    return false;
}

static bool has_name(const struct image *image, const ElfW(Shdr) * section, const char *name) {
    ElfW(Shdr) names;
    uint64_t at = image->header.e_shoff + image->header.e_shstrndx * sizeof(names);
    size_t size = strlen(name) + 1;
    return image->header.e_shstrndx < image->header.e_shnum &&
           copy_out(image, at, &names, sizeof(names)) && section->sh_name < names.sh_size &&
           size <= names.sh_size - section->sh_name &&
           within(image, names.sh_offset, names.sh_size) &&
           memcmp(image->bytes + names.sh_offset + section->sh_name, name, size) == 0;
}

/* The plugin's variables must not be protected: its first write to one would be its last. */
static bool section_is_protected(const struct image *image, const ElfW(Shdr) * section) {
    if (!has_name(image, section, ".data") && !has_name(image, section, ".bss"))
        return false;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    for (unsigned i = 0; i < image->segment_count; i++) {
        const ElfW(Phdr) *relro = &image->segments[i];
        uint64_t end = (relro->p_vaddr + relro->p_memsz) / page * page;
        if (relro->p_type == PT_GNU_RELRO && section->sh_addr < end &&
            relro->p_vaddr < section->sh_addr + section->sh_size)
            return true;
    }
    return false;
}

/* The two tables must tell the same story: a header with a flipped bit, or a copy with a hole at
   its end, does not. */
static bool check_sections(const struct image *image, struct error *error) {
    bool symbols = false;
    for (unsigned i = 0; i < image->header.e_shnum && image->header.e_shoff != 0; i++) {
        ElfW(Shdr) section;
        if (!copy_out(image, image->header.e_shoff + i * sizeof(section), &section,
                      sizeof(section)))
            return cut_off(image, "its table of sections", error);
        symbols |= section.sh_type == SHT_DYNSYM;
        bool thread_local_zeros = section.sh_type == SHT_NOBITS && (section.sh_flags & SHF_TLS);
        if (!(section.sh_flags & SHF_ALLOC) || section.sh_size == 0 || thread_local_zeros)
            continue;
        if (!section_is_loaded(image, &section) || section_is_protected(image, &section))
            return damaged("its sections and segments contradict each other", error);
    }
    if (image->header.e_shoff != 0 && image->header.e_shnum != 0 && !symbols)
        return damaged("its table of sections has no dynamic symbols", error);
    return true;
}

static bool dynamic_entry(const struct image *image, size_t index, ElfW(Dyn) * entry) {
    return index < image->dynamic_count &&
           copy_out(image, image->dynamic_at + index * sizeof(*entry), entry, sizeof(*entry)) &&
           entry->d_tag != DT_NULL;
}

/* The value of a tag, or false when it is absent. */
static bool dynamic_value(const struct image *image, int64_t tag, uint64_t *value) {
    ElfW(Dyn) entry;
    for (size_t i = 0; dynamic_entry(image, i, &entry); i++) {
        if (entry.d_tag == tag) {
            *value = entry.d_un.d_val;
            return true;
        }
    }
    return false;
}

static bool find_dynamic(struct image *image, struct error *error) {
    for (unsigned i = 0; i < image->segment_count; i++) {
        const ElfW(Phdr) *segment = &image->segments[i];
        if (segment->p_type != PT_DYNAMIC || segment->p_filesz < sizeof(ElfW(Dyn)))
            continue;
        struct range addresses = {segment->p_vaddr, segment->p_filesz};
        const ElfW(Phdr) *load = find_load(image, addresses);
        if (!load || !(load->p_flags & PF_W)) /* the loader writes to it */
            return damaged("its dynamic section is not writable", error);
        image->dynamic_at = segment->p_offset;
        image->dynamic_count = segment->p_filesz / sizeof(ElfW(Dyn));
        ElfW(Dyn) last;
        if (!copy_out(image, image->dynamic_at + (image->dynamic_count - 1) * sizeof(last), &last,
                      sizeof(last)) ||
            last.d_tag != DT_NULL)
            return damaged("its dynamic section has no end", error);
        return true;
    }
    return error_set(error, "has no dynamic section: build it with cc -shared -fPIC");
}

/* A table that the loader walks: its address and size, or DT_NULL where no size is told. */
struct table {
    int64_t address_tag, size_tag;
    bool needed, executable;
};

static const struct table tables[] = {
    {DT_STRTAB, DT_STRSZ, true, false},
    {DT_SYMTAB, DT_NULL, true, false},
    {DT_RELA, DT_RELASZ, false, false},
    {DT_REL, DT_RELSZ, false, false},
    {DT_JMPREL, DT_PLTRELSZ, false, false},
    {DT_GNU_HASH, DT_NULL, false, false},
    {DT_HASH, DT_NULL, false, false},
    {DT_VERSYM, DT_NULL, false, false},
    {DT_VERNEED, DT_NULL, false, false},
    {DT_INIT_ARRAY, DT_INIT_ARRAYSZ, false, false},
    {DT_FINI_ARRAY, DT_FINI_ARRAYSZ, false, false},
    {DT_INIT, DT_NULL, false, true},
    {DT_FINI, DT_NULL, false, true},
};

static bool check_tables(const struct image *image, struct error *error) {
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        struct range addresses = {0, 1};
        if (!dynamic_value(image, tables[i].address_tag, &addresses.at)) {
            if (tables[i].needed)
                return damaged("its dynamic section is empty", error);
            continue;
        }
        if (tables[i].size_tag != DT_NULL &&
            !dynamic_value(image, tables[i].size_tag, &addresses.size))
            return damaged("its dynamic section lacks a size", error);
        const ElfW(Phdr) *load = find_load(image, addresses);
        if (!load || (tables[i].executable && !(load->p_flags & PF_X)))
            return damaged("its dynamic section points outside of it", error);
    }
    return true;
}

static bool find_strings(struct image *image) {
    struct range strings;
    if (!dynamic_value(image, DT_STRTAB, &strings.at) ||
        !dynamic_value(image, DT_STRSZ, &strings.size))
        return false;
    const ElfW(Phdr) *load = find_load(image, strings);
    if (!load)
        return false;
    image->strings_at = load->p_offset + (strings.at - load->p_vaddr);
    image->strings_size = strings.size;
    return true;
}

/* A string of the dynamic section; NULL when it has no end. */
static const char *string_at(const struct image *image, uint64_t offset) {
    if (offset >= image->strings_size)
        return NULL;
    const char *text = (const char *)image->bytes + image->strings_at + offset;
    return memchr(text, 0, image->strings_size - offset) ? text : NULL;
}

/* The loader compares names without looking for their end. */
static bool check_names(const struct image *image, struct error *error) {
    ElfW(Dyn) entry;
    for (size_t i = 0; dynamic_entry(image, i, &entry); i++) {
        bool name = entry.d_tag == DT_NEEDED || entry.d_tag == DT_SONAME ||
                    entry.d_tag == DT_RUNPATH || entry.d_tag == DT_RPATH;
        if (name && !string_at(image, entry.d_un.d_val))
            return damaged("a name in its dynamic section has no end", error);
    }
    return true;
}

bool image_open(struct image *image, const void *bytes, size_t size, struct error *error) {
    *image = (struct image){.bytes = bytes, .size = size};
    if (size == 0)
        return error_set(error, "is empty: copy or build it again");
    if (size < SELFMAG || memcmp(bytes, ELFMAG, SELFMAG) != 0)
        return error_set(
            error, "is not a shared object (it is no ELF file): build it with cc -shared -fPIC");
    if (!copy_out(image, 0, &image->header, sizeof(image->header)))
        return cut_off(image, "its ELF header", error);
    return check_identity(image, error) && read_segments(image, error) &&
           check_section_table(image, error) && check_segments(image, error) &&
           find_dynamic(image, error) && check_sections(image, error) &&
           check_tables(image, error) &&
           (find_strings(image) || damaged("it has no strings", error)) &&
           check_names(image, error);
}

static uint64_t padded(uint64_t size, uint64_t align) { return (size + align - 1) / align * align; }

/* Walks one PT_NOTE: each note is a header, a name and a body, both padded (gabi, "Note
   Section"). */
static bool find_note(const struct image *image, const ElfW(Phdr) * segment,
                      struct sluice_note *note) {
    uint64_t align = segment->p_align == 8 ? 8 : 4;
    uint64_t at = segment->p_offset, end = segment->p_offset + segment->p_filesz;
    ElfW(Nhdr) head;
    while (end - at >= sizeof(head) && copy_out(image, at, &head, sizeof(head))) {
        uint64_t size = padded(sizeof(head) + padded(head.n_namesz, 4) + head.n_descsz, align);
        if (size > padded(end - at, align))
            return false;
        if (head.n_namesz == sizeof("Sluice") && head.n_type == SLUICE_NOTE_TYPE &&
            head.n_descsz >= sizeof(*note) - offsetof(struct sluice_note, magic) &&
            end - at >= sizeof(*note) &&
            memcmp(image->bytes + at + sizeof(head), "Sluice", sizeof("Sluice")) == 0)
            return copy_out(image, at, note, sizeof(*note)) && note->magic == SLUICE_MAGIC;
        if (size >= end - at)
            return false;
        at += size;
    }
    return false;
}

bool image_note(const struct image *image, struct sluice_note *note) {
    for (unsigned i = 0; i < image->segment_count; i++) {
        const ElfW(Phdr) *segment = &image->segments[i];
        if (segment->p_type == PT_NOTE && within(image, segment->p_offset, segment->p_filesz) &&
            find_note(image, segment, note))
            return true;
    }
    return false;
}

const char *image_needed(const struct image *image, size_t index) {
    ElfW(Dyn) entry;
    for (size_t i = 0; dynamic_entry(image, i, &entry); i++)
        if (entry.d_tag == DT_NEEDED && index-- == 0)
            return string_at(image, entry.d_un.d_val);
    return NULL;
}

const char *image_runpath(const struct image *image) {
    uint64_t offset;
    if (!dynamic_value(image, DT_RUNPATH, &offset) && !dynamic_value(image, DT_RPATH, &offset))
        return NULL;
    return string_at(image, offset);
}

static bool made_by_tools(const char *name) {
    static const char *const names[] = {"_init", "_fini", "_edata", "_end", "_start"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return name[0] == '\0' || strncmp(name, "__", 2) == 0;
}

static bool symbol_at(const struct image *image, const ElfW(Shdr) * section, size_t index,
                      ElfW(Sym) * symbol) {
    return index < section->sh_size / sizeof(*symbol) &&
           copy_out(image, section->sh_offset + index * sizeof(*symbol), symbol, sizeof(*symbol));
}

static size_t count_exports(const struct image *image, const ElfW(Shdr) * section,
                            const char *entry, const char **first) {
    size_t count = 0;
    ElfW(Sym) symbol;
    for (size_t i = 1; symbol_at(image, section, i, &symbol); i++) {
        /* Binding and type have the same place in 32 and 64 bits. */
        unsigned type = ELF64_ST_TYPE(symbol.st_info);
        if (symbol.st_shndx == SHN_UNDEF || ELF64_ST_BIND(symbol.st_info) != STB_GLOBAL ||
            (type != STT_FUNC && type != STT_OBJECT && type != STT_GNU_IFUNC))
            continue;
        const char *name = string_at(image, symbol.st_name);
        if (name && strcmp(name, entry) != 0 && !made_by_tools(name) && count++ == 0)
            *first = name;
    }
    return count;
}

size_t image_exports(const struct image *image, const char *entry, const char **first) {
    *first = NULL;
    for (unsigned i = 0; i < image->header.e_shnum && image->header.e_shoff != 0; i++) {
        ElfW(Shdr) section;
        if (copy_out(image, image->header.e_shoff + i * sizeof(section), &section,
                     sizeof(section)) &&
            section.sh_type == SHT_DYNSYM)
            return count_exports(image, &section, entry, first);
    }
    return 0;
}
