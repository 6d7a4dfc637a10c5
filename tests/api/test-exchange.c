/* SPDX-License-Identifier: MIT */
/*
 * Two devices, each behind its own bus, IOMMU or bounce pool, exchange a streaming buffer through the CPU:
 * each sees what the other wrote, byte for byte, and nothing is reported.
 */
#include "api.h"

#include "mm/memory.h"

#define MASTERS(more)                                \
    " n@0 { compatible = \"dmakit,nic\"; " more "};" \
    " c@1 { compatible = \"dmakit,nic\"; dma-coherent; " more "};"
#define BUS(name, compatible, ranges, more)                                                                  \
    name " { compatible = " compatible "; #address-cells = <2>; #size-cells = <2>; ranges; " ranges MASTERS( \
        more) " };"

/* RAM from 0 to 64 MiB and from 4 GiB to 4 GiB + 64 MiB. */
#define BOARD(coherence)                                                                                                     \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"exchange\"; compatible = \"dmakit,test\"; " coherence \
    " memory@0 { device_type = \"memory\"; reg = <0 0 0 0x4000000 1 0 0 0x4000000>; };"                                      \
    " reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges;"                                                    \
    "  cell: cell@2000000 { compatible = \"restricted-dma-pool\"; reg = <0 0x2000000 0 0x100000>; }; };"                     \
    " smmu: iommu@f0000000 { compatible = \"arm,smmu-v1\"; reg = <0 0xf0000000 0 0x10000>; #iommu-cells = <1>; };" BUS(      \
        "identity", "\"simple-bus\"", "", "") BUS("narrow", "\"simple-bus\"", "", "")                                        \
        BUS("offset", "\"simple-bus\"", "dma-ranges = <0 0xc0000000 0 0 0 0x4000000>;", "")                                  \
            BUS("two", "\"simple-bus\"",                                                                                     \
                "dma-ranges = <0 0x20000000 0 0 0 0x4000000>, <0 0x80000000 1 0 0 0x4000000>;", "")                          \
                BUS("iommu", "\"simple-bus\"", "", "iommus = <&smmu 7>; ")                                                   \
                    BUS("cell", "\"simple-bus\"", "", "memory-region = <&cell>; ")                                           \
                        BUS("companion", "\"intel,sa1111\", \"simple-bus\"",                                                 \
                            "dma-ranges = <0 0 0 0 0 0x100000>;", "") " };"

static const char *const boards[] = { BOARD("dma-noncoherent;"), BOARD("dma-coherent;") };
static const char *const arguments[] = { "quiet", "swiotlb=force", "iommu.strict=0" };

static const struct bus {
    const char *name;
    unsigned mask; /* bits */
} buses[] = {
    { "identity", 64 }, { "narrow", 30 }, { "offset", 32 },    { "two", 32 },
    { "iommu", 32 },    { "cell", 32 },   { "companion", 32 },
};

#define BUSES (sizeof(buses) / sizeof(buses[0]))

/* Where the buffer is: what every device reaches as it is, most do, and few do. */
static const struct place {
    phys_addr_t first, last;
} places[] = {
    { 0x10000, 0xfffff },
    { 0x1000000, 0x1ffffff },
    { 0x100000000, 0x103ffffff },
};

#define PAGES 4
#define MOST 8192

/* ---- Three ways to map a buffer ---- */

enum shape { SINGLE, PAGE, LIST, SHAPES };

struct buffer {
    enum shape shape;
    struct page *page; /* PAGES of them */
    char *cpu;
    size_t size;
};

struct mapped {
    struct device *dev;
    const struct buffer *buffer;
    enum dma_data_direction direction;
    dma_addr_t dma;
    struct scatterlist list[3];
    unsigned segments;
};

/* The list's entries: a page, so that an IOMMU joins it with the next one, and two that do not meet. */
static const struct {
    size_t at;
    unsigned size;
} entries[] = { { 0, 4096 }, { 4096, 512 }, { 12288 + 64, 1536 } };

static void map(struct mapped *mapped, struct device *dev, const struct buffer *buffer,
                enum dma_data_direction direction)
{
    unsigned i;

    *mapped = (struct mapped){ .dev = dev, .buffer = buffer, .direction = direction };
    switch (buffer->shape) {
    case SINGLE:
        mapped->dma = dma_map_single(dev, buffer->cpu, buffer->size, direction);
        break;
    case PAGE:
        mapped->dma = dma_map_page(dev, buffer->page, 3072, buffer->size, direction);
        break;
    default:
        sg_init_table(mapped->list, 3);
        for (i = 0; i < 3; i++)
            sg_set_buf(&mapped->list[i], buffer->cpu + entries[i].at, entries[i].size);
        mapped->segments = dma_map_sg(dev, mapped->list, 3, direction);
        assert_in_range(mapped->segments, 1, 3);
        return;
    }
    assert_int_equal(dma_mapping_error(dev, mapped->dma), 0);
}

static void unmap(struct mapped *mapped)
{
    switch (mapped->buffer->shape) {
    case SINGLE:
        dma_unmap_single(mapped->dev, mapped->dma, mapped->buffer->size, mapped->direction);
        break;
    case PAGE:
        dma_unmap_page(mapped->dev, mapped->dma, mapped->buffer->size, mapped->direction);
        break;
    default:
        dma_unmap_sg(mapped->dev, mapped->list, 3, mapped->direction);
    }
}

static void hand_over(struct mapped *mapped, bool for_cpu)
{
    if (mapped->buffer->shape == LIST && for_cpu)
        dma_sync_sg_for_cpu(mapped->dev, mapped->list, 3, mapped->direction);
    else if (mapped->buffer->shape == LIST)
        dma_sync_sg_for_device(mapped->dev, mapped->list, 3, mapped->direction);
    else if (for_cpu)
        dma_sync_single_for_cpu(mapped->dev, mapped->dma, mapped->buffer->size, mapped->direction);
    else
        dma_sync_single_for_device(mapped->dev, mapped->dma, mapped->buffer->size, mapped->direction);
}

/* ---- The device's bytes, and the CPU's ---- */

static void move(struct mapped *mapped, unsigned char *bytes, bool write)
{
    struct scatterlist *sg;
    unsigned i;

    if (mapped->buffer->shape != LIST) {
        assert_int_equal(write ? dk_master_write(mapped->dev, mapped->dma, bytes, mapped->buffer->size)
                               : dk_master_read(mapped->dev, mapped->dma, bytes, mapped->buffer->size),
                         0);
        return;
    }
    for_each_sg (mapped->list, sg, mapped->segments, i) {
        assert_int_equal(write ? dk_master_write(mapped->dev, sg_dma_address(sg), bytes, sg_dma_len(sg))
                               : dk_master_read(mapped->dev, sg_dma_address(sg), bytes, sg_dma_len(sg)),
                         0);
        bytes += sg_dma_len(sg);
    }
}

static void device_writes(struct mapped *mapped, unsigned tag)
{
    unsigned char bytes[MOST];

    fill(bytes, mapped->buffer->size, tag);
    move(mapped, bytes, true);
}

static bool device_reads(struct mapped *mapped, unsigned tag)
{
    unsigned char bytes[MOST];

    move(mapped, bytes, false);
    return filled(bytes, mapped->buffer->size, tag);
}

static void cpu_moves(const struct buffer *buffer, unsigned char *bytes, bool write)
{
    unsigned i;

    if (buffer->shape != LIST) {
        memcpy(write ? (unsigned char *)buffer->cpu : bytes, write ? bytes : (unsigned char *)buffer->cpu,
               buffer->size);
        return;
    }
    for (i = 0; i < 3; i++) {
        unsigned char *cpu = (unsigned char *)buffer->cpu + entries[i].at;

        memcpy(write ? cpu : bytes, write ? bytes : cpu, entries[i].size);
        bytes += entries[i].size;
    }
}

static void cpu_writes(const struct buffer *buffer, unsigned tag)
{
    unsigned char bytes[MOST];

    fill(bytes, buffer->size, tag);
    cpu_moves(buffer, bytes, true);
}

static bool cpu_reads(const struct buffer *buffer, unsigned tag)
{
    unsigned char bytes[MOST];

    cpu_moves(buffer, bytes, false);
    return filled(bytes, buffer->size, tag);
}

/* ---- The exchange ---- */

/* Mapped for one transfer at a time. */
static void exchange(struct device *x, struct device *y, const struct buffer *buffer)
{
    struct mapped mapped;

    map(&mapped, x, buffer, DMA_FROM_DEVICE);
    device_writes(&mapped, 1);
    unmap(&mapped);
    assert_true(cpu_reads(buffer, 1));
    map(&mapped, y, buffer, DMA_TO_DEVICE);
    assert_true(device_reads(&mapped, 1));
    unmap(&mapped);
    map(&mapped, y, buffer, DMA_FROM_DEVICE);
    device_writes(&mapped, 2);
    unmap(&mapped);
    assert_true(cpu_reads(buffer, 2));
    map(&mapped, x, buffer, DMA_TO_DEVICE);
    assert_true(device_reads(&mapped, 2));
    unmap(&mapped);
    /* Straight from the one to the other, with no look of the CPU's. */
    map(&mapped, y, buffer, DMA_BIDIRECTIONAL);
    assert_true(device_reads(&mapped, 2));
    device_writes(&mapped, 3);
    unmap(&mapped);
    map(&mapped, x, buffer, DMA_BIDIRECTIONAL);
    assert_true(device_reads(&mapped, 3));
    device_writes(&mapped, 4);
    unmap(&mapped);
    assert_true(cpu_reads(buffer, 4));
}

/* Mapped for @x all the time, and handed to the CPU, which hands it on. */
static void exchange_mapped(struct device *x, struct device *y, const struct buffer *buffer)
{
    struct mapped kept, lent;
    unsigned round;

    cpu_writes(buffer, 10);
    map(&kept, x, buffer, DMA_BIDIRECTIONAL);
    assert_true(device_reads(&kept, 10));
    for (round = 11; round < 17; round += 2) {
        device_writes(&kept, round);
        hand_over(&kept, true);
        assert_true(cpu_reads(buffer, round));
        map(&lent, y, buffer, DMA_TO_DEVICE);
        assert_true(device_reads(&lent, round));
        unmap(&lent);
        cpu_writes(buffer, round + 1);
        hand_over(&kept, false);
        assert_true(device_reads(&kept, round + 1));
    }
    device_writes(&kept, 20);
    unmap(&kept);
    assert_true(cpu_reads(buffer, 20));
}

static struct device *device_on(struct dk_machine *machine, size_t bus, int snoops)
{
    char path[64];
    struct device *dev;

    snprintf(path, sizeof(path), "/%s/%s", buses[bus].name, snoops ? "c@1" : "n@0");
    dev = dk_device_find(machine, path);
    assert_non_null(dev);
    assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(buses[bus].mask)), 0);
    return dev;
}

/* The same pages for all pairs, so that each meets what the one before has left in lines. */
static void exchange_at(struct dk_machine *machine, const struct place *place)
{
    static const size_t sizes[SHAPES] = { 3000, 4000, 4096 + 512 + 1536 };
    struct buffer buffer = { 0 };
    size_t x, y;
    unsigned snoops;

    buffer.page = dk_pages_take(dk_memory_current(), GFP_KERNEL, PAGES, PAGES, place->first, place->last);
    assert_non_null(buffer.page);
    for (x = 0; x < BUSES; x++) {
        for (y = 0; y < BUSES; y++) {
            for (snoops = 0; snoops < 4; snoops++) {
                struct device *one = device_on(machine, x, snoops & 1),
                              *other = device_on(machine, y, snoops >> 1);

                for (buffer.shape = SINGLE; buffer.shape < SHAPES; buffer.shape++) {
                    buffer.cpu = (char *)page_address(buffer.page) + (buffer.shape == PAGE ? 3072 : 0);
                    buffer.size = sizes[buffer.shape];
                    exchange(one, other, &buffer);
                    exchange_mapped(one, other, &buffer);
                }
                if (dk_check_count(machine, NULL))
                    print_error("%s and %s\n", dk_device_path(one), dk_device_path(other));
                assert_int_equal(dk_check_count(machine, NULL), 0);
            }
        }
    }
    dk_pages_give(dk_memory_current(), buffer.page, PAGES);
}

static void every_pair_of_devices(const char *board, const char *argument)
{
    uint64_t seed;
    size_t place;

    for (seed = 0; seed < seeds(3); seed++) {
        struct dk_machine *machine = machine_with(board, argument, seed, 1);

        for (place = 0; place < 3; place++)
            exchange_at(machine, &places[place]);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

static void on_a_machine_that_is_not_coherent(void **state)
{
    (void)state;
    every_pair_of_devices(boards[0], arguments[0]);
}

static void on_a_coherent_machine(void **state)
{
    (void)state;
    every_pair_of_devices(boards[1], arguments[0]);
}

static void bouncing_what_need_not_bounce(void **state)
{
    (void)state;
    every_pair_of_devices(boards[0], arguments[1]);
    every_pair_of_devices(boards[1], arguments[1]);
}

static void through_a_lazy_iommu(void **state)
{
    (void)state;
    every_pair_of_devices(boards[0], arguments[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_a_machine_that_is_not_coherent),
        cmocka_unit_test(on_a_coherent_machine),
        cmocka_unit_test(bouncing_what_need_not_bounce),
        cmocka_unit_test(through_a_lazy_iommu),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
