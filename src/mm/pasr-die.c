/* SPDX-License-Identifier: MIT */
/*
 * Dies: they come and go, and sections become partners.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "mm/pasr.h"
#include "mm/private.h"

#include <string.h>
#include <sys/mman.h>

/* ---- A machine's state, which the first die makes ---- */

static struct dk_pasr *make_state(struct dk_memory *memory)
{
    struct dk_pasr *pasr = dk_allocate(1, sizeof(*pasr));
    pthread_mutexattr_t checks;

    if (!pasr)
        return NULL;
    pasr->memory = memory;
    INIT_LIST_HEAD(&pasr->dies);
    pthread_mutexattr_init(&checks);
    pthread_mutexattr_settype(&checks, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&pasr->lock, &checks);
    pthread_mutexattr_destroy(&checks);
    return pasr;
}

static void free_die(struct pasr_die *die)
{
    if (!die)
        return;
    if (die->maps)
        munmap(die->maps, (size_t)die->maps_size);
    dk_release(die->name);
    dk_release(die);
}

void dk_pasr_finish(struct dk_pasr *pasr)
{
    if (!pasr)
        return;
    while (!list_empty(&pasr->dies)) {
        struct pasr_die *die = list_first_entry(&pasr->dies, struct pasr_die, link);

        list_del(&die->link);
        free_die(die);
    }
    dk_release(pasr->by_base);
    pthread_mutex_destroy(&pasr->lock);
    dk_release(pasr);
}

/* ---- Making a die ---- */

static bool is_selective(enum pasr_mode mode)
{
    return mode == PASR_BANK_SELECTIVE || mode == PASR_SEGMENT_SELECTIVE;
}

/* NULL, or what is wrong. */
static const char *check_layout(const struct dk_pasr_layout *layout)
{
    const phys_addr_t most = (phys_addr_t)1 << DK_PHYS_BITS;
    u64 stride = layout->stride ? layout->stride : layout->section_size;

    if (!layout->name || !*layout->name)
        return "it has no name";
    if ((unsigned)layout->mode > PASR_SEGMENT_SELECTIVE)
        return "there is no such mode";
    if (!layout->sections || layout->sections > PASR_MAX_SECTIONS)
        return "it has no sections, or more than 32";
    if (!is_selective(layout->mode) && (layout->sections < 8 || (layout->sections & (layout->sections - 1))))
        return "a mode that masks an eighth needs 8, 16 or 32 sections";
    if (!layout->section_size || layout->section_size % DK_PASR_UNIT || layout->base % DK_PASR_UNIT)
        return "its base and the size of its sections are not multiples of 2 MiB";
    if (stride % layout->section_size)
        return "its stride is no multiple of the section size";
    if (stride > most / PASR_MAX_SECTIONS || layout->base >= most ||
        stride * (layout->sections - 1) + layout->section_size > most - layout->base)
        return "it ends above the highest physical address";
    return NULL;
}

/*
 * Zeros that cost nothing until they are touched, which a section that is all unused or all in use leaves
 * alone: a bit a page of terabytes is much. NULL: out of memory.
 */
static u64 *map_nothing(u64 size)
{
    void *address;

    if (dk_fault_point() || size > SIZE_MAX / 2)
        return NULL;
    address =
        mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

static struct pasr_die *make_die(const struct dk_pasr_layout *layout)
{
    u64 words = ((layout->section_size >> PAGE_SHIFT) + 63) / 64;
    struct pasr_die *die = dk_allocate(1, sizeof(*die) + layout->sections * sizeof(die->sections[0]));
    unsigned i;

    if (!die)
        return NULL;
    die->name = dk_copy_string(layout->name);
    die->maps_size = 2 * layout->sections * words * sizeof(*die->maps);
    die->maps = map_nothing(die->maps_size);
    if (!die->name || !die->maps) {
        free_die(die);
        return NULL;
    }
    die->mode = layout->mode;
    die->apply_mask = layout->apply_mask;
    die->data = layout->data;
    die->count = layout->sections;
    for (i = 0; i < layout->sections; i++) {
        struct pasr_section *section = &die->sections[i];

        section->die = die;
        section->base = layout->base + i * (layout->stride ? layout->stride : layout->section_size);
        section->end = section->base + layout->section_size;
        section->map = die->maps + 2 * i * words;
        section->lost = section->map + words;
        section->touched = DK_PASR_UNTOUCHED;
    }
    return die;
}

/* Enters the sections of @die into the sorted table. 0; -EEXIST one of them overlaps; -ENOMEM. */
static int enter_sections(struct dk_pasr *pasr, struct pasr_die *die)
{
    struct pasr_section **all = dk_resize(pasr->by_base, pasr->count + die->count, sizeof(*all));
    size_t old, at;
    unsigned i;

    if (!all)
        return -ENOMEM;
    pasr->by_base = all;
    for (i = 0; i < die->count; i++) {
        size_t next = dk_pasr_at_or_above(pasr, die->sections[i].base);

        if (next < pasr->count && all[next]->base < die->sections[i].end)
            return -EEXIST;
    }
    /* Merges from the end: both are sorted. */
    at = pasr->count + die->count;
    for (old = pasr->count, i = die->count; i;) {
        if (old && all[old - 1]->base > die->sections[i - 1].base)
            all[--at] = all[--old];
        else
            all[--at] = &die->sections[--i];
    }
    pasr->count += die->count;
    return 0;
}

static void leave_sections(struct dk_pasr *pasr, const struct pasr_die *die)
{
    size_t i, kept = 0;

    for (i = 0; i < pasr->count; i++) {
        if (pasr->by_base[i]->die != die)
            pasr->by_base[kept++] = pasr->by_base[i];
    }
    pasr->count = kept;
}

/* What [start, end) of @section's pages the page allocator has whole blocks of is unused. */
static void mark_run(struct pasr_section *section, u64 start, u64 end)
{
    phys_addr_t base = (phys_addr_t)start << PAGE_SHIFT, past = (phys_addr_t)end << PAGE_SHIFT;

    if (base < section->base)
        base = section->base;
    if (past > section->end)
        past = section->end;
    if (base < past)
        dk_pasr_set(section, base, past, true);
}

/* Under pages_lock. */
static void mark_free(struct dk_memory *memory, struct pasr_section *section)
{
    unsigned kind, type;

    for (kind = 0; kind < DK_ZONE_COUNT; kind++) {
        const struct dk_zone *zone = &memory->zones[kind];
        const struct page *page;
        size_t i;

        for (i = dk_extent_at_or_above(zone, section->base >> PAGE_SHIFT);
             i < zone->count && zone->extents[i].start < section->end >> PAGE_SHIFT; i++)
            mark_run(section, zone->extents[i].start, zone->extents[i].end);
        for (type = 0; type < MIGRATE_TYPES; type++) {
            list_for_each_entry (page, &zone->lists[type][MAX_PAGE_ORDER], lru)
                mark_run(section, page_to_pfn(page), page_to_pfn(page) + DK_BLOCK_PAGES);
        }
    }
}

static struct pasr_die *find_by_name(const struct dk_pasr *pasr, const char *name)
{
    struct pasr_die *die;

    list_for_each_entry (die, &pasr->dies, link) {
        if (!strcmp(die->name, name))
            return die;
    }
    return NULL;
}

/* Under pages_lock, so that the allocator says nothing in between. */
static int enter_die(struct dk_memory *memory, struct pasr_die *die)
{
    struct dk_pasr *pasr = memory->pasr, *made = NULL;
    unsigned i;
    int error;

    if (!pasr) {
        made = make_state(memory);
        if (!made)
            return -ENOMEM;
        pasr = made;
    }
    pthread_mutex_lock(&pasr->lock);
    error = find_by_name(pasr, die->name) ? -EEXIST : enter_sections(pasr, die);
    if (!error) {
        list_add_tail(&die->link, &pasr->dies);
        for (i = 0; i < die->count; i++) {
            mark_free(memory, &die->sections[i]);
            dk_pasr_note(pasr, &die->sections[i]);
        }
        dk_pasr_settle(pasr);
    }
    pthread_mutex_unlock(&pasr->lock);
    if (error)
        dk_pasr_finish(made);
    else if (made)
        __atomic_store_n(&memory->pasr, made, __ATOMIC_RELEASE);
    return error;
}

/* Whether this thread is in the controller's callback, where pages_lock may be held too. */
static bool in_callback(struct dk_memory *memory)
{
    struct dk_pasr *pasr = __atomic_load_n(&memory->pasr, __ATOMIC_ACQUIRE);

    if (!pasr)
        return false;
    if (pthread_mutex_lock(&pasr->lock))
        return true;
    pthread_mutex_unlock(&pasr->lock);
    return false;
}

struct pasr_die *dk_memory_add_die(struct dk_memory *memory, const struct dk_pasr_layout *layout)
{
    const char *wrong = layout ? check_layout(layout) : "there is no layout";
    struct pasr_die *die;
    int error;

    if (dk_memory_forked(memory))
        return ERR_PTR(-ENODEV);
    if (wrong) {
        dk_log(DK_LOG_ERROR, "PASR die %s: %s", layout && layout->name ? layout->name : "", wrong);
        return ERR_PTR(-EINVAL);
    }
    if (in_callback(memory))
        return ERR_PTR(-EDEADLK);
    die = make_die(layout);
    if (!die)
        return ERR_PTR(-ENOMEM);
    pthread_mutex_lock(&memory->pages_lock);
    error = enter_die(memory, die);
    pthread_mutex_unlock(&memory->pages_lock);
    if (!error)
        return die;
    if (error == -EEXIST)
        dk_log(DK_LOG_ERROR, "PASR die %s: another die has its name, or memory of its sections",
               layout->name);
    free_die(die);
    return ERR_PTR(error);
}

struct pasr_die *dk_pasr_die_add(const struct dk_pasr_layout *layout)
{
    struct dk_memory *memory = dk_current_for("dk_pasr_die_add");

    return memory ? dk_memory_add_die(memory, layout) : ERR_PTR(-ENODEV);
}

/* ---- One of them ---- */

static void part(struct dk_pasr *pasr, struct pasr_section *section)
{
    struct pasr_section *partner = section->partner;

    if (!partner)
        return;
    section->partner = NULL;
    partner->partner = NULL;
    if (partner->die != section->die)
        dk_pasr_note(pasr, partner);
}

static void forget_die(struct dk_pasr *pasr, struct pasr_die *die)
{
    unsigned i;

    leave_sections(pasr, die);
    list_del(&die->link);
    for (i = 0; i < die->count; i++) {
        struct pasr_section *section = &die->sections[i];

        part(pasr, section);
        if (section->asleep)
            __atomic_fetch_sub(&pasr->asleep, 1, __ATOMIC_RELAXED);
        if (section->touched != DK_PASR_UNTOUCHED)
            __atomic_fetch_sub(&pasr->touched, 1, __ATOMIC_RELAXED);
    }
}

int dk_pasr_die_remove(struct pasr_die *die)
{
    struct dk_pasr *pasr;
    unsigned i;
    int error;

    pasr = dk_pasr_enter_die(dk_current_for("dk_pasr_die_remove"), "dk_pasr_die_remove", die, 0, 1, &error);
    if (!pasr)
        return error;
    for (i = 0; i < die->count && !error; i++)
        error = dk_pasr_in_use(&die->sections[i]) ? -EBUSY : 0;
    if (!error) {
        forget_die(pasr, die);
        dk_pasr_settle(pasr);
    }
    dk_pasr_leave(pasr);
    if (error)
        dk_log(DK_LOG_WARNING, "dk_pasr_die_remove: memory of %s is in use", die->name);
    else
        free_die(die);
    return error;
}

struct pasr_die *dk_pasr_die_find(const char *name)
{
    struct pasr_die *die;
    struct dk_pasr *pasr;
    int error;

    pasr = dk_pasr_enter("dk_pasr_die_find", &error);
    if (!pasr)
        return NULL;
    die = name ? find_by_name(pasr, name) : NULL;
    dk_pasr_leave(pasr);
    return die;
}

void dk_memory_drop_controllers(struct dk_memory *memory)
{
    struct pasr_die *die;
    struct dk_pasr *pasr;
    int error;

    pasr = memory ? dk_pasr_enter_memory(memory, "dk_machine_destroy", &error) : NULL;
    if (!pasr)
        return;
    list_for_each_entry (die, &pasr->dies, link)
        die->apply_mask = NULL;
    dk_pasr_leave(pasr);
}

int dk_pasr_set_controller(struct pasr_die *die, dk_pasr_apply_mask *apply_mask, void *data)
{
    struct dk_pasr *pasr;
    int error;

    pasr = dk_pasr_enter_die(dk_current_for("dk_pasr_set_controller"), "dk_pasr_set_controller", die, 0, 1,
                             &error);
    if (!pasr)
        return error;
    die->apply_mask = apply_mask;
    die->data = data;
    if (die->mask)
        dk_pasr_tell(die);
    dk_pasr_leave(pasr);
    return 0;
}
