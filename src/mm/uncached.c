/* SPDX-License-Identifier: MIT */
/*
 * Which pages the CPU uses past its cache. A section without such pages has no marks.
 */
#include "base/alloc.h"
#include "mm/private.h"

#define MARKS_IN_WORD 64

/* The bits of [first, last], numbers of pages in a section, that stand in the word with number @word. */
static u64 bits_in_word(u64 first, u64 last, u64 word)
{
    u64 low = first / MARKS_IN_WORD == word ? first % MARKS_IN_WORD : 0;
    u64 high = last / MARKS_IN_WORD == word ? last % MARKS_IN_WORD : MARKS_IN_WORD - 1;

    return ~0ull >> (MARKS_IN_WORD - 1 - high) & ~0ull << low;
}

/* The marks of @section, made now if need be; NULL: out of memory. */
static u64 *marks_of(struct dk_memory *memory, struct dk_section *section)
{
    u64 *marks = __atomic_load_n(&section->uncached, __ATOMIC_ACQUIRE);

    if (marks)
        return marks;
    pthread_mutex_lock(&memory->section_lock);
    marks = section->uncached;
    if (!marks) {
        marks = dk_allocate(DK_SECTION_PAGES / MARKS_IN_WORD, sizeof(*marks));
        __atomic_store_n(&section->uncached, marks, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&memory->section_lock);
    return marks;
}

/* Sets or clears the marks of the pages of @section in [phys, end); returns whether one was set before. */
static bool change(const struct dk_section *section, u64 *marks, phys_addr_t phys, phys_addr_t end, bool set)
{
    u64 first = (phys - section->base) >> PAGE_SHIFT, last = (end - 1 - section->base) >> PAGE_SHIFT;
    u64 word, before = 0;

    for (word = first / MARKS_IN_WORD; word <= last / MARKS_IN_WORD; word++) {
        u64 bits = bits_in_word(first, last, word);

        before |= bits & (set ? __atomic_fetch_or(&marks[word], bits, __ATOMIC_RELEASE)
                              : __atomic_fetch_and(&marks[word], ~bits, __ATOMIC_RELEASE));
    }
    return before;
}

static phys_addr_t piece_end(phys_addr_t phys, phys_addr_t end)
{
    phys_addr_t section_end = (phys | (DK_SLOT_SIZE - 1)) + 1;

    return section_end < end ? section_end : end;
}

int dk_memory_set_uncached(struct dk_memory *memory, phys_addr_t phys, u64 size)
{
    phys_addr_t start = phys, end = phys + size, stop;

    if (!memory->two_views)
        return 0;
    for (; phys < end; phys = stop) {
        struct dk_section *section = dk_memory_section(memory, phys);
        u64 *marks = section ? marks_of(memory, section) : NULL;

        stop = piece_end(phys, end);
        if (!marks) {
            dk_memory_clear_uncached(memory, start, phys - start);
            return -ENOMEM;
        }
        change(section, marks, phys, stop, true);
    }
    return 0;
}

bool dk_memory_clear_uncached(struct dk_memory *memory, phys_addr_t phys, u64 size)
{
    phys_addr_t end = phys + size, stop;
    bool any = false;

    for (; phys < end; phys = stop) {
        const struct dk_section *section = dk_section_mapped(memory, phys);
        u64 *marks = section ? __atomic_load_n(&section->uncached, __ATOMIC_ACQUIRE) : NULL;

        stop = piece_end(phys, end);
        if (marks && change(section, marks, phys, stop, false))
            any = true;
    }
    return any;
}

bool dk_memory_is_uncached(struct dk_memory *memory, phys_addr_t phys, u64 size)
{
    phys_addr_t end = phys + size;

    for (phys &= DK_PHYS_MASK; phys < end; phys += PAGE_SIZE) {
        const struct dk_section *section = dk_section_mapped(memory, phys);

        if (!section || !dk_section_page_uncached(section, phys))
            return false;
    }
    return true;
}
