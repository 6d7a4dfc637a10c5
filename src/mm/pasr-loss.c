/* SPDX-License-Identifier: MIT */
/*
 * A section that sleeps loses what it holds.
 *
 * What the host has behind it is given back when it falls asleep, and a bit a page says where contents were.
 * A page that somebody gets again wakes up with a pattern if it had some. Memory that was never touched is
 * neither looked at nor filled. And since the host has nothing there meanwhile, a page that it has when the
 * section wakes was touched by the CPU, a load or a store: bus masters do not get there (dk_pasr_run()).
 */
#include "mm/pasr.h"
#include "mm/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WORD sizeof(u64)

/* What the word at @phys wakes up with. */
static u64 pattern(const struct dk_memory *memory, phys_addr_t phys)
{
    return dk_mix(memory->seed ^ 0x7061737221ull, phys / WORD);
}

void dk_pasr_garbage(const struct dk_memory *memory, phys_addr_t phys, void *into, u64 size)
{
    char *to = into;

    while (size) {
        u64 word = pattern(memory, phys), skip = phys % WORD, count = WORD - skip;

        if (count > size)
            count = size;
        memcpy(to, (const char *)&word + skip, (size_t)count);
        to += count;
        phys += count;
        size -= count;
    }
}

/* ---- What the host has behind a section ---- */

/* The first run of [*base, *end) that @fd has something in, into the two; 1, 0 none, -1 the host can't tell.
 */
static int find_data(int fd, phys_addr_t *base, phys_addr_t *end)
{
    off_t start = lseek(fd, (off_t)*base, SEEK_DATA), stop;

    if (start < 0)
        return errno == ENXIO ? 0 : -1;
    if ((phys_addr_t)start >= *end)
        return 0;
    stop = lseek(fd, start, SEEK_HOLE);
    if (stop < 0)
        return -1;
    *base = (phys_addr_t)start;
    if ((phys_addr_t)stop < *end)
        *end = (phys_addr_t)stop;
    return 1;
}

/* Sets the lost bits where @fd has something. False: the host can't tell. *any: it has. */
static bool note_data(struct pasr_section *section, int fd, bool *any)
{
    phys_addr_t at = section->base;

    for (;;) {
        phys_addr_t base = at, end = section->end;
        int found = base < end ? find_data(fd, &base, &end) : 0;
        u64 page;

        if (found <= 0)
            return !found;
        *any = true;
        section->any_lost = true;
        for (page = (base - section->base) >> PAGE_SHIFT;
             page < (end - section->base + PAGE_SIZE - 1) >> PAGE_SHIFT; page++)
            section->lost[page / 64] |= 1ull << page % 64;
        at = end;
    }
}

/* Whether @fd has nothing in @section from now on. */
static bool empty(const struct pasr_section *section, int fd)
{
    phys_addr_t base = section->base, end = section->end;

    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)section->base,
                  (off_t)(section->end - section->base)))
        return false;
    return !find_data(fd, &base, &end);
}

void dk_pasr_forget(struct dk_pasr *pasr, struct pasr_section *section)
{
    const int fds[] = { pasr->memory->cached_fd, pasr->memory->dram_fd };
    unsigned i;

    section->watched = true;
    for (i = 0; i < 2 && fds[i] >= 0; i++) {
        bool any = false;

        if (!note_data(section, fds[i], &any) || (any && !empty(section, fds[i])))
            section->watched = false;
    }
}

void dk_pasr_wake(struct dk_pasr *pasr, struct pasr_section *section)
{
    const int fds[] = { pasr->memory->cached_fd, pasr->memory->dram_fd };
    unsigned i;

    for (i = 0; section->watched && i < 2 && fds[i] >= 0; i++) {
        phys_addr_t base = section->base, end = section->end;
        bool any = false;

        if (find_data(fds[i], &base, &end) <= 0)
            continue;
        if (section->touched == DK_PASR_UNTOUCHED) {
            section->touched = base;
            __atomic_fetch_add(&pasr->touched, 1, __ATOMIC_RELAXED);
        }
        /* What it stored is lost like the rest. */
        note_data(section, fds[i], &any);
    }
    section->watched = false;
}

/* ---- What it wakes up with ---- */

static void fill_page(const struct dk_memory *memory, char *page, phys_addr_t phys)
{
    u64 *words = (u64 *)(void *)page;
    size_t i;

    for (i = 0; page && i < PAGE_SIZE / WORD; i++)
        words[i] = pattern(memory, phys + i * WORD);
}

void dk_pasr_fill(struct dk_pasr *pasr, struct pasr_section *section, phys_addr_t base, phys_addr_t end)
{
    u64 page, past = (end - section->base) >> PAGE_SHIFT;

    if (!section->any_lost)
        return;
    for (page = (base - section->base) >> PAGE_SHIFT; page < past; page++) {
        phys_addr_t phys = section->base + (page << PAGE_SHIFT);
        u64 bit = 1ull << page % 64;

        if (!section->lost[page / 64]) {
            page |= 63;
            continue;
        }
        if (!(section->lost[page / 64] & bit))
            continue;
        section->lost[page / 64] &= ~bit;
        fill_page(pasr->memory, dk_memory_cached(pasr->memory, phys), phys);
        if (pasr->memory->two_views)
            fill_page(pasr->memory, dk_memory_dram(pasr->memory, phys), phys);
    }
}

/* ---- Who comes too early ---- */

bool dk_pasr_any_asleep(const struct dk_memory *memory)
{
    const struct dk_pasr *pasr = __atomic_load_n(&memory->pasr, __ATOMIC_ACQUIRE);

    return pasr && __atomic_load_n(&pasr->asleep, __ATOMIC_RELAXED);
}

bool dk_pasr_run(struct dk_memory *memory, phys_addr_t phys, u64 *run)
{
    struct dk_pasr *pasr = __atomic_load_n(&memory->pasr, __ATOMIC_ACQUIRE);
    phys_addr_t at = phys, end = phys + *run;
    bool asleep = false;
    size_t i;

    if (!pasr || !__atomic_load_n(&pasr->asleep, __ATOMIC_RELAXED) || pthread_mutex_lock(&pasr->lock))
        return false;
    i = dk_pasr_at_or_above(pasr, phys);
    if (i < pasr->count && pasr->by_base[i]->base <= phys)
        asleep = pasr->by_base[i]->asleep;
    for (; at < end; i++) {
        const struct pasr_section *section = i < pasr->count ? pasr->by_base[i] : NULL;

        /* What lies before the section, or after the last, is awake. */
        if (!section || section->base > at) {
            if (asleep)
                break;
            at = section && section->base < end ? section->base : end;
        }
        if (!section || at == end || section->asleep != asleep)
            break;
        at = section->end < end ? section->end : end;
    }
    pthread_mutex_unlock(&pasr->lock);
    *run = at - phys;
    return asleep;
}

/* Takes one section's touched page. */
static phys_addr_t take_touched(struct dk_pasr *pasr)
{
    phys_addr_t touched = DK_PASR_UNTOUCHED;
    size_t i;

    if (pthread_mutex_lock(&pasr->lock))
        return touched;
    for (i = 0; i < pasr->count && touched == DK_PASR_UNTOUCHED; i++) {
        touched = pasr->by_base[i]->touched;
        pasr->by_base[i]->touched = DK_PASR_UNTOUCHED;
    }
    if (touched != DK_PASR_UNTOUCHED)
        __atomic_fetch_sub(&pasr->touched, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&pasr->lock);
    return touched;
}

void dk_pasr_report_touched(struct dk_pasr *pasr, const char *call)
{
    while (__atomic_load_n(&pasr->touched, __ATOMIC_RELAXED)) {
        phys_addr_t phys = take_touched(pasr);
        char what[200];
        const struct dk_finding finding = {
            .class_name = "access-to-masked-section",
            .call = call,
            .cpu = phys == DK_PASR_UNTOUCHED ? NULL : dk_memory_cached(pasr->memory, phys),
            .dma = (dma_addr_t)-1,
            .length = PAGE_SIZE,
            .what = what,
            .advice =
                "find who uses memory after it was freed, or before it was allocated: the access itself left no "
                "stack, this one is of the call that woke the section",
        };

        if (phys == DK_PASR_UNTOUCHED)
            break;
        snprintf(
            what, sizeof(what),
            "the CPU touched the page at 0x%llx while its section slept: it read nothing, and what it wrote is lost",
            phys);
        dk_hooks_finding(pasr->memory->hooks, &finding);
    }
}
