/* SPDX-License-Identifier: MIT */
/*
 * Where a bus leads, and what a bus master moves there.
 */
#include "compose.h"

#include <dmakit/fail.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static struct device *find(struct composed *c, const char *path)
{
    struct device *dev = dk_device_find(&c->machine, path);

    assert_non_null(dev);
    return dev;
}

/* Memory that nobody has touched is mapped for the device, and when that fails, it is told so. */
static void test_memory_that_cannot_be_mapped(void **state)
{
    unsigned coherent, write;

    (void)state;
    for (coherent = 0; coherent < 2; coherent++) {
        for (write = 0; write < 2; write++) {
            struct composed *c = compose(&(struct shape){ .coherent = coherent });
            struct device *dev = find(c, "dma0");
            struct dk_master_fault fault;
            char bytes[100] = { 0 };

            log_lines();
            dk_fail_nth(1);
            assert_int_equal(write ? dk_master_write(dev, 0xc0000000, bytes, sizeof(bytes))
                                   : dk_master_read(dev, 0xc0000000, bytes, sizeof(bytes)),
                             -EFAULT);
            assert_int_equal(dk_fail_hits(), 1);
            dk_fail_nth(0);
            assert_true(dk_master_last_fault(dev, &fault));
            assert_non_null(strstr(fault.reason, "no memory left"));
            assert_int_equal(dk_master_write(dev, 0xc0000000, bytes, sizeof(bytes)), 0);
            dispose(c);
        }
    }
}

static void test_translation(void **state)
{
    static const struct {
        const char *device;
        dma_addr_t dma;
        u64 length;
        phys_addr_t phys; /* ~0: refused */
        u64 run;
    } cases[] = {
        /* No windows: identity over RAM. */
        { "/soc", 0, 1, 0, 1 },
        { "/soc", RAM_SIZE - 1, 1, RAM_SIZE - 1, 1 },
        { "/soc", RAM_SIZE - 1, 2, RAM_SIZE - 1, 1 },
        { "/soc", RAM_SIZE - 100, 0x10000000, RAM_SIZE - 100, 100 },
        { "/soc", RAM_SIZE, 1, ~0ull, 0 },
        { "/soc", SECOND_RAM - 1, 2, ~0ull, 0 },
        { "/soc", SECOND_RAM, 0x1000, SECOND_RAM, 0x1000 },
        { "/soc", SECOND_RAM + RAM_SIZE - 1, 8, SECOND_RAM + RAM_SIZE - 1, 1 },
        { "/soc", SECOND_RAM + RAM_SIZE, 1, ~0ull, 0 },
        { "/soc", ~0ull, 1, ~0ull, 0 },
        { "/soc", ~0ull, 2, ~0ull, 0 },
        { "/soc", 0x1000, 0, ~0ull, 0 },
        /* One window with an offset: its first and last byte. */
        { "dma0", 0xc0000000, 4, 0, 4 },
        { "dma0", 0xbfffffff, 1, ~0ull, 0 },
        { "dma0", 0xc1ffffff, 1, 0x1ffffff, 1 },
        { "dma0", 0xc1ffffff, 2, 0x1ffffff, 1 },
        { "dma0", 0xc2000000, 1, ~0ull, 0 },
        { "dma0", 0, 1, ~0ull, 0 },
        /* Two that adjoin on the bus, and not in memory; a third that ends outside RAM. */
        { "/soc/two@2000", 0xffffff, 2, 0xffffff, 1 },
        { "/soc/two@2000", 0x1000000, 2, SECOND_RAM, 2 },
        { "/soc/two@2000", 0x2000000, 1, ~0ull, 0 },
        { "/soc/two@2000", 0x4000000, 0x200000, 0x3f00000, 0x100000 },
        { "/soc/two@2000", 0x40fffff, 1, RAM_SIZE - 1, 1 },
        { "/soc/two@2000", 0x4100000, 1, ~0ull, 0 },
        /* The uncached alias. */
        { "/soc", ALIAS_BASE, 8, ALIAS_TARGET, 8 },
        { "/soc", ALIAS_BASE + ALIAS_SIZE - 1, 8, ALIAS_TARGET + ALIAS_SIZE - 1, 1 },
        { "/soc", ALIAS_BASE + ALIAS_SIZE, 1, ~0ull, 0 },
        { "/soc", ALIAS_BASE - 1, 8, ~0ull, 0 },
    };
    struct composed *c = compose(&(struct shape){ 0 });
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        phys_addr_t phys = 0;
        u64 run = 0;
        int error = dk_bus_translate(find(c, cases[i].device), cases[i].dma, cases[i].length, &phys, &run);

        if (cases[i].phys == ~0ull ? error != -EFAULT : error || phys != cases[i].phys || run != cases[i].run)
            fail_msg("case %u: %d, %#llx, run %#llx", i, error, phys, run);
    }
    assert_int_equal(dk_alias_to_memory(&c->machine, ALIAS_BASE - 1), ALIAS_BASE - 1);
    assert_int_equal(dk_alias_to_memory(&c->machine, ALIAS_BASE), ALIAS_TARGET);
    assert_int_equal(dk_alias_to_memory(&c->machine, ALIAS_BASE + ALIAS_SIZE - 1),
                     ALIAS_TARGET + ALIAS_SIZE - 1);
    assert_int_equal(dk_alias_to_memory(&c->machine, ALIAS_BASE + ALIAS_SIZE), ALIAS_BASE + ALIAS_SIZE);
    dispose(c);
}

static void test_bus_addresses(void **state)
{
    static const struct {
        const char *device;
        phys_addr_t phys;
        u64 size;
        dma_addr_t dma; /* ~0: none */
    } cases[] = {
        { "/soc", 0x1234, 0x100000000, 0x1234 },
        { "/soc", ~0ull, 1, ~0ull },
        { "/soc", ~0ull - 1, 3, ~0ull },
        { "dma0", 0, 0x2000000, 0xc0000000 },
        { "dma0", 0, 0x2000001, ~0ull },
        { "dma0", 0x1ffffff, 1, 0xc1ffffff },
        { "dma0", 0x1ffffff, 2, ~0ull },
        { "dma0", 0x2000000, 1, ~0ull },
        { "/soc/two@2000", SECOND_RAM, 1, 0x1000000 },
        { "/soc/two@2000", SECOND_RAM - 1, 1, ~0ull },
        { "/soc/two@2000", 0x3f00001, 5, 0x4000001 },
    };
    struct composed *c = compose(&(struct shape){ 0 });
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dma_addr_t dma = ~0ull;
        bool holds = dk_bus_address(find(c, cases[i].device), cases[i].phys, cases[i].size, &dma);

        if (i == 1)
            assert_true(holds); /* the last byte there is, and its address is all ones */
        else if (holds != (cases[i].dma != ~0ull) || dma != cases[i].dma)
            fail_msg("case %u: %d, %#llx", i, holds, dma);
    }
    dispose(c);
}

static void test_moves_bytes(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *dev = find(c, "/soc/two@2000");
    unsigned char out[64], in[64];
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(out); i++)
        out[i] = (unsigned char)(i + 1);
    /* Across two windows: two runs. */
    assert_int_equal(dk_master_write(dev, 0x1000000 - 32, out, 64), 0);
    assert_memory_equal(dk_memory_dram(c->machine.memory, 0x1000000 - 32), out, 32);
    assert_memory_equal(dk_memory_dram(c->machine.memory, SECOND_RAM), out + 32, 32);
    assert_int_equal(c->accesses, 2);
    assert_int_equal(c->access_dma, 0x1000000);
    assert_int_equal(c->access_phys, SECOND_RAM);
    assert_int_equal(c->access_length, 32);
    assert_true(c->access_write);
    assert_int_equal(dk_master_read(dev, 0x1000000 - 32, in, 64), 0);
    assert_memory_equal(in, out, 64);
    assert_false(c->access_write);
    assert_int_equal(c->accesses, 4);
    /* Nothing to move is no access, wherever. */
    assert_int_equal(dk_master_read(dev, ~0ull, in, 0), 0);
    assert_int_equal(dk_master_write(dev, 0x2000000, out, 0), 0);
    assert_int_equal(c->accesses, 4);
    assert_int_equal(dk_master_read(NULL, 0, in, 1), -EINVAL);
    assert_int_equal(dk_master_write(NULL, 0, out, 1), -EINVAL);
    assert_int_equal(dk_master_fault_count(dev), 0);
    assert_false(dk_master_last_fault(dev, &(struct dk_master_fault){ 0 }));
    dispose(c);
}

static void test_faults(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *dev = find(c, "dma0");
    struct dk_master_fault fault;
    unsigned char out[16], in[16];
    const char *view = dk_memory_dram(c->machine.memory, 0x1fffff8);

    (void)state;
    memset(out, 7, sizeof(out));
    /* The last eight bytes of the window are moved, and nothing past them. */
    assert_int_equal(dk_master_write(dev, 0xc1fffff8, out, 16), -EFAULT);
    assert_memory_equal(view, out, 8);
    assert_int_equal(view[8], 0);
    assert_int_equal(c->faults, 1);
    assert_int_equal(c->fault_dma, 0xc2000000);
    assert_int_equal(c->fault_length, 8);
    assert_true(c->fault_write);
    assert_int_equal(dk_master_fault_count(dev), 1);
    assert_true(dk_master_last_fault(dev, &fault));
    assert_int_equal(fault.dma, 0xc2000000);
    assert_int_equal(fault.length, 8);
    assert_true(fault.write);
    assert_non_null(strstr(fault.reason, "window"));

    memset(in, 9, sizeof(in));
    assert_int_equal(dk_master_read(dev, 0xbffffff8, in, 16), -EFAULT);
    assert_int_equal(in[15], 9);
    assert_false(c->fault_write);
    assert_int_equal(c->fault_dma, 0xbffffff8);
    assert_int_equal(dk_master_read(dev, ~0ull - 3, in, 8), -EFAULT);
    assert_true(dk_master_last_fault(dev, &fault));
    assert_non_null(strstr(fault.reason, "wrap"));
    assert_false(fault.write);
    assert_int_equal(dk_master_read(find(c, "bus"), RAM_SIZE, in, 1), -EFAULT);
    assert_true(dk_master_last_fault(find(c, "bus"), &fault));
    assert_non_null(strstr(fault.reason, "no memory"));
    assert_int_equal(dk_master_fault_count(dev), 3);

    dk_device_remove(dev);
    assert_int_equal(dk_master_read(dev, 0xc0000000, in, 1), -EFAULT);
    assert_int_equal(dk_master_read(dev, 0xc0000000, in, 0), 0);
    assert_true(dk_master_last_fault(dev, &fault));
    assert_non_null(strstr(fault.reason, "removed"));
    assert_int_equal(c->faults, 5);
    dispose(c);
}

/* One that snoops works on what the CPU sees, one that does not on DRAM. */
static void test_coherency(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *snoops = find(c, "/soc/snoop@3000");
    struct device *not = find(c, "/soc");
    char *cpu = dk_memory_cached(c->machine.memory, 0x5000);
    char in[4];

    (void)state;
    assert_true(snoops->dma_coherent);
    assert_false(not ->dma_coherent);
    memcpy(cpu, "cpu", 4);
    assert_int_equal(dk_master_read(not, 0x5000, in, 4), 0);
    assert_memory_equal(in, "\0\0\0", 4);
    assert_int_equal(dk_master_read(snoops, 0x5000, in, 4), 0);
    assert_memory_equal(in, "cpu", 4);
    assert_int_equal(dk_master_write(snoops, 0x5001, "XY", 2), 0);
    assert_memory_equal(cpu, "cXY", 4);
    assert_int_equal(dk_master_write(not, 0x5000, "dev", 4), 0);
    assert_memory_equal(cpu, "cXY", 4);
    dispose(c);

    c = compose(&(struct shape){ .coherent = true });
    not = find(c, "/soc");
    assert_true(not ->dma_coherent);
    cpu = dk_memory_cached(c->machine.memory, 0x5000);
    memcpy(cpu, "cpu", 4);
    assert_int_equal(dk_master_read(not, 0x5000, in, 4), 0);
    assert_memory_equal(in, "cpu", 4);
    assert_int_equal(dk_master_write(not, 0x5000, "dev", 4), 0);
    assert_memory_equal(cpu, "dev", 4);
    dispose(c);
}

struct halves {
    struct device *dev;
    unsigned long rounds;
    unsigned long torn;
};

static void *write_halves(void *data)
{
    const struct halves *halves = data;
    unsigned long i;

    for (i = 0; i < halves->rounds; i++) {
        uint64_t value = (uint64_t)(uint32_t)i << 32 | (uint32_t)i;

        dk_master_write(halves->dev, 0x9000, &value, 8);
    }
    return NULL;
}

/* Aligned accesses are never seen half done. */
static void test_single_copy_atomicity(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct halves halves = { find(c, "/soc"), test_rounds(200000), 0 };
    unsigned long i;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, write_halves, &halves), 0);
    for (i = 0; i < halves.rounds; i++) {
        uint64_t value = 0;

        dk_master_read(halves.dev, 0x9000, &value, 8);
        halves.torn += (uint32_t)value != value >> 32;
    }
    pthread_join(thread, NULL);
    assert_int_equal(halves.torn, 0);
    dispose(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_translation),
        cmocka_unit_test(test_memory_that_cannot_be_mapped),
        cmocka_unit_test(test_bus_addresses),
        cmocka_unit_test(test_moves_bytes),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_coherency),
        cmocka_unit_test(test_single_copy_atomicity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
