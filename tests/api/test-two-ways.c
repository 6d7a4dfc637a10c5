/* SPDX-License-Identifier: MIT */
/*
 * The same random calls on two machines: on one every device sees what the CPU sees, so that ordinary calls
 * and accesses have short ways in the checker; on the other one device more does not, and all calls go the
 * general way. Both report the same, call for call.
 *
 * The CPU stores odd bytes that grow, and devices write even ones, so that no store is what is there already.
 * At depth 2 nothing is unmapped with DMA_ATTR_SKIP_CPU_SYNC: what that leaves with a device is known from
 * the lines on one machine and from the bytes on the other.
 */
#include "api.h"

#define BOARD(other)                                                                                           \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"ways\"; compatible = \"dmakit,ways\"; " \
    "dma-coherent; memory@7f800000 { device_type = \"memory\"; reg = <0x7f800000 0x1000000>; };"               \
    " bus: bus@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"              \
    " nic@0 { compatible = \"dmakit,nic\"; }; };"                                                              \
    " far: bus@1 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"              \
    " nic@1 { compatible = \"dmakit,nic\"; }; };"                                                              \
    " odd: bus@2 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges; " other       \
    "; };"                                                                                                     \
    " aliases { bus = \"/bus@0\"; far = \"/bus@1\"; nic = \"/bus@0/nic@0\"; }; };"

#define WAYS 2
static const char *const boards[WAYS] = { BOARD("dma-coherent"), BOARD("dma-noncoherent") };

#define STEPS 8000 /* on one pair of machines */
#define DEVICES 4
#define SLOTS 12
#define ENTRIES 3
/* Half of the memory that is mapped lies in front of a section's end, half behind it. */
#define MIDDLE 0x80000000ull
#define HALF 0x20000u

enum kind { SINGLE, PAGE, LIST };

struct slot {
    bool used;
    enum kind kind;
    unsigned device, count;
    enum dma_data_direction direction;
    unsigned long attrs;
    u64 phys[ENTRIES], size[ENTRIES];
    bool failed[WAYS];
    dma_addr_t dma[WAYS];
    struct scatterlist list[WAYS][ENTRIES];
};

/* Coherent memory, where descriptors are. */
#define RINGS 3
#define RING_SIZE 512

struct ring {
    bool used;
    unsigned device;
    void *cpu[WAYS];
    dma_addr_t dma[WAYS];
};

struct seen {
    char text[2048]; /* of the reports that were new at this step */
};

struct side {
    struct dk_machine *machine;
    struct device *devices[DEVICES];
    char *half[2]; /* the CPU's view of the memory on both sides of the middle */
    struct seen seen;
    unsigned long total;
};

struct play {
    int depth;
    u64 random;
    struct side sides[WAYS];
    struct slot slots[SLOTS];
    struct ring rings[RINGS];
    unsigned char next, written; /* what the CPU stores next, and what a device wrote first the last time */
    unsigned char bytes[2 * HALF];
    unsigned long reports;
};

static unsigned draw(struct play *play, unsigned below)
{
    play->random = play->random * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(play->random >> 33) % below;
}

static bool chance(struct play *play, unsigned in)
{
    return !draw(play, in);
}

static void see(const struct dk_report *report, void *data)
{
    struct seen *seen = data;
    size_t used = strlen(seen->text);
    u64 dma = report->mapping.dma;

    /* Where the allocator's memory lies differs. */
    if (dma - (MIDDLE - HALF) >= 2 * HALF)
        dma = 0;
    snprintf(seen->text + used, sizeof(seen->text) - used,
             "  %s, %s, %s: %llu bytes at %llu of %s 0x%llx+%llu %s\n", report->class_name, report->device,
             report->access.name, report->bytes.length, report->bytes.offset,
             report->mapping.kind ? report->mapping.kind : "-", dma, report->mapping.size,
             report->mapping.direction ? report->mapping.direction : "-");
}

static const char *const device_names[DEVICES] = { "one", "two", "three", "four" };

static void add_device(struct side *side, unsigned i)
{
    side->devices[i] = device_below(side->machine, i < 2 ? "bus" : "far", device_names[i]);
}

static void start(struct side *side, const char *board, int depth)
{
    const unsigned long first = (MIDDLE - HALF) >> PAGE_SHIFT, end = (MIDDLE + HALF) >> PAGE_SHIFT;
    unsigned i;

    side->machine = machine_with(board, NULL, 0, depth);
    side->total = 0;
    dk_check_set_sink(side->machine, see, &side->seen);
    assert_int_equal(alloc_contig_range(first, end, MIGRATE_MOVABLE, GFP_KERNEL | __GFP_ZERO), 0);
    side->half[0] = page_address(pfn_to_page(first));
    side->half[1] = page_address(pfn_to_page(MIDDLE >> PAGE_SHIFT));
    for (i = 0; i < DEVICES; i++)
        add_device(side, i);
}

/* The CPU's address of @phys; the bytes up to a section's end follow it. */
static char *cpu_of(const struct side *side, u64 phys)
{
    return phys < MIDDLE ? side->half[0] + (phys - (MIDDLE - HALF)) : side->half[1] + (phys - MIDDLE);
}

/* Memory in few places, so that mappings meet; some at the section's end, and some long. */
static void draw_bytes(struct play *play, u64 *phys, u64 *size, bool crosses)
{
    static const unsigned sizes[] = { 1, 8, 40, 64, 64, 100, 256, 256, 449, 512, 513, 700, 2048, 4096 };
    u64 base = chance(play, 4) ? MIDDLE - 1024 : chance(play, 2) ? MIDDLE : MIDDLE - HALF;

    *size = sizes[draw(play, sizeof(sizes) / sizeof(sizes[0]))];
    if (chance(play, 40))
        *size = 60000 + draw(play, 12000);
    *phys = base + draw(play, 32) * 64 + (chance(play, 3) ? draw(play, 64) : 0);
    if (chance(play, 6))
        *phys = MIDDLE - *size;
    if (!crosses && *phys<MIDDLE && * phys + *size> MIDDLE)
        *phys = MIDDLE - *size;
}

/* ---- What is done on both sides ---- */

static void do_map(struct play *play, struct slot *slot)
{
    static const enum dma_data_direction directions[] = { DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_BIDIRECTIONAL };
    bool again = chance(play, 6), ask = !chance(play, 30);
    const struct slot *like = &play->slots[draw(play, SLOTS)];
    unsigned i, way;

    slot->kind = chance(play, 3) ? (enum kind)draw(play, 3) : SINGLE;
    slot->device = chance(play, 2) ? 0 : draw(play, DEVICES);
    slot->direction = directions[draw(play, 3)];
    slot->attrs = chance(play, 8) ? DMA_ATTR_SKIP_CPU_SYNC : chance(play, 8) ? DMA_ATTR_WEAK_ORDERING : 0;
    slot->count = slot->kind == LIST ? 1 + draw(play, ENTRIES) : 1;
    for (i = 0; i < slot->count; i++)
        draw_bytes(play, &slot->phys[i], &slot->size[i], slot->kind == PAGE);
    /* The same buffer a second time. */
    if (again && like->used && like->kind != PAGE) {
        slot->phys[0] = like->phys[0];
        slot->size[0] = like->size[0];
    }
    slot->used = true;
    for (way = 0; way < WAYS; way++) {
        struct side *side = &play->sides[way];
        struct device *dev = side->devices[slot->device];

        dk_machine_enter(side->machine);
        if (slot->kind == SINGLE)
            slot->dma[way] = dma_map_single_attrs(dev, cpu_of(side, slot->phys[0]), slot->size[0],
                                                  slot->direction, slot->attrs);
        else if (slot->kind == PAGE)
            slot->dma[way] = dma_map_page_attrs(dev, pfn_to_page(slot->phys[0] >> PAGE_SHIFT),
                                                slot->phys[0] & (PAGE_SIZE - 1), slot->size[0],
                                                slot->direction, slot->attrs);
        if (slot->kind != LIST) {
            slot->failed[way] = slot->dma[way] == DMA_MAPPING_ERROR;
            if (ask)
                dma_mapping_error(dev, slot->dma[way]);
            continue;
        }
        sg_init_table(slot->list[way], slot->count);
        for (i = 0; i < slot->count; i++)
            sg_set_buf(&slot->list[way][i], cpu_of(side, slot->phys[i]), (unsigned)slot->size[i]);
        slot->failed[way] =
            dma_map_sg_attrs(dev, slot->list[way], slot->count, slot->direction, slot->attrs) <= 0;
        slot->dma[way] = sg_dma_address(slot->list[way]);
    }
    assert_int_equal(slot->failed[0], slot->failed[1]);
    if (!slot->failed[0])
        assert_int_equal(slot->dma[0], slot->dma[1]);
    slot->used = !slot->failed[0];
}

static void do_ask(struct play *play, const struct slot *slot)
{
    for (unsigned way = 0; way < WAYS; way++)
        dma_mapping_error(play->sides[way].devices[slot->device], slot->dma[way]);
}

static void do_unmap(struct play *play, struct slot *slot)
{
    enum dma_data_direction direction =
        chance(play, 40) ? (enum dma_data_direction)draw(play, 3) : slot->direction;
    u64 size = chance(play, 40) ? slot->size[0] + draw(play, 3) : slot->size[0];
    u64 off = chance(play, 60) ? draw(play, 3) * 32 : 0;
    bool by_page = chance(play, 30) != (slot->kind == PAGE), stays = chance(play, 40);
    unsigned long attrs = play->depth > 1    ? slot->attrs & ~DMA_ATTR_SKIP_CPU_SYNC
                          : chance(play, 20) ? DMA_ATTR_SKIP_CPU_SYNC
                                             : slot->attrs;
    unsigned device = chance(play, 80) ? draw(play, DEVICES) : slot->device;

    for (unsigned way = 0; way < WAYS; way++) {
        struct device *dev = play->sides[way].devices[device];

        dk_machine_enter(play->sides[way].machine);
        if (slot->kind == LIST)
            dma_unmap_sg_attrs(dev, slot->list[way], slot->count, direction, attrs);
        else if (by_page)
            dma_unmap_page_attrs(dev, slot->dma[way] + off, size, direction, attrs);
        else
            dma_unmap_single_attrs(dev, slot->dma[way] + off, size, direction, attrs);
    }
    /* Else it is unmapped twice, or never. */
    slot->used = stays || off || device != slot->device;
}

static void do_sync(struct play *play, struct slot *slot)
{
    enum dma_data_direction direction =
        chance(play, 30) ? (enum dma_data_direction)draw(play, 3) : slot->direction;
    bool for_cpu = chance(play, 2), all = chance(play, 2);
    u64 from = all ? 0 : draw(play, (unsigned)slot->size[0]);
    u64 size =
        all ? slot->size[0] : 1 + draw(play, (unsigned)(slot->size[0] - from) + (chance(play, 20) ? 99 : 0));

    for (unsigned way = 0; way < WAYS; way++) {
        struct device *dev = play->sides[way].devices[slot->device];

        dk_machine_enter(play->sides[way].machine);
        if (slot->kind == LIST && for_cpu)
            dma_sync_sg_for_cpu(dev, slot->list[way], (int)slot->count, direction);
        else if (slot->kind == LIST)
            dma_sync_sg_for_device(dev, slot->list[way], (int)slot->count, direction);
        else if (for_cpu)
            dma_sync_single_range_for_cpu(dev, slot->dma[way], from, size, direction);
        else
            dma_sync_single_range_for_device(dev, slot->dma[way], from, size, direction);
    }
}

static void do_store(struct play *play)
{
    u64 phys, size, i;

    draw_bytes(play, &phys, &size, false);
    if (size > 64)
        size = 1 + draw(play, 64);
    for (i = 0; i < size; i++) {
        play->next += 2;
        for (unsigned way = 0; way < WAYS; way++) {
            char *at = cpu_of(&play->sides[way], phys + i);

            /* What is stored is new. */
            *at = (char)(*at & 1 ? *at + 2 : play->next | 1);
        }
    }
}

static void do_access(struct play *play, const struct slot *slot)
{
    bool exact = !chance(play, 3), write = chance(play, 2);
    unsigned entry = draw(play, slot->count ? slot->count : 1), device = slot->device;
    u64 dma, from = 0, length, i;

    length = slot->size[entry] ? slot->size[entry] : 64;
    if (!exact) {
        from = draw(play, (unsigned)length);
        length = 1 + draw(play, (unsigned)(length - from) + (chance(play, 8) ? 200 : 0));
    }
    dma = (slot->kind == LIST ? slot->phys[entry] : slot->dma[0]) + from;
    if (chance(play, 40))
        device = draw(play, DEVICES);
    play->written += 2;
    for (i = 0; write && i < length; i++)
        play->bytes[i] = (unsigned char)(play->written + 6 * i);
    for (unsigned way = 0; way < WAYS; way++) {
        struct device *dev = play->sides[way].devices[device];
        int error = write ? dk_master_write(dev, dma, play->bytes, length)
                          : dk_master_read(dev, dma, play->bytes + HALF, length);

        assert_int_equal(error, 0);
    }
}

/* To the end of what is mapped, and on from there. */
static void do_overrun(struct play *play, const struct slot *slot)
{
    unsigned length = 1 + draw(play, 64);

    if (!slot->size[0])
        return;
    memset(play->bytes, (int)(play->written += 2), slot->size[0]);
    for (unsigned way = 0; way < WAYS; way++) {
        struct device *dev = play->sides[way].devices[slot->device];

        assert_int_equal(dk_master_write(dev, slot->phys[0], play->bytes, slot->size[0]), 0);
        assert_int_equal(dk_master_write(dev, slot->phys[0] + slot->size[0], play->bytes, length), 0);
    }
}

/* A device's accesses to descriptors, some of them when they are gone, or by another device. */
static void do_ring(struct play *play, struct ring *ring)
{
    unsigned at = draw(play, RING_SIZE), length = 1 + draw(play, RING_SIZE - at);
    unsigned device = chance(play, 20) ? draw(play, DEVICES) : ring->device;
    bool frees = ring->used && chance(play, 8), write = chance(play, 2), takes = !ring->used;

    if (takes)
        ring->device = device = draw(play, DEVICES);
    ring->used = !frees;
    for (unsigned way = 0; way < WAYS; way++) {
        struct side *side = &play->sides[way];
        struct device *owner = side->devices[ring->device], *dev = side->devices[device];
        unsigned i;

        dk_machine_enter(side->machine);
        if (takes)
            ring->cpu[way] = dma_alloc_coherent(owner, RING_SIZE, &ring->dma[way], GFP_KERNEL);
        assert_non_null(ring->cpu[way]);
        for (i = 0; i < 3; i++) {
            if (i == 2 && frees)
                dma_free_coherent(owner, RING_SIZE, ring->cpu[way], ring->dma[way]);
            if (write)
                dk_master_write(dev, ring->dma[way] + at, play->bytes, length);
            else
                dk_master_read(dev, ring->dma[way] + at, play->bytes + HALF, length);
        }
    }
}

/* What it has mapped is forgotten. */
static void do_remove(struct play *play, unsigned device)
{
    unsigned i;

    for (unsigned way = 0; way < WAYS; way++) {
        dk_machine_enter(play->sides[way].machine);
        dk_device_remove(play->sides[way].devices[device]);
        add_device(&play->sides[way], device);
    }
    for (i = 0; i < SLOTS; i++) {
        if (play->slots[i].device == device)
            play->slots[i].used = false;
    }
    for (i = 0; i < RINGS; i++) {
        if (play->rings[i].device == device)
            play->rings[i].used = false;
    }
}

/* Memory of the allocator, which is freed after it was mapped, or before. */
static void do_freed(struct play *play)
{
    unsigned size = 32u << draw(play, 6), device = draw(play, DEVICES), when = draw(play, 4);
    enum dma_data_direction direction = (enum dma_data_direction)draw(play, 3);

    for (unsigned way = 0; way < WAYS; way++) {
        struct side *side = &play->sides[way];
        struct device *dev = side->devices[device];
        char *buffer;
        dma_addr_t dma;

        dk_machine_enter(side->machine);
        buffer = kzalloc(size, GFP_KERNEL);
        assert_non_null(buffer);
        if (when == 0)
            kfree(buffer);
        dma = dma_map_single(dev, buffer, size, direction);
        if (dma_mapping_error(dev, dma))
            continue;
        if (when == 1)
            kfree(buffer);
        dma_unmap_single(dev, dma, size, direction);
        if (when > 1)
            kfree(buffer);
    }
}

static const char *act(struct play *play)
{
    struct slot *slot = &play->slots[draw(play, SLOTS)];
    unsigned what = draw(play, 200);

    if (what == 0 && chance(play, 4)) {
        do_remove(play, draw(play, DEVICES));
        return "remove";
    }
    if (play->depth > 1 && chance(play, 10)) {
        do_ring(play, &play->rings[draw(play, RINGS)]);
        return "ring";
    }
    if (what < 4) {
        do_freed(play);
        return "free";
    }
    if (what < 30) {
        do_store(play);
        return "store";
    }
    if (!slot->used && (what < 190 || !slot->dma[0])) {
        do_map(play, slot);
        return "map";
    }
    if (what < 36) {
        do_ask(play, slot);
        return "ask";
    }
    if (what < 70) {
        do_sync(play, slot);
        return "sync";
    }
    if (what < 74 && play->depth > 1) {
        do_overrun(play, slot);
        return "overrun";
    }
    if (what < 140 && play->depth > 1) {
        do_access(play, slot);
        return "access";
    }
    do_unmap(play, slot);
    return "unmap";
}

/* ---- The comparison ---- */

static void compare(struct play *play, u64 seed, unsigned step, const char *what)
{
    struct side *sides = play->sides;
    unsigned long total[WAYS] = { dk_check_count(sides[0].machine, NULL),
                                  dk_check_count(sides[1].machine, NULL) };
    const char *const *name = dk_check_classes();
    bool same = total[0] == total[1] && !strcmp(sides[0].seen.text, sides[1].seen.text);

    if (same && total[0] == sides[0].total)
        return;
    for (; *name; name++) {
        unsigned long one = dk_check_count(sides[0].machine, *name);
        unsigned long two = dk_check_count(sides[1].machine, *name);

        if (one != two)
            print_error("%s: %lu the short way, %lu the general one\n", *name, one, two);
        same &= one == two;
    }
    if (!same)
        fail_msg("depth %d, seed %llu, step %u, %s:\nthe short way\n%sthe general way\n%s", play->depth,
                 (unsigned long long)seed, step, what, sides[0].seen.text, sides[1].seen.text);
    for (unsigned way = 0; way < WAYS; way++) {
        sides[way].total = total[way];
        sides[way].seen.text[0] = 0;
    }
}

static unsigned long play_once(int depth, u64 seed)
{
    struct play *play = calloc(1, sizeof(*play));
    unsigned long reports;
    unsigned step;

    assert_non_null(play);
    play->depth = depth;
    play->random = seed * 77 + 1;
    for (unsigned way = 0; way < WAYS; way++)
        start(&play->sides[way], boards[way], depth);
    for (step = 0; step < STEPS; step++)
        compare(play, seed, step, act(play));
    for (unsigned way = 0; way < WAYS; way++)
        dk_device_remove(dk_device_find(play->sides[way].machine, "bus"));
    compare(play, seed, step, "the end");
    reports = play->sides[0].total;
    for (unsigned way = 0; way < WAYS; way++)
        dk_machine_destroy(play->sides[way].machine);
    dk_machine_enter(NULL);
    free(play);
    return reports;
}

static void ways_agree(int depth)
{
    const char *chosen = getenv("DMAKIT_TEST_SEED");
    const u64 first = chosen ? strtoull(chosen, NULL, 0) : 1;
    const u64 count = chosen ? 1 : seeds(32);
    unsigned long reports = 0;
    u64 seed;

    for (seed = first; seed < first + count; seed++)
        reports += play_once(depth, seed);
    print_message("depth %d: seeds %llu to %llu, %llu steps, %lu reports on each side\n", depth,
                  (unsigned long long)first, (unsigned long long)(seed - 1),
                  (unsigned long long)count * STEPS, reports);
    assert_true(reports > count);
}

static void test_depth_1(void **state)
{
    (void)state;
    ways_agree(1);
}

static void test_depth_2(void **state)
{
    (void)state;
    ways_agree(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_depth_1),
        cmocka_unit_test(test_depth_2),
    };

    return cmocka_run_group_tests_name("two-ways", tests, NULL, NULL);
}
