/* SPDX-License-Identifier: MIT */
/*
 * dma_pool: arguments, blocks, the listing, and what happens to pools when their device, driver or machine
 * goes.
 */
#include "pool.h"

#include <sys/wait.h>

/* What a test is played with. */
struct scene {
    struct dk_machine *machine;
    struct device *dev;
    int depth;
    int reports; /* that the test causes, for it to say: none else are made until the machine is gone */
};

/* Plays @part on a new machine for each of @count places, with the checker at each depth below @depths. */
static void each_scene(const struct pool_place *places, size_t count, int depths,
                       void (*part)(struct scene *scene))
{
    for (size_t i = 0; i < count; i++) {
        for (int depth = 0; depth < depths; depth++) {
            struct scene scene = { .depth = depth };
            int reports;

            scene.dev = pool_device(&places[i], depth, &scene.machine);
            part(&scene);
            reports = dk_machine_destroy(scene.machine);
            if (reports != scene.reports)
                print_error("%s at depth %d\n", places[i].name, depth);
            assert_int_equal(reports, scene.reports);
        }
    }
}

/* ---- Creating ---- */

static const struct {
    size_t size, align, boundary;
    bool possible;
    const char *because;
} shapes[] = {
    { 64, 0, 0, true, "" },
    { 64, 1, 0, true, "" },
    { 1, 0, 0, true, "" },
    { 64, 64, 4096, true, "" },
    { 4096, 4096, 4096, true, "" },
    { 4096, 0, 4096, true, "" },
    { 10000, 16, 0, true, "" },
    { 100000, 0, 1 << 17, true, "" },
    { 96, 32, 256, true, "" },
    { 20, 4096, 0, true, "" },
    { 40, 0, (size_t)1 << (sizeof(size_t) * 8 - 1), true, "" },
    { 0, 0, 0, false, "size" },
    { 0, 64, 4096, false, "size" },
    { 64, 3, 0, false, "alignment" },
    { 64, 48, 0, false, "alignment" },
    { 64, SIZE_MAX, 0, false, "alignment" },
    { 64, 0, 32, false, "boundary" },
    { 64, 0, 63, false, "boundary" },
    { 64, 0, 96, false, "boundary" },
    { 64, 0, SIZE_MAX, false, "boundary" },
    { 20, 64, 32, false, "boundary" },
    { SIZE_MAX, 0, 0, false, "large" },
    { SIZE_MAX - 10, 64, 0, false, "large" },
    { 64, (size_t)1 << (sizeof(size_t) * 8 - 1), 0, false, "aligned" },
};

static void what_a_pool_can_be_at(struct scene *scene)
{
    struct device *dev = scene->dev;
    size_t i;

    for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct log_lines lines;
        struct dma_pool *pool;

        keep_log(&lines);
        pool = dma_pool_create("shape", dev, shapes[i].size, shapes[i].align, shapes[i].boundary);
        drop_log();
        assert_int_equal(pool != NULL, shapes[i].possible);
        assert_int_equal(lines.count, shapes[i].possible ? 0 : 1);
        assert_non_null(strstr(lines.text, shapes[i].because));
        dma_pool_destroy(pool);
    }
    assert_null(dma_pool_create("none", NULL, 64, 0, 0));
    assert_null(dmam_pool_create("none", NULL, 64, 0, 0));
    assert_null(dmam_pool_create("shape", dev, 64, 3, 0));
    dma_pool_destroy(NULL);
    dmam_pool_destroy(NULL);
}

static void what_a_pool_can_be(void **state)
{
    (void)state;
    each_scene(&pool_places[0], 1, 2, what_a_pool_can_be_at);
}

/* ---- Blocks ---- */

/* The device sees what the CPU writes, and the CPU what the device does, with no sync. */
static void a_block_is_coherent_at(struct scene *scene)
{
    struct device *dev = scene->dev;
    struct dma_pool *pool = dma_pool_create("blocks", dev, 200, 8, 0);
    unsigned char bytes[200];
    dma_addr_t dma, second;
    char *cpu, *other;

    assert_non_null(pool);
    cpu = dma_pool_alloc(pool, GFP_KERNEL, &dma);
    other = dma_pool_zalloc(pool, GFP_ATOMIC, &second);
    assert_non_null(cpu);
    assert_non_null(other);
    assert_true(dma != second && cpu != other);
    fill(cpu, 200, 1);
    assert_int_equal(dk_master_read(dev, dma, bytes, 200), 0);
    assert_true(filled(bytes, 200, 1));
    fill(bytes, 200, 2);
    assert_int_equal(dk_master_write(dev, dma, bytes, 200), 0);
    assert_true(filled(cpu, 200, 2));
    memset(bytes, 0, 200);
    assert_memory_equal(other, bytes, 200);
    dma_pool_free(pool, cpu, dma);
    dma_pool_free(pool, other, second);
    dma_pool_destroy(pool);
}

static void a_block_is_coherent(void **state)
{
    (void)state;
    each_scene(pool_places, POOL_PLACES, 3, a_block_is_coherent_at);
}

/* Cleared is what was in use before, by each of the ways to ask for it; nothing else of the block's is. */
static void zeroes_at(struct scene *scene)
{
    unsigned char nothing[64] = { 0 };
    int way;

    for (way = 0; way < 3; way++) {
        struct dma_pool *pool = dma_pool_create("zero", scene->dev, 64, 0, 0);
        void *cpu[100];
        dma_addr_t dma[100];
        int i, round;

        for (round = 0; round < 2; round++) {
            for (i = 0; i < 100; i++) {
                if (way == 0)
                    cpu[i] = dma_pool_zalloc(pool, GFP_KERNEL, &dma[i]);
                else if (way == 1)
                    cpu[i] = dma_pool_alloc(pool, GFP_KERNEL | __GFP_ZERO, &dma[i]);
                else
                    cpu[i] = dk_pool_zalloc(pool, GFP_KERNEL, &dma[i]);
                assert_non_null(cpu[i]);
                assert_memory_equal(cpu[i], nothing, 64);
                fill(cpu[i], 64, (unsigned)i);
            }
            for (i = 0; i < 100; i++) {
                assert_true(filled(cpu[i], 64, (unsigned)i));
                dma_pool_free(pool, cpu[i], dma[i]);
            }
        }
        dma_pool_destroy(pool);
    }
}

static void zeroes(void **state)
{
    (void)state;
    each_scene(&pool_places[0], 1, 2, zeroes_at);
}

static void no_pool_and_no_handle_at(struct scene *scene)
{
    struct device *dev = scene->dev;
    struct dma_pool *pool = dma_pool_create("x", dev, 64, 0, 0);
    dma_addr_t dma;

    dk_check_set_sink(scene->machine, ignore_report, NULL);
    assert_null(dma_pool_alloc(NULL, GFP_KERNEL, &dma));
    assert_null(dma_pool_zalloc(NULL, GFP_KERNEL, &dma));
    assert_null(dma_pool_alloc(pool, GFP_KERNEL, NULL));
    assert_null(dma_pool_zalloc(pool, GFP_KERNEL, NULL));
    dma_pool_free(NULL, &dma, 0);
    assert_int_equal(pool_numbers(dev).used, 0);
    dma_pool_destroy(pool);
}

static void no_pool_and_no_handle(void **state)
{
    (void)state;
    each_scene(&pool_places[0], 1, 2, no_pool_and_no_handle_at);
}

/* Without leave to sleep there is less memory, but some. */
static void atomic_memory_runs_out(void **state)
{
    struct dk_machine *machine;
    struct device *dev = pool_device(&pool_places[1], 1, &machine);
    struct dma_pool *pool = dma_pool_create("atomic", dev, PAGE_SIZE - 64, 0, 0);
    spinlock_t lock;
    size_t count = 0, i;
    static void *cpu[1 << 15];
    static dma_addr_t dma[1 << 15];

    (void)state;
    spin_lock_init(&lock);
    spin_lock(&lock);
    while (count < sizeof(cpu) / sizeof(cpu[0]) &&
           (cpu[count] = dma_pool_alloc(pool, GFP_ATOMIC | __GFP_NOWARN, &dma[count])))
        count++;
    for (i = 0; i < count; i++)
        dma_pool_free(pool, cpu[i], dma[i]);
    spin_unlock(&lock);
    assert_in_range(count, 8, sizeof(cpu) / sizeof(cpu[0]) - 1);
    assert_int_equal(pool_numbers(dev).used, 0);
    dma_pool_destroy(pool);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void sleeping_under_a_spinlock(void **state)
{
    struct dk_machine *machine;
    struct device *dev = pool_device(&pool_places[0], 1, &machine);
    struct dma_pool *pool = dma_pool_create("sleeps", dev, 64, 0, 0);
    spinlock_t lock;
    dma_addr_t dma;
    void *cpu;

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    spin_lock_init(&lock);
    spin_lock(&lock);
    cpu = dma_pool_alloc(pool, GFP_ATOMIC, &dma);
    dma_pool_free(pool, cpu, dma);
    assert_int_equal(dk_check_count(machine, NULL), 0);
    cpu = dma_pool_alloc(pool, GFP_KERNEL, &dma);
    assert_int_equal(dk_check_count(machine, "sleeps-in-atomic"), 1);
    assert_null(dma_pool_create("no", NULL, 64, 0, 0));
    dma_pool_destroy(dma_pool_create("too", dev, 64, 0, 0));
    assert_int_equal(dk_check_count(machine, "sleeps-in-atomic"), 3);
    spin_unlock(&lock);
    dma_pool_free(pool, cpu, dma);
    dma_pool_destroy(pool);
    assert_int_equal(dk_machine_destroy(machine), 3);
}

static void by_the_names_of_pci(void **state)
{
    struct dk_machine *machine;
    struct device *dev = pool_device(&pool_places[0], 1, &machine);
    struct pci_dev *pdev = to_pci_dev(dev);
    struct pci_pool *pool = pci_pool_create("old name", pdev, 64, 16, 0);
    dma_addr_t dma, second;
    char *cpu = pci_pool_alloc(pool, GFP_KERNEL, &dma);
    char *zero = pci_pool_zalloc(pool, GFP_KERNEL, &second);
    char text[128];

    (void)state;
    assert_non_null(cpu);
    assert_int_equal(zero[0] | zero[63], 0);
    assert_int_equal(dma % 16, 0);
    dk_device_pools(dev, text, sizeof(text));
    assert_non_null(strstr(text, "\nold_name            2 "));
    pci_pool_free(pool, cpu, dma);
    pci_pool_free(pool, zero, second);
    pci_pool_destroy(pool);
    assert_null(pci_pool_create("none", NULL, 64, 16, 0));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- The listing ---- */

static void the_listing(void **state)
{
    static const char head[] = "poolinfo - 0.1\n";
    struct dk_machine *machine;
    struct device *dev = pool_device(&pool_places[0], 0, &machine);
    struct dma_pool *first = dma_pool_create("first", dev, 64, 0, 0);
    struct dma_pool *second;
    char text[256], whole[256];
    ssize_t length;
    dma_addr_t dma[3];
    void *cpu[3];
    size_t i;

    (void)state;
    assert_int_equal(dk_device_pools(NULL, text, sizeof(text)), -EINVAL);
    assert_int_equal(dk_device_pools(dev, NULL, 1), -EINVAL);
    for (i = 0; i < 3; i++)
        cpu[i] = dma_pool_alloc(first, GFP_KERNEL, &dma[i]);
    second = dma_pool_create(NULL, dev, 5000, 0, 0);
    length = dk_device_pools(dev, whole, sizeof(whole));
    assert_int_equal(length, strlen(whole));
    assert_string_equal(whole, "poolinfo - 0.1\n"
                               "                    0    0 5000  0\n"
                               "first               3   64   64  1\n");
    for (i = 0; i <= (size_t)length + 1; i++) {
        memset(text, 'x', sizeof(text));
        assert_int_equal(dk_device_pools(dev, i ? text : NULL, i), length);
        if (i) {
            assert_memory_equal(text, whole, i - 1);
            assert_int_equal(text[i - 1], 0);
        }
        assert_int_equal(text[i], 'x');
    }
    dma_pool_free(first, cpu[1], dma[1]);
    dma_pool_destroy(second);
    assert_int_equal(pool_numbers(dev).used, 2);
    dma_pool_free(first, cpu[0], dma[0]);
    dma_pool_free(first, cpu[2], dma[2]);
    dma_pool_destroy(first);
    assert_int_equal(dk_device_pools(dev, text, sizeof(text)), sizeof(head) - 1);
    assert_string_equal(text, head);
    dk_machine_destroy(machine);
}

/* ---- Ends ---- */

static struct dma_pool *managed_with_block(struct device *dev, void **cpu, dma_addr_t *dma)
{
    struct dma_pool *pool = dmam_pool_create("managed", dev, 64, 0, 0);

    *cpu = dma_pool_alloc(pool, GFP_KERNEL, dma);
    assert_non_null(*cpu);
    return pool;
}

/* A managed pool goes before anybody looks for what is left; its blocks are to be free by then. */
static void managed_pools_at(struct scene *scene)
{
    struct device *dev = scene->dev;
    struct dma_pool *pool, *plain;
    dma_addr_t dma;
    void *cpu;

    dk_check_set_sink(scene->machine, ignore_report, NULL);
    pool = managed_with_block(dev, &cpu, &dma);
    dma_pool_free(pool, cpu, dma);
    dmam_pool_destroy(pool);
    /* Without its own call too. */
    pool = managed_with_block(dev, &cpu, &dma);
    dma_pool_free(pool, cpu, dma);
    dma_pool_destroy(pool);
    plain = dma_pool_create("plain", dev, 64, 0, 0);
    dmam_pool_destroy(plain);
    assert_int_equal(pool_numbers(dev).size, 64);
    dma_pool_destroy(plain);
    pool = managed_with_block(dev, &cpu, &dma);
    dma_pool_free(pool, cpu, dma);
    assert_int_equal(dk_check_count(scene->machine, NULL), 0);
    dk_device_remove(dev);
    assert_int_equal(dk_check_count(scene->machine, NULL), 0);
    assert_null(dmam_pool_create("late", dev, 64, 0, 0));
    assert_null(dma_pool_create("late", dev, 64, 0, 0));
}

static void managed_pools(void **state)
{
    (void)state;
    each_scene(&pool_places[1], 1, 2, managed_pools_at);
}

static void a_managed_pool_with_a_block(void **state)
{
    struct dk_machine *machine;
    struct device *dev = pool_device(&pool_places[1], 1, &machine);
    dma_addr_t dma;
    void *cpu;

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    managed_with_block(dev, &cpu, &dma);
    dk_device_remove(dev);
    assert_int_equal(dk_check_count(machine, "pool-destroyed-busy"), 1);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

static struct dma_pool *probed;

static int probe(struct platform_device *pdev)
{
    probed = dma_pool_create("driver's", &pdev->dev, 64, 0, 0);
    return probed && dmam_pool_create("managed", &pdev->dev, 64, 0, 0) ? 0 : -ENOMEM;
}

/* A pool that a driver leaves is reported once: not again when the device goes. */
static void what_a_driver_leaves_at(struct scene *scene)
{
    struct device *dev = scene->dev;
    struct platform_driver driver = { .probe = probe, .driver = { .name = "leaves" } };
    struct log_lines lines;

    dk_check_set_sink(scene->machine, ignore_report, NULL);
    assert_int_equal(dk_driver_bind(&driver, dev), 0);
    keep_log(&lines);
    dk_driver_unbind(dev);
    drop_log();
    assert_int_equal(dk_check_count(scene->machine, "leak-at-remove"), scene->depth);
    assert_int_equal(lines.count, 1 - scene->depth);
    dk_device_remove(dev);
    scene->reports = scene->depth;
}

static void what_a_driver_leaves(void **state)
{
    (void)state;
    each_scene(&pool_places[1], 1, 2, what_a_driver_leaves_at);
}

/* Of a machine's memory nothing is missing after its device went, whatever its driver left. */
static void what_a_device_leaves_at(struct scene *scene)
{
    struct device *dev = scene->dev;
    struct dma_pool *pool = dma_pool_create("left", dev, 64, 0, 0);
    struct dma_pool *empty = dma_pool_create("empty", dev, 64, 0, 0);
    struct dma_pool *busy = dma_pool_create("busy", dev, 64, 0, 0);
    dma_addr_t dma, late;
    void *cpu;

    dk_check_set_sink(scene->machine, ignore_report, NULL);
    assert_non_null(dma_pool_alloc(pool, GFP_KERNEL, &dma));
    assert_non_null(dma_pool_alloc(pool, GFP_KERNEL, &dma));
    cpu = dma_pool_alloc(busy, GFP_KERNEL, &late);
    dma_pool_destroy(busy);
    /* It stays, and may be written. */
    memset(cpu, 1, 64);
    dk_device_remove(dev);
    /* Two pools, two blocks, and the one that a pool was destroyed with. */
    assert_int_equal(dk_check_count(scene->machine, "leak-at-remove"), scene->depth ? 4 : 0);
    assert_int_equal(dk_check_count(scene->machine, "pool-destroyed-busy"), scene->depth ? 1 : 0);
    assert_null(dma_pool_alloc(empty, GFP_KERNEL, &dma));
    dma_pool_free(busy, cpu, late);
    dma_pool_destroy(pool);
    scene->reports = scene->depth ? 8 : 0;
}

static void what_a_device_leaves(void **state)
{
    (void)state;
    each_scene(pool_places, POOL_PLACES, 2, what_a_device_leaves_at);
}

/* Pools that are destroyed leave nothing in use: each round finds as much memory as the first. */
static void no_memory_is_lost_at(struct scene *scene)
{
    struct device *dev = scene->dev;
    int round;

    for (round = 0; round < 200; round++) {
        struct dma_pool *pool = dma_pool_create("round", dev, 100000, 0, 0);
        dma_addr_t dma[8];
        void *cpu[8];
        int j;

        for (j = 0; j < 8; j++) {
            cpu[j] = dma_pool_alloc(pool, GFP_KERNEL, &dma[j]);
            assert_non_null(cpu[j]);
        }
        for (j = 0; j < 8; j++)
            dma_pool_free(pool, cpu[j], dma[j]);
        dma_pool_destroy(pool);
    }
}

static void no_memory_is_lost(void **state)
{
    (void)state;
    each_scene(pool_places, POOL_PLACES, 2, no_memory_is_lost_at);
}

/* A child gets nothing of its parent's pools, by the short way neither, and changes nothing. */
static void a_child_is_refused_at(struct scene *scene)
{
    struct device *dev = scene->dev;
    struct dma_pool *pool = dma_pool_create("parent's", dev, 64, 0, 0);
    dma_addr_t dma, other;
    char *cpu = dma_pool_alloc(pool, GFP_KERNEL, &dma);
    void *second = dma_pool_alloc(pool, GFP_KERNEL, &other);
    char text[128];
    int status;
    pid_t child;

    memset(cpu, 7, 64);
    dk_check_set_sink(scene->machine, ignore_report, NULL);
    dma_pool_free(pool, second, other);
    child = fork();
    if (!child) {
        bool refused =
            !dma_pool_alloc(pool, GFP_KERNEL, &other) && !dma_pool_zalloc(pool, GFP_ATOMIC, &other) &&
            !dma_pool_create("child's", dev, 64, 0, 0) && dk_device_pools(dev, text, sizeof(text)) == -ENODEV;

        dma_pool_free(pool, cpu, dma);
        dma_pool_destroy(pool);
        dk_machine_destroy(scene->machine);
        _exit(refused ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(cpu[0], 7);
    assert_int_equal(cpu[63], 7);
    assert_int_equal(pool_numbers(dev).used, 1);
    dma_pool_free(pool, cpu, dma);
    dma_pool_destroy(pool);
}

static void a_child_is_refused(void **state)
{
    (void)state;
    each_scene(&pool_places[0], 1, 2, a_child_is_refused_at);
}

/* ---- Wrong frees with the checker off ---- */

/* Each is refused, and the pool is as before. */
static void wrong_frees_change_nothing(void **state)
{
    static const size_t sizes[] = { 64, 96, 4096, 100, 70000 };
    size_t i, j;

    (void)state;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t size = sizes[i];
        struct dk_machine *machine;
        struct device *dev = pool_device(&pool_places[0], 0, &machine);
        struct dma_pool *other = dma_pool_create("other", dev, size, 0, 0);
        struct dma_pool *pool = dma_pool_create("pool", dev, size, 0, size == 100 ? 256 : 0);
        struct log_lines lines;
        dma_addr_t dma, its, again;
        char *cpu = dma_pool_alloc(pool, GFP_KERNEL, &dma);
        char *foreign = dma_pool_alloc(other, GFP_KERNEL, &its);
        char *host = malloc(64);
        const struct {
            void *cpu;
            dma_addr_t dma;
        } wrong[] = {
            { cpu, dma + 1 },
            { cpu, dma + size },
            { cpu + 1, dma + 1 },
            { cpu + 8, dma + 8 },
            { cpu + size / 2, dma },
            { cpu, its },
            { foreign, its },
            { foreign, dma },
            { NULL, dma },
            { NULL, 0 },
            { host, dma },
            { cpu, DMA_MAPPING_ERROR },
            { cpu - 1, dma - 1 },
            { (void *)64, 64 },
            { cpu + (32 << 20), dma + (32 << 20) },
            { cpu + size / 2, dma + size / 2 },
        };

        assert_non_null(cpu);
        assert_non_null(foreign);
        keep_log(&lines);
        for (j = 0; j < sizeof(wrong) / sizeof(wrong[0]); j++)
            dma_pool_free(pool, wrong[j].cpu, wrong[j].dma);
        drop_log();
        if (lines.count != sizeof(wrong) / sizeof(wrong[0]))
            print_error("%zu: %s", size, lines.text);
        assert_int_equal(lines.count, sizeof(wrong) / sizeof(wrong[0]));
        assert_non_null(strstr(lines.text, "which is pool other's"));
        assert_non_null(strstr(lines.text, "has no block at"));
        assert_int_equal(pool_numbers(dev).used, 1);
        dma_pool_free(pool, cpu, dma);
        assert_ptr_equal(dma_pool_alloc(pool, GFP_KERNEL, &again), cpu);
        assert_int_equal(again, dma);
        dma_pool_free(pool, cpu, dma);
        dma_pool_destroy(pool);
        keep_log(&lines);
        dma_pool_free(pool, cpu, dma);
        assert_null(dma_pool_alloc(pool, GFP_KERNEL, &again));
        dma_pool_destroy(pool);
        drop_log();
        assert_int_equal(lines.count, 3);
        dma_pool_free(other, foreign, its);
        dma_pool_destroy(other);
        free(host);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* What a segment's end and a chunk's leave over is no block, though a whole number of blocks from its start.
 */
static void what_is_left_over_is_no_block(void **state)
{
    static const size_t shapes_left[][2] = { { 96, 4096 }, { 96, 256 }, { 96, 0 }, { 1000, 0 }, { 3000, 0 } };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(shapes_left) / sizeof(shapes_left[0]); i++) {
        size_t size = shapes_left[i][0], boundary = shapes_left[i][1], room = boundary ? boundary : PAGE_SIZE;
        struct dk_machine *machine;
        struct device *dev = pool_device(&pool_places[0], 0, &machine);
        struct dma_pool *pool = dma_pool_create("left over", dev, size, 0, boundary);
        struct log_lines lines;
        dma_addr_t dma[2];
        char *cpu = dma_pool_alloc(pool, GFP_KERNEL, &dma[0]);
        size_t offset = dma[0] % room / size * size;
        size_t last = room / size * size; /* would begin in the room, and end outside */

        keep_log(&lines);
        if (last + size > room && last < room) {
            dma_pool_free(pool, cpu - offset + last, dma[0] - offset + last);
            assert_int_equal(lines.count, 1);
        }
        drop_log();
        assert_int_equal(pool_numbers(dev).used, 1);
        dma_pool_free(pool, cpu, dma[0]);
        dma_pool_destroy(pool);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* With the checker off too, an address inside a block is none, by either call. */
static void what_is_inside_is_no_block(void **state)
{
    static const size_t inner_shapes[][2] = {
        { 64, 0 }, { 96, 256 }, { 3000, 0 }, { 200, 4096 }, { 5000, 0 }
    };

    (void)state;
    for (size_t i = 0; i < sizeof(inner_shapes) / sizeof(inner_shapes[0]); i++) {
        struct dk_machine *machine;
        struct device *dev = pool_device(&pool_places[0], 0, &machine);
        struct dma_pool *pool = dma_pool_create("inside", dev, inner_shapes[i][0], 0, inner_shapes[i][1]);
        struct log_lines lines;
        unsigned wrong = 0;
        dma_addr_t dma[40];
        char *cpu[40];

        for (unsigned n = 0; n < 40; n++) {
            cpu[n] = dma_pool_alloc(pool, GFP_KERNEL, &dma[n]);
            assert_non_null(cpu[n]);
        }
        keep_log(&lines);
        for (unsigned n = 0; n < 40; n++) {
            for (size_t at = 1; at < inner_shapes[i][0] && at < 64; at++, wrong += 2) {
                dma_pool_free(pool, cpu[n] + at, dma[n] + at);
                dk_pool_free(pool, cpu[n] + at, dma[n] + at);
            }
        }
        drop_log();
        assert_int_equal(lines.count, wrong);
        assert_int_equal(pool_numbers(dev).used, 40);
        for (unsigned n = 0; n < 40; n++)
            dma_pool_free(pool, cpu[n], dma[n]);
        dma_pool_destroy(pool);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* The last pools that were destroyed are recognised, however many there were. */
static void destroyed_pools_are_recognised_at(struct scene *scene)
{
    struct device *dev = scene->dev;
    int i;
    struct dma_pool *pools[200];
    struct log_lines lines;
    dma_addr_t dma;

    dk_check_set_sink(scene->machine, ignore_report, NULL);
    for (i = 0; i < 200; i++)
        pools[i] = dma_pool_create("grave", dev, 64, 0, 0);
    for (i = 0; i < 200; i++)
        dma_pool_destroy(pools[i]);
    keep_log(&lines);
    for (i = 200 - 64; i < 200; i++) {
        dma_pool_free(pools[i], dev, 0);
        assert_null(dma_pool_alloc(pools[i], GFP_KERNEL, &dma));
    }
    drop_log();
    assert_int_equal(lines.count, scene->depth ? 0 : 128);
    assert_int_equal(dk_check_count(scene->machine, "free-not-allocated"), scene->depth ? 64 : 0);
    assert_int_equal(dk_check_count(scene->machine, "pool-use-after-free"), scene->depth ? 64 : 0);
    scene->reports = scene->depth ? 128 : 0;
}

static void destroyed_pools_are_recognised(void **state)
{
    (void)state;
    each_scene(&pool_places[0], 1, 2, destroyed_pools_are_recognised_at);
}

/* A block that is freed twice is told when its magazine goes back, and given to the chunk once. */
static void a_double_free_is_told_late(void **state)
{
    struct dk_machine *machine;
    struct device *dev = pool_device(&pool_places[0], 0, &machine);
    struct dma_pool *pool = dma_pool_create("twice", dev, 64, 0, 0);
    struct log_lines lines;
    dma_addr_t dma;
    void *cpu = dma_pool_alloc(pool, GFP_KERNEL, &dma);

    (void)state;
    dma_pool_free(pool, cpu, dma);
    dma_pool_free(pool, cpu, dma);
    keep_log(&lines);
    dma_pool_destroy(pool);
    drop_log();
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.text, "was freed twice"));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_pool_can_be),
        cmocka_unit_test(a_block_is_coherent),
        cmocka_unit_test(zeroes),
        cmocka_unit_test(no_pool_and_no_handle),
        cmocka_unit_test(atomic_memory_runs_out),
        cmocka_unit_test(sleeping_under_a_spinlock),
        cmocka_unit_test(by_the_names_of_pci),
        cmocka_unit_test(the_listing),
        cmocka_unit_test(managed_pools),
        cmocka_unit_test(a_managed_pool_with_a_block),
        cmocka_unit_test(what_a_driver_leaves),
        cmocka_unit_test(what_a_device_leaves),
        cmocka_unit_test(no_memory_is_lost),
        cmocka_unit_test(a_child_is_refused),
        cmocka_unit_test(wrong_frees_change_nothing),
        cmocka_unit_test(what_is_left_over_is_no_block),
        cmocka_unit_test(what_is_inside_is_no_block),
        cmocka_unit_test(destroyed_pools_are_recognised),
        cmocka_unit_test(a_double_free_is_told_late),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("dma-pool", tests, NULL, NULL);
}
