/* SPDX-License-Identifier: MIT */
/*
 * General allocators as peers of the pool rows. Each is loaded behind the back of the program's own malloc,
 * which it would replace if it were linked.
 */
#include "bench.h"

#include <dlfcn.h>
#include <string.h>

/* A sanitizer ends a process that loads something with a malloc() of its own. */
#if defined(__has_feature)
#define SANITIZED (__has_feature(thread_sanitizer) || __has_feature(address_sanitizer))
#elif defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

const char dk_bench_mimalloc[] = "mimalloc";
const char dk_bench_jemalloc[] = "jemalloc";

struct library {
    const char *name;
    const char *file;
    const char *alloc, *free; /* its functions' names */
    bool tried;
    struct bench_allocator functions;
};

/* dlsym() returns a pointer to data; C has no other way to make a function's of it. */
static bool find(void *handle, const char *name, void *function)
{
    void *symbol = handle ? dlsym(handle, name) : NULL;

    memcpy(function, &symbol, sizeof(symbol));
    return symbol;
}

const struct bench_allocator *dk_bench_allocator(const char *name)
{
    /* What is loaded is the process's, for good. */
    static struct library libraries[] = {
        { .name = dk_bench_mimalloc, .file = "libmimalloc.so.2", .alloc = "mi_malloc", .free = "mi_free" },
        { .name = dk_bench_jemalloc, .file = "libjemalloc.so.2", .alloc = "malloc", .free = "free" },
    };

    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
        struct library *library = &libraries[i];

        if (strcmp(library->name, name) != 0)
            continue;
        if (!library->tried) {
            void *handle = SANITIZED ? NULL : dlopen(library->file, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);

            library->tried = true;
            if (!find(handle, library->alloc, &library->functions.alloc) ||
                !find(handle, library->free, &library->functions.free))
                library->functions.alloc = NULL;
        }
        return library->functions.alloc ? &library->functions : NULL;
    }
    return NULL;
}
