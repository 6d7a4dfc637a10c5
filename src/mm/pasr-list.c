/* SPDX-License-Identifier: MIT */
/*
 * Partial array self-refresh in numbers and for people.
 */
#include "base/text.h"
#include "mm/pasr.h"
#include "mm/private.h"

static void add_die(const struct dk_pasr *pasr, const struct pasr_die *die, struct dk_pasr_statistics *sum)
{
    unsigned i;

    sum->dies++;
    sum->sections += die->count;
    sum->mask_changes += die->mask_changes;
    sum->operations_asleep += die->operations_asleep;
    for (i = 0; i < die->count; i++) {
        const struct pasr_section *section = &die->sections[i];
        u64 size = section->end - section->base;

        sum->bytes += size;
        sum->bytes_unused += section->unused;
        if (!section->asleep)
            continue;
        sum->sections_asleep++;
        sum->bytes_asleep += size;
        sum->operations_asleep += pasr->operations - section->asleep_since;
    }
}

int dk_pasr_read(struct pasr_die *die, struct dk_pasr_statistics *statistics)
{
    const struct pasr_die *each;
    struct dk_pasr *pasr;
    int error;

    *statistics = (struct dk_pasr_statistics){ 0 };
    pasr = dk_pasr_enter("dk_pasr_read", &error);
    if (!pasr)
        return error ? error : die ? -EINVAL : 0;
    if (die && !dk_pasr_has_die(pasr, die)) {
        dk_pasr_leave(pasr);
        return -EINVAL;
    }
    list_for_each_entry (each, &pasr->dies, link) {
        if (!die || each == die)
            add_die(pasr, each, statistics);
    }
    statistics->operations = pasr->operations;
    statistics->refused = pasr->refused;
    dk_pasr_leave(pasr);
    return 0;
}

static void list_die(struct dk_text *text, const struct pasr_die *die)
{
    static const char *const modes[] = {
        [PASR_SINGLE_ENDED] = "single-ended",
        [PASR_DOUBLE_ENDED] = "double-ended",
        [PASR_BANK_SELECTIVE] = "bank-selective",
        [PASR_SEGMENT_SELECTIVE] = "segment-selective",
    };
    unsigned i;

    dk_text_add(text, "%s: %s, mask 0x%x, %llu mask changes\n", die->name, modes[die->mode], die->mask,
                die->mask_changes);
    for (i = 0; i < die->count; i++) {
        const struct pasr_section *section = &die->sections[i];

        dk_text_add(text, "  %2u  0x%09llx-0x%09llx  0x%llx of 0x%llx unused, %s%s", i, section->base,
                    section->end - 1, section->unused, section->end - section->base,
                    section->asleep ? "asleep" : "awake", section->offline ? ", offline" : "");
        if (section->partner)
            dk_text_add(text, ", partner %s %u", section->partner->die->name,
                        (unsigned)(section->partner - section->partner->die->sections));
        dk_text_add(text, "\n");
    }
}

size_t dk_pasr_list(char *text, size_t size)
{
    struct dk_text list = { text, size, 0 };
    const struct pasr_die *die;
    struct dk_pasr *pasr;
    int error;

    if (size)
        *text = '\0';
    pasr = dk_pasr_enter("dk_pasr_list", &error);
    if (!pasr)
        return 0;
    list_for_each_entry (die, &pasr->dies, link)
        list_die(&list, die);
    dk_pasr_leave(pasr);
    return list.length;
}
