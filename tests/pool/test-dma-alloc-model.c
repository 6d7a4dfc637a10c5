/* SPDX-License-Identifier: MIT */
/*
 * A million random dma_alloc()s and dma_free()s over all kinds of bus, beside a plain list of the live
 * blocks: no two share a cache line, and each holds what was written into it last, by CPU or device.
 */
#include "mempool.h"

#define BLOCKS 200
#define LINE 64

static const char *const buses[] = { "coherent", "noncoherent", "offset", "iommu", "narrow", "bounce" };

#define BUSES (sizeof(buses) / sizeof(buses[0]))

struct block {
    unsigned char *cpu;
    dma_addr_t dma;
    size_t size;
    unsigned char tag;
};

struct model {
    struct device *dev;
    struct block blocks[BLOCKS];
    unsigned count;
    u64 random;
};

static u64 draw(struct model *model, u64 below)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return model->random % below;
}

static bool share_lines(u64 one, size_t one_size, u64 two, size_t two_size)
{
    return one / LINE <= (two + two_size - 1) / LINE && two / LINE <= (one + one_size - 1) / LINE;
}

static void add(struct model *model)
{
    static const size_t limits[] = { 64, 64, 300, 300, 2048, 9000 };
    struct block block = { .size = 1 + draw(model, limits[draw(model, 6)]),
                           .tag = (unsigned char)draw(model, 256) };
    unsigned i;

    if (model->count == BLOCKS)
        return;
    block.cpu = dma_alloc(model->dev, block.size, &block.dma,
                          draw(model, 8) ? GFP_KERNEL : GFP_ATOMIC | __GFP_NOWARN);
    if (!block.cpu)
        return;
    for (i = 0; i < model->count; i++) {
        const struct block *other = &model->blocks[i];

        if (share_lines((uintptr_t)block.cpu, block.size, (uintptr_t)other->cpu, other->size) ||
            share_lines(block.dma, block.size, other->dma, other->size))
            fail_msg("%zu bytes at 0x%llx share a line with %zu at 0x%llx", block.size, (u64)block.dma,
                     other->size, (u64)other->dma);
    }
    memset(block.cpu, block.tag, block.size);
    model->blocks[model->count++] = block;
}

/* By device, at its last byte, and back by CPU. */
static void change(struct model *model)
{
    struct block *block = &model->blocks[draw(model, model->count)];
    unsigned char byte;

    assert_int_equal(dk_master_read(model->dev, block->dma + block->size - 1, &byte, 1), 0);
    assert_int_equal(byte, block->tag);
    byte = (unsigned char)draw(model, 256);
    assert_int_equal(dk_master_write(model->dev, block->dma + block->size - 1, &byte, 1), 0);
    assert_int_equal(block->cpu[block->size - 1], byte);
    block->tag = byte;
    memset(block->cpu, byte, block->size);
}

static void take_away(struct model *model)
{
    unsigned which = (unsigned)draw(model, model->count);
    struct block block = model->blocks[which];

    assert_int_equal(block.cpu[0], block.tag);
    assert_int_equal(block.cpu[block.size / 2], block.tag);
    assert_int_equal(block.cpu[block.size - 1], block.tag);
    if (block.size > LINE && draw(model, 500) == 0) {
        dma_free(model->dev, block.cpu + LINE, block.dma + LINE);
        assert_true(reported("free-not-allocated"));
    }
    model->blocks[which] = model->blocks[--model->count];
    dma_free(model->dev, block.cpu, block.dma);
}

static void run(struct dk_machine *machine, const char *bus, u64 seed)
{
    unsigned operations = getenv("DMAKIT_TEST_FAST") ? 3000 : 170000, i, bias = 1;
    struct model *model = calloc(1, sizeof(*model));

    assert_non_null(model);
    print_message("%s: seed 0x%llx\n", bus, seed);
    model->random = seed;
    model->dev = dk_device_add(dk_device_find(machine, bus), "card");
    assert_false(IS_ERR_OR_NULL(model->dev));
    for (i = 0; i < operations; i++) {
        if (i % 1000 == 0)
            bias = 1 + (unsigned)draw(model, 3);
        if (model->count && draw(model, 5) == 0)
            change(model);
        else if (model->count && draw(model, 4) < bias)
            take_away(model);
        else
            add(model);
    }
    while (model->count)
        take_away(model);
    assert_true(nothing_reported());
    dk_device_remove(model->dev);
    free(model);
}

static void test_model(void **state)
{
    const char *text = getenv("DMAKIT_TEST_SEED");
    u64 seed = text ? strtoull(text, NULL, 0) : 0xd3aa110cull;
    unsigned i;

    (void)state;
    for (i = 0; i < BUSES; i++) {
        struct dk_machine *machine = make_machine();

        run(machine, buses[i], seed + i);
        unmake_machine(machine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_model) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
