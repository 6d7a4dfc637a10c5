/* SPDX-License-Identifier: MIT */
/*
 * A machine's memory: making it, giving it up, and changing what its addresses are.
 */
#include "base/alloc.h"
#include "base/context.h"
#include "base/log.h"
#include "mm/cma.h"
#include "mm/page-lists.h"
#include "mm/pasr.h"
#include "mm/private.h"
#include "mm/reclaim.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Above the last physical address there can be. */
#define PHYS_END ((phys_addr_t)1 << DK_PHYS_BITS)

void *dk_memory_machine(const struct dk_memory *memory)
{
    return memory->machine;
}

const struct dk_hooks *dk_memory_hooks(const struct dk_memory *memory)
{
    return memory->hooks;
}

unsigned dk_memory_line(const struct dk_memory *memory)
{
    return memory->line;
}

bool dk_memory_two_views(const struct dk_memory *memory)
{
    return memory->two_views;
}

phys_addr_t dk_memory_last(const struct dk_memory *memory)
{
    return memory->last;
}

bool dk_memory_forked(const struct dk_memory *memory)
{
    return __atomic_load_n(&memory->forked, __ATOMIC_ACQUIRE);
}

static u64 count_free(struct dk_memory *memory)
{
    u64 pages = 0;
    unsigned i;

    pthread_mutex_lock(&memory->pages_lock);
    for (i = 0; i < DK_ZONE_COUNT; i++)
        pages += memory->zones[i].free;
    pages += dk_page_lists_held(memory);
    pthread_mutex_unlock(&memory->pages_lock);
    return pages;
}

u64 dk_memory_free_pages(struct dk_memory *memory)
{
    dk_memory_end_quarantine(memory, "nr_free_pages");
    return count_free(memory);
}

bool dk_memory_has_free(struct dk_memory *memory, u64 pages)
{
    return count_free(memory) >= pages || dk_memory_free_pages(memory) >= pages;
}

/* @sleeps: in atomic context; else it must not fail (__GFP_NOFAIL), and may not sleep. */
static void report_sleeping(struct dk_memory *memory, bool sleeps, const char *call)
{
    struct dk_finding finding = {
        .class_name = "sleeps-in-atomic",
        .call = call,
        .dma = (dma_addr_t)-1,
        .what =
            "An allocation that may sleep was made in atomic context: under a spinlock, with interrupts disabled, or in "
            "an interrupt handler.",
        .advice = "Use GFP_ATOMIC here, or allocate before entering atomic context.",
    };

    if (!sleeps) {
        finding.what =
            "An allocation that must not fail (__GFP_NOFAIL) may not wait for memory either, so it may fail.";
        finding.advice =
            "Use __GFP_NOFAIL only with GFP_KERNEL, GFP_NOFS or GFP_NOIO, where sleeping is allowed.";
    }
    dk_hooks_finding(memory->hooks, &finding);
}

void dk_might_sleep_gfp(struct dk_memory *memory, gfp_t gfp, const char *call)
{
    bool sleeps = gfpflags_allow_blocking(gfp) && dk_context()->atomic_depth;

    if (__builtin_expect(memory && (sleeps || (gfp & (__GFP_NOFAIL | __GFP_DIRECT_RECLAIM)) == __GFP_NOFAIL),
                         0))
        report_sleeping(memory, sleeps, call);
}

/* ---- Making it ---- */

/* The pages that lie wholly within the ranges. Error pointers: -EINVAL, -ENOMEM. */
static struct dk_ram_map *read_ranges(const struct dk_memory_config *config)
{
    struct dk_ram_map *map = dk_ram_map_allocate((size_t)config->range_count + 1);
    phys_addr_t before = 0;
    unsigned i;

    if (!map)
        return ERR_PTR(-ENOMEM);
    for (i = 0; i < config->range_count; i++) {
        const struct dk_memory_range *range = &config->ranges[i];
        phys_addr_t base = (range->base + PAGE_SIZE - 1) & DK_PHYS_MASK;
        phys_addr_t end = (range->base + range->size) & DK_PHYS_MASK;

        if (range->base >= PHYS_END || range->size > PHYS_END - range->base || range->base < before) {
            dk_log(DK_LOG_ERROR, "memory 0x%llx + 0x%llx lies above 2^%d, or overlaps the range before it",
                   range->base, range->size, DK_PHYS_BITS);
            dk_release(map);
            return ERR_PTR(-EINVAL);
        }
        before = range->base + range->size;
        if (base < end)
            map->ranges[map->count++] = (struct dk_ram){ base, end, 0 };
    }
    return map;
}

/* Marks the top @bytes of RAM as highmem, in place; returns where they start. */
static phys_addr_t mark_highmem(struct dk_ram_map *map, u64 bytes)
{
    phys_addr_t start = PHYS_END;
    u64 total = 0, left = bytes & DK_PHYS_MASK;
    size_t i;

    for (i = 0; i < map->count; i++)
        total += map->ranges[i].end - map->ranges[i].base;
    if (!left)
        return start;
    if (left >= total) {
        dk_log(DK_LOG_WARNING, "highmem=0x%llx is ignored: there are only 0x%llx bytes of memory", bytes,
               total);
        return start;
    }
    for (i = map->count; left; i--) {
        struct dk_ram *range = &map->ranges[i - 1];
        u64 size = range->end - range->base;

        if (size <= left) {
            range->flags = DK_RAM_HIGHMEM;
            start = range->base;
            left -= size;
            continue;
        }
        /* The map has room for one range more, for this. */
        start = range->end - left;
        memmove(range + 2, range + 1, (map->count - i) * sizeof(*range));
        range[1] = (struct dk_ram){ start, range->end, DK_RAM_HIGHMEM };
        range->end = start;
        map->count++;
        break;
    }
    return start;
}

/* A file whose offsets are physical addresses. -errno on failure. */
static int make_file(const char *name)
{
    struct rlimit limit;
    int fd, error;

    /* A file beyond the limit would not only fail: the process gets SIGXFSZ, which ends it. */
    if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur < PHYS_END) {
        dk_log(DK_LOG_ERROR,
               "a machine's memory is a sparse file, and this process may not have large ones (ulimit -f)");
        return -EFBIG;
    }
    if (dk_fault_point())
        return -ENOMEM;
    fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE ? -EMFILE : -ENOMEM;
    if (ftruncate(fd, (off_t)PHYS_END)) {
        error = errno;
        close(fd);
        dk_log(DK_LOG_ERROR, "the machine's memory file cannot be sized: %s", strerror(error));
        return -ENOMEM;
    }
    return fd;
}

/* What dk_memory_destroy() undoes, for a memory that is in no list. */
static void release(struct dk_memory *memory)
{
    struct dk_ram_map *map = memory->map;

    dk_cma_finish(memory);
    dk_pasr_finish(memory->pasr);
    dk_slab_finish(memory->slab);
    dk_movable_finish(memory->movable);
    dk_vmalloc_finish(memory->vmalloc);
    dk_page_lists_destroy(memory->lists);
    dk_reclaim_destroy(memory->reclaim);
    dk_zones_finish(memory);
    dk_sections_finish(memory);
    dk_memory_finish_slots(memory);
    if (memory->cached_fd >= 0)
        close(memory->cached_fd);
    if (memory->dram_fd >= 0)
        close(memory->dram_fd);
    while (map) {
        struct dk_ram_map *previous = map->previous;

        dk_release(map);
        map = previous;
    }
    pthread_cond_destroy(&memory->freed);
    pthread_mutex_destroy(&memory->regions_lock);
    pthread_mutex_destroy(&memory->pages_lock);
    pthread_mutex_destroy(&memory->section_lock);
    dk_release(memory);
}

static int start(struct dk_memory *memory, const struct dk_memory_config *config)
{
    struct dk_ram_map *map = read_ranges(config);
    phys_addr_t highmem_start;
    int error;

    if (IS_ERR(map))
        return (int)PTR_ERR(map);
    highmem_start = mark_highmem(map, config->highmem);
    memory->last = map->count ? map->ranges[map->count - 1].end - 1 : 0;
    dk_ram_map_publish(memory, map);
    error = dk_zones_start(memory, config, highmem_start);
    if (error)
        return error;
    memory->lists = dk_page_lists_create();
    memory->reclaim = dk_reclaim_create(memory);
    if (!memory->lists || !memory->reclaim)
        return -ENOMEM;
    memory->cached_fd = make_file("dmakit-cached");
    if (memory->cached_fd < 0)
        return memory->cached_fd;
    if (memory->two_views) {
        memory->dram_fd = make_file("dmakit-dram");
        if (memory->dram_fd < 0)
            return memory->dram_fd;
    }
    memory->slab = dk_slab_start(memory);
    memory->vmalloc = dk_vmalloc_start(memory);
    memory->movable = dk_movable_start(config->stop_by_signal);
    if (!memory->slab || !memory->vmalloc || !memory->movable)
        return -ENOMEM;
    return dk_current_add(memory);
}

struct dk_memory *dk_memory_create(const struct dk_memory_config *config)
{
    pthread_condattr_t monotonic;
    struct dk_memory *memory;
    int error;

    if (config->line < 16 || config->line > 4096 || (config->line & (config->line - 1))) {
        dk_log(DK_LOG_ERROR, "a cache line of %u bytes is no power of two from 16 to 4096", config->line);
        return ERR_PTR(-EINVAL);
    }
    memory = dk_allocate(1, sizeof(*memory));
    if (!memory)
        return ERR_PTR(-ENOMEM);
    memory->two_views = config->two_views;
    memory->line = config->line;
    memory->seed = config->seed;
    memory->slab_debug = config->slab_debug;
    memory->quarantine = config->quarantine;
    memory->hooks = config->hooks;
    memory->machine = config->machine;
    memory->cached_fd = -1;
    memory->dram_fd = -1;
    INIT_LIST_HEAD(&memory->slots);
    INIT_LIST_HEAD(&memory->areas);
    INIT_LIST_HEAD(&memory->regions);
    INIT_LIST_HEAD(&memory->allocators);
    pthread_mutex_init(&memory->regions_lock, NULL);
    pthread_mutex_init(&memory->pages_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&memory->freed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&memory->section_lock, NULL);
    error = start(memory, config);
    if (error) {
        release(memory);
        return ERR_PTR(error);
    }
    return memory;
}

void dk_memory_destroy(struct dk_memory *memory)
{
    /*
     * In a child made by fork() nothing is taken apart: another thread of the parent may have been changing
     * it. The child's copy goes with the child.
     */
    if (memory && dk_current_remove(memory))
        release(memory);
}

/* ---- Changing what addresses are ---- */

/* What is done to each piece of a range: a run of pages of one zone that could be given out. */
enum piece_step {
    IS_FREE, /* asks whether all of it is */
    PREPARE, /* makes sure that taking it cannot fail */
    TAKE,    /* out of the page allocator */
};

/* Does @step to the pieces of [base, end), up to the first that is in use (IS_FREE) or lacks memory
 * (PREPARE): false. Under pages_lock. */
static bool each_piece(struct dk_memory *memory, phys_addr_t base, phys_addr_t end, enum piece_step step)
{
    const struct dk_ram_map *map = dk_ram_map(memory);
    const struct dk_ram *range = dk_ram_at_or_above(map, base);
    const struct dk_ram *past = map->ranges + map->count;

    for (; range && range < past && range->base < end; range++) {
        u64 pfn = (range->base > base ? range->base : base) >> PAGE_SHIFT;
        u64 last = (range->end < end ? range->end : end) >> PAGE_SHIFT;

        while (!(range->flags & DK_RAM_RESERVED) && pfn < last) {
            struct dk_zone *zone = dk_zone_of(memory, pfn);
            u64 until = last < zone->end ? last : zone->end;

            if (step == IS_FREE && dk_buddy_first_used(memory, zone, pfn, until) != until)
                return false;
            if (step == PREPARE && (!dk_extents_grow(zone, map->count + 1) || !dk_page_get(memory, pfn) ||
                                    !dk_page_get(memory, until - 1)))
                return false;
            if (step == TAKE)
                dk_buddy_remove(memory, zone, pfn, until);
            pfn = until;
        }
    }
    return true;
}

int dk_memory_reserve(struct dk_memory *memory, phys_addr_t base, u64 size, bool map)
{
    phys_addr_t from = base & DK_PHYS_MASK, end;
    struct dk_ram_map *changed;
    int error = 0;

    if (!size || from >= PHYS_END)
        return 0;
    /* Whole pages: a page of which a part is reserved cannot be given out. */
    end = size > PHYS_END - base ? PHYS_END : (base + size + PAGE_SIZE - 1) & DK_PHYS_MASK;
    pthread_mutex_lock(&memory->pages_lock);
    dk_page_lists_close(memory);
    changed = dk_ram_map_change(dk_ram_map(memory), from, end, DK_RAM_RESERVED | (map ? 0 : DK_RAM_NO_MAP));
    if (!changed)
        error = -ENOMEM;
    else if (!each_piece(memory, from, end, IS_FREE))
        error = -EBUSY;
    else if (!each_piece(memory, from, end, PREPARE))
        error = -ENOMEM;
    if (error) {
        dk_release(changed);
    } else {
        each_piece(memory, from, end, TAKE);
        pthread_mutex_lock(&memory->section_lock);
        dk_ram_map_publish(memory, changed);
        if (!map)
            dk_section_forget_linear(memory, from, end);
        pthread_mutex_unlock(&memory->section_lock);
    }
    dk_page_lists_open(memory);
    pthread_mutex_unlock(&memory->pages_lock);
    return error;
}

bool dk_memory_has_page(const struct dk_memory *memory, phys_addr_t phys)
{
    const struct dk_ram *range = dk_ram_find(memory, phys);

    return range && !(range->flags & DK_RAM_ADDED);
}

int dk_memory_add(struct dk_memory *memory, phys_addr_t base, u64 size)
{
    const struct dk_ram *range;
    struct dk_ram_map *changed;
    int error = 0;

    if (!size || ((base | size) & (PAGE_SIZE - 1)) || base >= PHYS_END || size > PHYS_END - base)
        return -EINVAL;
    /* pages_lock keeps dk_memory_reserve() from changing the map in between. */
    pthread_mutex_lock(&memory->pages_lock);
    range = dk_ram_at_or_above(dk_ram_map(memory), base);
    if (range && range->base < base + size) {
        error = -EBUSY;
    } else {
        changed = dk_ram_map_change(dk_ram_map(memory), base, base + size, DK_RAM_RESERVED | DK_RAM_ADDED);
        if (changed) {
            pthread_mutex_lock(&memory->section_lock);
            dk_ram_map_publish(memory, changed);
            pthread_mutex_unlock(&memory->section_lock);
        } else {
            error = -ENOMEM;
        }
    }
    pthread_mutex_unlock(&memory->pages_lock);
    return error;
}

/* As mmap(). A sanitizer takes that for a store to all of the range, which races with the threads that use
 * it. */
static void *map_unseen(void *address, size_t size, int fd, phys_addr_t phys)
{
    const int protection = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;

#ifdef SYS_mmap2
    return (void *)syscall(SYS_mmap2, address, size, protection, flags, fd, (long)(phys >> 12));
#else
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, (long)phys);
#endif
}

static int show(struct dk_memory *memory, void *address, phys_addr_t phys, u64 size, int fd, bool same)
{
    void *shown;

    if (!size || (((uintptr_t)address | phys | size) & (PAGE_SIZE - 1)) ||
        !dk_memory_is_ram(memory, phys, size))
        return -EINVAL;
    if (dk_memory_forked(memory) || dk_fault_point())
        return -ENOMEM;
    shown = same ? map_unseen(address, (size_t)size, fd, phys)
                 : mmap(address, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
                        fd, (off_t)phys);
    return shown == MAP_FAILED ? -ENOMEM : 0;
}

int dk_memory_show(struct dk_memory *memory, void *address, phys_addr_t phys, u64 size, bool uncached)
{
    int fd = uncached && memory->two_views ? memory->dram_fd : memory->cached_fd;

    return show(memory, address, phys, size, fd, false);
}

int dk_memory_show_copy(struct dk_memory *memory, void *address, phys_addr_t phys, u64 size)
{
    return show(memory, address, phys, size, memory->cached_fd, true);
}

void dk_memory_tell_freed(const struct dk_memory *memory, phys_addr_t phys, u64 size, const char *call,
                          struct dk_freed *freed)
{
    bool used =
        memory->hooks->memory_freed(memory->hooks->data, phys, size, call, freed ? &freed->stack : NULL);

    if (freed)
        freed->used = used;
}
