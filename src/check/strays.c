/* SPDX-License-Identifier: MIT */
/*
 * Depth 2: bus masters' accesses against the mappings of their devices. An IOMMU refuses what strays by
 * pages; what it lets through within a page, and all that a plain bus lets through, is found here.
 *
 * Memory counts as mapped for a device when it is mapped for any that sees it at the same address: a
 * controller reaches what is mapped for the interfaces below it, and which of them a bus master stands for is
 * not ours to guess.
 */
#include "check/accesses.h"

#include "machine/bus.h"

/* ---- What is held ---- */

/* A device that writes part of a word may have to read all of it, and one that reads may get more. */
#define WORD 8

struct holder_search {
    u64 last;
    bool write;
    struct dk_record *best;
    u64 held; /* bytes up to @last that @best holds */
    bool permits;
    unsigned count;
};

static bool permits(const struct dk_mapping *mapping, bool write)
{
    return mapping->direction != (write ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
}

static bool weigh_holder(struct dk_interval *interval, void *data)
{
    struct dk_record *record = dk_record_of(interval);
    struct holder_search *search = data;
    bool may = permits(&record->mapping, search->write);
    u64 end = interval->start + (interval->size - 1);

    search->count++;
    if (search->best && (search->permits > may || (search->permits == may && end <= search->held)))
        return true;
    search->best = record;
    search->permits = may;
    search->held = end;
    return true;
}

/*
 * How many bytes from @dma to @last the mappings hold that let the device do that; *against is one that holds
 * the next byte and does not (found false: none). Under the lock.
 */
static u64 hold(struct dk_mappings *mappings, dma_addr_t dma, u64 last, bool write, bool any_direction,
                struct dk_lead *against)
{
    u64 at = dma;

    against->found = false;
    for (;;) {
        struct holder_search search = { .last = last, .write = write };

        dk_intervals_touching(&mappings->live, at, at, weigh_holder, &search);
        if (!search.best)
            break;
        if (search.count == 1 && !search.best->checked)
            search.best->used = true;
        if (!search.permits && !any_direction) {
            against->found = true;
            against->mapping = search.best->mapping;
            against->stack = search.best->stack;
            break;
        }
        if (search.held >= last) {
            if (dk_mapping_is_allocation(search.best->mapping.kind))
                mappings->held_last = search.best;
            return last - dma + 1;
        }
        at = search.held + 1;
    }
    return at - dma;
}

bool dk_check_access(const struct dk_master_move *move, u64 *held)
{
    struct dk_mappings *mappings = dk_checker_mappings(dk_checker_of(move->dev), move->dev, false);
    struct dk_lead against;

    *held = 0;
    if (!mappings)
        return false;
    dk_lock_take(&mappings->lock);
    *held = hold(mappings, move->dma, move->dma + (move->length - 1), move->from,
                 dk_device_translated(move->dev), &against);
    if (*held == move->length)
        mappings->reached = move->dma + move->length;
    dk_lock_give(&mappings->lock);
    return *held == move->length;
}

/* ---- What is not ---- */

struct stray {
    struct dk_checker *checker;
    struct device *dev;
    struct dk_mappings *mine; /* NULL: it has none */
    dma_addr_t dma;           /* the access */
    u64 length;
    bool write;
    dma_addr_t at; /* the first byte that nothing holds */
    u64 left;      /* bytes from there on */
    struct dk_lead against;
    bool quiet;
};

/* Goes on over what is held, by the device's own mappings and by those of others that see the same. True:
 * something is not. */
static bool walk(struct stray *stray)
{
    u64 last = stray->dma + (stray->length - 1);
    bool any_direction = dk_device_translated(stray->dev);

    while (stray->left) {
        struct dk_mappings *other = __atomic_load_n(&stray->checker->devices, __ATOMIC_ACQUIRE);
        struct dk_lead against = { .found = false };
        u64 held = 0;

        stray->against.found = false;
        for (; other && !held; other = other->next) {
            if (other != stray->mine && !dk_lead_shares(stray->dev, other, stray->at))
                continue;
            stray->quiet |= dk_checker_quiet(stray->checker, other);
            dk_lock_take(&other->lock);
            held = hold(other, stray->at, last, stray->write, any_direction, &against);
            dk_lock_give(&other->lock);
            if (against.found && (!stray->against.found || other == stray->mine)) {
                stray->against = against;
                stray->against.owner = other == stray->mine ? NULL : other->path;
            }
        }
        if (!held)
            return true;
        stray->at += held;
        stray->left -= held;
    }
    return false;
}

/* Memory that is nobody's to map: a device's own, or a region that the board sets aside for one. */
static bool is_set_aside(const struct stray *stray, phys_addr_t phys)
{
    struct dk_machine *machine = dk_device_machine(stray->dev);
    const struct dk_board *board = machine->board;
    unsigned i;

    if (!dk_memory_has_page(machine->memory, phys))
        return true;
    for (i = 0; i < board->reserved_count; i++) {
        const struct dk_reserved *reserved = &board->reserved[i];

        if (!reserved->disabled && !reserved->reason && reserved->kind != DK_RESERVED_CMA &&
            phys - dk_alias_to_memory(machine, reserved->range.base) < reserved->range.size)
            return true;
    }
    return false;
}

struct edge_search {
    dma_addr_t at;
    struct dk_lead *lead;
    u64 distance;
};

/* The live mapping that is nearest to where nothing is. */
static bool weigh_edge(struct dk_interval *interval, void *data)
{
    const struct dk_record *record = dk_record_of(interval);
    struct edge_search *search = data;
    u64 end = interval->start + interval->size;
    u64 distance = end <= search->at ? search->at - end : interval->start - search->at;

    if (search->lead->found && search->distance <= distance)
        return true;
    search->lead->found = true;
    search->lead->mapping = record->mapping;
    search->lead->stack = record->stack;
    search->distance = distance;
    return true;
}

/* A live mapping with a byte in the same page. */
static bool nearest_live(struct dk_mappings *mappings, u64 address, struct dk_lead *lead)
{
    u64 page = address & ~((u64)PAGE_SIZE - 1);
    struct edge_search search = { .at = address, .lead = lead };

    dk_lock_take(&mappings->lock);
    dk_intervals_touching(&mappings->live, page, page + (PAGE_SIZE - 1), weigh_edge, &search);
    dk_lock_give(&mappings->lock);
    return lead->found;
}

/* ---- Reports ---- */

static void conclude(struct dk_report_draft *draft, const struct stray *stray, const struct dk_lead *lead,
                     u64 offset)
{
    dk_access_conclude(draft, stray->checker, stray->at, stray->left, lead, offset);
}

static void report_direction(const struct stray *stray)
{
    const struct dk_lead *lead = &stray->against;
    u64 offset = stray->at - lead->mapping.dma;
    u64 length = stray->left < lead->mapping.size - offset ? stray->left : lead->mapping.size - offset;
    u64 word = stray->dma & ~(u64)(WORD - 1);
    struct dk_report_draft draft;

    /* To write the neighbours in its word. */
    if (!stray->write && stray->dma + (stray->length - 1) - word < WORD &&
        (word < lead->mapping.dma || word + WORD > lead->mapping.dma + lead->mapping.size))
        return;
    dk_access_begin(&draft, stray->checker, DK_CLASS_DEVICE_ACCESS_WRONG_DIRECTION, stray->dev, stray->write);
    dk_draft_what(&draft, "the device %s %llu bytes at 0x%llx of a mapping that is %s%s%s",
                  dk_access_did(stray->write), length, stray->at, dk_direction_name(lead->mapping.direction),
                  dk_lead_owned(lead), dk_lead_owner(lead));
    dk_access_conclude(&draft, stray->checker, stray->at, length, lead, offset);
}

/*
 * An access that is held at first goes astray from the mapping where it began: its address is what the driver
 * gave the device. What lies behind that one may be another's by accident, and @lead then is of that.
 */
static void go_back_to_start(struct stray *stray, struct dk_lead *lead)
{
    struct dk_lead start;
    u64 end;

    if (stray->at == stray->dma ||
        !dk_lead_find(stray->checker, stray->dev, dk_lead_live, stray->dma, &start) ||
        start.mapping.number == lead->mapping.number)
        return;
    end = start.mapping.dma + start.mapping.size;
    if (end > stray->at)
        return;
    *lead = start;
    stray->left += stray->at - end;
    stray->at = end;
}

/* @nearest ends, or begins, near the stray bytes. */
static void report_out_of_range(const struct stray *found, const struct dk_lead *nearest)
{
    struct stray stray = *found;
    struct dk_lead lead = *nearest;
    struct dk_report_draft draft;
    bool before;
    u64 away;

    go_back_to_start(&stray, &lead);
    before = stray.at < lead.mapping.dma;
    away = before ? lead.mapping.dma - stray.at : stray.at - (lead.mapping.dma + lead.mapping.size);
    dk_access_begin(&draft, stray.checker, DK_CLASS_DEVICE_ACCESS_OUT_OF_RANGE, stray.dev, stray.write);
    if (stray.at != stray.dma)
        dk_draft_what(
            &draft,
            "the device %s %llu bytes at 0x%llx, the last %llu of them past the end of a mapping of "
            "%llu at 0x%llx%s%s",
            dk_access_did(stray.write), stray.length, stray.dma, stray.left, lead.mapping.size,
            lead.mapping.dma, dk_lead_owned(&lead), dk_lead_owner(&lead));
    else
        dk_draft_what(
            &draft, "the device %s %llu bytes at 0x%llx, %llu bytes %s a mapping of %llu at 0x%llx%s%s",
            dk_access_did(stray.write), stray.length, stray.dma, away, before ? "before" : "past the end of",
            lead.mapping.size, lead.mapping.dma, dk_lead_owned(&lead), dk_lead_owner(&lead));
    conclude(&draft, &stray, &lead, before ? 0 : lead.mapping.size + away);
}

static void report_gone(const struct stray *stray, const struct dk_lead *lead)
{
    u64 offset = stray->at - lead->mapping.dma;
    struct dk_report_draft draft;

    dk_access_begin(&draft, stray->checker, DK_CLASS_DEVICE_ACCESS_AFTER_UNMAP, stray->dev, stray->write);
    dk_draft_what(&draft, "the device %s %llu bytes at 0x%llx, %llu bytes into %s of %llu%s%s that is %s",
                  dk_access_did(stray->write), stray->left, stray->at, offset,
                  dk_mapping_is_allocation(lead->mapping.kind) ? "an allocation" : "a mapping",
                  lead->mapping.size, dk_lead_owned(lead), dk_lead_owner(lead),
                  dk_mapping_is_allocation(lead->mapping.kind) ? "freed" : "unmapped");
    conclude(&draft, stray, lead, offset);
}

static void report_unmapped(const struct stray *stray)
{
    const struct dk_lead none = { .found = false };
    struct dk_report_draft draft;

    dk_access_begin(&draft, stray->checker, DK_CLASS_DEVICE_ACCESS_UNMAPPED, stray->dev, stray->write);
    dk_draft_what(&draft, "the device %s %llu bytes at 0x%llx, memory that was never mapped for it",
                  dk_access_did(stray->write), stray->left, stray->at);
    conclude(&draft, stray, &none, 0);
}

/* Whether what strays is a read's rest in the last word that is held. */
static bool is_rest_of_word(const struct stray *stray)
{
    u64 last = stray->dma + (stray->length - 1);

    return !stray->write && stray->at != stray->dma && (stray->at ^ (stray->at - 1)) < WORD &&
           (last ^ stray->at) < WORD;
}

/* Whether the device came here from the end of a mapping: an overrun in several accesses. */
static bool goes_on(const struct stray *stray)
{
    bool on = false;

    if (stray->at != stray->dma)
        return true;
    if (stray->mine) {
        dk_lock_take(&stray->mine->lock);
        on = stray->mine->reached == stray->at;
        dk_lock_give(&stray->mine->lock);
    }
    return on;
}

/* The first answer that holds. */
static void judge(const struct stray *stray, phys_addr_t phys)
{
    struct dk_checker *checker = stray->checker;
    struct dk_lead lead;

    if (goes_on(stray) && dk_lead_find(checker, stray->dev, dk_lead_live, stray->at - 1, &lead))
        report_out_of_range(stray, &lead);
    else if (dk_stray_truncated(checker, stray->dev, stray->at, stray->left, stray->write, true))
        return;
    else if (dk_lead_find(checker, stray->dev, dk_lead_past, stray->at, &lead))
        report_gone(stray, &lead);
    else if (is_set_aside(stray, phys))
        return;
    else if (dk_lead_find(checker, stray->dev, nearest_live, stray->at, &lead))
        report_out_of_range(stray, &lead);
    else if (!dk_stray_truncated(checker, stray->dev, stray->at, stray->left, stray->write, false))
        report_unmapped(stray);
}

void dk_check_stray(const struct dk_master_move *move, u64 held)
{
    struct device *dev = move->dev;
    struct dk_checker *checker = dk_checker_of(dev);
    struct stray stray = {
        .checker = checker,
        .dev = dev,
        .mine = dk_checker_mappings(checker, dev, false),
        .dma = move->dma,
        .length = move->length,
        .write = move->from,
        .at = move->dma + held,
        .left = move->length - held,
    };
    struct dk_memory *memory = dk_device_machine(dev)->memory;
    u64 run = stray.left;
    struct dk_lead lead;

    /* Registers of other devices, an interrupt controller's among them, need no mapping. Memory that is not
     * refreshed has a report of its own. */
    if (!dk_memory_is_ram(memory, move->phys + held, 1) || dk_pasr_run(memory, move->phys + held, &run) ||
        !walk(&stray) || stray.quiet || dk_checker_quiet(checker, stray.mine))
        return;
    if (stray.against.found)
        report_direction(&stray);
    else if (is_rest_of_word(&stray))
        return;
    else if (!dk_device_translated(dev))
        judge(&stray, move->phys + (stray.at - move->dma));
    else if (dk_lead_find(checker, dev, nearest_live, stray.at, &lead))
        report_out_of_range(&stray, &lead);
}

/* ---- Addresses that were damaged on the way ---- */

/* What the address is of the mapping, whose own it is not. */
struct form {
    const char *is;     /* "0x… is the low 32 bits of the address" */
    const char *advice; /* NULL: the class's */
};

static const struct form low_32 = { "the low 32 bits of the DMA address", NULL };
static const struct form other_bits = { "the low bits of the DMA address", NULL };
static const struct form sign = {
    "the DMA address's low 32 bits, sign-extended",
    "keep DMA addresses in dma_addr_t or u64: an int or a long in between extends the sign"
};
static const struct form physical = { "the physical address",
                                      "give the device the DMA address, not the physical address" };
static const struct form cpu_address = { "the CPU's address",
                                         "give the device the DMA address, not the CPU's pointer" };
static const struct form cpu_low = { "the low 32 bits of the CPU's address",
                                     "give the device the DMA address, not the CPU's pointer" };

struct form_search {
    u64 address;
    bool exact;
    struct dk_lead *lead;
    const struct form *form;
    u64 offset;
};

static bool fits(struct form_search *search, const struct form *form, u64 start, u64 size, bool exact)
{
    u64 offset = search->address - start;

    if (offset >= size || ((exact || search->exact) && offset))
        return false;
    search->form = form;
    search->offset = offset;
    return true;
}

/* Masks of other widths than 32 bits are rare, and short ones meet by accident. */
static bool is_cut(struct form_search *search, const struct dk_mapping *mapping)
{
    static const unsigned widths[] = { 24, 28, 30, 31, 36, 40, 44, 48 };
    u64 dma = mapping->dma;
    unsigned i;

    if (dma >> 32 && fits(search, &low_32, (u32)dma, mapping->size, false))
        return true;
    if ((u64)(s64)(s32)dma != dma && (dma & 0x80000000) &&
        fits(search, &sign, (u64)(s64)(s32)dma, mapping->size, false))
        return true;
    for (i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        u64 cut = dma & ((1ull << widths[i]) - 1);

        if (cut && cut != dma && fits(search, &other_bits, cut, mapping->size, true))
            return true;
    }
    return false;
}

static bool is_cpus(struct form_search *search, const struct dk_mapping *mapping)
{
    u64 cpu = (uintptr_t)mapping->cpu;

    if (!cpu || mapping->kind == DK_MAPPING_PAGES || mapping->kind == DK_MAPPING_NONCONTIGUOUS)
        return false;
    return fits(search, &cpu_address, cpu, mapping->size, false) ||
           (cpu >> 32 && fits(search, &cpu_low, (u32)cpu, mapping->size, false));
}

/* Goes on until it is found. */
static bool compare_forms(struct dk_interval *interval, void *data)
{
    const struct dk_record *record = dk_record_of(interval);
    const struct dk_mapping *mapping = &record->mapping;
    u64 contiguous = mapping->contiguous ? mapping->contiguous : mapping->size;
    struct form_search *search = data;

    /* The low bits of the CPU's address may be those of the physical one: the latter is the better answer. */
    if ((mapping->kind == DK_MAPPING_IOVA || mapping->phys == mapping->dma ||
         !fits(search, &physical, mapping->phys, contiguous, false)) &&
        !is_cut(search, mapping) && !is_cpus(search, mapping))
        return true;
    search->lead->found = true;
    search->lead->mapping = *mapping;
    search->lead->stack = record->stack;
    return false;
}

bool dk_stray_truncated(struct dk_checker *checker, struct device *dev, dma_addr_t address, u64 length,
                        bool write, bool exact)
{
    struct dk_mappings *mappings = dk_checker_mappings(checker, dev, false);
    struct dk_lead lead = { .found = false };
    struct form_search search = { .address = address, .exact = exact, .lead = &lead };
    struct dk_report_draft draft;

    if (!mappings)
        return false;
    dk_lock_take(&mappings->lock);
    dk_intervals_each(&mappings->live, compare_forms, &search);
    dk_lock_give(&mappings->lock);
    /* Behind an IOMMU the physical address has a class of its own. */
    if (!lead.found || (search.form == &physical && dk_device_translated(dev)))
        return false;
    dk_access_begin(&draft, checker, DK_CLASS_ADDRESS_TRUNCATED, dev, write);
    if (search.form->advice)
        draft.advice = search.form->advice;
    dk_draft_what(
        &draft, "the device %s %llu bytes at 0x%llx, which is %s of byte %llu of a mapping of %llu at 0x%llx",
        dk_access_did(write), length, address, search.form->is, search.offset, lead.mapping.size,
        lead.mapping.dma);
    dk_access_conclude(&draft, checker, address, length, &lead, search.offset);
    return true;
}

/* ---- What the bus or an IOMMU refused ---- */

bool dk_stray_refused(struct dk_checker *checker, struct device *dev, const struct dk_master_fault *fault)
{
    struct stray stray = {
        .checker = checker,
        .dev = dev,
        .mine = dk_checker_mappings(checker, dev, false),
        .dma = fault->dma,
        .length = fault->length,
        .write = fault->write,
        .at = fault->dma,
        .left = fault->length,
    };
    struct dk_lead lead;

    if (fault->kind != DK_MASTER_FAULT_BUS)
        return false;
    if (dk_stray_past_segments(checker, dev, fault))
        return true;
    if (checker->depth < 2 || !stray.mine)
        return false;
    lead = (struct dk_lead){ .found = false };
    if (goes_on(&stray) && dk_lead_live(stray.mine, stray.at - 1, &lead)) {
        report_out_of_range(&stray, &lead);
        return true;
    }
    return dk_stray_truncated(checker, dev, fault->dma, fault->length, fault->write, false);
}

/* Goes on until a list is found that has fewer segments than entries. */
static bool compare_segments(struct dk_interval *interval, void *data)
{
    const struct dk_record *record = dk_record_of(interval);
    struct dk_lead *lead = data;

    if (record->mapping.kind != DK_MAPPING_SG || record->mapping.sg_mapped >= record->mapping.sg_nents ||
        (lead->found && lead->mapping.number > record->mapping.number))
        return true;
    lead->found = true;
    lead->mapping = record->mapping;
    lead->stack = record->stack;
    return true;
}

bool dk_stray_past_segments(struct dk_checker *checker, struct device *dev,
                            const struct dk_master_fault *fault)
{
    struct dk_mappings *mappings = dk_checker_mappings(checker, dev, false);
    struct dk_lead lead = { .found = false };
    struct dk_report_draft draft;

    /* What dma_map_sg() writes into the entries after the last segment. */
    if (fault->dma != (dma_addr_t)-1 || !mappings)
        return false;
    dk_lock_take(&mappings->lock);
    dk_intervals_each(&mappings->live, compare_segments, &lead);
    dk_lock_give(&mappings->lock);
    if (!lead.found)
        return false;
    dk_access_begin(&draft, checker, DK_CLASS_SG_NENTS_CONFUSED, dev, fault->write);
    dk_draft_what(
        &draft,
        "the device %s %llu bytes at the address of an entry that dma_map_sg() left without one: of "
        "a list of %d entries it made %d segments",
        dk_access_did(fault->write), fault->length, lead.mapping.sg_nents, lead.mapping.sg_mapped);
    dk_access_conclude(&draft, checker, fault->dma, fault->length, &lead, 0);
    return true;
}
