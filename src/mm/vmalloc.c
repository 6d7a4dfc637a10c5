/* SPDX-License-Identifier: MIT */
#include "mm/vmalloc.h"

#include "base/alloc.h"
#include "base/log.h"
#include <dmakit/vmalloc.h>
#include <string.h>
#include <sys/mman.h>

/*
 * A process has some 65,000 mappings, and each run of pages that is not contiguous needs one: a large area is
 * made of runs, about this many.
 */
#define RUNS_PER_AREA 1024

struct dk_area {
    char *start;
    size_t count; /* pages; an unmapped one follows, so that an overrun faults */
    enum dk_area_kind kind;
    unsigned run_order; /* VMALLOC: pages were allocated in blocks of this order */
    u64 number;         /* grows with each area */
    struct page *pages[];
};

/* A piece of address space that areas are cut from. */
struct dk_arena {
    struct list_head link;
    char *start;
    size_t size, used; /* bytes; above @used nothing was ever cut */
};

struct dk_vmalloc_state {
    pthread_mutex_t lock;
    struct list_head arenas; /* newest first */
    struct dk_area **areas;  /* sorted by address */
    size_t count, capacity;
    u64 number;
};

struct dk_vmalloc_state *dk_vmalloc_start(struct dk_memory *memory)
{
    struct dk_vmalloc_state *state = dk_allocate(1, sizeof(*state));

    (void)memory;
    if (!state)
        return NULL;
    pthread_mutex_init(&state->lock, NULL);
    INIT_LIST_HEAD(&state->arenas);
    return state;
}

void dk_vmalloc_finish(struct dk_vmalloc_state *state)
{
    struct dk_arena *arena, *following;
    size_t i;

    if (!state)
        return;
    for (i = 0; i < state->count; i++)
        dk_release(state->areas[i]);
    dk_release(state->areas);
    list_for_each_entry_safe (arena, following, &state->arenas, link)
        dk_release(arena);
    pthread_mutex_destroy(&state->lock);
    dk_release(state);
}

/* ---- Address space. All under the lock ---- */

/* The index of the first area that ends above @address. */
static size_t area_at_or_above(const struct dk_vmalloc_state *state, const char *address)
{
    size_t low = 0, high = state->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct dk_area *area = state->areas[middle];

        if (area->start + (area->count << PAGE_SHIFT) > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static struct dk_area *area_around(const struct dk_vmalloc_state *state, const char *address)
{
    size_t index = area_at_or_above(state, address);

    return index < state->count && state->areas[index]->start <= address ? state->areas[index] : NULL;
}

/* The first gap of @size bytes in the part of @arena that was used before. */
static char *find_gap(const struct dk_vmalloc_state *state, const struct dk_arena *arena, size_t size)
{
    size_t index = area_at_or_above(state, arena->start);
    char *at = arena->start, *end = arena->start + arena->used;

    for (; index < state->count && state->areas[index]->start < end; index++) {
        const struct dk_area *area = state->areas[index];

        if ((size_t)(area->start - at) >= size)
            return at;
        at = area->start + ((area->count + 1) << PAGE_SHIFT);
    }
    return (size_t)(end - at) >= size ? at : NULL;
}

/* @size bytes of address space, fresh as long as there is any, so that a late access faults. */
static char *find_space(struct dk_memory *memory, struct dk_vmalloc_state *state, size_t size)
{
    size_t slots = (size >> DK_SLOT_SHIFT) + ((size & (DK_SLOT_SIZE - 1)) != 0);
    struct dk_arena *arena;
    char *start;

    list_for_each_entry (arena, &state->arenas, link) {
        if (arena->size - arena->used >= size) {
            start = arena->start + arena->used;
            arena->used += size;
            return start;
        }
    }
    list_for_each_entry (arena, &state->arenas, link) {
        start = find_gap(state, arena, size);
        if (start)
            return start;
    }
    arena = dk_allocate(1, sizeof(*arena));
    if (!arena)
        return NULL;
    arena->start = dk_memory_take_slots(memory, DK_SLOT_VMALLOC, slots);
    if (!arena->start) {
        dk_release(arena);
        return NULL;
    }
    arena->size = slots << DK_SLOT_SHIFT;
    arena->used = size;
    list_add(&arena->link, &state->arenas);
    return arena->start;
}

static void remove_at(struct dk_vmalloc_state *state, size_t index)
{
    state->count--;
    memmove(&state->areas[index], &state->areas[index + 1], (state->count - index) * sizeof(*state->areas));
}

/* Enters @area at free addresses. */
static bool place(struct dk_memory *memory, struct dk_vmalloc_state *state, struct dk_area *area)
{
    size_t index;

    if (state->count == state->capacity) {
        size_t capacity = state->capacity ? state->capacity * 2 : 16;
        struct dk_area **areas = dk_resize(state->areas, capacity, sizeof(*areas));

        if (!areas)
            return false;
        state->areas = areas;
        state->capacity = capacity;
    }
    area->start = find_space(memory, state, (area->count + 1) << PAGE_SHIFT);
    if (!area->start)
        return false;
    area->number = ++state->number;
    index = area_at_or_above(state, area->start);
    memmove(&state->areas[index + 1], &state->areas[index], (state->count - index) * sizeof(*state->areas));
    state->areas[index] = area;
    state->count++;
    return true;
}

/* Takes the pages of @area out of the address space. False: the host's out of mappings, and they stay. */
static bool hide(const struct dk_area *area)
{
    return mmap(area->start, area->count << PAGE_SHIFT, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

/* Shows the pages of @area, each physically contiguous run at once. */
static bool show(struct dk_memory *memory, const struct dk_area *area, bool uncached)
{
    size_t done = 0;

    while (done < area->count) {
        phys_addr_t phys = page_to_phys(area->pages[done]);
        size_t run = 1;

        while (done + run < area->count &&
               page_to_phys(area->pages[done + run]) == phys + ((phys_addr_t)run << PAGE_SHIFT))
            run++;
        if (dk_memory_show(memory, area->start + (done << PAGE_SHIFT), phys, (u64)run << PAGE_SHIFT,
                           uncached))
            return false;
        done += run;
    }
    return true;
}

/* ---- Areas ---- */

static struct dk_area *area_create(size_t count, enum dk_area_kind kind)
{
    struct dk_area *area;

    if (!count || count > (SIZE_MAX >> PAGE_SHIFT) / 2)
        return NULL;
    area = dk_allocate(1, sizeof(*area) + count * sizeof(struct page *));
    if (area) {
        area->count = count;
        area->kind = kind;
    }
    return area;
}

/* Gives @area addresses and shows its pages there. */
static bool area_map(struct dk_memory *memory, struct dk_area *area, bool uncached)
{
    struct dk_vmalloc_state *state = memory->vmalloc;
    bool shown = false;

    if (dk_memory_forked(memory))
        return false;
    pthread_mutex_lock(&state->lock);
    if (place(memory, state, area)) {
        shown = show(memory, area, uncached);
        if (!shown) {
            hide(area);
            remove_at(state, area_at_or_above(state, area->start));
        }
    }
    pthread_mutex_unlock(&state->lock);
    return shown;
}

static void free_run(struct dk_memory *memory, const struct dk_area *area, size_t first)
{
    dk_pages_give_marked(memory, area->pages[first], (size_t)1 << area->run_order, DK_PAGE_VMALLOC, "vfree");
}

void *dk_vmalloc_map(struct dk_memory *memory, struct page **pages, size_t count, enum dk_area_kind kind,
                     bool uncached)
{
    struct dk_area *area = area_create(count, kind);
    struct dk_memory *owner;
    size_t i;
    u64 pfn;

    if (!area)
        return NULL;
    for (i = 0; i < count; i++) {
        if (!dk_page_find(pages[i], &owner, &pfn) || owner != memory)
            goto release;
        area->pages[i] = pages[i];
    }
    if (!area_map(memory, area, uncached))
        goto release;
    return area->start;

release:
    dk_release(area);
    return NULL;
}

bool dk_vmalloc_unmap(const void *address, enum dk_area_kind kind)
{
    const struct dk_slot *slot = dk_slot_find(address);
    struct dk_vmalloc_state *state;
    struct dk_memory *memory;
    struct dk_area *area;
    size_t i;

    if (!slot || slot->kind != DK_SLOT_VMALLOC)
        return false;
    memory = slot->memory;
    state = memory->vmalloc;
    pthread_mutex_lock(&state->lock);
    area = area_around(state, address);
    if (!area || area->start != address || area->kind != kind) {
        pthread_mutex_unlock(&state->lock);
        return false;
    }
    /* Addresses that could not be cleared are not used again; nor is what they show. */
    if (hide(area))
        remove_at(state, area_at_or_above(state, area->start));
    else
        area = NULL;
    pthread_mutex_unlock(&state->lock);
    if (!area) {
        dk_log(DK_LOG_WARNING, "the area at %p cannot be unmapped: the process is out of mappings", address);
        return true;
    }
    for (i = 0; kind == DK_AREA_VMALLOC && i < area->count; i += (size_t)1 << area->run_order) {
        dk_memory_freed(memory, page_to_phys(area->pages[i]), PAGE_SIZE << area->run_order, "vfree", NULL);
        free_run(memory, area, i);
    }
    dk_release(area);
    return true;
}

int dk_vmalloc_replace(struct dk_memory *memory, char *address, struct page *page)
{
    struct dk_vmalloc_state *state = memory->vmalloc;
    struct dk_area *area;
    int error = -EINVAL;

    pthread_mutex_lock(&state->lock);
    area = area_around(state, address);
    if (area)
        error = dk_memory_show_copy(memory, address, page_to_phys(page), PAGE_SIZE);
    if (!error)
        area->pages[(size_t)(address - area->start) >> PAGE_SHIFT] = page;
    pthread_mutex_unlock(&state->lock);
    return error;
}

const void *dk_vmalloc_find_kmap(struct dk_memory *memory, const struct page *page)
{
    struct dk_vmalloc_state *state = memory->vmalloc;
    const struct dk_area *newest = NULL;
    const void *address;
    size_t i;

    pthread_mutex_lock(&state->lock);
    for (i = 0; i < state->count; i++) {
        const struct dk_area *area = state->areas[i];

        if (area->kind == DK_AREA_KMAP && area->pages[0] == page &&
            (!newest || area->number > newest->number))
            newest = area;
    }
    address = newest ? newest->start : NULL;
    pthread_mutex_unlock(&state->lock);
    return address;
}

struct page *dk_vmalloc_page(struct dk_memory *memory, const void *address)
{
    struct dk_vmalloc_state *state = memory->vmalloc;
    const struct dk_area *area;
    struct page *page;

    pthread_mutex_lock(&state->lock);
    area = area_around(state, address);
    page = area ? area->pages[(size_t)((const char *)address - area->start) >> PAGE_SHIFT] : NULL;
    pthread_mutex_unlock(&state->lock);
    return page;
}

void *dk_vmap(struct dk_memory *memory, struct page **pages, size_t count, bool uncached)
{
    return dk_vmalloc_map(memory, pages, count, DK_AREA_VMAP, uncached);
}

int dk_vunmap(const void *address)
{
    return dk_vmalloc_unmap(address, DK_AREA_VMAP) ? 0 : -EINVAL;
}

size_t dk_vmap_pages(const void *address)
{
    const struct dk_slot *slot = dk_slot_find(address);
    const struct dk_area *area;
    size_t count;

    if (!slot || slot->kind != DK_SLOT_VMALLOC)
        return 0;
    pthread_mutex_lock(&slot->memory->vmalloc->lock);
    area = area_around(slot->memory->vmalloc, address);
    count = area && area->start == address && area->kind == DK_AREA_VMAP ? area->count : 0;
    pthread_mutex_unlock(&slot->memory->vmalloc->lock);
    return count;
}

/* ---- Linux's calls ---- */

static void *allocate(unsigned long size, gfp_t extra, const char *call)
{
    struct dk_memory *memory = dk_current_for(call);
    gfp_t gfp = GFP_KERNEL | __GFP_HIGHMEM | extra;
    size_t count = size / PAGE_SIZE + (size % PAGE_SIZE != 0), run, done = 0;
    struct dk_area *area;

    dk_might_sleep_gfp(memory, gfp, call);
    if (!memory)
        return NULL;
    area = area_create(count, DK_AREA_VMALLOC);
    if (!area)
        return NULL;
    while (area->run_order < MAX_PAGE_ORDER && count >> area->run_order > RUNS_PER_AREA)
        area->run_order++;
    /* The last run may be longer than what is left to fill. */
    run = (size_t)1 << area->run_order;
    while (done < count) {
        struct page *page = dk_pages_take_marked(memory, gfp, run, run, 0, (phys_addr_t)-1, DK_PAGE_VMALLOC);
        size_t i;

        if (!page)
            goto release;
        for (i = 0; i < run && done + i < count; i++)
            area->pages[done + i] = page + i;
        done += run;
    }
    if (!area_map(memory, area, false))
        goto release;
    return area->start;

release:
    for (size_t i = 0; i < done; i += run)
        free_run(memory, area, i);
    dk_release(area);
    return NULL;
}

void *vmalloc(unsigned long size)
{
    return allocate(size, 0, "vmalloc");
}

void *vzalloc(unsigned long size)
{
    return allocate(size, __GFP_ZERO, "vzalloc");
}

void vfree(const void *address)
{
    if (address && !dk_vmalloc_unmap(address, DK_AREA_VMALLOC))
        dk_log(DK_LOG_WARNING, "vfree: %p is not what vmalloc() returned, or is free", address);
}

void *vmap(struct page **pages, unsigned int count, unsigned long flags, pgprot_t protection)
{
    bool uncached = protection.pgprot & (DK_PGPROT_UNCACHED | DK_PGPROT_WRITECOMBINE);
    struct dk_memory *memory;
    u64 pfn;

    (void)flags;
    if (!count || !dk_page_find(pages[0], &memory, &pfn))
        return NULL;
    dk_might_sleep_gfp(memory, GFP_KERNEL, "vmap");
    return dk_vmap(memory, pages, count, uncached);
}

void vunmap(const void *address)
{
    if (address && dk_vunmap(address))
        dk_log(DK_LOG_WARNING, "vunmap: %p is not what vmap() returned, or is unmapped", address);
}

bool is_vmalloc_addr(const void *address)
{
    const struct dk_slot *slot = dk_slot_find(address);

    return slot && slot->kind == DK_SLOT_VMALLOC;
}

struct page *vmalloc_to_page(const void *address)
{
    return is_vmalloc_addr(address) ? dk_vmalloc_page(dk_slot_find(address)->memory, address) : NULL;
}

unsigned long vmalloc_to_pfn(const void *address)
{
    struct page *page = vmalloc_to_page(address);

    return page ? page_to_pfn(page) : 0;
}
