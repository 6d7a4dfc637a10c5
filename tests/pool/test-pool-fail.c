/* SPDX-License-Identifier: MIT */
/*
 * Every allocation that a pool's life needs fails in turn: each call returns its error, nothing crashes or
 * leaks, blocks that were handed out are right, and no correct driver is reported.
 */
#include "pool.h"

#define BLOCKS 700u

static struct dma_pool *create(struct device *dev, size_t size, bool managed)
{
    return managed ? dmam_pool_create("failing", dev, size, 0, 0)
                   : dma_pool_create("failing", dev, size, 0, 0);
}

/* Takes what there is, checks it, gives it back; also from one pool in turns with the other. */
static void use(struct device *dev, size_t size, bool managed)
{
    static char *cpu[2][BLOCKS];
    static dma_addr_t dma[2][BLOCKS];
    struct dma_pool *pools[2];
    unsigned count = size > 1000 ? 60 : BLOCKS, i, j;

    for (j = 0; j < 2; j++)
        pools[j] = create(dev, size, managed);
    for (i = 0; i < count; i++) {
        for (j = 0; j < 2; j++) {
            cpu[j][i] =
                pools[j] ? dma_pool_alloc(pools[j], i % 2 ? GFP_KERNEL : GFP_ATOMIC, &dma[j][i]) : NULL;
            if (cpu[j][i])
                fill(cpu[j][i], size, i + j);
        }
    }
    for (i = 0; i < count; i++) {
        for (j = 0; j < 2; j++) {
            if (!cpu[j][i])
                continue;
            assert_true(filled(cpu[j][i], size, i + j));
            dma_pool_free(pools[j], cpu[j][i], dma[j][i]);
        }
    }
    if (!managed) {
        dma_pool_destroy(pools[0]);
        dma_pool_destroy(pools[1]);
    }
}

/* Reports are made of allocations too. */
static void misuse(struct device *dev)
{
    struct dma_pool *pool = dma_pool_create("misused", dev, 64, 0, 0);
    struct dma_pool *other = dma_pool_create("other", dev, 64, 0, 0);
    dma_addr_t dma = 0, left;
    char *cpu = pool ? dma_pool_alloc(pool, GFP_KERNEL, &dma) : NULL;

    if (cpu) {
        dma_pool_free(pool, cpu, dma + 8);
        dma_pool_free(pool, cpu + 8, dma + 8);
        dma_pool_free(other, cpu, dma);
        dk_master_write(dev, dma, "xx", 2);
        dma_pool_free(pool, cpu, dma);
        dma_pool_free(pool, cpu, dma);
        if (dma_pool_alloc(pool, GFP_KERNEL, &left))
            dma_pool_destroy(pool);
        else
            pool = NULL;
        dma_pool_free(pool, cpu, dma);
    }
    if (other)
        dma_pool_alloc(other, GFP_KERNEL, &left);
}

static void live(const struct pool_place *place, int depth, size_t size, bool managed)
{
    struct dk_board *board = board_from(place->dts);
    const struct dk_machine_options options = { .size = sizeof(options),
                                                .arguments = place->arguments,
                                                .depth = depth };
    struct dk_machine *machine;
    struct device *dev;

    if (IS_ERR(board))
        return;
    machine = dk_machine_create(board, &options);
    dk_board_free(board);
    if (IS_ERR(machine))
        return;
    dk_machine_enter(machine);
    dk_check_set_sink(machine, ignore_report, NULL);
    dev = dk_device_find(machine, "nic");
    assert_non_null(dev);
    if (size) {
        use(dev, size, managed);
        assert_int_equal(dk_machine_destroy(machine), 0);
    } else {
        misuse(dev);
        dk_machine_destroy(machine);
    }
}

static void every_allocation_fails_in_turn(void **state)
{
    static const struct {
        size_t place, size;
        int depth;
        bool managed;
    } lives[] = {
        { 0, 64, 0, false }, { 0, 96, 0, true },    { 0, 64, 1, true },  { 1, 64, 0, false },
        { 1, 64, 1, false }, { 0, 4096, 0, false }, { 5, 64, 0, false }, { 5, 4096, 1, false },
        { 0, 0, 1, false },  { 0, 0, 0, false },    { 5, 0, 1, false },
    };
    unsigned long n, step = getenv("DMAKIT_TEST_FAST") ? 5 : 1;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
        n = 0;
        do {
            n += n > 20 ? step : 1;
            dk_fail_nth(n);
            live(&pool_places[lives[i].place], lives[i].depth, lives[i].size, lives[i].managed);
        } while (dk_fail_hits());
        dk_fail_nth(0);
        print_message("%s, depth %d, %zu bytes: %lu allocations\n", pool_places[lives[i].place].name,
                      lives[i].depth, lives[i].size, n - 1);
        assert_true(n > 40);
    }
}

/* Memory that runs out is no reason for a block to be lost: after some were given back, as many can be had.
 */
static void memory_runs_out_and_comes_back(void **state)
{
    int depth;

    (void)state;
    for (depth = 0; depth < 2; depth++) {
        struct dk_machine *machine;
        struct device *dev = pool_device(&pool_places[0], depth, &machine);
        struct dma_pool *pool = dma_pool_create("all", dev, 60000, 0, 0);
        static void *cpu[4096];
        static dma_addr_t dma[4096];
        size_t count = 0, again = 0, i;

        while (count < 4096 && (cpu[count] = dma_pool_alloc(pool, GFP_KERNEL | __GFP_NOWARN, &dma[count])))
            count++;
        assert_in_range(count, 100, 4095);
        for (i = 0; i < count / 2; i++)
            dma_pool_free(pool, cpu[i], dma[i]);
        while (again < count / 2 &&
               (cpu[again] = dma_pool_alloc(pool, GFP_KERNEL | __GFP_NOWARN, &dma[again])))
            again++;
        assert_int_equal(again, count / 2);
        for (i = 0; i < count; i++)
            dma_pool_free(pool, cpu[i], dma[i]);
        dma_pool_destroy(pool);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails_in_turn),
        cmocka_unit_test(memory_runs_out_and_comes_back),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("pool-fail", tests, NULL, NULL);
}
