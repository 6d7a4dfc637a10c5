/* SPDX-License-Identifier: MIT */
/*
 * dma_alloc() on every kind of bus: where blocks lie, that device and CPU see the same bytes, what is
 * refused, and what is left when a device goes.
 */
#include "mempool.h"

#include "machine/machine.h"
#include <dmakit/fail.h>

static const char *const buses[] = { "coherent", "noncoherent", "offset", "iommu", "narrow", "bounce" };

#define BUSES (sizeof(buses) / sizeof(buses[0]))
#define LINE 64

static struct device *device_on(struct dk_machine *machine, const char *bus)
{
    struct device *dev = dk_device_add(dk_device_find(machine, bus), "card");

    assert_false(IS_ERR_OR_NULL(dev));
    return dev;
}

static void fill(unsigned char *bytes, size_t size, unsigned tag)
{
    size_t i;

    for (i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 7 + (i >> 8) + tag);
}

static bool filled(const unsigned char *bytes, size_t size, unsigned tag)
{
    size_t i;

    for (i = 0; i < size; i++) {
        if (bytes[i] != (unsigned char)(i * 7 + (i >> 8) + tag))
            return false;
    }
    return true;
}

static bool zeroed(const unsigned char *bytes, size_t size)
{
    return !bytes[0] && !memcmp(bytes, bytes + 1, size - 1);
}

/* ---- Where blocks lie, and who sees them ---- */

static void test_sizes(void **state)
{
    static const size_t sizes[] = { 1,   8,    63,   64,   65,   100,  128,   192,
                                    500, 1024, 2000, 2048, 2049, 4096, 10000, 65536 };
    unsigned bus, i, round;

    (void)state;
    for (bus = 0; bus < BUSES; bus++) {
        struct dk_machine *machine = machine_at(1);
        struct device *dev = device_on(machine, buses[bus]);

        for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (round = 0; round < 3; round++) {
                gfp_t gfp = round == 1 ? GFP_ATOMIC : GFP_KERNEL;
                size_t size = sizes[i];
                unsigned char *cpu, *seen = malloc(size);
                dma_addr_t dma = 0;

                cpu = dma_alloc(dev, size, &dma, round == 2 ? gfp | __GFP_ZERO : gfp);
                if (!cpu)
                    fail_msg("%s: no %zu bytes in round %u: %s", buses[bus], size, round, last_line);
                assert_int_equal((uintptr_t)cpu % LINE, 0);
                assert_int_equal(dma % LINE, 0);
                if (!(size & (size - 1)))
                    assert_int_equal(dma % size, 0);
                assert_true(dma + size - 1 <= dev->coherent_dma_mask);
                if (round == 2)
                    assert_true(zeroed(cpu, size));
                fill(cpu, size, round);
                assert_int_equal(dk_master_read(dev, dma, seen, size), 0);
                assert_true(filled(seen, size, round));
                fill(seen, size, round + 50);
                assert_int_equal(dk_master_write(dev, dma, seen, size), 0);
                assert_true(filled(cpu, size, round + 50));
                dma_free(dev, cpu, dma);
                free(seen);
            }
        }
        assert_int_equal(lines, 0);
        dk_device_remove(dev);
        unmake_machine(machine);
    }
}

static void test_odd_requests(void **state)
{
    struct dk_machine *machine = machine_at(1);
    struct device *dev = device_on(machine, "noncoherent");
    dma_addr_t dma;
    void *cpu;

    (void)state;
    assert_null(dma_alloc(dev, 0, &dma, GFP_KERNEL));
    assert_true(logged("dma_alloc"));
    assert_null(dma_alloc(dev, SIZE_MAX, &dma, GFP_KERNEL));
    assert_true(logged("dma_alloc"));
    assert_null(dma_alloc(dev, 8, NULL, GFP_KERNEL));
    assert_true(logged("no place"));
    assert_null(dma_alloc(NULL, 8, &dma, GFP_KERNEL));
    assert_true(logged("no device"));
    assert_null(dma_alloc(dev, (size_t)1 << 40, &dma, GFP_KERNEL | __GFP_NOWARN));
    assert_int_equal(lines, 0);
    assert_null(dma_alloc(dev, (size_t)1 << 40, &dma, GFP_KERNEL));
    assert_true(lines > 0 && strstr(last_line, "no coherent memory"));
    dma_free(dev, NULL, 5);
    lines = 0;
    /* Zone flags are dropped. */
    cpu = dma_alloc(dev, 100, &dma, GFP_KERNEL | GFP_DMA | __GFP_HIGHMEM);
    assert_non_null(cpu);
    dma_free(dev, cpu, dma);
    assert_int_equal(lines, 0);
    dk_device_remove(dev);
    assert_null(dma_alloc(dev, 8, &dma, GFP_KERNEL));
    assert_true(logged("removed"));
    dma_free(dev, cpu, dma);
    assert_true(logged("removed"));
    unmake_machine(machine);
}

/* Chunks that are there already are not given to who reaches less now. */
static void test_lowered_mask(void **state)
{
    struct dk_machine *machine = machine_at(1);
    struct device *dev = device_on(machine, "coherent");
    dma_addr_t high, low;
    void *first, *second;

    (void)state;
    assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);
    first = dma_alloc(dev, 100, &high, GFP_KERNEL);
    assert_non_null(first);
    assert_true(high > DMA_BIT_MASK(32));
    assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32)), 0);
    assert_true(reported("mask-set-too-late"));
    second = dma_alloc(dev, 100, &low, GFP_KERNEL);
    assert_non_null(second);
    assert_true(low + 99 <= DMA_BIT_MASK(32));
    dma_free(dev, second, low);
    dma_free(dev, first, high);
    dk_device_remove(dev);
    unmake_machine(machine);
}

static void test_contexts(void **state)
{
    unsigned bus;

    (void)state;
    for (bus = 0; bus < BUSES; bus++) {
        struct dk_machine *machine = machine_at(1);
        struct device *dev = device_on(machine, buses[bus]);
        dma_addr_t dma[60];
        void *cpu[60];
        spinlock_t lock;
        unsigned i;

        spin_lock_init(&lock);
        spin_lock(&lock);
        for (i = 0; i < 60; i++) {
            cpu[i] = dma_alloc(dev, 2000, &dma[i], GFP_ATOMIC);
            assert_non_null(cpu[i]);
        }
        for (i = 0; i < 60; i++)
            dma_free(dev, cpu[i], dma[i]);
        assert_true(nothing_reported());
        cpu[0] = dma_alloc(dev, 100, &dma[0], GFP_KERNEL);
        assert_true(reported("sleeps-in-atomic"));
        spin_unlock(&lock);
        dma_free(dev, cpu[0], dma[0]);
        dk_device_remove(dev);
        unmake_machine(machine);
    }
}

/* ---- What is refused ---- */

static void test_reports(void **state)
{
    unsigned bus, i;

    (void)state;
    for (bus = 0; bus < BUSES; bus++) {
        struct dk_machine *machine = machine_at(1);
        struct device *dev = device_on(machine, buses[bus]);
        struct device *other = dk_device_add(dk_device_find(machine, buses[bus]), "other");

        for (i = 0; i < 2; i++) {
            size_t size = i ? 5000 : 100;
            dma_addr_t dma, another, whole;
            unsigned char *cpu = dma_alloc(dev, size, &dma, GFP_KERNEL);
            unsigned char *neighbour = dma_alloc(dev, size, &another, GFP_KERNEL), *pages;

            assert_true(cpu && neighbour);
            memset(neighbour, 3, size);
            dma_free(dev, cpu + LINE, dma + LINE);
            assert_true(reported("free-not-allocated"));
            dma_free(other, cpu, dma);
            assert_true(reported("free-not-allocated"));
            dma_free(dev, cpu, dma + 8);
            assert_true(reported("free-not-allocated"));
            kfree(cpu);
            assert_true(reported(i ? "slab-invalid-free" : "slab-wrong-cache"));
            dma_free(dev, cpu, DMA_MAPPING_ERROR);
            assert_true(reported("free-invalid-address"));
            dma_free(dev, cpu, dma);
            assert_true(nothing_reported());
            dma_free(dev, cpu, dma);
            assert_true(reported("free-not-allocated"));
            /* What was meant is freed. */
            cpu = dma_alloc(dev, size, &dma, GFP_KERNEL);
            dma_free(dev, cpu + 16, dma);
            assert_true(reported("free-wrong-cpu-address"));
            pages = dma_alloc_coherent(dev, 4096, &whole, GFP_KERNEL);
            dma_free(dev, pages, whole);
            assert_true(reported("free-wrong-function"));
            /* It stays until the device goes. */
            cpu = dma_alloc(dev, size, &dma, GFP_KERNEL);
            dma_free_coherent(dev, size, cpu, dma);
            assert_true(reported("free-wrong-function"));
            memset(cpu, 1, size);
            assert_true(neighbour[0] == 3 && neighbour[size - 1] == 3);
            dma_free(dev, neighbour, another);
            assert_true(nothing_reported());
        }
        dk_device_remove(other);
        dk_device_remove(dev);
        unmake_machine(machine);
    }
}

/* With the checker off nobody reports, and nothing wrong is freed. */
static void test_refusals_unchecked(void **state)
{
    unsigned bus, i;

    (void)state;
    for (bus = 0; bus < BUSES; bus++) {
        struct dk_machine *machine = machine_at(0);
        struct device *dev = device_on(machine, buses[bus]);
        struct device *other = dk_device_add(dk_device_find(machine, buses[bus]), "other");

        for (i = 0; i < 2; i++) {
            dma_addr_t dma, another;
            unsigned char *cpu = dma_alloc(dev, i ? 5000 : 100, &dma, GFP_KERNEL);
            unsigned char *neighbour = dma_alloc(dev, i ? 5000 : 100, &another, GFP_KERNEL);

            dma_free(other, cpu, dma);
            assert_true(logged("no block"));
            dma_free(dev, cpu + LINE, dma + LINE);
            assert_true(logged("no live block"));
            dma_free(dev, cpu, dma + 1);
            assert_true(logged("another DMA address"));
            dma_free(dev, cpu, another);
            assert_true(logged("another DMA address"));
            dma_free(dev, cpu, dma);
            assert_int_equal(lines, 0);
            dma_free(dev, cpu, dma);
            assert_true(logged("no live block"));
            memset(neighbour, 1, 100);
            dma_free(dev, neighbour, another);
        }
        assert_int_equal(lines, 0);
        dk_device_remove(other);
        dk_device_remove(dev);
        unmake_machine(machine);
    }
}

/* ---- Devices that go ---- */

static void test_removal(void **state)
{
    unsigned bus, depth;

    (void)state;
    for (bus = 0; bus < BUSES; bus++) {
        for (depth = 0; depth < 2; depth++) {
            struct dk_machine *machine = machine_at((int)depth);
            struct device *dev = device_on(machine, buses[bus]);
            dma_addr_t dma;
            unsigned long leaks;
            u64 before;
            void *cpu;
            unsigned i;

            /* What the bus itself takes once is taken first. */
            cpu = dma_alloc(dev, 100, &dma, GFP_KERNEL);
            dma_free(dev, cpu, dma);
            cpu = dma_alloc_coherent(dev, 32768, &dma, GFP_KERNEL);
            dma_free_coherent(dev, 32768, cpu, dma);
            dk_device_remove(dev);
            before = dk_memory_free_pages(machine->memory);
            dev = device_on(machine, buses[bus]);
            for (i = 0; i < 50; i++)
                assert_non_null(dma_alloc(dev, 10 + i * 200, &dma, i & 1 ? GFP_KERNEL : GFP_ATOMIC));
            assert_true(nothing_reported());
            lines = 0;
            dk_device_remove(dev);
            if (depth) {
                assert_int_equal(dk_check_count(machine, "leak-at-remove"), 50);
                assert_int_equal(found("leak-at-remove", &leaks), 50);
            } else {
                assert_true(logged("50 blocks"));
            }
            assert_int_equal(dk_memory_free_pages(machine->memory), before);
            unmake_machine(machine);
        }
    }
}

/* ---- Threads ---- */

static void *churn(void *data)
{
    struct device *dev = data;
    unsigned turns = getenv("DMAKIT_TEST_FAST") ? 2000 : 10000, i, word = (unsigned)(uintptr_t)&turns;
    struct {
        unsigned char *cpu;
        dma_addr_t dma;
        size_t size;
    } blocks[20] = { { 0 } };

    for (i = 0; i < turns; i++) {
        unsigned which;

        word = word * 1103515245 + 12345;
        which = (word >> 8) % 20;
        if (blocks[which].cpu) {
            if (!filled(blocks[which].cpu, blocks[which].size, which))
                return dev;
            dma_free(dev, blocks[which].cpu, blocks[which].dma);
            blocks[which].cpu = NULL;
        } else {
            blocks[which].size = 1 + (word >> 16) % (word & 0x100 ? 300 : 6000);
            blocks[which].cpu = dma_alloc(dev, blocks[which].size, &blocks[which].dma, GFP_KERNEL);
            if (!blocks[which].cpu)
                return dev;
            fill(blocks[which].cpu, blocks[which].size, which);
        }
    }
    for (i = 0; i < 20; i++)
        dma_free(dev, blocks[i].cpu, blocks[i].dma);
    return NULL;
}

static void test_threads(void **state)
{
    unsigned bus, i;

    (void)state;
    for (bus = 0; bus < BUSES; bus++) {
        struct dk_machine *machine = machine_at(1);
        struct device *dev = device_on(machine, buses[bus]);
        pthread_t threads[4];
        void *wrong;

        for (i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, churn, dev), 0);
        for (i = 0; i < 4; i++) {
            pthread_join(threads[i], &wrong);
            assert_null(wrong);
        }
        dk_device_remove(dev);
        unmake_machine(machine);
    }
}

/* ---- Scarcity ---- */

static void test_each_failure(void **state)
{
    unsigned bus;

    (void)state;
    for (bus = 0; bus < BUSES; bus++) {
        unsigned long n;

        for (n = 1; n < 1000; n++) {
            struct dk_machine *machine = machine_at(1);
            struct device *dev = device_on(machine, buses[bus]);
            dma_addr_t small, large;
            void *one, *other;
            bool failed;

            dk_fail_nth(n);
            one = dma_alloc(dev, 100, &small, GFP_KERNEL);
            if (one)
                memset(one, 1, 100);
            other = dma_alloc(dev, 9000, &large, GFP_ATOMIC);
            if (other)
                memset(other, 1, 9000);
            dma_free(dev, one, small);
            dma_free(dev, other, large);
            failed = dk_fail_hits();
            dk_fail_nth(0);
            if (!failed)
                assert_true(one && other);
            dk_device_remove(dev);
            unmake_machine(machine);
            if (!failed)
                break;
        }
        assert_true(n > 4 && n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),        cmocka_unit_test(test_odd_requests),
        cmocka_unit_test(test_lowered_mask), cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_reports),      cmocka_unit_test(test_refusals_unchecked),
        cmocka_unit_test(test_removal),      cmocka_unit_test(test_threads),
        cmocka_unit_test(test_each_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
