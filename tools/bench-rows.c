/* SPDX-License-Identifier: MIT */
/*
 * The rows of dmakit bench.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

extern const unsigned char dk_bench_blob[];
extern const size_t dk_bench_blob_size;

/* Makes the compiler believe that @pointer may have changed, and memory too. */
#define BENCH_OPAQUE(pointer) __asm__ volatile("" : "+r"(pointer) : : "memory")
/* Makes the compiler believe that what @pointer points to is read and written. */
#define BENCH_WRITTEN(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")
/* Makes the compiler believe that @value is used. */
#define BENCH_USE(value) __asm__ volatile("" : : "r"(value))

static void run_nothing(struct bench_state *state, unsigned long count)
{
    (void)state;
    for (unsigned long i = 0; i < count; i++)
        __asm__ volatile("" : : : "memory");
}

static void run_empty_call(struct bench_state *state, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++)
        BENCH_USE(dk_bench_nothing(state->dev, state->buffer, BENCH_BUFFER, DMA_TO_DEVICE, 0));
}

static void run_iommu(struct bench_state *state, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        dma_addr_t dma =
            dk_map_single(state->translated, state->long_buffer, state->long_size, DMA_TO_DEVICE, 0);

        BENCH_USE(dma);
        dk_unmap_single(state->translated, dma, state->long_size, DMA_TO_DEVICE, 0);
    }
}

/* The floor of a page table: as many entries written, and cleared. */
static void run_entries(struct bench_state *state, unsigned long count)
{
    static u64 entries[256];
    size_t bytes = state->long_size / PAGE_SIZE * sizeof(u64);

    for (unsigned long i = 0; i < count; i++) {
        memset(entries, 1, bytes);
        BENCH_WRITTEN(entries);
        memset(entries, 0, bytes);
        BENCH_WRITTEN(entries);
    }
}

/* The forms behind the inline ones, as a module is linked that was built without them. */
static void run_identity(struct bench_state *state, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        dma_addr_t dma = dk_map_single(state->dev, state->buffer, BENCH_BUFFER, DMA_TO_DEVICE, 0);

        BENCH_USE(dma);
        dk_unmap_single(state->dev, dma, BENCH_BUFFER, DMA_TO_DEVICE, 0);
    }
}

static void run_identity_inline(struct bench_state *state, unsigned long count)
{
    struct device *dev = state->dev;
    char *buffer = state->buffer;

    for (unsigned long i = 0; i < count; i++) {
        dma_addr_t dma;

        BENCH_OPAQUE(buffer);
        dma = dma_map_single(dev, buffer, BENCH_BUFFER, DMA_TO_DEVICE);
        BENCH_USE(dma);
        dma_unmap_single(dev, dma, BENCH_BUFFER, DMA_TO_DEVICE);
    }
}

static void run_sg(struct bench_state *state, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        BENCH_USE(dma_map_sg(state->dev, state->sg, BENCH_SEGMENTS, DMA_TO_DEVICE));
        dma_unmap_sg(state->dev, state->sg, BENCH_SEGMENTS, DMA_TO_DEVICE);
    }
}

/* The floor of mapping a list: visiting its entries and writing addresses and lengths. */
static void run_sg_walk(struct bench_state *state, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        for (struct scatterlist *sg = state->sg; sg; sg = sg_next(sg)) {
            sg_dma_address(sg) = sg->offset;
            sg_dma_len(sg) = sg->length;
        }
        __asm__ volatile("" : : : "memory");
    }
}

static void run_coherent(struct bench_state *state, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        dma_addr_t dma;
        void *cpu = dma_alloc_coherent(state->dev, PAGE_SIZE, &dma, GFP_KERNEL);

        BENCH_USE(cpu);
        dma_free_coherent(state->dev, PAGE_SIZE, cpu, dma);
    }
}

static void run_calloc(struct bench_state *state, unsigned long count)
{
    (void)state;
    for (unsigned long i = 0; i < count; i++) {
        void *page = calloc(1, PAGE_SIZE);

        BENCH_WRITTEN(page);
        free(page);
    }
}

static void run_page(struct bench_state *state, unsigned long count)
{
    (void)state;
    for (unsigned long i = 0; i < count; i++) {
        struct page *page = alloc_page(GFP_KERNEL);

        BENCH_WRITTEN(page);
        __free_page(page);
    }
}

static void run_malloc(struct bench_state *state, unsigned long count)
{
    (void)state;
    for (unsigned long i = 0; i < count; i++) {
        void *page = malloc(PAGE_SIZE);

        BENCH_WRITTEN(page);
        free(page);
    }
}

static void run_ring(struct bench_state *state, unsigned long count)
{
    dk_bench_ring_run(state->ring, count);
}

static void run_ring_plain(struct bench_state *state, unsigned long count)
{
    dk_bench_ring_run_plain(state->plain_ring, count);
}

#ifdef BENCH_INSTRUMENTED
static void run_ring_checked(struct bench_state *state, unsigned long count)
{
    dk_bench_ring_run_checked(state->ring, count);
}

static void run_ordinary_checked(struct bench_state *state, unsigned long count)
{
    dk_bench_ordinary_run_checked(state->ring, count);
}

static void run_ordinary(struct bench_state *state, unsigned long count)
{
    dk_bench_ordinary_run(state->plain_ring, count);
}
#endif

static void run_iova(struct bench_state *state, unsigned long count)
{
    dk_bench_iova_run(state->iova, count);
}

static void run_iova_fragmented(struct bench_state *state, unsigned long count)
{
    dk_bench_iova_run_fragmented(state->iova, count);
}

static void run_iova_choices(struct bench_state *state, unsigned long count)
{
    dk_bench_iova_run_choices(state->iova, count);
}

static int set_up_iova(struct bench_state *state)
{
    struct bench_iova *iova = dk_bench_iova_create();

    if (IS_ERR(iova))
        return PTR_ERR_OR_ZERO(iova);
    state->iova = iova;
    return 0;
}

static void tear_down_iova(struct bench_state *state)
{
    dk_bench_iova_destroy(state->iova);
}

static int set_up_sg(struct bench_state *state)
{
    struct scatterlist *sg = state->sg;

    sg_init_table(sg, BENCH_SEGMENTS);
    for (int i = 0; i < BENCH_SEGMENTS; i++) {
        state->segments[i] = kmalloc(BENCH_BUFFER, GFP_KERNEL);
        if (!state->segments[i])
            return -ENOMEM;
        sg_set_buf(&sg[i], state->segments[i], BENCH_BUFFER);
    }
    if (dma_map_sg(state->dev, sg, BENCH_SEGMENTS, DMA_TO_DEVICE) != BENCH_SEGMENTS)
        return -EIO;
    dma_unmap_sg(state->dev, sg, BENCH_SEGMENTS, DMA_TO_DEVICE);
    return 0;
}

static void tear_down_sg(struct bench_state *state)
{
    for (int i = 0; i < BENCH_SEGMENTS; i++)
        kfree(state->segments[i]);
}

static int set_up_rings(struct bench_state *state)
{
    struct bench_ring *ring;

    ring = dk_bench_ring_create(state->machine);
    if (IS_ERR(ring))
        return PTR_ERR_OR_ZERO(ring);
    state->ring = ring;
    state->plain_machine = dk_bench_machine(0, NULL);
    if (IS_ERR(state->plain_machine)) {
        int error = PTR_ERR_OR_ZERO(state->plain_machine);

        state->plain_machine = NULL;
        return error;
    }
    ring = dk_bench_ring_create(state->plain_machine);
    if (IS_ERR(ring))
        return PTR_ERR_OR_ZERO(ring);
    state->plain_ring = ring;
    return 0;
}

static void tear_down_rings(struct bench_state *state)
{
    dk_bench_ring_destroy(state->plain_ring);
    dk_machine_destroy(state->plain_machine);
    dk_bench_ring_destroy(state->ring);
}

/* A buffer behind the IOMMU, of so many pages. */
static int set_up_iommu(struct bench_state *state, size_t pages)
{
    state->translated = dk_bench_device_on(state->machine, "iommu", "bench");
    if (IS_ERR(state->translated))
        return PTR_ERR_OR_ZERO(state->translated);
    state->long_size = pages * PAGE_SIZE;
    state->long_buffer = kmalloc(state->long_size, GFP_KERNEL);
    return state->long_buffer ? 0 : -ENOMEM;
}

static int set_up_iommu_1(struct bench_state *state)
{
    return set_up_iommu(state, 1);
}

static int set_up_iommu_16(struct bench_state *state)
{
    return set_up_iommu(state, 16);
}

static int set_up_iommu_256(struct bench_state *state)
{
    return set_up_iommu(state, 256);
}

static void tear_down_iommu(struct bench_state *state)
{
    kfree(state->long_buffer);
}

static const struct bench_row rows[] = {
    {
        .subject = { "map-identity", run_identity },
        .peer = { "empty call", run_empty_call },
        .summary = "dma_map_single and dma_unmap_single, called, checker off",
        .goal = 4,
    },
    {
        .subject = { "map-identity-inline", run_identity_inline },
        .peer = { "empty loop", run_nothing },
        .summary = "the same, inlined",
        .goal = 1.5,
    },
    {
        .subject = { "sg-16", run_sg },
        .peer = { "walk of 16 entries", run_sg_walk },
        .summary = "dma_map_sg and dma_unmap_sg of 16 entries, checker off",
        .goal = 60,
        .setup = set_up_sg,
        .teardown = tear_down_sg,
    },
    {
        .subject = { "coherent", run_coherent },
        .peer = { "calloc and free", run_calloc },
        .summary = "dma_alloc_coherent and dma_free_coherent of a page, checker off",
    },
    {
        .subject = { "page-pair", run_page },
        .peer = { "malloc and free", run_malloc },
        .summary = "alloc_page and __free_page in turns, checker off",
    },
    {
        .subject = { "iova", run_iova },
        .peer = { "empty call", run_empty_call },
        .summary = "a page of a 48-bit address space taken and given back",
        .goal = 4.2,
        .setup = set_up_iova,
        .teardown = tear_down_iova,
    },
    {
        .subject = { "iova-fragmented", run_iova_fragmented },
        .peer = { "the choice alone", run_iova_choices },
        .summary = "one of 4096 ranges of 1 to 64 pages given back, another one taken",
        .goal = 40,
        .setup = set_up_iova,
        .teardown = tear_down_iova,
    },
    {
        .subject = { "iommu-1", run_iommu },
        .peer = { "the entry written and cleared", run_entries },
        .summary = "dma_map_single and dma_unmap_single of one page behind a strict IOMMU, checker off",
        .goal = 10,
        .setup = set_up_iommu_1,
        .teardown = tear_down_iommu,
    },
    {
        .subject = { "iommu-16", run_iommu },
        .peer = { "16 entries written and cleared", run_entries },
        .summary = "dma_map_single and dma_unmap_single of 16 pages behind a strict IOMMU, checker off",
        .goal = 50,
        .setup = set_up_iommu_16,
        .teardown = tear_down_iommu,
    },
    {
        .subject = { "iommu-256", run_iommu },
        .peer = { "256 entries written and cleared", run_entries },
        .summary = "dma_map_single and dma_unmap_single of 256 pages behind a strict IOMMU, checker off",
        .goal = 100,
        .setup = set_up_iommu_256,
        .teardown = tear_down_iommu,
    },
    {
        .subject = { "check-depth-0", run_ring },
        .peer = { "without mapping calls", run_ring_plain },
        .summary = "256-byte packets received through a ring and summed, checker off",
        .goal = 1.05,
        .ratio = true,
        .setup = set_up_rings,
        .teardown = tear_down_rings,
    },
    {
        .subject = { "check-depth-1", run_ring },
        .peer = { "without mapping calls", run_ring_plain },
        .summary = "the same with the checker at depth 1",
        .goal = 1.3,
        .ratio = true,
        .depth = 1,
        .setup = set_up_rings,
        .teardown = tear_down_rings,
    },
    {
        .subject = { "check-depth-2", run_ring },
        .peer = { "without mapping calls", run_ring_plain },
        .summary = "the same at depth 2: what each packet's buffer held is kept and compared",
        .goal = 2,
        .ratio = true,
        .depth = 2,
        .setup = set_up_rings,
        .teardown = tear_down_rings,
    },
#ifdef BENCH_INSTRUMENTED
    {
        .subject = { "check-depth-3", run_ring_checked },
        .peer = { "without mapping calls", run_ring_plain },
        .summary = "the same in an instrumented program, at depth 3",
        .goal = 8,
        .ratio = true,
        .depth = 3,
        .setup = set_up_rings,
        .teardown = tear_down_rings,
    },
    {
        .subject = { "check-depth-3-ordinary", run_ordinary_checked },
        .peer = { "not instrumented", run_ordinary },
        .summary = "CRC-32 of ordinary memory in an instrumented program, at depth 3",
        .goal = 1.3,
        .ratio = true,
        .depth = 3,
        .setup = set_up_rings,
        .teardown = tear_down_rings,
    },
#endif
};

static const size_t row_count = sizeof(rows) / sizeof(rows[0]);

/* In the order of the output. */
static const struct {
    const struct bench_row *rows;
    const size_t *count;
} tables[] = {
    { rows, &row_count },
    { dk_bench_bounce_rows, &dk_bench_bounce_row_count },
    { dk_bench_contig_rows, &dk_bench_contig_row_count },
    { dk_bench_pool_rows, &dk_bench_pool_row_count },
    { dk_bench_pool_thread_rows, &dk_bench_pool_thread_row_count },
    { dk_bench_growth_rows, &dk_bench_growth_row_count },
};

size_t dk_bench_row_count(void)
{
    size_t count = 0;

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        count += *tables[i].count;
    return count;
}

const struct bench_row *dk_bench_row_at(size_t index)
{
    size_t i = 0;

    for (; index >= *tables[i].count; i++)
        index -= *tables[i].count;
    return &tables[i].rows[index];
}

const struct bench_row *dk_bench_row_find(const char *name)
{
    for (size_t i = 0; i < dk_bench_row_count(); i++) {
        if (!strcmp(dk_bench_row_at(i)->subject.name, name))
            return dk_bench_row_at(i);
    }
    return NULL;
}

struct dk_machine *dk_bench_machine(int depth, const char *memory)
{
    struct dk_machine_options options = { .size = sizeof(options), .depth = depth, .memory = memory };
    struct dk_board *board = dk_board_parse(dk_bench_blob, dk_bench_blob_size);
    struct dk_machine *machine;

    if (IS_ERR(board))
        return (struct dk_machine *)ERR_CAST(board);
    machine = dk_machine_create(board, &options);
    dk_board_free(board);
    return machine;
}

struct device *dk_bench_device(struct dk_machine *machine, const char *name)
{
    return dk_bench_device_on(machine, NULL, name);
}

struct device *dk_bench_device_on(struct dk_machine *machine, const char *bus, const char *name)
{
    struct dk_machine *before = dk_machine_enter(machine);
    struct device *dev = dk_device_add(bus ? dk_device_find(machine, bus) : NULL, name);
    int error;

    dk_machine_enter(before);
    if (IS_ERR(dev))
        return dev;
    error = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
    if (error) {
        dk_device_remove(dev);
        return (struct device *)ERR_PTR(error);
    }
    return dev;
}

int dk_bench_open(const struct bench_row *row, struct bench_state *state)
{
    int error;

#ifdef BENCH_INSTRUMENTED
    dk_instrument_run_time();
#endif
    *state = (struct bench_state){ .scale = row->scale };
    state->machine = dk_bench_machine(row->depth, row->memory);
    if (IS_ERR(state->machine)) {
        error = PTR_ERR_OR_ZERO(state->machine);
        state->machine = NULL;
        return error;
    }
    dk_machine_enter(state->machine);
    state->dev = dk_bench_device(state->machine, "bench");
    if (IS_ERR(state->dev)) {
        error = PTR_ERR_OR_ZERO(state->dev);
        state->dev = NULL;
        return error;
    }
    state->buffer = kmalloc(BENCH_BUFFER, GFP_KERNEL);
    if (!state->buffer)
        return -ENOMEM;
    return row->setup ? row->setup(state) : 0;
}

void dk_bench_close(const struct bench_row *row, struct bench_state *state)
{
    if (!state->machine)
        return;
    if (row->teardown)
        row->teardown(state);
    kfree(state->buffer);
    dk_device_remove(state->dev);
    dk_machine_enter(NULL);
    dk_machine_destroy(state->machine);
    *state = (struct bench_state){ 0 };
}
