/* SPDX-License-Identifier: MIT */
#include "check/shadow.h"

#include "base/alloc.h"
#include <dmakit/slot.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define LEAF_SIZE ((size_t)1 << DK_SHADOW_LEAF_BITS)

/* A counter that reached this stays there: it can no longer be counted down rightly. */
#define SATURATED 0xff

int dk_shadow_init(struct dk_shadow *shadow, unsigned line)
{
    *shadow = (struct dk_shadow){ .line_shift = (unsigned)__builtin_ctz(line) };
    shadow->sections = dk_allocate(DK_SHADOW_TOP, sizeof(u8 **));
    if (!shadow->sections)
        return -ENOMEM;
    if (dk_intervals_init(&shadow->mappings)) {
        dk_release(shadow->sections);
        shadow->sections = NULL;
        return -ENOMEM;
    }
    if (dk_intervals_init(&shadow->others)) {
        dk_shadow_finish(shadow);
        return -ENOMEM;
    }
    return 0;
}

static size_t section_lines(const struct dk_shadow *shadow)
{
    return (DK_SLOT_SIZE >> shadow->line_shift) + DK_SHADOW_FEW;
}

void dk_shadow_finish(struct dk_shadow *shadow)
{
    size_t i, j;

    for (i = 0; shadow->sections && i < DK_SHADOW_TOP; i++) {
        for (j = 0; shadow->sections[i] && j < LEAF_SIZE; j++) {
            if (shadow->sections[i][j])
                munmap(shadow->sections[i][j], section_lines(shadow));
        }
        dk_release(shadow->sections[i]);
    }
    dk_release(shadow->sections);
    shadow->sections = NULL;
    dk_intervals_finish(&shadow->mappings);
    dk_intervals_finish(&shadow->others);
}

/* As dk_shadow_section(), and makes them. Untouched parts of the counters cost nothing. */
static u8 *make_section(struct dk_shadow *shadow, phys_addr_t phys)
{
    u64 index = phys >> DK_SLOT_SHIFT;
    u8 ***leaf;
    void *lines;

    if (index >> DK_SHADOW_LEAF_BITS >= DK_SHADOW_TOP)
        return NULL;
    leaf = &shadow->sections[index >> DK_SHADOW_LEAF_BITS];
    if (!*leaf)
        *leaf = dk_allocate(LEAF_SIZE, sizeof(u8 *));
    if (!*leaf || dk_fault_point())
        return NULL;
    lines = mmap(NULL, section_lines(shadow), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (lines == MAP_FAILED)
        return NULL;
    (*leaf)[index & (LEAF_SIZE - 1)] = lines;
    return lines;
}

static unsigned count_up(u8 *lines, size_t count)
{
    unsigned most = 0;
    u64 eight;

    while (count) {
        if (count >= sizeof(eight)) {
            memcpy(&eight, lines, sizeof(eight));
            if (!eight) {
                eight = DK_SHADOW_ONES;
                memcpy(lines, &eight, sizeof(eight));
                lines += sizeof(eight);
                count -= sizeof(eight);
                continue;
            }
        }
        if (*lines > most)
            most = *lines;
        if (*lines < SATURATED)
            (*lines)++;
        lines++;
        count--;
    }
    return most;
}

static void count_down(u8 *lines, size_t count)
{
    u64 eight;

    while (count) {
        if (count >= sizeof(eight)) {
            memcpy(&eight, lines, sizeof(eight));
            if (eight == DK_SHADOW_ONES) {
                memset(lines, 0, sizeof(eight));
                lines += sizeof(eight);
                count -= sizeof(eight);
                continue;
            }
        }
        if (*lines && *lines < SATURATED)
            (*lines)--;
        lines++;
        count--;
    }
}

unsigned dk_shadow_count_up(struct dk_shadow *shadow, const struct dk_interval *interval)
{
    phys_addr_t at = interval->start;
    phys_addr_t last = interval->start + (interval->size - 1);
    unsigned most = 0;

    while (at <= last) {
        phys_addr_t section_last = at | (DK_SLOT_SIZE - 1);
        phys_addr_t end = last < section_last ? last : section_last;
        u8 *lines = dk_shadow_section(shadow, at);
        u64 first = (at & (DK_SLOT_SIZE - 1)) >> shadow->line_shift;
        unsigned before;

        if (!lines)
            lines = make_section(shadow, at);
        if (lines) {
            before = count_up(lines + first,
                              (size_t)(((end & (DK_SLOT_SIZE - 1)) >> shadow->line_shift) - first + 1));
            most = before > most ? before : most;
        }
        at = end + 1;
    }
    return most;
}

void dk_shadow_count_down(struct dk_shadow *shadow, const struct dk_interval *interval)
{
    phys_addr_t at = interval->start;
    phys_addr_t last = interval->start + (interval->size - 1);

    while (at <= last) {
        phys_addr_t section_last = at | (DK_SLOT_SIZE - 1);
        phys_addr_t end = last < section_last ? last : section_last;
        u8 *lines = dk_shadow_section(shadow, at);
        u64 first = (at & (DK_SLOT_SIZE - 1)) >> shadow->line_shift;

        if (lines)
            count_down(lines + first,
                       (size_t)(((end & (DK_SLOT_SIZE - 1)) >> shadow->line_shift) - first + 1));
        at = end + 1;
    }
}

unsigned dk_shadow_count(const struct dk_shadow *shadow, phys_addr_t phys)
{
    const u8 *lines = dk_shadow_section(shadow, phys);

    return lines ? lines[(phys & (DK_SLOT_SIZE - 1)) >> shadow->line_shift] : 0;
}
