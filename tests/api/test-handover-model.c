/* SPDX-License-Identifier: MIT */
/*
 * Random calls, stores and accesses of a device against a model with a byte's owner for each byte: depth 2
 * reports exactly what the model says, right to the byte.
 */
#include "handover.h"

#define SIZE 192
#define STEPS 100 /* on one machine; each has a stack of its own */
#define CLASSES 4

static const char *const class_names[CLASSES] = {
    "cpu-write-while-device-owns",
    "missing-sync-for-device",
    "sync-wrong-subrange",
    "skip-sync-without-sync",
};
enum { STORE, MISSING, SUBRANGE, SKIP };

enum owner { DEVICE, CPU, UNSYNCED, TOLD };

struct run {
    bool found;
    unsigned offset, length;
};

struct model {
    struct device *dev;
    char *buffer;
    dma_addr_t dma;
    bool mapped, skipped;
    enum dma_data_direction direction;
    enum owner owner[SIZE];
    bool changed[SIZE];       /* by the CPU, and nobody was told */
    unsigned char next[SIZE]; /* what the CPU stores next; odd, where devices write even bytes */
    unsigned got, got_end, given, given_end;
    struct run expected[CLASSES];
    u64 random;
    unsigned char bytes[SIZE];
};

static unsigned draw(struct model *model, unsigned below)
{
    model->random = model->random * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(model->random >> 33) % below;
}

static void draw_range(struct model *model, unsigned *from, unsigned *to)
{
    if (draw(model, 4) == 0) {
        *from = 0;
        *to = SIZE;
        return;
    }
    *from = draw(model, SIZE);
    *to = *from + 1 + draw(model, SIZE - *from);
}

/* ---- The model ---- */

enum event { FOR_CPU, FOR_CPU_LOSES, FOR_DEVICE, UNMAP, UNMAP_LOSES, READ, WRITE };

static bool cpu_has_some(const struct model *model)
{
    for (unsigned i = 0; i < SIZE; i++) {
        if (model->owner[i] == CPU)
            return true;
    }
    return false;
}

/* The class of a changed byte; CLASSES: it may be changed. */
static unsigned class_of(const struct model *model, unsigned at, enum event event)
{
    bool uses = event == READ || event == WRITE || event == FOR_CPU_LOSES || event == UNMAP_LOSES;

    switch (model->owner[at]) {
    case DEVICE:
        return cpu_has_some(model) ? SUBRANGE : STORE;
    case CPU:
        if (!uses)
            return CLASSES;
        return model->given_end && at >= model->got && at < model->got_end ? SUBRANGE : MISSING;
    case UNSYNCED:
        return event == WRITE ? SKIP : CLASSES;
    default:
        return CLASSES;
    }
}

static void expect(struct model *model, unsigned class_index, unsigned from, unsigned to)
{
    if (class_index == CLASSES || model->expected[class_index].found)
        return;
    model->expected[class_index] = (struct run){ true, from, to - from };
}

static void look(struct model *model, unsigned from, unsigned to, enum event event)
{
    unsigned at, end;

    for (at = from; at < to; at = end) {
        end = at + 1;
        if (!model->changed[at])
            continue;
        while (end < to && model->changed[end] && model->owner[end] == model->owner[at])
            end++;
        expect(model, class_of(model, at, event), at, end);
    }
    for (at = from; at < to; at++) {
        if (model->changed[at] && class_of(model, at, event) != CLASSES)
            model->changed[at] = false;
    }
}

static void read_unsynced(struct model *model, unsigned from, unsigned to)
{
    unsigned at, end;

    for (at = from; at < to; at = end) {
        end = at + 1;
        if (model->owner[at] != UNSYNCED)
            continue;
        while (end < to && model->owner[end] == UNSYNCED)
            end++;
        expect(model, SKIP, at, end);
        for (unsigned i = at; i < end; i++)
            model->owner[i] = TOLD;
    }
}

static void own(struct model *model, unsigned from, unsigned to, enum owner owner, bool held)
{
    for (; from < to; from++) {
        model->owner[from] = owner;
        if (held)
            model->changed[from] = false;
    }
}

/* ---- What is done ---- */

static void do_map(struct model *model)
{
    static const enum dma_data_direction directions[] = { DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_BIDIRECTIONAL };

    model->direction = directions[draw(model, 3)];
    model->skipped = draw(model, 4) == 0;
    model->dma = dma_map_single_attrs(model->dev, model->buffer, SIZE, model->direction,
                                      model->skipped ? DMA_ATTR_SKIP_CPU_SYNC : 0);
    assert_int_equal(dma_mapping_error(model->dev, model->dma), 0);
    model->mapped = true;
    own(model, 0, SIZE, model->skipped ? UNSYNCED : DEVICE, true);
    model->got = model->got_end = model->given = model->given_end = 0;
}

static void do_unmap(struct model *model)
{
    bool skip = draw(model, 3) == 0 && cpu_has_some(model);

    look(model, 0, SIZE, skip || model->direction == DMA_TO_DEVICE ? UNMAP : UNMAP_LOSES);
    model->mapped = false;
    own(model, 0, SIZE, CPU, true);
    dma_unmap_single_attrs(model->dev, model->dma, SIZE, model->direction, skip ? DMA_ATTR_SKIP_CPU_SYNC : 0);
}

static void do_sync(struct model *model, bool for_cpu)
{
    bool keeps = for_cpu && model->direction == DMA_TO_DEVICE;
    unsigned from, to;

    draw_range(model, &from, &to);
    if (for_cpu) {
        look(model, from, to, keeps ? FOR_CPU : FOR_CPU_LOSES);
    } else {
        look(model, from, to, FOR_DEVICE);
        look(model, 0, from, FOR_DEVICE);
        look(model, to, SIZE, FOR_DEVICE);
    }
    own(model, from, to, for_cpu ? CPU : DEVICE, !keeps);
    model->given = model->given_end = 0;
    if (for_cpu) {
        model->got = from;
        model->got_end = to;
        dma_sync_single_range_for_cpu(model->dev, model->dma, from, to - from, model->direction);
    } else {
        if (cpu_has_some(model)) {
            model->given = from;
            model->given_end = to;
        }
        dma_sync_single_range_for_device(model->dev, model->dma, from, to - from, model->direction);
    }
}

static void do_store(struct model *model)
{
    unsigned from, to;

    draw_range(model, &from, &to);
    for (; from < to; from++) {
        model->buffer[from] = (char)model->next[from];
        model->next[from] += 2;
        model->changed[from] = model->mapped;
    }
}

static void do_access(struct model *model, bool write)
{
    unsigned from, to, at;

    if (model->direction == (write ? DMA_TO_DEVICE : DMA_FROM_DEVICE))
        return;
    draw_range(model, &from, &to);
    look(model, from, to, write ? WRITE : READ);
    if (!write) {
        read_unsynced(model, from, to);
        assert_int_equal(dk_master_read(model->dev, model->dma + from, model->bytes, to - from), 0);
        return;
    }
    for (at = from; at < to; at++) {
        if (model->owner[at] == UNSYNCED)
            model->owner[at] = DEVICE;
        model->bytes[at - from] = (unsigned char)(draw(model, 128) * 2);
        model->changed[at] = false;
    }
    assert_int_equal(dk_master_write(model->dev, model->dma + from, model->bytes, to - from), 0);
}

static void act(struct model *model)
{
    if (!model->mapped) {
        do_map(model);
        return;
    }
    switch (draw(model, 16)) {
    case 0:
        do_unmap(model);
        break;
    case 1:
    case 2:
    case 3:
        do_sync(model, true);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        do_sync(model, false);
        break;
    case 8:
    case 9:
    case 10:
    case 11:
        do_store(model);
        break;
    default:
        do_access(model, draw(model, 2));
    }
}

/* A stack for each step, so that each report is a new one: its bits choose the functions on it. */
static void descend_one(struct model *model, unsigned step, unsigned bits);

static __attribute__((noinline)) void descend_zero(struct model *model, unsigned step, unsigned bits)
{
    if (!bits)
        act(model);
    else if (step & 1)
        descend_one(model, step >> 1, bits - 1);
    else
        descend_zero(model, step >> 1, bits - 1);
    /* So that no call is a jump. */
    __asm__ volatile("");
}

static __attribute__((noinline)) void descend_one(struct model *model, unsigned step, unsigned bits)
{
    if (!bits)
        act(model);
    else if (step & 1)
        descend_one(model, step >> 1, bits - 1);
    else
        descend_zero(model, step >> 1, bits - 1);
    __asm__ volatile("");
}

/* ---- The comparison ---- */

struct seen {
    struct run runs[CLASSES];
    bool other;
};

static void see(const struct dk_report *report, void *data)
{
    struct seen *seen = data;
    unsigned i;

    for (i = 0; i < CLASSES && strcmp(report->class_name, class_names[i]); i++)
        continue;
    if (i == CLASSES || seen->runs[i].found) {
        seen->other = true;
        return;
    }
    seen->runs[i] = (struct run){ true, (unsigned)report->bytes.offset, (unsigned)report->bytes.length };
}

static void play(const struct handover_place *place, uint64_t seed)
{
    struct dk_machine *machine = machine_with(place->board, place->arguments, seed, 2);
    struct model model = { .dev = device_below(machine, place->bus, "one"), .random = seed * 77 + 1 };
    struct seen seen;
    unsigned step, i, reports = 0;

    dma_set_mask_and_coherent(model.dev, DMA_BIT_MASK(64));
    model.buffer = kzalloc(SIZE, GFP_KERNEL);
    assert_non_null(model.buffer);
    for (i = 0; i < SIZE; i++)
        model.next[i] = (unsigned char)(2 * i + 1);
    dk_check_set_sink(machine, see, &seen);
    for (step = 0; step < STEPS; step++) {
        memset(&seen, 0, sizeof(seen));
        memset(model.expected, 0, sizeof(model.expected));
        descend_zero(&model, step, 7);
        for (i = 0; i < CLASSES; i++) {
            const struct run *is = &seen.runs[i], *wanted = &model.expected[i];

            reports += wanted->found;
            if (seen.other || is->found != wanted->found || is->offset != wanted->offset ||
                is->length != wanted->length)
                fail_msg("%s, seed %d, step %u, %s: is %d at %u, %u bytes; wanted %d at %u, %u bytes%s",
                         place->name, (int)seed, step, class_names[i], is->found, is->offset, is->length,
                         wanted->found, wanted->offset, wanted->length, seen.other ? "; others too" : "");
        }
    }
    assert_true(reports > STEPS / 20);
    if (model.mapped)
        dma_unmap_single_attrs(model.dev, model.dma, SIZE, model.direction, DMA_ATTR_SKIP_CPU_SYNC);
    kfree(model.buffer);
    dk_check_set_sink(machine, ignore_report, NULL);
    dk_machine_destroy(machine);
}

static void reports_are_the_models(void **state)
{
    size_t place;
    uint64_t seed;

    (void)state;
    for (place = 0; place < HANDOVER_PLACES; place++) {
        for (seed = 0; seed < 1 + seeds(19); seed++)
            play(&handover_places[place], seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_are_the_models),
    };

    return cmocka_run_group_tests_name("handover-model", tests, NULL, NULL);
}
