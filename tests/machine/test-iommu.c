/* SPDX-License-Identifier: MIT */
/*
 * Bus masters behind an IOMMU: where their accesses lead, how they stop, and that unmapping and detaching
 * stop them in time.
 */
#include "../refuse-membarrier.h"
#include "compose.h"
#include "machine/iommu.h"

#include <dmakit/platform.h>
#include <dmakit/registers.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define RW (DK_IOMMU_READ | DK_IOMMU_WRITE)
#define MIB (1ull << 20)

struct bench {
    struct composed *c;
    struct device *dev;
    struct dk_iommu_domain *domain;
};

/* A machine, and @path behind an IOMMU in it. */
static struct bench make_bench(const struct shape *shape, const char *path)
{
    struct bench bench = { .c = compose(shape) };

    bench.dev = dk_device_find(&bench.c->machine, path);
    assert_non_null(bench.dev);
    bench.domain = dk_iommu_domain_create(&bench.c->machine);
    assert_non_null(bench.domain);
    assert_false(dk_device_translated(bench.dev));
    dk_iommu_attach(bench.dev, bench.domain);
    assert_true(dk_device_translated(bench.dev));
    return bench;
}

static void finish_bench(const struct bench *bench)
{
    dk_iommu_attach(bench->dev, NULL);
    dk_iommu_domain_destroy(bench->domain);
    dispose(bench->c);
}

static unsigned char *dram(const struct bench *bench, phys_addr_t phys)
{
    return (unsigned char *)dk_memory_dram(bench->c->machine.memory, phys);
}

static void test_where_accesses_lead(void **state)
{
    static const struct {
        const char *device;
        bool write;
        dma_addr_t iova;
        u64 length;
        phys_addr_t phys; /* of the first byte */
        u64 moved;
        enum dk_master_fault_kind kind;
        const char *reason; /* part of it; NULL: all is moved */
    } cases[] = {
        { "/soc", false, 0x100000, 0x3000, 0x700000, 0x3000, 0, NULL },
        { "/soc", true, 0x100ffe, 4, 0x700ffe, 4, 0, NULL },
        { "/soc", true, 0x102ffe, 4, 0x702ffe, 2, DK_MASTER_FAULT_PERMISSION, "not let the device write" },
        { "/soc", false, 0x102ffe, 4, 0x702ffe, 4, 0, NULL },
        { "/soc", true, 0x103000, 4, 0, 0, DK_MASTER_FAULT_PERMISSION, "not let the device write" },
        { "/soc", false, 0x104000, 4, 0, 0, DK_MASTER_FAULT_PERMISSION, "not let the device read" },
        { "/soc", true, 0x104000, 4, 0x704000, 4, 0, NULL },
        { "/soc", true, 0x105000, 4, 0, 0, DK_MASTER_FAULT_PERMISSION, "not let the device write" },
        { "/soc", false, 0x105000, 4, 0, 0, DK_MASTER_FAULT_PERMISSION, "not let the device read" },
        { "/soc", false, 0x106000, 4, 0, 0, DK_MASTER_FAULT_UNMAPPED, "nothing is mapped" },
        { "/soc", true, 0xffffc, 8, 0, 0, DK_MASTER_FAULT_UNMAPPED, "nothing is mapped" },
        { "/soc", false, 1ull << 50, 8, 0, 0, DK_MASTER_FAULT_UNMAPPED, "nothing is mapped" },
        { "/soc", false, ~0ull - 3, 8, 0, 0, DK_MASTER_FAULT_BUS, "wraps" },
        /* Neither physical addresses nor what a bus without an IOMMU would make of them. */
        { "/soc", false, 0x700000, 8, 0, 0, DK_MASTER_FAULT_UNMAPPED, "nothing is mapped" },
        { "/soc", false, ALIAS_BASE, 8, 0, 0, DK_MASTER_FAULT_UNMAPPED, "nothing is mapped" },
        { "/soc", false, 0x200000, 8, 0, 0, DK_MASTER_FAULT_BUS, "leads to no memory" },
        { "/soc", true, 0x300000, 0x2000, RAM_SIZE - 0x1000, 0x1000, DK_MASTER_FAULT_BUS,
          "leads to no memory" },
        /* Windows bound the addresses and translate nothing. */
        { "dma0", true, 0x100000, 8, 0, 0, DK_MASTER_FAULT_BUS, "no window" },
        { "dma0", true, 0xc0000000, 8, 0x900000, 8, 0, NULL },
        { "dma0", true, 0xc1fffffc, 8, 0x901ffc, 4, DK_MASTER_FAULT_BUS, "no window" },
        { "dma0", true, 0xc2000000, 8, 0, 0, DK_MASTER_FAULT_BUS, "no window" },
        { "dma0", true, 0xbffffffc, 8, 0, 0, DK_MASTER_FAULT_BUS, "no window" },
        /* Two windows that adjoin are one. */
        { "/soc/two@2000", true, 0xfffffc, 8, 0xa00ffc, 8, 0, NULL },
    };
    static unsigned char out[0x3000], in[0x3000];
    unsigned i, j;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bench bench = make_bench(&(struct shape){ 0 }, cases[i].device);
        struct dk_iommu_domain *domain = bench.domain;
        struct dk_master_fault fault = { 0 };
        u64 moved = 0;
        int error;

        assert_int_equal(dk_iommu_map(domain, 0x100000, 0x700000, 0x1000, RW), 0);
        assert_int_equal(dk_iommu_map(domain, 0x101000, 0x701000, 0x2000, RW), 0);
        assert_int_equal(dk_iommu_map(domain, 0x103000, 0x703000, 0x1000, DK_IOMMU_READ), 0);
        assert_int_equal(dk_iommu_map(domain, 0x104000, 0x704000, 0x1000, DK_IOMMU_WRITE), 0);
        assert_int_equal(dk_iommu_map(domain, 0x105000, 0x705000, 0x1000, 0), 0);
        assert_int_equal(dk_iommu_map(domain, 0x200000, ALIAS_BASE, 0x1000, RW), 0);
        assert_int_equal(dk_iommu_map(domain, 0x300000, RAM_SIZE - 0x1000, 0x2000, RW), 0);
        assert_int_equal(dk_iommu_map(domain, 0xbffff000, 0x8ff000, 0x1000, RW), 0);
        assert_int_equal(dk_iommu_map(domain, 0xc0000000, 0x900000, 0x1000, RW), 0);
        assert_int_equal(dk_iommu_map(domain, 0xc1fff000, 0x901000, 0x2000, RW), 0);
        assert_int_equal(dk_iommu_map(domain, 0xfff000, 0xa00000, 0x2000, RW), 0);
        for (j = 0; j < sizeof(out); j++)
            out[j] = (unsigned char)(j % 251 + 1);
        memset(in, 0, sizeof(in));
        if (cases[i].write) {
            error = dk_master_write(bench.dev, cases[i].iova, out, cases[i].length);
            while (moved < cases[i].length && cases[i].moved &&
                   dram(&bench, cases[i].phys)[moved] == out[moved])
                moved++;
        } else {
            if (cases[i].moved)
                memcpy(dram(&bench, cases[i].phys), out, cases[i].moved);
            error = dk_master_read(bench.dev, cases[i].iova, in, cases[i].length);
            while (moved < cases[i].length && in[moved] == out[moved])
                moved++;
        }
        if (error != (cases[i].reason ? -EFAULT : 0) || moved != cases[i].moved)
            fail_msg("case %u: %d, %#llx bytes moved", i, error, moved);
        if (dk_master_last_fault(bench.dev, &fault) != (error != 0) || bench.c->faults != (error != 0))
            fail_msg("case %u: %u faults", i, bench.c->faults);
        if (error && (!strstr(fault.reason, cases[i].reason) || fault.kind != cases[i].kind ||
                      bench.c->fault_kind != fault.kind || fault.dma != cases[i].iova + moved ||
                      fault.length != cases[i].length - moved || fault.write != cases[i].write))
            fail_msg("case %u: fault at %#llx, kind %d: %s", i, fault.dma, fault.kind, fault.reason);
        finish_bench(&bench);
    }
}

/* Pages that follow each other in IOVA alone. */
static void test_scattered_pages(void **state)
{
    struct bench bench = make_bench(&(struct shape){ .coherent = true }, "/soc");
    unsigned char out[4 * PAGE_SIZE], in[4 * PAGE_SIZE];
    unsigned i;

    (void)state;
    for (i = 0; i < 4; i++)
        assert_int_equal(dk_iommu_map(bench.domain, 0x5000 + i * PAGE_SIZE,
                                      0x100000 + (i ^ 3) * 2 * PAGE_SIZE, PAGE_SIZE, RW),
                         0);
    for (i = 0; i < sizeof(out); i++)
        out[i] = (unsigned char)(i % 253);
    assert_int_equal(dk_master_write(bench.dev, 0x5010, out, sizeof(out) - 32), 0);
    assert_int_equal(bench.c->accesses, 4);
    assert_int_equal(bench.c->access_dma, 0x8000);
    assert_int_equal(bench.c->access_phys, 0x100000);
    assert_int_equal(bench.c->access_length, PAGE_SIZE - 16);
    assert_memory_equal(dram(&bench, 0x106010), out, PAGE_SIZE - 16);
    assert_memory_equal(dram(&bench, 0x100000), out + 3 * PAGE_SIZE - 16, PAGE_SIZE - 16);
    bench.c->machine.hooks.master_access = NULL;
    assert_int_equal(dk_master_read(bench.dev, 0x5010, in, sizeof(in) - 32), 0);
    assert_memory_equal(in, out, sizeof(in) - 32);
    finish_bench(&bench);
}

/* Without a space every access faults; a device that was never attached is on its bus. */
static void test_attachment(void **state)
{
    struct bench bench = make_bench(&(struct shape){ 0 }, "/soc");
    struct device *added = dk_device_add(bench.dev, "below");
    struct dk_iommu_domain *other = dk_iommu_domain_create(&bench.c->machine);
    struct dk_master_fault fault;
    char byte = 1;

    (void)state;
    assert_false(dk_device_translated(added));
    assert_int_equal(dk_master_write(added, 0x9000, &byte, 1), 0);
    assert_int_equal(dk_master_write(bench.dev, 0x9000, &byte, 1), -EFAULT);
    assert_int_equal(dk_iommu_map(bench.domain, 0x9000, 0x4000, PAGE_SIZE, RW), 0);
    assert_int_equal(dk_iommu_map(other, 0x9000, 0x5000, PAGE_SIZE, RW), 0);
    assert_int_equal(dk_master_write(bench.dev, 0x9000, &byte, 1), 0);
    dk_iommu_attach(bench.dev, other);
    byte = 2;
    assert_int_equal(dk_master_write(bench.dev, 0x9000, &byte, 1), 0);
    assert_int_equal(*dram(&bench, 0x4000), 1);
    assert_int_equal(*dram(&bench, 0x5000), 2);
    dk_iommu_attach(bench.dev, NULL);
    assert_int_equal(dk_master_write(bench.dev, 0x9000, &byte, 1), -EFAULT);
    assert_true(dk_master_last_fault(bench.dev, &fault));
    assert_int_equal(fault.kind, DK_MASTER_FAULT_UNMAPPED);
    assert_true(dk_device_translated(bench.dev));
    dk_device_remove(bench.dev);
    assert_int_equal(dk_master_write(bench.dev, 0x9000, &byte, 1), -EFAULT);
    assert_true(dk_master_last_fault(bench.dev, &fault));
    assert_int_equal(fault.kind, DK_MASTER_FAULT_OTHER);
    dk_iommu_domain_destroy(other);
    finish_bench(&bench);
}

static void test_stale_mappings(void **state)
{
    struct bench bench = make_bench(&(struct shape){ 0 }, "/soc");
    char bytes[2 * PAGE_SIZE] = "stale";

    (void)state;
    assert_int_equal(dk_iommu_map_fresh(bench.domain, 0x10000, 0x20000, 4 * PAGE_SIZE, RW), 0);
    dk_iommu_mark_stale(bench.domain, 0x11000, PAGE_SIZE);
    assert_int_equal(dk_master_write(bench.dev, 0x10ff0, bytes, 0x1000), 0);
    assert_memory_equal(dram(&bench, 0x20ff0), bytes, 0x1000);
    assert_int_equal(bench.c->stale, 1);
    assert_int_equal(bench.c->stale_dma, 0x11000);
    assert_int_equal(bench.c->stale_length, 0xff0);
    assert_true(bench.c->stale_write);
    assert_int_equal(dk_master_read(bench.dev, 0x11800, bytes, 0x1000), 0);
    assert_int_equal(bench.c->stale, 2);
    assert_int_equal(bench.c->stale_dma, 0x11800);
    assert_int_equal(bench.c->stale_length, 0x800);
    assert_false(bench.c->stale_write);
    /* Rights still hold, and a refused access is not told. */
    assert_int_equal(dk_iommu_map(bench.domain, 0x30000, 0x30000, PAGE_SIZE, DK_IOMMU_READ | DK_IOMMU_STALE),
                     0);
    assert_int_equal(dk_master_write(bench.dev, 0x30000, bytes, 1), -EFAULT);
    assert_int_equal(bench.c->stale, 2);
    bench.c->machine.hooks.master_stale = NULL;
    assert_int_equal(dk_master_read(bench.dev, 0x30000, bytes, 1), 0);
    dk_iommu_unmap_whole(bench.domain, 0x10000, 4 * PAGE_SIZE);
    assert_int_equal(dk_master_read(bench.dev, 0x11000, bytes, 1), -EFAULT);
    finish_bench(&bench);
}

/* ---- Hooks that change what is mapped ---- */

struct changing {
    struct bench bench;
    unsigned calls;
    phys_addr_t move_to; /* 0: just unmap */
};

static u64 change_before_access(void *data, const struct dk_master_move *move)
{
    struct changing *changing = data;
    dma_addr_t dma = move->dma;

    if (changing->calls++)
        return 0;
    assert_int_equal(dk_iommu_unmap(changing->bench.domain, dma & PAGE_MASK, PAGE_SIZE), PAGE_SIZE);
    if (changing->move_to)
        assert_int_equal(
            dk_iommu_map(changing->bench.domain, dma & PAGE_MASK, changing->move_to, PAGE_SIZE, RW), 0);
    return 0;
}

static void map_after_fault(void *data, struct device *dev, const struct dk_master_fault *fault)
{
    struct changing *changing = data;

    (void)dev;
    changing->calls++;
    assert_int_equal(
        dk_iommu_map(changing->bench.domain, fault->dma & PAGE_MASK, fault->dma & PAGE_MASK, PAGE_SIZE, RW),
        0);
}

static void unmap_stale(void *data, struct device *dev, dma_addr_t dma, u64 length, bool write)
{
    struct changing *changing = data;

    (void)dev;
    (void)length;
    (void)write;
    dk_iommu_unmap_whole(changing->bench.domain, dma & PAGE_MASK, PAGE_SIZE);
}

static void test_hooks_may_map_and_unmap(void **state)
{
    struct changing changing = { make_bench(&(struct shape){ 0 }, "/soc"), 0, 0 };
    struct bench *bench = &changing.bench;
    const struct dk_hooks before = bench->c->machine.hooks;
    char bytes[8] = "12345678";

    (void)state;
    bench->c->machine.hooks = (struct dk_hooks){ .data = &changing, .master_access = change_before_access };
    assert_int_equal(dk_iommu_map(bench->domain, 0x10000, 0x20000, PAGE_SIZE, RW), 0);
    assert_int_equal(dk_master_write(bench->dev, 0x10008, bytes, 8), -EFAULT);
    assert_int_equal(dram(bench, 0x20008)[0], 0);
    assert_int_equal(changing.calls, 1);

    /* What was mapped meanwhile is told too, and is where the bytes go. */
    changing.calls = 0;
    changing.move_to = 0x30000;
    assert_int_equal(dk_iommu_map(bench->domain, 0x10000, 0x20000, PAGE_SIZE, RW), 0);
    assert_int_equal(dk_master_write(bench->dev, 0x10008, bytes, 8), 0);
    assert_int_equal(changing.calls, 2);
    assert_int_equal(dram(bench, 0x20008)[0], 0);
    assert_memory_equal(dram(bench, 0x30008), bytes, 8);

    bench->c->machine.hooks = (struct dk_hooks){ .data = &changing, .master_fault = map_after_fault };
    assert_int_equal(dk_master_read(bench->dev, 0x44000, bytes, 8), -EFAULT);
    assert_int_equal(changing.calls, 3);
    assert_int_equal(dk_master_read(bench->dev, 0x44000, bytes, 8), 0);

    bench->c->machine.hooks = (struct dk_hooks){ .data = &changing, .master_stale = unmap_stale };
    dk_iommu_mark_stale(bench->domain, 0x44000, PAGE_SIZE);
    assert_int_equal(dk_master_read(bench->dev, 0x44000, bytes, 8), 0);
    assert_false(dk_iommu_find(bench->domain, 0x44000, 1, NULL, NULL, NULL));
    bench->c->machine.hooks = before;
    finish_bench(bench);
}

/* ---- Registers ---- */

struct unit {
    u64 offset, value;
    unsigned width;
    bool write;
};

struct fifo {
    struct unit units[32];
    unsigned count;
    struct dk_iommu_domain *unmap; /* what a callback unmaps at 0x10000, or NULL */
    struct device *remove;         /* what a callback removes, or NULL */
};

static void record(struct fifo *fifo, u64 offset, unsigned width, u64 value, bool write)
{
    if (fifo->count < 32)
        fifo->units[fifo->count++] = (struct unit){ offset, value, width, write };
    if (fifo->unmap)
        dk_iommu_unmap(fifo->unmap, 0x10000, PAGE_SIZE);
    if (fifo->remove)
        dk_device_remove(fifo->remove);
}

static uint64_t fifo_read(void *model, uint64_t offset, unsigned width)
{
    record(model, offset, width, 0, false);
    return 0x8877665544332211ull;
}

static void fifo_write(void *model, uint64_t offset, unsigned width, uint64_t value)
{
    record(model, offset, width, value, true);
}

static const struct dk_register_ops fifo_ops = { fifo_read, fifo_write };

static phys_addr_t add_registers(struct device *dev, u64 size, const struct dk_register_ops *ops, void *model)
{
    unsigned index = 0;

    while (platform_get_resource(to_platform_device(dev), IORESOURCE_MEM, index))
        index++;
    assert_int_equal(dk_registers_add(dev, size, ops, model), 0);
    return platform_get_resource(to_platform_device(dev), IORESOURCE_MEM, index)->start;
}

static void expect_units(struct fifo *fifo, const struct unit *units, unsigned count)
{
    unsigned i;

    assert_int_equal(fifo->count, count);
    for (i = 0; i < count; i++) {
        if (fifo->units[i].offset != units[i].offset || fifo->units[i].width != units[i].width ||
            fifo->units[i].write != units[i].write ||
            (units[i].write && fifo->units[i].value != units[i].value))
            fail_msg("unit %u: %u bytes at %#llx, %#llx", i, fifo->units[i].width, fifo->units[i].offset,
                     fifo->units[i].value);
    }
    fifo->count = 0;
}

/* The same registers, through an IOMMU and without. */
static void check_register_accesses(struct bench *bench, dma_addr_t dma, struct fifo *fifo)
{
    static const struct unit four[] = { { 4, 0x04030201, 4, true } };
    static const struct unit odd[] = { { 1, 0x01, 1, true },       { 2, 0x0302, 2, true },
                                       { 4, 0x07060504, 4, true }, { 8, 0x0f0e0d0c0b0a0908ull, 8, true },
                                       { 16, 0x1110, 2, true },    { 18, 0x12, 1, true } };
    static const struct unit reads[] = { { 2, 0, 2, false }, { 4, 0, 4, false }, { 8, 0, 1, false } };
    static const struct unit last[] = { { 24, 0x0807060504030201ull, 8, true }, { 32, 0x0c0b0a09, 4, true } };
    unsigned char out[32], in[7];
    struct dk_master_fault fault;
    unsigned i;

    for (i = 0; i < sizeof(out); i++)
        out[i] = (unsigned char)(i + 1);
    assert_int_equal(dk_master_write(bench->dev, dma + 4, out, 4), 0);
    assert_int_equal(bench->c->access_dma, dma + 4);
    assert_int_equal(bench->c->access_length, 4);
    expect_units(fifo, four, 1);
    assert_int_equal(dk_master_write(bench->dev, dma + 1, out, 18), 0);
    expect_units(fifo, odd, 6);
    assert_int_equal(dk_master_read(bench->dev, dma + 2, in, 7), 0);
    assert_memory_equal(in, "\x11\x22\x11\x22\x33\x44\x11", 7);
    expect_units(fifo, reads, 3);
    /* The region has 36 bytes. */
    assert_int_equal(dk_master_write(bench->dev, dma + 24, out, 16), -EFAULT);
    expect_units(fifo, last, 2);
    assert_true(dk_master_last_fault(bench->dev, &fault));
    assert_int_equal(fault.dma, dma + 36);
    assert_int_equal(fault.kind, DK_MASTER_FAULT_BUS);
}

static void test_registers_through_an_iommu(void **state)
{
    struct bench bench = make_bench(&(struct shape){ 0 }, "dma0");
    struct device *peer = dk_device_find(&bench.c->machine, "/soc/two@2000");
    struct fifo fifo = { .count = 0 };
    phys_addr_t phys = add_registers(peer, 36, &fifo_ops, &fifo);
    char byte = 0;

    (void)state;
    assert_int_equal(dk_master_write(bench.dev, phys, &byte, 1), -EFAULT);
    assert_int_equal(dk_iommu_map(bench.domain, 0xc0010000, phys, PAGE_SIZE, RW), 0);
    check_register_accesses(&bench, 0xc0010000, &fifo);
    dk_iommu_mark_stale(bench.domain, 0xc0010000, PAGE_SIZE);
    assert_int_equal(dk_master_write(bench.dev, 0xc0010010, &byte, 1), 0);
    assert_int_equal(bench.c->stale, 1);
    assert_int_equal(bench.c->stale_dma, 0xc0010010);
    dk_iommu_unmap(bench.domain, 0xc0010000, PAGE_SIZE);
    assert_int_equal(dk_iommu_map(bench.domain, 0xc0010000, phys, PAGE_SIZE, DK_IOMMU_WRITE), 0);
    assert_int_equal(dk_master_read(bench.dev, 0xc0010000, &byte, 1), -EFAULT);
    assert_int_equal(bench.c->fault_kind, DK_MASTER_FAULT_PERMISSION);
    dk_device_remove(peer);
    assert_int_equal(dk_master_write(bench.dev, 0xc0010000, &byte, 1), -EFAULT);
    assert_int_equal(bench.c->fault_kind, DK_MASTER_FAULT_BUS);
    finish_bench(&bench);
}

static void test_registers_without_an_iommu(void **state)
{
    static const char *const devices[] = { "/soc", "dma0" };
    static const struct dk_register_ops none = { NULL, NULL };
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct bench bench = { .c = compose(&(struct shape){ 0 }) };
        struct device *peer = dk_device_find(&bench.c->machine, "/soc/two@2000");
        struct fifo fifo = { .count = 0 };
        phys_addr_t phys = add_registers(peer, 36, &fifo_ops, &fifo);
        u64 run;
        u32 word = 0;

        bench.dev = dk_device_find(&bench.c->machine, devices[i]);
        check_register_accesses(&bench, phys, &fifo);
        assert_int_equal(bench.c->access_phys, phys + 24);
        /* They are no memory to map or sync. */
        assert_int_equal(dk_bus_translate(bench.dev, phys, 4, &phys, &run), -EFAULT);
        phys = add_registers(peer, 4, &none, NULL);
        assert_int_equal(dk_master_write(bench.dev, phys, &word, 4), 0);
        assert_int_equal(dk_master_read(bench.dev, phys, &word, 4), 0);
        assert_int_equal(word, ~0u);
        dk_device_remove(peer);
        assert_int_equal(dk_master_read(bench.dev, phys, &word, 4), -EFAULT);
        dispose(bench.c);
    }
}

/* A model that is called may unmap what the access came through, and remove its own device. */
static void test_models_may_unmap(void **state)
{
    struct bench bench = make_bench(&(struct shape){ 0 }, "/soc");
    struct device *peer = dk_device_find(&bench.c->machine, "/soc/two@2000");
    struct fifo fifo = { .unmap = bench.domain };
    phys_addr_t phys = add_registers(peer, 64, &fifo_ops, &fifo);
    char bytes[16] = { 0 };

    (void)state;
    assert_int_equal(dk_iommu_map(bench.domain, 0x10000, phys, PAGE_SIZE, RW), 0);
    assert_int_equal(dk_master_write(bench.dev, 0x10000, bytes, 16), 0);
    assert_int_equal(fifo.count, 2);
    assert_int_equal(dk_master_write(bench.dev, 0x10000, bytes, 16), -EFAULT);
    assert_int_equal(dk_iommu_map(bench.domain, 0x10000, phys, PAGE_SIZE, RW), 0);
    fifo.unmap = NULL;
    fifo.remove = peer;
    assert_int_equal(dk_master_read(bench.dev, 0x10000, bytes, 8), 0);
    assert_int_equal(dk_master_read(bench.dev, 0x10000, bytes, 8), -EFAULT);
    finish_bench(&bench);
}

/* ---- Threads ---- */

#define MASTERS 3
#define PAGES 512u
#define IOVA 0x40000000ull
#define PHYS 0x2000000ull

/* Bytes that only the CPU writes, and only while nothing is mapped. */
#define CANARY 0xca
#define FROM_DEVICE 0x77

struct masters {
    struct device *dev;
    unsigned stop;
    unsigned number; /* of the next */
    u64 pages;       /* that they go to */
    unsigned long secrets, passed;
    pthread_t threads[MASTERS];
};

static void *access_on(void *data)
{
    struct masters *masters = data;
    unsigned number = __atomic_fetch_add(&masters->number, 1, __ATOMIC_RELAXED);
    unsigned char out[PAGE_SIZE], in[PAGE_SIZE];
    u64 random = 77 + number;

    memset(out, FROM_DEVICE, sizeof(out));
    while (!__atomic_load_n(&masters->stop, __ATOMIC_RELAXED)) {
        u64 page = test_random(&random) % masters->pages;
        dma_addr_t iova = IOVA + page * PAGE_SIZE;
        int error;

        if (number) {
            error = dk_master_write(masters->dev, iova, out, sizeof(out));
        } else {
            memset(in, 0, sizeof(in));
            error = dk_master_read(masters->dev, iova, in, sizeof(in));
            if (memchr(in, CANARY, sizeof(in)))
                __atomic_fetch_add(&masters->secrets, 1, __ATOMIC_RELAXED);
        }
        if (!error)
            __atomic_fetch_add(&masters->passed, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void start_masters(struct masters *masters, struct device *dev, u64 pages)
{
    unsigned i;

    *masters = (struct masters){ .dev = dev, .pages = pages };
    for (i = 0; i < MASTERS; i++)
        assert_int_equal(pthread_create(&masters->threads[i], NULL, access_on, masters), 0);
    assert_int_equal(wait_for(&masters->number, MASTERS), MASTERS);
}

static void stop_masters(struct masters *masters)
{
    unsigned i;

    __atomic_store_n(&masters->stop, 1, __ATOMIC_RELAXED);
    for (i = 0; i < MASTERS; i++)
        pthread_join(masters->threads[i], NULL);
    assert_int_equal(masters->secrets, 0);
}

/* Lets the masters do something; now and then, in the round's number, until one of them got through. */
static void wait_for_passage(const struct masters *masters, unsigned long round)
{
    unsigned long before = __atomic_load_n(&masters->passed, __ATOMIC_RELAXED);
    unsigned tries = round % 8 ? 5 : 1000000;

    while (tries-- && __atomic_load_n(&masters->passed, __ATOMIC_RELAXED) == before)
        sched_yield();
}

/* Writes the canary where no device may write now, and looks whether one did; then clears it. */
static void guard(unsigned char *memory, u64 size)
{
    unsigned i;
    u64 at;

    memset(memory, CANARY, size);
    for (i = 0; i < 3; i++) {
        for (at = 0; at < size; at++) {
            if (((volatile unsigned char *)memory)[at] != CANARY)
                fail_msg("overwritten at %#llx", at);
        }
    }
    memset(memory, 0, size);
}

struct manner {
    u64 map;         /* bytes mapped */
    u64 from, unmap; /* bytes of them that are unmapped */
    bool whole;
    bool fenced;
};

static void check_strictness(const struct manner *manner)
{
    struct bench bench = make_bench(&(struct shape){ .coherent = true }, "/soc");
    unsigned long i, rounds = 5 + test_rounds(40);
    struct masters masters;

    bench.c->machine.hooks.master_access = NULL;
    if (manner->fenced)
        bench.domain->accesses.users |= DK_GRACE_FENCED;
    start_masters(&masters, bench.dev, (manner->from + manner->unmap) / PAGE_SIZE);
    for (i = 0; i < rounds; i++) {
        assert_int_equal(dk_iommu_map_fresh(bench.domain, IOVA, PHYS, manner->map, RW), 0);
        wait_for_passage(&masters, i);
        if (manner->whole)
            dk_iommu_unmap_whole(bench.domain, IOVA, manner->map);
        else
            dk_iommu_unmap(bench.domain, IOVA + manner->from, manner->unmap);
        guard(dram(&bench, PHYS + manner->from), manner->unmap);
        if (!manner->whole)
            dk_iommu_unmap(bench.domain, IOVA, manner->map);
    }
    stop_masters(&masters);
    assert_true(masters.passed > 0);
    assert_true(bench.c->faults > 0);
    finish_bench(&bench);
}

static void test_unmapping_is_strict(void **state)
{
    static const struct manner manners[] = {
        { PAGE_SIZE, 0, PAGE_SIZE, true, false },
        { PAGE_SIZE, 0, PAGE_SIZE, true, true },
        { 4 * PAGE_SIZE, PAGE_SIZE, 2 * PAGE_SIZE, false, false },
        { 2 * MIB, 0, PAGE_SIZE, false, false }, /* out of a large leaf */
        { 5 * PAGE_SIZE, 0, 5 * PAGE_SIZE, true, false },
    };
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(manners) / sizeof(manners[0]); i++)
        check_strictness(&manners[i]);
}

#define LONG_ACCESS (32 * MIB)

struct long_access {
    struct device *dev;
    unsigned char *bytes;
    int error;
};

static void *write_long(void *data)
{
    struct long_access *access = data;

    access->error = dk_master_write(access->dev, IOVA, access->bytes, LONG_ACCESS);
    return NULL;
}

/* One that is surely under way: its last page goes once its first byte has come. */
static void test_unmapping_waits_for_a_long_access(void **state)
{
    unsigned round;

    (void)state;
    for (round = 0; round < 6; round++) {
        struct bench bench = make_bench(&(struct shape){ .coherent = true }, "/soc");
        struct long_access access = { bench.dev, malloc(LONG_ACCESS), -1 };
        unsigned char *last = dram(&bench, PHYS + LONG_ACCESS - PAGE_SIZE);
        const unsigned char *first = dram(&bench, PHYS);
        pthread_t thread;
        unsigned i;

        memset(access.bytes, FROM_DEVICE, LONG_ACCESS);
        if (round % 2)
            bench.domain->accesses.users |= DK_GRACE_FENCED;
        assert_int_equal(dk_iommu_map(bench.domain, IOVA, PHYS, LONG_ACCESS, RW), 0);
        assert_int_equal(pthread_create(&thread, NULL, write_long, &access), 0);
        while (!__atomic_load_n(first, __ATOMIC_RELAXED))
            ;
        if (round / 2 == 0)
            dk_iommu_unmap(bench.domain, IOVA + LONG_ACCESS - PAGE_SIZE, PAGE_SIZE);
        else if (round / 2 == 1)
            dk_iommu_unmap_whole(bench.domain, IOVA, LONG_ACCESS);
        else
            dk_iommu_attach(bench.dev, NULL);
        memset(last, CANARY, PAGE_SIZE);
        pthread_join(thread, NULL);
        for (i = 0; i < PAGE_SIZE; i++)
            assert_int_equal(last[i], CANARY);
        /* It had begun before. */
        assert_int_equal(access.error, 0);
        free(access.bytes);
        finish_bench(&bench);
    }
}

/* Each detaching ends the accesses through the space before, which may go then. */
static void test_attaching_is_strict(void **state)
{
    struct bench bench = make_bench(&(struct shape){ .coherent = true }, "/soc");
    unsigned long i, rounds = 5 + test_rounds(40);
    struct masters masters;

    (void)state;
    bench.c->machine.hooks.master_access = NULL;
    start_masters(&masters, bench.dev, 1);
    for (i = 0; i < rounds; i++) {
        struct dk_iommu_domain *old = bench.domain;
        bool between = i % 3 == 0;

        assert_int_equal(dk_iommu_map(old, IOVA, PHYS + i % 2 * PAGE_SIZE, PAGE_SIZE, RW), 0);
        wait_for_passage(&masters, i);
        bench.domain = dk_iommu_domain_create(&bench.c->machine);
        assert_non_null(bench.domain);
        dk_iommu_attach(bench.dev, between ? NULL : bench.domain);
        dk_iommu_domain_destroy(old);
        guard(dram(&bench, PHYS + i % 2 * PAGE_SIZE), PAGE_SIZE);
        if (between)
            dk_iommu_attach(bench.dev, bench.domain);
    }
    stop_masters(&masters);
    assert_true(masters.passed > 0);
    finish_bench(&bench);
}

struct remapper {
    struct dk_iommu_domain *domain;
    unsigned number;
    unsigned long rounds;
};

static void *remap(void *data)
{
    const struct remapper *remapper = data;
    dma_addr_t iova = IOVA + remapper->number * 16 * PAGE_SIZE;
    unsigned long i;

    for (i = 0; i < remapper->rounds; i++) {
        if (dk_iommu_map_fresh(remapper->domain, iova, PHYS + i % 32 * PAGE_SIZE, 16 * PAGE_SIZE, RW))
            return data;
        dk_iommu_unmap_whole(remapper->domain, iova, 16 * PAGE_SIZE);
        if (dk_iommu_find(remapper->domain, iova, 1, NULL, NULL, NULL))
            return data;
    }
    return NULL;
}

/* Several who wait at once, in one space whose masters never rest. */
static void test_several_unmap_at_once(void **state)
{
    struct bench bench = make_bench(&(struct shape){ .coherent = true }, "/soc");
    struct remapper remappers[3];
    pthread_t threads[3];
    struct masters masters;
    void *result;
    unsigned i;

    (void)state;
    start_masters(&masters, bench.dev, 48);
    for (i = 0; i < 3; i++) {
        remappers[i] = (struct remapper){ bench.domain, i, test_rounds(400) };
        assert_int_equal(pthread_create(&threads[i], NULL, remap, &remappers[i]), 0);
    }
    for (i = 0; i < 3; i++) {
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    stop_masters(&masters);
    assert_int_equal(bench.domain->accesses.users & ~DK_GRACE_FENCED, 0);
    finish_bench(&bench);
}

/* ---- A kernel that refuses the barrier ---- */

struct refused {
    struct bench *bench;
    struct dk_iommu_domain *late; /* made after the kernel began to refuse */
    int late_error;               /* of an access through it */
    int early_error;              /* through one made before */
    bool refused;
};

static void *access_refused(void *data)
{
    struct refused *refused = data;
    struct bench *bench = refused->bench;
    char byte = 1;

    refused->refused = refuse_membarrier();
    refused->early_error = dk_master_write(bench->dev, IOVA, &byte, 1);
    refused->late = dk_iommu_domain_create(&bench->c->machine);
    if (!refused->late || dk_iommu_map(refused->late, IOVA, PHYS, PAGE_SIZE, RW))
        return data;
    dk_iommu_attach(bench->dev, refused->late);
    refused->late_error = dk_master_write(bench->dev, IOVA, &byte, 1);
    return NULL;
}

/* Where it never was allowed fences do; where it no longer is, accesses fault rather than pass unwatched. */
static void test_without_membarrier(void **state)
{
    struct bench bench = make_bench(&(struct shape){ .coherent = true }, "/soc");
    struct refused refused = { .bench = &bench };
    bool fenced = bench.domain->accesses.users & DK_GRACE_FENCED;
    struct dk_master_fault fault;
    pthread_t thread;
    void *result;

    (void)state;
    assert_int_equal(dk_iommu_map(bench.domain, IOVA, PHYS, PAGE_SIZE, RW), 0);
    assert_int_equal(pthread_create(&thread, NULL, access_refused, &refused), 0);
    pthread_join(thread, &result);
    assert_null(result);
    assert_int_equal(refused.late_error, 0);
    if (refused.refused) {
        assert_int_equal(refused.early_error, fenced ? 0 : -EFAULT);
        assert_int_equal(refused.late->accesses.users, DK_GRACE_FENCED);
        assert_true(fenced || dk_master_last_fault(bench.dev, &fault));
        assert_true(fenced || (fault.kind == DK_MASTER_FAULT_OTHER && strstr(fault.reason, "membarrier")));
    }
    assert_int_equal(bench.domain->accesses.users & ~DK_GRACE_FENCED, 0);
    dk_iommu_attach(bench.dev, NULL);
    dk_iommu_domain_destroy(refused.late);
    finish_bench(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_accesses_lead),
        cmocka_unit_test(test_scattered_pages),
        cmocka_unit_test(test_attachment),
        cmocka_unit_test(test_stale_mappings),
        cmocka_unit_test(test_hooks_may_map_and_unmap),
        cmocka_unit_test(test_registers_through_an_iommu),
        cmocka_unit_test(test_registers_without_an_iommu),
        cmocka_unit_test(test_models_may_unmap),
        cmocka_unit_test(test_unmapping_is_strict),
        cmocka_unit_test(test_unmapping_waits_for_a_long_access),
        cmocka_unit_test(test_attaching_is_strict),
        cmocka_unit_test(test_several_unmap_at_once),
        cmocka_unit_test(test_without_membarrier),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
