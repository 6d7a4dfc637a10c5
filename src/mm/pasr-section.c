/* SPDX-License-Identifier: MIT */
/*
 * Single sections: as they are, as partners, offline and online.
 */
#include "base/log.h"
#include "mm/pasr.h"
#include "mm/private.h"

bool dk_pasr_in_use(const struct pasr_section *section)
{
    return !section->offline && section->unused != section->end - section->base;
}

int dk_pasr_section_read(struct pasr_die *die, unsigned section, struct dk_pasr_section *state)
{
    const struct pasr_section *slot;
    struct dk_pasr *pasr;
    int error;

    pasr = dk_pasr_enter("dk_pasr_section_read", &error);
    if (!pasr)
        return error ? error : -EINVAL;
    if (!dk_pasr_has_die(pasr, die) || section >= die->count) {
        dk_pasr_leave(pasr);
        return -EINVAL;
    }
    slot = &die->sections[section];
    *state = (struct dk_pasr_section){
        .base = slot->base,
        .size = slot->end - slot->base,
        .unused = slot->unused,
        .asleep = slot->asleep,
        .offline = slot->offline,
        .partner = slot->partner ? slot->partner->die : NULL,
        .partner_section = slot->partner ? (unsigned)(slot->partner - slot->partner->die->sections) : 0,
    };
    dk_pasr_leave(pasr);
    return 0;
}

int dk_memory_pair_dies(struct dk_memory *memory, struct pasr_die *die, unsigned section,
                        struct pasr_die *partner, unsigned partner_section)
{
    struct pasr_section *a, *b;
    struct dk_pasr *pasr;
    int error;

    pasr = dk_pasr_enter_die(memory, "dk_pasr_pair", die, section, 1, &error);
    if (!pasr)
        return error;
    a = &die->sections[section];
    b = dk_pasr_has_die(pasr, partner) && partner_section < partner->count
            ? &partner->sections[partner_section]
            : NULL;
    if (!b || a == b || a->end - a->base != b->end - b->base) {
        error = -EINVAL;
    } else if (a->partner || b->partner) {
        error = -EBUSY;
    } else {
        a->partner = b;
        b->partner = a;
        dk_pasr_note(pasr, a);
        dk_pasr_settle(pasr);
    }
    dk_pasr_leave(pasr);
    if (error)
        dk_log(DK_LOG_WARNING, "dk_pasr_pair: %s",
               error == -EBUSY ? "a section has a partner already" : "no two sections of one size");
    return error;
}

int dk_pasr_pair(struct pasr_die *die, unsigned section, struct pasr_die *partner, unsigned partner_section)
{
    return dk_memory_pair_dies(dk_current_for("dk_pasr_pair"), die, section, partner, partner_section);
}

/* Whether the page allocator gives out memory of @section, which it would go on doing. */
static bool is_allocators(const struct dk_memory *memory, const struct pasr_section *section)
{
    const struct dk_ram_map *map = dk_ram_map(memory);
    const struct dk_ram *range = dk_ram_at_or_above(map, section->base);

    for (; range && range < map->ranges + map->count && range->base < section->end; range++) {
        if (!(range->flags & DK_RAM_RESERVED))
            return true;
    }
    return false;
}

static int set_offline(const char *call, struct pasr_die *die, unsigned first, unsigned count, bool offline)
{
    struct dk_pasr *pasr;
    unsigned i;
    int error;

    pasr = dk_pasr_enter_die(dk_current_for(call), call, die, first, count, &error);
    if (!pasr)
        return error;
    for (i = first; i < first + count && !error; i++) {
        if (die->sections[i].offline == offline)
            error = -EALREADY;
        else if (offline &&
                 (dk_pasr_in_use(&die->sections[i]) || is_allocators(pasr->memory, &die->sections[i])))
            error = -EBUSY;
    }
    for (i = first; i < first + count && !error; i++) {
        die->sections[i].offline = offline;
        die->sections[i].unused = 0;
        dk_pasr_note(pasr, &die->sections[i]);
    }
    dk_pasr_settle(pasr);
    for (i = first; i < first + count && !error && !offline; i++)
        dk_pasr_fill(pasr, &die->sections[i], die->sections[i].base, die->sections[i].end);
    dk_pasr_leave(pasr);
    if (error)
        dk_log(DK_LOG_WARNING, "%s: a section is %s", call, error == -EBUSY ? "in use" : "so already");
    return error;
}

int dk_pasr_sections_offline(struct pasr_die *die, unsigned first, unsigned count)
{
    return set_offline("dk_pasr_sections_offline", die, first, count, true);
}

int dk_pasr_sections_online(struct pasr_die *die, unsigned first, unsigned count)
{
    return set_offline("dk_pasr_sections_online", die, first, count, false);
}
