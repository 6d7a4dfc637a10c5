/* SPDX-License-Identifier: MIT */
/*
 * What a missing sync and a shared line do on a machine whose device does not snoop.
 */
#include "api.h"

/* What the CPU reads of a receive buffer that the device wrote into, with and without the handover. */
struct received {
    unsigned char bytes[512];
};

static struct received receive(const char *board, uint64_t seed, bool sync)
{
    struct dk_machine *machine = machine_with(board, NULL, seed, 1);
    struct device *dev = dk_device_find(machine, "nic");
    unsigned char *buffer = kmalloc(512, GFP_KERNEL);
    unsigned char sent[512];
    struct received received;
    dma_addr_t dma, other;
    void *noise;
    int i;

    fill(buffer, 512, 1);
    dma = dma_map_single(dev, buffer, 512, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    fill(sent, 512, 2);
    assert_int_equal(dk_master_write(dev, dma, sent, 512), 0);
    /* Other traffic, in whose calls lines may be evicted. */
    noise = kmalloc(512, GFP_KERNEL);
    for (i = 0; i < 4; i++) {
        other = dma_map_single(dev, noise, 512, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(dev, other), 0);
        dma_unmap_single(dev, other, 512, DMA_TO_DEVICE);
    }
    if (sync)
        dma_sync_single_for_cpu(dev, dma, 512, DMA_FROM_DEVICE);
    memcpy(received.bytes, buffer, 512);
    dma_unmap_single(dev, dma, 512, DMA_FROM_DEVICE);
    kfree(buffer);
    kfree(noise);
    dk_machine_destroy(machine);
    return received;
}

static void without_its_sync_the_cpu_reads_stale_bytes(void **state)
{
    struct received right = receive(NONCOHERENT_BOARD, 0, true);
    struct received wrong = receive(NONCOHERENT_BOARD, 0, false);
    struct received coherent = receive(COHERENT_BOARD, 0, false);

    (void)state;
    assert_true(filled(right.bytes, 512, 2));
    assert_true(filled(wrong.bytes, 512, 1));
    assert_true(filled(coherent.bytes, 512, 2));
}

static void the_same_seed_gives_the_same_bytes(void **state)
{
    uint64_t seed;

    (void)state;
    for (seed = 0; seed < 20; seed++) {
        struct received first = receive(NONCOHERENT_BOARD, seed, false);
        struct received second = receive(NONCOHERENT_BOARD, seed, false);

        assert_memory_equal(first.bytes, second.bytes, 512);
        first = receive(NONCOHERENT_BOARD, seed, true);
        assert_true(filled(first.bytes, 512, 2));
    }
}

/* The device reads DRAM: what the CPU stored after the mapping is not there until it is synced. */
static void without_its_sync_the_device_reads_stale_bytes(void **state)
{
    struct dk_machine *machine = machine_on(NONCOHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    unsigned char *buffer = kmalloc(256, GFP_KERNEL);
    unsigned char seen[256];
    dma_addr_t dma;

    (void)state;
    fill(buffer, 256, 1);
    dma = dma_map_single(dev, buffer, 256, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    fill(buffer, 256, 2);
    assert_int_equal(dk_master_read(dev, dma, seen, 256), 0);
    assert_true(filled(seen, 256, 1));
    dma_sync_single_for_device(dev, dma, 256, DMA_TO_DEVICE);
    assert_int_equal(dk_master_read(dev, dma, seen, 256), 0);
    assert_true(filled(seen, 256, 2));
    dma_unmap_single(dev, dma, 256, DMA_TO_DEVICE);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/*
 * One line, two owners: the device writes its half while the CPU writes the other. Returns whether both
 * halves are there after the handover.
 */
static bool line_survives(uint64_t seed)
{
    struct dk_machine *machine = machine_with(NONCOHERENT_BOARD, NULL, seed, 1);
    struct device *dev = dk_device_find(machine, "nic");
    unsigned char *line = kmalloc(64, GFP_KERNEL);
    unsigned char sent[32];
    unsigned char *noise = kmalloc(64, GFP_KERNEL);
    dma_addr_t dma, other;
    bool whole;
    int i;

    memset(line, 0, 64);
    dma = dma_map_single(dev, line, 32, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    fill(line + 32, 32, 1);
    fill(sent, 32, 2);
    assert_int_equal(dk_master_write(dev, dma, sent, 32), 0);
    for (i = 0; i < 4; i++) {
        other = dma_map_single(dev, noise, 64, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(dev, other), 0);
        dma_unmap_single(dev, other, 64, DMA_TO_DEVICE);
    }
    dma_unmap_single(dev, dma, 32, DMA_FROM_DEVICE);
    whole = filled(line, 32, 2) && filled(line + 32, 32, 1);
    kfree(line);
    kfree(noise);
    dk_machine_destroy(machine);
    return whole;
}

static void two_owners_of_a_line_lose_data(void **state)
{
    unsigned lost = 0;
    uint64_t seed;

    (void)state;
    for (seed = 1; seed <= 20; seed++)
        lost += !line_survives(seed);
    assert_true(lost >= 1);
    /* Damage at a mapping's edges needs no eviction: the dirty line goes down over what the device wrote. */
    assert_false(line_survives(0));
}

/* kmalloc() keeps its objects out of each other's lines here, as on the real machine. */
static void kmalloc_objects_share_no_line(void **state)
{
    struct dk_machine *machine = machine_on(NONCOHERENT_BOARD);
    char *first = kmalloc(8, GFP_KERNEL), *second = kmalloc(8, GFP_KERNEL);
    int line = dma_get_cache_alignment();

    (void)state;
    assert_int_equal(line, 64);
    assert_int_not_equal((uintptr_t)first / 64, (uintptr_t)second / 64);
    assert_int_equal((uintptr_t)first % 64, 0);
    kfree(first);
    kfree(second);
    dk_machine_destroy(machine);
}

/* Coherent memory needs no sync, and pages that were cached before carry nothing over. */
static void coherent_memory_is_coherent_from_its_first_byte(void **state)
{
    struct dk_machine *machine = machine_on(NONCOHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    unsigned char seen[4096], *cpu;
    dma_addr_t dma;
    int round;

    (void)state;
    for (round = 0; round < 50; round++) {
        char *dirty = kmalloc(4096, GFP_KERNEL);
        int i;

        memset(dirty, 0xaa, 4096);
        kfree(dirty);
        cpu = dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL);
        assert_non_null(cpu);
        assert_int_equal(dk_master_read(dev, dma, seen, 4096), 0);
        for (i = 0; i < 4096; i++)
            assert_int_equal(seen[i], 0);
        fill(cpu, 4096, 3);
        assert_int_equal(dk_master_read(dev, dma, seen, 4096), 0);
        assert_true(filled(seen, 4096, 3));
        dma_free_coherent(dev, 4096, cpu, dma);
    }
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_its_sync_the_cpu_reads_stale_bytes),
        cmocka_unit_test(the_same_seed_gives_the_same_bytes),
        cmocka_unit_test(without_its_sync_the_device_reads_stale_bytes),
        cmocka_unit_test(two_owners_of_a_line_lose_data),
        cmocka_unit_test(kmalloc_objects_share_no_line),
        cmocka_unit_test(coherent_memory_is_coherent_from_its_first_byte),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("stale", tests, NULL, NULL);
}
