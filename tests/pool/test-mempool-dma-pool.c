/* SPDX-License-Identifier: MIT */
/*
 * A memory pool over a dma_pool: a driver's descriptors, of which some are always to be had, with their DMA
 * addresses.
 */
#include "mempool.h"

#define SIZE 1024
#define RESERVE 4
#define MOST 64

static const char *const buses[] = { "coherent", "noncoherent", "offset", "narrow" };

struct block {
    unsigned char *cpu;
    dma_addr_t dma;
};

struct user {
    mempool_t *pool;
    struct block block;
};

/* A device with four pages of coherent memory of its own, and no more. */
static struct device *small_device(struct dk_machine *machine, const char *bus)
{
    struct device *dev = dk_device_add(dk_device_find(machine, bus), "card");

    assert_false(IS_ERR_OR_NULL(dev));
    assert_int_equal(dma_declare_coherent_memory(dev, 0x10000000, 0x10000000, 4 * PAGE_SIZE), 0);
    return dev;
}

static void *wait_for_block(void *data)
{
    struct user *user = data;

    user->block.cpu = dk_mempool_alloc_dma(user->pool, GFP_KERNEL, &user->block.dma);
    return NULL;
}

static void test_exhaustion(void **state)
{
    unsigned bus, round, count, i, j;

    (void)state;
    for (bus = 0; bus < sizeof(buses) / sizeof(buses[0]); bus++) {
        struct dk_machine *machine = make_machine();
        struct device *dev = small_device(machine, buses[bus]);
        struct dma_pool *blocks = dma_pool_create("descriptors", dev, SIZE, 0, 0);
        mempool_t *pool = dk_mempool_create_dma_pool(RESERVE, blocks);
        struct block taken[MOST];

        assert_non_null(pool);
        for (round = 0; round < 2; round++) {
            for (count = 0; count < MOST; count++) {
                taken[count].cpu = dk_mempool_alloc_dma(pool, GFP_ATOMIC | __GFP_NOWARN, &taken[count].dma);
                if (!taken[count].cpu)
                    break;
                for (i = 0; i < count; i++)
                    assert_true(taken[i].cpu != taken[count].cpu && taken[i].dma != taken[count].dma);
                memset(taken[count].cpu, (int)count + 1, SIZE);
            }
            assert_true(count > RESERVE && count < MOST);
            assert_int_equal(pool->curr_nr, 0);
            for (i = 0; i < count; i++) {
                for (j = 0; j < SIZE; j++)
                    assert_int_equal(taken[i].cpu[j], i + 1);
            }
            for (i = 0; i < count; i++)
                dk_mempool_free_dma(taken[i].cpu, taken[i].dma, pool);
            assert_true(mempool_is_saturated(pool));
        }
        mempool_destroy(pool);
        dma_pool_destroy(blocks);
        dk_device_remove(dev);
        unmake_machine(machine);
    }
}

static void test_waiting(void **state)
{
    struct dk_machine *machine = make_machine();
    struct device *dev = small_device(machine, "coherent");
    struct dma_pool *blocks = dma_pool_create("descriptors", dev, SIZE, 0, 0);
    struct user user = { .pool = dk_mempool_create_dma_pool(1, blocks) };
    struct block taken[MOST];
    unsigned count, i;
    pthread_t thread;

    (void)state;
    assert_non_null(user.pool);
    for (count = 0; count < MOST; count++) {
        taken[count].cpu = dk_mempool_alloc_dma(user.pool, GFP_ATOMIC | __GFP_NOWARN, &taken[count].dma);
        if (!taken[count].cpu)
            break;
    }
    assert_int_equal(pthread_create(&thread, NULL, wait_for_block, &user), 0);
    while (!__atomic_load_n(&user.pool->waiting, __ATOMIC_ACQUIRE))
        usleep_range(200, 200);
    dk_mempool_free_dma(taken[0].cpu, taken[0].dma, user.pool);
    pthread_join(thread, NULL);
    assert_ptr_equal(user.block.cpu, taken[0].cpu);
    assert_int_equal(user.block.dma, taken[0].dma);
    for (i = 0; i < count; i++)
        dk_mempool_free_dma(taken[i].cpu, taken[i].dma, user.pool);
    mempool_destroy(user.pool);
    dma_pool_destroy(blocks);
    dk_device_remove(dev);
    unmake_machine(machine);
}

/* On buses with all of the machine's memory: the device reads what the CPU wrote, at the address given. */
static void test_addresses(void **state)
{
    static const char *const all[] = { "coherent", "noncoherent", "offset", "iommu", "narrow", "bounce" };
    unsigned bus, i;

    (void)state;
    for (bus = 0; bus < sizeof(all) / sizeof(all[0]); bus++) {
        struct dk_machine *machine = make_machine();
        struct device *dev = dk_device_add(dk_device_find(machine, all[bus]), "card");
        struct dma_pool *blocks = dma_pool_create("descriptors", dev, 100, 64, 0);
        mempool_t *pool = dk_mempool_create_dma_pool(8, blocks);
        struct block taken[20];
        unsigned char byte;

        assert_non_null(pool);
        for (i = 0; i < 20; i++) {
            taken[i].cpu = dk_mempool_alloc_dma(pool, i & 1 ? GFP_KERNEL : GFP_ATOMIC, &taken[i].dma);
            assert_non_null(taken[i].cpu);
            memset(taken[i].cpu, (int)i + 1, 100);
        }
        for (i = 0; i < 20; i++) {
            assert_int_equal(dk_master_read(dev, taken[i].dma + 99, &byte, 1), 0);
            assert_int_equal(byte, i + 1);
            dk_mempool_free_dma(taken[i].cpu, taken[i].dma, pool);
        }
        mempool_destroy(pool);
        dma_pool_destroy(blocks);
        dk_device_remove(dev);
        unmake_machine(machine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_exhaustion), cmocka_unit_test(test_waiting),
                                        cmocka_unit_test(test_addresses) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
