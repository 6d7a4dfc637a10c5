/* SPDX-License-Identifier: MIT */
/*
 * The two views of a machine that is not coherent, and the lines between them.
 *
 * A line's reference is its fill copy if it has one, else DRAM; it is dirty when the cached view differs from
 * that. A fill copy is made when a device first overwrites the line, and is dropped when the line is written
 * back or refilled.
 *
 * One lock guards the lines whose fill bits share a word (a block), so that a bus master in one thread and
 * maintenance in another leave every line in a state that hardware could be in. Stores of the CPU take no
 * lock: a line is written back by atomic words, and refilled by a compare-and-swap for each word, so that
 * none of them is lost.
 *
 * A page that the CPU uses past its cache has no lines here: nothing is done to its cached view, whose bytes
 * are old, and a device that snoops meets DRAM there as any other does.
 *
 * The functions marked DK_UNSEEN touch lines that the program may be storing to at this moment, as a cache
 * does; a race detector has nothing to say there.
 */
#include "machine/machine.h"

#include "base/alloc.h"
#include <string.h>

#if defined(__clang__)
/* Clang goes on watching atomic accesses without the first, and inlines into functions that it watches
 * without the second. */
#define DK_UNSEEN __attribute__((disable_sanitizer_instrumentation, no_sanitize("thread")))
#else
#define DK_UNSEEN __attribute__((no_sanitize("thread")))
#endif
#define DK_UNSEEN_INLINE DK_UNSEEN __attribute__((always_inline)) inline

#define WORD sizeof(u64)
#define LINES_IN_BLOCK 64 /* bits of a word of dk_section.filled */
#define LARGEST_LINE 4096 /* as dk_memory_config.line allows */
#define LOCKS 256
#define LONG_RANGE (2ull << 20)

struct dk_cache {
    struct dk_memory *memory;
    u64 seed;
    unsigned line;                /* bytes */
    pthread_mutex_t locks[LOCKS]; /* by block */
};

struct line {
    char *cached;
    char *dram;
    char *fill;
    u64 *filled; /* the word with its fill bit */
    u64 bit;
    unsigned size;
};

static DK_UNSEEN_INLINE u64 load(const char *from)
{
    return __atomic_load_n((const u64 *)(const void *)from, __ATOMIC_RELAXED);
}

static DK_UNSEEN_INLINE void store(char *to, u64 value)
{
    __atomic_store_n((u64 *)(void *)to, value, __ATOMIC_RELAXED);
}

static DK_UNSEEN_INLINE const char *reference_of(const struct line *line)
{
    return *line->filled & line->bit ? line->fill : line->dram;
}

static DK_UNSEEN bool is_dirty(const struct line *line)
{
    const char *reference = reference_of(line);
    u64 differs = 0;
    unsigned at;

    for (at = 0; at < line->size; at += WORD)
        differs |= load(line->cached + at) ^ load(reference + at);
    return differs;
}

/* The cached view of a line at one moment, as far as its words go. */
struct snapshot {
    u64 words[LARGEST_LINE / WORD];
};

/* Returns whether what was saved is dirty. */
static DK_UNSEEN bool take_snapshot(const struct line *line, struct snapshot *snapshot)
{
    const char *reference = reference_of(line);
    u64 differs = 0;
    unsigned i;

    for (i = 0; i < line->size / WORD; i++) {
        snapshot->words[i] = load(line->cached + i * WORD);
        differs |= snapshot->words[i] ^ load(reference + i * WORD);
    }
    return differs;
}

static DK_UNSEEN void write_back(const struct line *line, const struct snapshot *snapshot)
{
    unsigned i;

    for (i = 0; i < line->size / WORD; i++)
        store(line->dram + i * WORD, snapshot->words[i]);
    *line->filled &= ~line->bit;
}

/* The line becomes DRAM's, but for words that the CPU has stored to since @snapshot. */
static DK_UNSEEN void refill(const struct line *line, const struct snapshot *snapshot)
{
    unsigned i;

    for (i = 0; i < line->size / WORD; i++) {
        u64 expected = snapshot->words[i];
        u64 wanted = load(line->dram + i * WORD);

        if (expected != wanted)
            __atomic_compare_exchange_n((u64 *)(void *)(line->cached + i * WORD), &expected, wanted, false,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED);
    }
    *line->filled &= ~line->bit;
}

static DK_UNSEEN void save_fill(const struct line *line)
{
    unsigned at;

    if (*line->filled & line->bit)
        return;
    for (at = 0; at < line->size; at += WORD)
        store(line->fill + at, load(line->dram + at));
    *line->filled |= line->bit;
}

static DK_UNSEEN_INLINE struct line line_at(const struct dk_cache *cache, const struct dk_section *section,
                                            phys_addr_t phys)
{
    u64 offset = phys - section->base;
    u64 index = offset / cache->line;

    return (struct line){
        .cached = section->cached + offset,
        .dram = section->dram + offset,
        .fill = section->fill + offset,
        .filled = &section->filled[index / LINES_IN_BLOCK],
        .bit = 1ull << index % LINES_IN_BLOCK,
        .size = cache->line,
    };
}

/* What is being done to the lines from @start up to @end. */
struct visit {
    phys_addr_t start;
    phys_addr_t end;
    u64 number; /* of an eviction */
};

typedef void visitor(struct dk_cache *cache, const struct line *line, phys_addr_t phys,
                     const struct visit *visit);

static DK_UNSEEN void visit_clean(struct dk_cache *cache, const struct line *line, phys_addr_t phys,
                                  const struct visit *visit)
{
    struct snapshot snapshot;

    (void)cache;
    (void)phys;
    (void)visit;
    /* Most lines are clean, and need no snapshot. */
    if (is_dirty(line) && take_snapshot(line, &snapshot))
        write_back(line, &snapshot);
}

static DK_UNSEEN void visit_invalidate(struct dk_cache *cache, const struct line *line, phys_addr_t phys,
                                       const struct visit *visit)
{
    bool partial = phys < visit->start || visit->end - phys < cache->line;
    struct snapshot snapshot;

    if (take_snapshot(line, &snapshot) && partial)
        write_back(line, &snapshot);
    refill(line, &snapshot);
}

/* A well mixed hash of three numbers: the finaliser of MurmurHash3, public domain, over their sum of odd
 * multiples. */
static u64 mix(u64 a, u64 b, u64 c)
{
    u64 hash = a * 0x9e3779b97f4a7c15ull + b * 0xc2b2ae3d27d4eb4full + c * 0x165667b19e3779f9ull;

    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdull;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ull;
    return hash ^ hash >> 33;
}

static DK_UNSEEN void visit_evict(struct dk_cache *cache, const struct line *line, phys_addr_t phys,
                                  const struct visit *visit)
{
    struct snapshot snapshot;

    if (mix(cache->seed, visit->number, phys / cache->line) % 4)
        return;
    if (take_snapshot(line, &snapshot))
        write_back(line, &snapshot);
    else
        refill(line, &snapshot);
}

static pthread_mutex_t *block_lock(struct dk_cache *cache, phys_addr_t phys)
{
    return &cache->locks[phys / cache->line / LINES_IN_BLOCK % LOCKS];
}

/* The first address above @phys that belongs to another block; blocks divide sections evenly. */
static phys_addr_t block_end(const struct dk_cache *cache, phys_addr_t phys)
{
    u64 block = (u64)cache->line * LINES_IN_BLOCK;

    return (phys / block + 1) * block;
}

/* The whole lines [first, end), all of them RAM and in one block. */
static DK_UNSEEN_INLINE void visit_block(struct dk_cache *cache, phys_addr_t first, phys_addr_t end,
                                         const struct visit *visit, visitor *visitor)
{
    const struct dk_section *section = dk_memory_section(cache->memory, first);
    phys_addr_t phys;

    if (!section)
        return;
    pthread_mutex_lock(block_lock(cache, first));
    for (phys = first; phys < end; phys += cache->line) {
        struct line line = line_at(cache, section, phys);

        if (!dk_section_page_uncached(section, phys))
            visitor(cache, &line, phys, visit);
    }
    pthread_mutex_unlock(block_lock(cache, first));
}

static phys_addr_t lower(phys_addr_t a, phys_addr_t b)
{
    return a < b ? a : b;
}

/* The whole lines [first, end), but for what is not RAM. A page holds whole lines, so RAM ends between lines.
 */
static DK_UNSEEN_INLINE void visit_lines(struct dk_cache *cache, phys_addr_t first, phys_addr_t end,
                                         const struct visit *visit, visitor *visitor)
{
    bool whole = dk_memory_is_ram(cache->memory, first, end - first);
    phys_addr_t stop;

    for (; first < end; first = stop) {
        /* Now and then in a long range: what nobody ever touched has nothing to visit. */
        if (end - first >= LONG_RANGE && !(first & (LONG_RANGE - 1))) {
            stop = dk_memory_touched(cache->memory, first, end);
            if (stop > first)
                continue;
        }
        stop = lower(end, block_end(cache, first));
        if (!whole) {
            stop = lower(stop, (first | (PAGE_SIZE - 1)) + 1);
            if (!dk_memory_is_ram(cache->memory, first, stop - first))
                continue;
        }
        visit_block(cache, first, stop, visit, visitor);
    }
}

static phys_addr_t line_down(const struct dk_cache *cache, phys_addr_t phys)
{
    return phys & ~(phys_addr_t)(cache->line - 1);
}

static bool bad_range(const struct dk_cache *cache, phys_addr_t phys, u64 size)
{
    return !cache || !size || phys >> DK_PHYS_BITS || size > (1ull << DK_PHYS_BITS) - phys;
}

DK_UNSEEN void dk_cache_clean(struct dk_cache *cache, phys_addr_t phys, u64 size)
{
    struct visit visit = { .start = phys, .end = phys + size };

    if (bad_range(cache, phys, size))
        return;
    visit_lines(cache, line_down(cache, phys), line_down(cache, visit.end - 1) + cache->line, &visit,
                visit_clean);
}

DK_UNSEEN void dk_cache_invalidate(struct dk_cache *cache, phys_addr_t phys, u64 size)
{
    struct visit visit = { .start = phys, .end = phys + size };

    if (bad_range(cache, phys, size))
        return;
    visit_lines(cache, line_down(cache, phys), line_down(cache, visit.end - 1) + cache->line, &visit,
                visit_invalidate);
}

DK_UNSEEN void dk_cache_evict(struct dk_cache *cache, u64 number, phys_addr_t phys, u64 size)
{
    struct visit visit = { .start = phys, .end = phys + size, .number = number };
    phys_addr_t first, end;

    if (bad_range(cache, phys, size) || !cache->seed)
        return;
    first = line_down(cache, phys);
    end = line_down(cache, visit.end - 1) + cache->line;
    /* The lines either side stay in the range's own pages: the next page may be in use uncached, where no
     * line may be. */
    if (first & (PAGE_SIZE - 1))
        first -= cache->line;
    if (end & (PAGE_SIZE - 1))
        end += cache->line;
    visit_lines(cache, first, end, &visit, visit_evict);
}

static DK_UNSEEN void visit_renew(struct dk_cache *cache, const struct line *line, phys_addr_t phys,
                                  const struct visit *visit)
{
    struct snapshot snapshot;

    (void)cache;
    (void)phys;
    (void)visit;
    if (!(*line->filled & line->bit))
        return;
    if (take_snapshot(line, &snapshot))
        write_back(line, &snapshot);
    else
        refill(line, &snapshot);
}

/* Mostly no device has been there: then a look at each block's word is all. */
DK_UNSEEN void dk_cache_renew(struct dk_cache *cache, phys_addr_t phys, u64 size)
{
    struct visit visit = { .start = phys, .end = phys + size };
    phys_addr_t end, stop;

    if (bad_range(cache, phys, size))
        return;
    end = line_down(cache, visit.end);
    for (phys = line_down(cache, phys + (cache->line - 1)); phys < end; phys = stop) {
        const struct dk_section *section = dk_memory_section(cache->memory, phys);

        stop = lower(end, block_end(cache, phys));
        if (section &&
            __atomic_load_n(&section->filled[(phys - section->base) / cache->line / LINES_IN_BLOCK],
                            __ATOMIC_RELAXED))
            visit_block(cache, phys, stop, &visit, visit_renew);
    }
}

/* What becomes of a part of a line. */
typedef bool part_visitor(const struct line *line, u64 offset, u64 size, char *into);

static DK_UNSEEN bool copy_refill(const struct line *line, u64 offset, u64 size, char *into)
{
    const char *from = (*line->filled & line->bit ? line->dram : line->cached) + offset;
    u64 at;

    for (at = 0; at < size; at++)
        into[at] = *(const volatile char *)(from + at);
    return true;
}

static DK_UNSEEN bool is_part_clean(const struct line *line, u64 offset, u64 size, char *into)
{
    const volatile char *cached = line->cached + offset, *reference = reference_of(line) + offset;
    u64 at;

    (void)into;
    for (at = 0; at < size && cached[at] == reference[at]; at++)
        continue;
    return at == size;
}

/* Calls @visit for each line's part of [phys, phys + size), until it returns false: then so does this. */
static DK_UNSEEN bool visit_parts(struct dk_cache *cache, phys_addr_t phys, u64 size, char *into,
                                  part_visitor *visit)
{
    const struct dk_section *section = dk_memory_section(cache->memory, phys);
    phys_addr_t start, end = phys + size;
    bool go_on = section;
    u64 run;

    for (; go_on && phys < end; phys += run) {
        struct line line;

        start = line_down(cache, phys);
        line = line_at(cache, section, start);
        run = lower(end, start + cache->line) - phys;
        pthread_mutex_lock(block_lock(cache, phys));
        go_on = visit(&line, phys - start, run, into);
        pthread_mutex_unlock(block_lock(cache, phys));
        if (into)
            into += run;
    }
    return go_on;
}

void dk_cache_refills(struct dk_cache *cache, phys_addr_t phys, char *into, u64 size)
{
    visit_parts(cache, phys, size, into, copy_refill);
}

bool dk_cache_is_dirty(struct dk_cache *cache, phys_addr_t phys, u64 size)
{
    return !visit_parts(cache, phys, size, NULL, is_part_clean);
}

/* The widest access of a device that starts at @address and fits in @size bytes: 8, 4, 2 or 1. */
static unsigned widest(const char *address, u64 size)
{
    unsigned width = 8;

    while (width > 1 && (width > size || (uintptr_t)address % width))
        width /= 2;
    return width;
}

/* One access of a device: @width bytes between memory at @address, aligned to that, and the model's own. */
static void put_one(void *address, const char *from, unsigned width)
{
    uint32_t l;
    uint16_t w;

    switch (width) {
    case 4:
        memcpy(&l, from, sizeof(l));
        __atomic_store_n((uint32_t *)address, l, __ATOMIC_RELEASE);
        break;
    case 2:
        memcpy(&w, from, sizeof(w));
        __atomic_store_n((uint16_t *)address, w, __ATOMIC_RELEASE);
        break;
    default:
        __atomic_store_n((uint8_t *)address, (uint8_t)*from, __ATOMIC_RELEASE);
    }
}

static void get_one(char *to, const void *address, unsigned width)
{
    uint32_t l;
    uint16_t w;

    switch (width) {
    case 4:
        l = __atomic_load_n((const uint32_t *)address, __ATOMIC_ACQUIRE);
        memcpy(to, &l, sizeof(l));
        break;
    case 2:
        w = __atomic_load_n((const uint16_t *)address, __ATOMIC_ACQUIRE);
        memcpy(to, &w, sizeof(w));
        break;
    default:
        *to = (char)__atomic_load_n((const uint8_t *)address, __ATOMIC_ACQUIRE);
    }
}

static void put(char *to, const char *from, u64 size)
{
    unsigned width;
    uint64_t q;

    for (; size; to += width, from += width, size -= width) {
        width = widest(to, size);
        if (width < WORD) {
            put_one(to, from, width);
            continue;
        }
        for (; size >= 2 * WORD; to += WORD, from += WORD, size -= WORD) {
            memcpy(&q, from, WORD);
            __atomic_store_n((uint64_t *)(void *)to, q, __ATOMIC_RELEASE);
        }
        memcpy(&q, from, WORD);
        __atomic_store_n((uint64_t *)(void *)to, q, __ATOMIC_RELEASE);
    }
}

static void get(char *to, const char *from, u64 size)
{
    unsigned width;
    uint64_t q;

    for (; size; to += width, from += width, size -= width) {
        width = widest(from, size);
        if (width < WORD) {
            get_one(to, from, width);
            continue;
        }
        for (; size >= 2 * WORD; to += WORD, from += WORD, size -= WORD) {
            q = __atomic_load_n((const uint64_t *)(const void *)from, __ATOMIC_ACQUIRE);
            memcpy(to, &q, WORD);
        }
        q = __atomic_load_n((const uint64_t *)(const void *)from, __ATOMIC_ACQUIRE);
        memcpy(to, &q, WORD);
    }
}

static phys_addr_t section_end(const struct dk_section *section)
{
    return section->base + DK_SLOT_SIZE;
}

/* A device that does not snoop writes [phys, phys + size), inside one block. */
static DK_UNSEEN void write_block(struct dk_cache *cache, const struct dk_section *section, phys_addr_t phys,
                                  const char *from, u64 size)
{
    phys_addr_t at;

    pthread_mutex_lock(block_lock(cache, phys));
    for (at = line_down(cache, phys); at < phys + size; at += cache->line) {
        struct line line = line_at(cache, section, at);

        save_fill(&line);
    }
    put(section->dram + (phys - section->base), from, size);
    pthread_mutex_unlock(block_lock(cache, phys));
}

/* A device that snoops writes [phys, phys + size), inside one line: in both views. */
static DK_UNSEEN void write_line(struct dk_cache *cache, const struct dk_section *section, phys_addr_t phys,
                                 const char *from, u64 size)
{
    struct line line = line_at(cache, section, line_down(cache, phys));
    struct snapshot snapshot;

    pthread_mutex_lock(block_lock(cache, phys));
    if (take_snapshot(&line, &snapshot))
        write_back(&line, &snapshot);
    put(section->dram + (phys - section->base), from, size);
    refill(&line, &snapshot);
    pthread_mutex_unlock(block_lock(cache, phys));
}

static phys_addr_t page_end(phys_addr_t phys)
{
    return (phys | (PAGE_SIZE - 1)) + 1;
}

static int device_write(struct dk_machine *machine, phys_addr_t phys, const char *from, u64 size, bool snoops)
{
    const struct dk_section *section;
    u64 run;

    for (; size; phys += run, from += run, size -= run) {
        section = dk_memory_section(machine->memory, phys);
        if (!section)
            return -ENOMEM;
        if (machine->cache && snoops && !dk_section_page_uncached(section, phys)) {
            run = lower(size, machine->cache->line - (phys - line_down(machine->cache, phys)));
            write_line(machine->cache, section, phys, from, run);
        } else if (machine->cache) {
            /* A device that snoops meets another kind of page behind this one. */
            run = lower(size, lower(block_end(machine->cache, phys), page_end(phys)) - phys);
            write_block(machine->cache, section, phys, from, run);
        } else {
            run = lower(size, section_end(section) - phys);
            put(section->cached + (phys - section->base), from, run);
        }
    }
    return 0;
}

int dk_cache_device_write(struct dk_machine *machine, phys_addr_t phys, const void *from, u64 size)
{
    return device_write(machine, phys, from, size, false);
}

int dk_cache_snoop_write(struct dk_machine *machine, phys_addr_t phys, const void *from, u64 size)
{
    return device_write(machine, phys, from, size, true);
}

int dk_cache_device_read(struct dk_machine *machine, phys_addr_t phys, void *into, u64 size)
{
    const struct dk_section *section;
    char *to = into;
    u64 run;

    for (; size; phys += run, to += run, size -= run) {
        section = dk_memory_section(machine->memory, phys);
        if (!section)
            return -ENOMEM;
        run = lower(size, section_end(section) - phys);
        get(to, section->dram + (phys - section->base), run);
    }
    return 0;
}

int dk_cache_snoop_read(struct dk_machine *machine, phys_addr_t phys, void *into, u64 size)
{
    dk_cache_clean(machine->cache, phys, size);
    return dk_cache_device_read(machine, phys, into, size);
}

struct dk_cache *dk_cache_create(struct dk_memory *memory, u64 seed)
{
    struct dk_cache *cache = dk_allocate(1, sizeof(*cache));
    unsigned i;

    if (!cache)
        return NULL;
    cache->memory = memory;
    cache->seed = seed;
    cache->line = dk_memory_line(memory);
    for (i = 0; i < LOCKS; i++)
        pthread_mutex_init(&cache->locks[i], NULL);
    return cache;
}

void dk_cache_destroy(struct dk_cache *cache)
{
    unsigned i;

    if (!cache)
        return;
    for (i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&cache->locks[i]);
    dk_release(cache);
}
