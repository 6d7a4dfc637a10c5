/* SPDX-License-Identifier: MIT */
#include "check/symbols.h"

#include "base/alloc.h"
#include "check/dwarf-frames.h"
#include <dlfcn.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define OWN_SOURCE "src/check/symbols.c"

struct dk_string {
    struct dk_string *next;
    char text[];
};

void dk_symbols_init(struct dk_symbols *symbols)
{
    *symbols = (struct dk_symbols){ .dwfl = NULL };
    pthread_mutex_init(&symbols->lock, NULL);
}

void dk_symbols_finish(struct dk_symbols *symbols)
{
    struct dk_string *string = symbols->strings;

    while (string) {
        struct dk_string *next = string->next;

        dk_release(string);
        string = next;
    }
    dk_release(symbols->root);
    if (symbols->dwfl)
        dwfl_end((Dwfl *)symbols->dwfl);
    pthread_mutex_destroy(&symbols->lock);
}

/* One copy of @text that stays, or NULL. A program has some hundred different ones in its reports, so a list
 * will do. */
static const char *keep(struct dk_symbols *symbols, const char *text)
{
    struct dk_string *string;
    size_t size;

    if (!text)
        return NULL;
    for (string = symbols->strings; string; string = string->next) {
        if (!strcmp(string->text, text))
            return string->text;
    }
    size = strlen(text) + 1;
    string = dk_allocate(1, sizeof(*string) + size);
    if (!string)
        return NULL;
    memcpy(string->text, text, size);
    string->next = symbols->strings;
    symbols->strings = string;
    return string->text;
}

/* Reads which object files the process has now. */
static void report_modules(Dwfl *dwfl)
{
    dwfl_report_begin(dwfl);
    dwfl_linux_proc_report(dwfl, getpid());
    dwfl_report_end(dwfl, NULL, NULL);
}

/* What the library itself looks like from outside: how its sources' paths begin, and which object file it is
 * in. */
static void find_own(struct dk_symbols *symbols)
{
    struct dk_place places[DK_PLACE_DEPTH];
    uintptr_t here = (uintptr_t)dk_symbols_frames;
    Dl_info own, program;
    unsigned count = dk_dwarf_places((Dwfl *)symbols->dwfl, here, places);
    const char *file = count ? places[count - 1].file : NULL;
    size_t length = file ? strlen(file) : 0;
    size_t tail = strlen(OWN_SOURCE);

    if (length > tail && !strcmp(file + length - tail, OWN_SOURCE)) {
        symbols->root = dk_copy_string(file);
        if (symbols->root)
            symbols->root[length - tail] = '\0';
    }
    /* The program's headers lie in its own object file. */
    if (dladdr((void *)here, &own) &&
        (!dladdr((void *)getauxval(AT_PHDR), &program) || program.dli_fbase != own.dli_fbase))
        symbols->own_module = (uintptr_t)own.dli_fbase;
}

/*
 * Only what stands in the object files themselves: separate debug files are the distribution's, of libraries
 * in which no driver is, and unpacking them (or fetching them over a network, as the usual callback may)
 * takes longer than all the rest.
 */
static int no_separate_file(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base,
                            const char *file, const char *link, GElf_Word checksum, char **path)
{
    (void)module;
    (void)data;
    (void)name;
    (void)base;
    (void)file;
    (void)link;
    (void)checksum;
    (void)path;
    return -1;
}

static void start(struct dk_symbols *symbols)
{
    static const Dwfl_Callbacks callbacks = {
        .find_elf = dwfl_linux_proc_find_elf,
        .find_debuginfo = no_separate_file,
    };

    if (symbols->started)
        return;
    symbols->started = true;
    if (!dk_fault_point())
        symbols->dwfl = (struct Dwfl *)dwfl_begin(&callbacks);
    if (symbols->dwfl)
        report_modules((Dwfl *)symbols->dwfl);
    if (symbols->dwfl)
        find_own(symbols);
}

static bool ends_in_header(const char *file)
{
    static const char folder[] = "include/dmakit/";
    const char *name = strrchr(file, '/');

    return name && name - file + 1 >= (ptrdiff_t)(sizeof(folder) - 1) &&
           !strncmp(name + 1 - (sizeof(folder) - 1), folder, sizeof(folder) - 1);
}

/* Whether the function is the instrumented program's run time, which lies in the program's own object file.
 */
static bool is_run_time(const char *function)
{
    return !strncmp(function, "__tsan_", 7) || !strncmp(function, "__wrap_", 7) ||
           !strncmp(function, "dk_instrument_", 14);
}

/* Whether the call is the library's: written in its sources, or, where there is no telling, in its object
 * file. */
static bool is_own(const struct dk_symbols *symbols, const struct dk_frame *frame)
{
    size_t length = symbols->root ? strlen(symbols->root) : 0;
    Dl_info info;

    if (frame->function && is_run_time(frame->function))
        return true;
    if (frame->file) {
        if (length && !strncmp(frame->file, symbols->root, length) &&
            (!strncmp(frame->file + length, "src/", 4) || !strncmp(frame->file + length, "include/", 8)))
            return true;
        if (ends_in_header(frame->file))
            return true;
    }
    if (symbols->own_module && dladdr((void *)frame->address, &info))
        return (uintptr_t)info.dli_fbase == symbols->own_module;
    /* A program linked with the static library, and that stripped: only names are left. */
    return !length && !frame->file && frame->function &&
           (!strncmp(frame->function, "dk_", 3) || !strncmp(frame->function, "dma_", 4));
}

static void append(struct dk_symbols *symbols, struct dk_frames *frames, const struct dk_frame *frame)
{
    if (frames->count == DK_STACK_DEPTH || (!frames->count && is_own(symbols, frame)))
        return;
    frames->frames[frames->count++] = *frame;
}

static void append_places(struct dk_symbols *symbols, struct dk_frames *frames, const struct dk_place *places,
                          unsigned count, const char *module, uintptr_t address)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        const struct dk_frame frame = {
            .function = keep(symbols, places[i].function),
            .file = keep(symbols, places[i].file),
            .line = places[i].line,
            .module = module,
            .address = address,
        };

        append(symbols, frames, &frame);
    }
}

/* What is known of @pc without debug information: a symbol's name, and the object file. */
static const char *name_at(Dwfl *dwfl, uintptr_t pc, const char **module_path)
{
    Dwfl_Module *module = dwfl ? dwfl_addrmodule(dwfl, pc) : NULL;
    const char *name = module ? dwfl_module_addrname(module, pc) : NULL;
    Dl_info info;

    *module_path = module ? dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, NULL) : NULL;
    if ((name && *module_path) || !dladdr((void *)pc, &info))
        return name;
    if (!*module_path)
        *module_path = info.dli_fname;
    return name ? name : info.dli_sname;
}

static void resolve(struct dk_symbols *symbols, const struct dk_stack *stack, struct dk_frames *frames)
{
    Dwfl *dwfl = (Dwfl *)symbols->dwfl;
    unsigned i;

    for (i = 0; i < stack->count && frames->count < DK_STACK_DEPTH; i++) {
        struct dk_place places[DK_PLACE_DEPTH];
        uintptr_t address = stack->addresses[i];
        /* The call itself lies before the address it returns to. */
        uintptr_t pc = address - 1;
        const char *path;
        const char *name;
        unsigned count;

        /* An object file that was loaded since. */
        if (dwfl && !dwfl_addrmodule(dwfl, pc))
            report_modules(dwfl);
        name = name_at(dwfl, pc, &path);
        path = keep(symbols, path);
        count = dwfl && i ? dk_dwarf_jumps(dwfl, address, stack->addresses[i - 1] - 1, places) : 0;
        append_places(symbols, frames, places, count, path, address);
        count = dwfl ? dk_dwarf_places(dwfl, pc, places) : 0;
        if (!count)
            places[count++] = (struct dk_place){ .function = name };
        append_places(symbols, frames, places, count, path, address);
    }
}

void dk_symbols_frames(struct dk_symbols *symbols, struct dk_stack *stack, struct dk_frames *frames)
{
    *frames = (struct dk_frames){ .count = 0 };
    if (!stack)
        return;
    pthread_mutex_lock(&symbols->lock);
    if (stack->frames) {
        *frames = *stack->frames;
    } else {
        start(symbols);
        resolve(symbols, stack, frames);
        stack->frames = dk_allocate(1, sizeof(*frames));
        if (stack->frames)
            *stack->frames = *frames;
    }
    pthread_mutex_unlock(&symbols->lock);
}
