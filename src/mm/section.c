/* SPDX-License-Identifier: MIT */
/*
 * Sections: physical memory in pieces of DK_SLOT_SIZE, each mapped when something first touches it.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "mm/private.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t root_index(phys_addr_t phys)
{
    return (size_t)(phys >> (DK_SLOT_SHIFT + DK_LEAF_BITS));
}

static size_t leaf_index(phys_addr_t phys)
{
    return (size_t)(phys >> DK_SLOT_SHIFT) & (((size_t)1 << DK_LEAF_BITS) - 1);
}

struct dk_section *dk_section_mapped(struct dk_memory *memory, phys_addr_t phys)
{
    struct dk_section_leaf *leaf;

    if (phys >> DK_PHYS_BITS)
        return NULL;
    leaf = __atomic_load_n(&memory->root[root_index(phys)], __ATOMIC_ACQUIRE);
    return leaf ? __atomic_load_n(&leaf->sections[leaf_index(phys)], __ATOMIC_ACQUIRE) : NULL;
}

/* Private memory that is nothing until touched. NULL: out of memory. */
static void *map_private(size_t size)
{
    void *address;

    if (dk_fault_point())
        return NULL;
    address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

static size_t filled_size(const struct dk_memory *memory)
{
    size_t bytes = DK_SLOT_SIZE / memory->line / 8;

    return bytes < PAGE_SIZE ? PAGE_SIZE : bytes;
}

/* One slot for @section: @size bytes of @fd at @offset in it, or private memory when @fd is -1. */
static bool fill_slot(struct dk_section *section, struct dk_slot *slot, enum dk_slot_kind kind, int fd,
                      size_t size)
{
    int flags = MAP_FIXED | MAP_NORESERVE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
    off_t offset = fd < 0 ? 0 : (off_t)section->base;
    char *start = dk_slots_reserve(1);

    if (!start)
        return false;
    if (dk_fault_point() || mmap(start, size, PROT_READ | PROT_WRITE, flags, fd, offset) == MAP_FAILED) {
        dk_slots_release(start, 1);
        return false;
    }
    slot->start = start;
    slot->phys = section->base;
    slot->memory = section->memory;
    slot->section = section;
    slot->kind = kind;
    return true;
}

/* The longest piece of the section with kernel addresses, which fast paths know without asking the map. */
static void find_linear(struct dk_section *section)
{
    const struct dk_ram_map *map = dk_ram_map(section->memory);
    const struct dk_ram *range = dk_ram_at_or_above(map, section->base);
    const struct dk_ram *past = map->ranges + map->count;
    phys_addr_t end = section->base + DK_SLOT_SIZE, start = 0, until = 0;

    for (; range && range < past && range->base < end; range++) {
        phys_addr_t low = range->base > section->base ? range->base : section->base;
        phys_addr_t high = range->end < end ? range->end : end;

        if (range->flags & (DK_RAM_NO_MAP | DK_RAM_HIGHMEM))
            continue;
        if (low != until)
            start = low;
        until = high;
        if (until - start > section->cached_slot.linear) {
            section->cached_slot.linear = (size_t)(until - start);
            section->cached_slot.linear_start = (size_t)(start - section->base);
        }
    }
}

static void unmap_slot(struct dk_slot *slot)
{
    if (!slot->start)
        return;
    if (dk_slot_find(slot->start) == slot)
        dk_slot_leave(slot);
    dk_slots_release(slot->start, 1);
}

static phys_addr_t touched_in(int fd, phys_addr_t phys, phys_addr_t end)
{
    off_t found = lseek(fd, (off_t)phys, SEEK_DATA);

    /* What cannot be told apart counts as touched. */
    if (found < 0)
        return errno == ENXIO ? end : phys;
    return (phys_addr_t)found < end ? (phys_addr_t)found : end;
}

phys_addr_t dk_memory_touched(const struct dk_memory *memory, phys_addr_t phys, phys_addr_t end)
{
    phys_addr_t first = touched_in(memory->cached_fd, phys, end);

    return memory->two_views && first > phys ? touched_in(memory->dram_fd, phys, first) : first;
}

static void section_destroy(struct dk_section *section)
{
    unmap_slot(&section->cached_slot);
    unmap_slot(&section->dram_slot);
    unmap_slot(&section->pages_slot);
    if (section->fill)
        munmap(section->fill, DK_SLOT_SIZE);
    if (section->filled)
        munmap(section->filled, filled_size(section->memory));
    dk_release(section->uncached);
    dk_release(section);
}

static struct dk_section *section_create(struct dk_memory *memory, phys_addr_t base)
{
    struct dk_section *section = dk_allocate(1, sizeof(*section));

    if (!section)
        return NULL;
    section->memory = memory;
    section->base = base;
    memset(section->block_types, MIGRATE_MOVABLE, sizeof(section->block_types));
    if (!fill_slot(section, &section->cached_slot, DK_SLOT_CACHED, memory->cached_fd, DK_SLOT_SIZE))
        goto destroy;
    if (!fill_slot(section, &section->pages_slot, DK_SLOT_PAGES, -1, DK_SECTION_PAGES * sizeof(struct page)))
        goto destroy;
    section->cached = section->cached_slot.start;
    section->dram = section->cached;
    section->pages = (struct page *)(void *)section->pages_slot.start;
    if (memory->two_views) {
        if (!fill_slot(section, &section->dram_slot, DK_SLOT_UNCACHED, memory->dram_fd, DK_SLOT_SIZE))
            goto destroy;
        section->dram = section->dram_slot.start;
        section->fill = map_private(DK_SLOT_SIZE);
        section->filled = map_private(filled_size(memory));
        if (!section->fill || !section->filled)
            goto destroy;
    }
    find_linear(section);
    return section;

destroy:
    section_destroy(section);
    return NULL;
}

/* Under section_lock. */
static struct dk_section *section_add(struct dk_memory *memory, phys_addr_t base)
{
    struct dk_section_leaf *leaf = memory->root[root_index(base)];
    struct dk_section *section = dk_section_mapped(memory, base);

    if (section)
        return section;
    if (!leaf) {
        leaf = dk_allocate(1, sizeof(*leaf));
        if (!leaf)
            return NULL;
        __atomic_store_n(&memory->root[root_index(base)], leaf, __ATOMIC_RELEASE);
    }
    section = section_create(memory, base);
    if (!section)
        return NULL;
    /* Reachable by physical address before by pointer: a pointer into it that is found leads on to all of it.
     */
    __atomic_store_n(&leaf->sections[leaf_index(base)], section, __ATOMIC_RELEASE);
    dk_slot_enter(&section->cached_slot);
    dk_slot_enter(&section->pages_slot);
    if (section->dram_slot.start)
        dk_slot_enter(&section->dram_slot);
    return section;
}

struct dk_section *dk_memory_section(struct dk_memory *memory, phys_addr_t phys)
{
    struct dk_section *section = dk_section_mapped(memory, phys);
    phys_addr_t base = phys & ~(phys_addr_t)(DK_SLOT_SIZE - 1);
    const struct dk_ram *range;

    if (section || dk_memory_forked(memory))
        return section;
    range = dk_ram_at_or_above(dk_ram_map(memory), base);
    if (!range || range->base >= base + DK_SLOT_SIZE)
        return NULL;
    pthread_mutex_lock(&memory->section_lock);
    section = section_add(memory, base);
    pthread_mutex_unlock(&memory->section_lock);
    if (!section)
        dk_log(DK_LOG_WARNING, "memory at 0x%llx cannot be mapped: out of memory, address space or mappings",
               base);
    return section;
}

char *dk_memory_cached(struct dk_memory *memory, phys_addr_t phys)
{
    struct dk_section *section = dk_memory_section(memory, phys);

    return section ? section->cached + (phys - section->base) : NULL;
}

char *dk_memory_dram(struct dk_memory *memory, phys_addr_t phys)
{
    struct dk_section *section = dk_memory_section(memory, phys);

    return section ? section->dram + (phys - section->base) : NULL;
}

void dk_section_forget_linear(struct dk_memory *memory, phys_addr_t base, phys_addr_t end)
{
    phys_addr_t at = base & ~(phys_addr_t)(DK_SLOT_SIZE - 1);
    size_t i, j;

    /* By the table and not by address: the range may be wide, and the mapped sections few. */
    for (i = root_index(at); i <= root_index(end - 1); i++) {
        for (j = 0; memory->root[i] && j < (size_t)1 << DK_LEAF_BITS; j++) {
            struct dk_section *section = memory->root[i]->sections[j];

            if (section && section->base < end && section->base + DK_SLOT_SIZE > base)
                __atomic_store_n(&section->cached_slot.linear, 0, __ATOMIC_RELEASE);
        }
    }
}

void dk_sections_finish(struct dk_memory *memory)
{
    size_t i, j;

    for (i = 0; i < (size_t)1 << DK_ROOT_BITS; i++) {
        struct dk_section_leaf *leaf = memory->root[i];

        for (j = 0; leaf && j < (size_t)1 << DK_LEAF_BITS; j++) {
            if (leaf->sections[j])
                section_destroy(leaf->sections[j]);
        }
        dk_release(leaf);
        memory->root[i] = NULL;
    }
}
