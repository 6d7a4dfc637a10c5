/* SPDX-License-Identifier: MIT */
/*
 * What is unused: pasr_get(), pasr_put(), and the page allocator's word.
 */
#include "mm/pasr.h"

#include "base/log.h"
#include "mm/private.h"

#define PHYS_END ((phys_addr_t)1 << DK_PHYS_BITS)

/* ---- Looking up ---- */

struct dk_pasr *dk_pasr_enter(const char *call, int *error)
{
    return dk_pasr_enter_memory(dk_current_for(call), call, error);
}

struct dk_pasr *dk_pasr_enter_memory(struct dk_memory *memory, const char *call, int *error)
{
    struct dk_pasr *pasr;

    *error = -ENODEV;
    if (!memory || dk_memory_forked(memory))
        return NULL;
    *error = 0;
    pasr = __atomic_load_n(&memory->pasr, __ATOMIC_ACQUIRE);
    if (!pasr)
        return NULL;
    if (pthread_mutex_lock(&pasr->lock)) {
        dk_log(DK_LOG_WARNING, "%s: called from the memory controller's callback", call);
        *error = -EDEADLK;
        return NULL;
    }
    return pasr;
}

void dk_pasr_leave(struct dk_pasr *pasr)
{
    pthread_mutex_unlock(&pasr->lock);
    dk_pasr_report_touched(pasr, "pasr_get");
}

size_t dk_pasr_at_or_above(const struct dk_pasr *pasr, phys_addr_t phys)
{
    size_t low = 0, high = pasr->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (pasr->by_base[middle]->end > phys)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

bool dk_pasr_has_die(const struct dk_pasr *pasr, const struct pasr_die *die)
{
    const struct pasr_die *each;

    list_for_each_entry (each, &pasr->dies, link) {
        if (each == die)
            return true;
    }
    return false;
}

struct dk_pasr *dk_pasr_enter_die(struct dk_memory *memory, const char *call, const struct pasr_die *die,
                                  unsigned first, unsigned count, int *error)
{
    struct dk_pasr *pasr = dk_pasr_enter_memory(memory, call, error);

    if (!pasr) {
        *error = *error ? *error : -EINVAL;
        return NULL;
    }
    if (dk_pasr_has_die(pasr, die) && count && first < die->count && count <= die->count - first)
        return pasr;
    dk_pasr_leave(pasr);
    dk_log(DK_LOG_WARNING, "%s: the current machine has no such die, or the die no such section", call);
    *error = -EINVAL;
    return NULL;
}

/* ---- A section's pages ---- */

static u64 size_of(const struct pasr_section *section)
{
    return section->end - section->base;
}

/* The bits of word @word that lie in [first, end). */
static u64 bits_in(u64 word, u64 first, u64 end)
{
    u64 low = word * 64 < first ? ~0ull << (first - word * 64) : ~0ull;
    u64 high = word * 64 + 64 > end ? ~0ull >> (word * 64 + 64 - end) : ~0ull;

    return low & high;
}

/* How many pages of [first, end) are unused. */
static u64 count_unused(const struct pasr_section *section, u64 first, u64 end)
{
    u64 count = 0, word;

    if (!section->unused)
        return 0;
    if (section->unused == size_of(section))
        return end - first;
    for (word = first / 64; word * 64 < end; word++)
        count += (u64)__builtin_popcountll(section->map[word] & bits_in(word, first, end));
    return count;
}

/* Brings the map up to what it says of a section that is no longer uniform. */
static void change_map(struct pasr_section *section, u64 first, u64 end, bool unused)
{
    u64 pages = size_of(section) >> PAGE_SHIFT, word;

    if (!section->unused || section->unused == size_of(section)) {
        for (word = 0; word * 64 < pages; word++)
            section->map[word] = section->unused ? ~0ull : 0;
    }
    for (word = first / 64; word * 64 < end; word++) {
        if (unused)
            section->map[word] |= bits_in(word, first, end);
        else
            section->map[word] &= ~bits_in(word, first, end);
    }
}

u64 dk_pasr_set(struct pasr_section *section, phys_addr_t base, phys_addr_t end, bool unused)
{
    u64 first = (base - section->base) >> PAGE_SHIFT, past = (end - section->base) >> PAGE_SHIFT;
    u64 before = count_unused(section, first, past), changed = unused ? past - first - before : before, after;

    changed <<= PAGE_SHIFT;
    after = unused ? section->unused + changed : section->unused - changed;
    /* Of a section that becomes uniform the map says nothing: memory without end is marked in no time. */
    if (changed && after && after != size_of(section))
        change_map(section, first, past, unused);
    section->unused = after;
    return changed;
}

/* ---- Ranges over many sections ---- */

static phys_addr_t larger(phys_addr_t a, phys_addr_t b)
{
    return a > b ? a : b;
}

static phys_addr_t smaller(phys_addr_t a, phys_addr_t b)
{
    return a < b ? a : b;
}

/* Marks what lies in sections. Under the lock. */
static void mark(struct dk_pasr *pasr, phys_addr_t base, phys_addr_t end, bool unused)
{
    size_t i;

    pasr->operations++;
    for (i = dk_pasr_at_or_above(pasr, base); i < pasr->count && pasr->by_base[i]->base < end; i++) {
        struct pasr_section *section = pasr->by_base[i];

        if (!section->offline &&
            dk_pasr_set(section, larger(base, section->base), smaller(end, section->end), unused))
            dk_pasr_note(pasr, section);
    }
    dk_pasr_settle(pasr);
    /* Awake by now. */
    for (i = dk_pasr_at_or_above(pasr, base); !unused && i < pasr->count && pasr->by_base[i]->base < end; i++)
        dk_pasr_fill(pasr, pasr->by_base[i], larger(base, pasr->by_base[i]->base),
                     smaller(end, pasr->by_base[i]->end));
}

/* Why [base, end) cannot be marked; 0: it can. *at is where. Under the lock. */
static int check(const struct dk_pasr *pasr, phys_addr_t base, phys_addr_t end, bool unused, phys_addr_t *at)
{
    size_t i;

    for (i = dk_pasr_at_or_above(pasr, base); i < pasr->count && pasr->by_base[i]->base < end; i++) {
        const struct pasr_section *section = pasr->by_base[i];
        phys_addr_t low = larger(base, section->base), high = smaller(end, section->end);
        u64 pages = (high - low) >> PAGE_SHIFT;

        *at = low;
        if (section->offline)
            return -ENXIO;
        if (count_unused(section, (low - section->base) >> PAGE_SHIFT,
                         (high - section->base) >> PAGE_SHIFT) != (unused ? 0 : pages))
            return -EALREADY;
    }
    return 0;
}

static int change(const char *call, phys_addr_t base, u64 size, bool unused)
{
    bool whole = size && !((base | size) & (PAGE_SIZE - 1)) && base < PHYS_END && size <= PHYS_END - base;
    phys_addr_t at = base;
    struct dk_pasr *pasr;
    int error;

    pasr = dk_pasr_enter(call, &error);
    if (!error && !whole)
        error = -EINVAL;
    if (pasr && !error)
        error = check(pasr, base, base + size, unused, &at);
    if (pasr && !error)
        mark(pasr, base, base + size, unused);
    if (pasr && error)
        pasr->refused++;
    if (pasr)
        dk_pasr_leave(pasr);
    if (error == -EINVAL)
        dk_log(DK_LOG_WARNING, "%s: 0x%llx bytes at 0x%llx are no pages of memory", call, size, base);
    else if (error == -EALREADY)
        dk_log(DK_LOG_WARNING, "%s: a page from 0x%llx on, of 0x%llx bytes at 0x%llx, is %s already", call,
               at, size, base, unused ? "unused" : "in use");
    else if (error == -ENXIO)
        dk_log(DK_LOG_WARNING, "%s: 0x%llx bytes at 0x%llx: the section of 0x%llx is offline", call, size,
               base, at);
    return error;
}

int pasr_get(phys_addr_t phys, u64 size)
{
    int error = change("pasr_get", phys, size, false);

    DK_KEEP_FRAME();
    return error;
}

int pasr_put(phys_addr_t phys, u64 size)
{
    int error = change("pasr_put", phys, size, true);

    DK_KEEP_FRAME();
    return error;
}

/* The page allocator knows what is its own: what somebody else said of it meanwhile does not stop it. */
static void block_changed(struct dk_pasr *pasr, u64 start, u64 end, bool unused)
{
    /* In a child that fork() made the memory is the parent's. */
    if (dk_memory_forked(pasr->memory) || pthread_mutex_lock(&pasr->lock))
        return;
    mark(pasr, (phys_addr_t)start << PAGE_SHIFT, (phys_addr_t)end << PAGE_SHIFT, unused);
    pthread_mutex_unlock(&pasr->lock);
}

void dk_pasr_block_freed(struct dk_pasr *pasr, u64 start, u64 end)
{
    block_changed(pasr, start, end, true);
}

void dk_pasr_block_taken(struct dk_pasr *pasr, u64 start, u64 end)
{
    block_changed(pasr, start, end, false);
}
