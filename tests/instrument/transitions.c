/* SPDX-License-Identifier: MIT */
/*
 * Who owns what after each call of the mapping API, and what an access to it is called. A program of its own,
 * built with the flags of dmakit-check; every step says what is to be reported.
 */
#include <dmakit/dmakit.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 256

static struct dk_machine *machine;
static struct device *coherent, *noncoherent, *bounce;
static unsigned failures;
static volatile unsigned sink;

static struct {
    char class_name[64];
    char kind[16], caller[32];
    u64 offset, length, size;
    unsigned long count;
    int line; /* of the access */
} last;

static void take(const struct dk_report *report, void *data)
{
    (void)data;
    snprintf(last.class_name, sizeof(last.class_name), "%s", report->class_name);
    snprintf(last.kind, sizeof(last.kind), "%s", report->access.kind);
    snprintf(last.caller, sizeof(last.caller), "%s",
             report->access.stack.count > 1 && report->access.stack.frames[1].function
                 ? report->access.stack.frames[1].function
                 : "");
    last.line = report->access.stack.count ? report->access.stack.frames[0].line : 0;
    last.offset = report->bytes.offset;
    last.length = report->bytes.length;
    last.size = report->mapping.size;
}

static unsigned long counted(void)
{
    return dk_check_count(machine, NULL);
}

/* The statement makes exactly one report, of this class; or none when that is NULL. Each line is a place of
 * its own, so that every first report reaches the sink. */
#define EXPECT(expected, ...)                                                                              \
    do {                                                                                                   \
        const char *wanted_ = (expected);                                                                  \
        unsigned long before_ = counted();                                                                 \
                                                                                                           \
        last.class_name[0] = '\0';                                                                         \
        __VA_ARGS__;                                                                                       \
        if (counted() - before_ != (wanted_ != NULL) || strcmp(last.class_name, wanted_ ? wanted_ : "")) { \
            fprintf(stderr, "line %d: %lu reports, \"%s\" instead of \"%s\"\n", __LINE__,                  \
                    counted() - before_, last.class_name, wanted_ ? wanted_ : "");                         \
            failures++;                                                                                    \
        }                                                                                                  \
    } while (0)
#define EXPECT_AT(at, bytes)                                                                      \
    do {                                                                                          \
        if (last.offset != (at) || last.length != (bytes)) {                                      \
            fprintf(stderr, "line %d: %llu bytes at %llu\n", __LINE__, last.length, last.offset); \
            failures++;                                                                           \
        }                                                                                         \
    } while (0)

/* The last report is of a store in line @at. */
#define EXPECT_STORE(at)                                                                                 \
    do {                                                                                                 \
        if (strcmp(last.kind, "store") || last.line != (at)) {                                           \
            fprintf(stderr, "line %d: a %s in line %d, not %d\n", __LINE__, last.kind, last.line, (at)); \
            failures++;                                                                                  \
        }                                                                                                \
    } while (0)

static const char reading[] = "cpu-read-while-device-owns";
static const char writing[] = "cpu-write-while-device-owns";

static dma_addr_t map(struct device *dev, void *cpu, size_t size, enum dma_data_direction direction)
{
    dma_addr_t dma = dma_map_single(dev, cpu, size, direction);

    if (dma_mapping_error(dev, dma)) {
        fprintf(stderr, "cannot map\n");
        exit(2);
    }
    return dma;
}

static void test_directions(void)
{
    char *p = kzalloc(SIZE, GFP_KERNEL);
    dma_addr_t dma = map(noncoherent, p, SIZE, DMA_TO_DEVICE);

    EXPECT(NULL, sink = (unsigned char)p[5]);
    EXPECT(writing, p[5] = 1);
    EXPECT_AT(5, 1);
    dma_sync_single_for_cpu(noncoherent, dma, SIZE, DMA_TO_DEVICE);
    EXPECT(NULL, p[5] = 2);
    dma_sync_single_for_device(noncoherent, dma, SIZE, DMA_TO_DEVICE);
    dma_sync_single_for_device(noncoherent, dma, SIZE, DMA_TO_DEVICE);
    EXPECT(writing, p[6] = 1);
    dma_unmap_single(noncoherent, dma, SIZE, DMA_TO_DEVICE);
    EXPECT(NULL, p[6] = 1);

    dma = map(noncoherent, p, SIZE, DMA_FROM_DEVICE);
    EXPECT(reading, sink = (unsigned char)p[7]);
    EXPECT(writing, p[7] = 1);
    EXPECT(NULL, sink = READ_ONCE(coherent->dma_coherent));
    dma_unmap_single(noncoherent, dma, SIZE, DMA_FROM_DEVICE);
    EXPECT(NULL, sink = (unsigned char)p[7]);
    kfree(p);
}

static __attribute__((noinline)) int store_one(char *p)
{
    *p = 1;
    return 0;
}

static __attribute__((noinline)) int calls_at_its_end(char *p)
{
    return store_one(p + 5);
}

/* A fence is no warning, and a call at a function's end no jump. */
static void test_flags(void)
{
    char *p = kzalloc(SIZE, GFP_KERNEL);
    dma_addr_t dma = map(noncoherent, p, SIZE, DMA_TO_DEVICE);

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    EXPECT(writing, calls_at_its_end(p));
    if (strcmp(last.caller, "calls_at_its_end")) {
        fprintf(stderr, "called from %s\n", last.caller);
        failures++;
    }
    dma_unmap_single(noncoherent, dma, SIZE, DMA_TO_DEVICE);
    kfree(p);
}

/* Bytes in front of the mapping and behind it are nobody's but the CPU's. */
static void test_edges(void)
{
    char *p = kzalloc(SIZE, GFP_KERNEL);
    dma_addr_t dma = map(coherent, p + 65, 67, DMA_BIDIRECTIONAL);

    EXPECT(NULL, p[64] = 1);
    EXPECT(NULL, p[132] = 1);
    EXPECT(writing, p[65] = 1);
    EXPECT(writing, p[131] = 1);
    EXPECT_AT(66, 1);
    EXPECT(writing, memset(p + 60, 0, 20));
    EXPECT_AT(0, 15);
    EXPECT(writing, memset(p, 0, SIZE));
    EXPECT_AT(0, 67);
    dma_unmap_single(coherent, dma, 67, DMA_BIDIRECTIONAL);
    EXPECT(NULL, memset(p, 0, SIZE));
    kfree(p);
}

static void test_parts(void)
{
    char *p = kzalloc(SIZE, GFP_KERNEL), bytes[SIZE] = "";
    dma_addr_t dma = map(noncoherent, p, SIZE, DMA_FROM_DEVICE);

    dk_master_write(noncoherent, dma, bytes, SIZE);
    EXPECT("stale-read", sink = (unsigned char)p[10]);
    dma_sync_single_range_for_cpu(noncoherent, dma, 64, 64, DMA_FROM_DEVICE);
    EXPECT(NULL, sink = (unsigned char)p[64] + (unsigned char)p[127]);
    EXPECT("sync-wrong-subrange", sink = (unsigned char)p[63]);
    EXPECT("sync-wrong-subrange", sink = (unsigned char)p[128]);
    dma_sync_single_range_for_device(noncoherent, dma, 64, 64, DMA_FROM_DEVICE);
    EXPECT("cpu-read-while-device-owns", sink = (unsigned char)p[64]);
    EXPECT("stale-read", sink = (unsigned char)p[63]);
    dma_unmap_single(noncoherent, dma, SIZE, DMA_FROM_DEVICE);
    EXPECT(NULL, sink = (unsigned char)p[63]);

    /* Where the CPU sees what the device writes, nothing is stale; where a copy is what it reaches, all is.
     */
    dma = map(coherent, p, SIZE, DMA_FROM_DEVICE);
    dk_master_write(coherent, dma + 8, bytes, 8);
    EXPECT(reading, sink = (unsigned char)p[8]);
    dma_unmap_single(coherent, dma, SIZE, DMA_FROM_DEVICE);
    dma = map(bounce, p, SIZE, DMA_FROM_DEVICE);
    dk_master_write(bounce, dma + 8, bytes, 8);
    EXPECT("stale-read", sink = (unsigned char)p[8]);
    EXPECT(reading, sink = (unsigned char)p[7]);
    dma_unmap_single(bounce, dma, SIZE, DMA_FROM_DEVICE);
    EXPECT(NULL, sink = (unsigned char)p[8]);
    kfree(p);
}

/* The device writes what was given to the CPU. */
static void test_behind_its_back(void)
{
    char *p = kzalloc(SIZE, GFP_KERNEL), bytes[SIZE] = "";
    dma_addr_t dma = map(noncoherent, p, SIZE, DMA_FROM_DEVICE);

    dma_sync_single_for_cpu(noncoherent, dma, SIZE, DMA_FROM_DEVICE);
    dk_master_write(noncoherent, dma + 32, bytes, 16);
    rmb();
    EXPECT(NULL, sink = (unsigned char)p[31] + (unsigned char)p[48]);
    EXPECT("missing-sync-for-cpu", sink = (unsigned char)p[40]);
    EXPECT(NULL, sink = READ_ONCE(p[40]));
    dma_sync_single_for_cpu(noncoherent, dma, SIZE, DMA_FROM_DEVICE);
    EXPECT(NULL, sink = (unsigned char)p[40]);
    dma_unmap_single(noncoherent, dma, SIZE, DMA_FROM_DEVICE);
    kfree(p);
}

/* One page for two devices: legal, and theirs until both are done. */
static void test_shared(void)
{
    char *p = kzalloc(SIZE, GFP_KERNEL);
    dma_addr_t one = map(noncoherent, p, SIZE, DMA_TO_DEVICE), other = map(coherent, p, 128, DMA_TO_DEVICE);

    dma_unmap_single(noncoherent, one, SIZE, DMA_TO_DEVICE);
    EXPECT(NULL, p[128] = 1);
    EXPECT(writing, p[127] = 1);
    dma_sync_single_for_cpu(coherent, other, 128, DMA_TO_DEVICE);
    EXPECT(NULL, p[127] = 1);
    one = map(noncoherent, p, SIZE, DMA_TO_DEVICE);
    EXPECT(writing, p[1] = 1);
    dma_unmap_single(noncoherent, one, SIZE, DMA_TO_DEVICE);
    EXPECT(NULL, p[1] = 1);
    dma_unmap_single(coherent, other, 128, DMA_TO_DEVICE);
    EXPECT(NULL, p[1] = 1);
    kfree(p);
}

static void test_without_sync(void)
{
    char *p = kzalloc(SIZE, GFP_KERNEL);
    dma_addr_t dma = dma_map_single_attrs(noncoherent, p, SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);

    dma_mapping_error(noncoherent, dma);
    EXPECT(NULL, p[3] = 1);
    dma_sync_single_for_device(noncoherent, dma, SIZE, DMA_FROM_DEVICE);
    EXPECT(writing, p[3] = 1);
    dma_unmap_single_attrs(noncoherent, dma, SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    kfree(p);
}

static void test_lists(void)
{
    struct page *pages[3];
    struct scatterlist list[3];
    unsigned i;

    sg_init_table(list, 3);
    for (i = 0; i < 3; i++) {
        pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
        sg_set_page(&list[i], pages[i], PAGE_SIZE, 0);
    }
    if (dma_map_sg(noncoherent, list, 3, DMA_FROM_DEVICE) <= 0)
        exit(2);
    EXPECT(reading, sink = ((unsigned char *)page_address(pages[0]))[40]);
    EXPECT(reading, sink = ((unsigned char *)page_address(pages[1]))[41]);
    EXPECT(reading, sink = ((unsigned char *)page_address(pages[2]))[42]);
    dma_sync_sg_for_cpu(noncoherent, list, 3, DMA_FROM_DEVICE);
    EXPECT(NULL, sink = ((unsigned char *)page_address(pages[1]))[43]);
    EXPECT(NULL, sink = ((unsigned char *)page_address(pages[2]))[43]);
    dma_sync_sg_for_device(noncoherent, list, 3, DMA_FROM_DEVICE);
    EXPECT(writing, ((unsigned char *)page_address(pages[2]))[44] = 1);
    dma_unmap_sg(noncoherent, list, 3, DMA_FROM_DEVICE);
    EXPECT(NULL, ((unsigned char *)page_address(pages[2]))[44] = 1);
    for (i = 0; i < 3; i++)
        __free_page(pages[i]);
}

/* The same memory at another address of the kernel's. */
static void test_aliases(void)
{
    struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);
    char *alias = vmap(&page, 1, 0, PAGE_KERNEL);
    dma_addr_t dma = dma_map_page(noncoherent, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);

    dma_mapping_error(noncoherent, dma);
    EXPECT(writing, alias[100] = 1);
    EXPECT_AT(100, 1);
    EXPECT(reading, sink = (unsigned char)alias[101]);
    dma_sync_single_for_cpu(noncoherent, dma, PAGE_SIZE, DMA_BIDIRECTIONAL);
    EXPECT(NULL, alias[100] = 1);
    dma_unmap_page(noncoherent, dma, PAGE_SIZE, DMA_BIDIRECTIONAL);
    EXPECT(NULL, alias[100] = 1);
    vunmap(alias);
    __free_page(page);
}

static void test_allocations(void)
{
    dma_addr_t dma;
    char *p = dma_alloc_noncoherent(noncoherent, 2 * PAGE_SIZE, &dma, DMA_BIDIRECTIONAL, GFP_KERNEL);

    EXPECT(NULL, p[PAGE_SIZE + 1] = 1);
    dma_sync_single_for_device(noncoherent, dma, 2 * PAGE_SIZE, DMA_BIDIRECTIONAL);
    EXPECT(writing, p[PAGE_SIZE + 1] = 1);
    EXPECT(reading, sink = (unsigned char)p[PAGE_SIZE + 2]);
    dma_sync_single_for_cpu(noncoherent, dma, 2 * PAGE_SIZE, DMA_BIDIRECTIONAL);
    EXPECT(NULL, p[PAGE_SIZE + 1] = 1);
    dma_free_noncoherent(noncoherent, 2 * PAGE_SIZE, p, dma, DMA_BIDIRECTIONAL);

    /* Coherent memory belongs to both. */
    p = dma_alloc_coherent(noncoherent, 3 * PAGE_SIZE, &dma, GFP_KERNEL);
    dk_master_write(noncoherent, dma, &failures, 4);
    EXPECT(NULL, p[PAGE_SIZE + 1] = p[0]);
    dma_free_coherent(noncoherent, 3 * PAGE_SIZE, p, dma);
}

/* Coherent memory, mapped for another device as a buffer that is shared with it: it stays both's. */
static void test_shared_coherent(void)
{
    size_t sizes[] = { PAGE_SIZE, 40 * PAGE_SIZE };
    unsigned i;

    for (i = 0; i < 2; i++) {
        struct sg_table table;
        dma_addr_t dma;
        char *p = dma_alloc_coherent(coherent, sizes[i], &dma, GFP_KERNEL);

        if (!p || dma_get_sgtable(coherent, &table, p, dma, sizes[i]) ||
            dma_map_sgtable(coherent, &table, DMA_BIDIRECTIONAL, 0))
            exit(2);
        EXPECT(NULL, p[70] = 1);
        EXPECT(NULL, sink = (unsigned char)p[71]);
        dma_sync_sgtable_for_device(coherent, &table, DMA_BIDIRECTIONAL);
        EXPECT(NULL, p[72] = 1);
        dma_unmap_sgtable(coherent, &table, DMA_BIDIRECTIONAL, 0);
        sg_free_table(&table);
        EXPECT(NULL, p[73] = 1);
        dma_free_coherent(coherent, sizes[i], p, dma);
    }
}

/* ---- Threads ---- */

#define ROUNDS 20000
#define THREADS 2

struct worker {
    struct device *dev;
    struct dk_machine *machine;
    unsigned long wrong; /* accesses that had to be reported */
};

/* A random mixture of right and wrong accesses to a thread's own buffers. */
static void *work(void *data)
{
    struct worker *worker = data;
    unsigned seed = (unsigned)(uintptr_t)worker * 7 + 1, i,
             rounds = getenv("DMAKIT_TEST_FAST") ? 2000 : ROUNDS;
    unsigned char *p;

    dk_machine_enter(worker->machine);
    p = kzalloc(SIZE, GFP_KERNEL);
    for (i = 0; i < rounds; i++) {
        dma_addr_t dma = map(worker->dev, p, SIZE, DMA_FROM_DEVICE);
        unsigned at;

        seed = seed * 1103515245u + 12345u;
        at = (seed >> 16) % SIZE;
        if (seed & 0x40000000) {
            p[at] = (unsigned char)i;
            worker->wrong++;
        }
        dma_sync_single_range_for_cpu(worker->dev, dma, at, 1, DMA_FROM_DEVICE);
        sink = p[at];
        if (seed & 0x20000000) {
            sink = p[(at + 1) % SIZE];
            worker->wrong++;
        }
        dma_unmap_single(worker->dev, dma, SIZE, DMA_FROM_DEVICE);
        p[at] = 2;
    }
    kfree(p);
    return NULL;
}

/* Two machines, two threads on each: each machine counts what its own threads did, no more and no less. */
static void test_threads(void)
{
    const struct dk_machine_options options = { .size = sizeof(options), .depth = 3 };
    struct worker workers[2 * THREADS];
    struct dk_machine *machines[2];
    pthread_t threads[2 * THREADS];
    unsigned i;

    for (i = 0; i < 2; i++) {
        machines[i] = dk_machine_create(NULL, &options);
        if (IS_ERR(machines[i]))
            exit(2);
        dk_check_set_sink(machines[i], take, NULL);
    }
    for (i = 0; i < 2 * THREADS; i++) {
        char name[16];

        snprintf(name, sizeof(name), "worker%u", i);
        dk_machine_enter(machines[i / THREADS]);
        workers[i] = (struct worker){ dk_device_add(NULL, name), machines[i / THREADS], 0 };
        if (pthread_create(&threads[i], NULL, work, &workers[i]))
            exit(2);
    }
    for (i = 0; i < 2 * THREADS; i++)
        pthread_join(threads[i], NULL);
    for (i = 0; i < 2; i++) {
        unsigned long wanted = workers[2 * i].wrong + workers[2 * i + 1].wrong;
        unsigned long got = dk_check_count(machines[i], NULL);

        if (got != wanted) {
            fprintf(stderr, "machine %u: %lu reports of %lu wrong accesses\n", i, got, wanted);
            failures++;
        }
        dk_machine_destroy(machines[i]);
    }
    dk_machine_enter(machine);
}

/* ---- Beside mappings, and in pools ---- */

/* A store into the rest of a mapping's line is a mistake when the device writes to that line; then it is
 * named, wherever it was seen. */
static void test_beside(void)
{
    char *p = kzalloc(SIZE, GFP_KERNEL), bytes[100];
    dma_addr_t dma;
    int line;

    /* What is bounced shares no lines. */
    if (dma_set_mask(noncoherent, DMA_BIT_MASK(64)))
        exit(2);
    dma = map(noncoherent, p + 32, 100, DMA_FROM_DEVICE);
    memset(bytes, 7, sizeof(bytes));
    EXPECT(NULL, p[8] = 1);
    EXPECT(NULL, p[140] = 1);
    EXPECT(NULL, dma_unmap_single(noncoherent, dma, 100, DMA_FROM_DEVICE));
    dma = map(noncoherent, p + 32, 100, DMA_FROM_DEVICE);
    line = __LINE__ + 1;
    EXPECT(NULL, p[8] = 2);
    EXPECT(NULL, sink = (unsigned char)p[8]);
    dk_master_write(noncoherent, dma, bytes, 100);
    EXPECT("shared-cache-line", dma_unmap_single(noncoherent, dma, 100, DMA_FROM_DEVICE));
    EXPECT_STORE(line);
    EXPECT(NULL, memset(p, 0, SIZE));

    /* The rest of the last line is another mapping's for a while. */
    dma = map(noncoherent, p, 100, DMA_FROM_DEVICE);
    dma_unmap_single(noncoherent, map(noncoherent, p + 112, 8, DMA_TO_DEVICE), 8, DMA_TO_DEVICE);
    line = __LINE__ + 1;
    EXPECT(NULL, p[104] = 3);
    dk_master_write(noncoherent, dma, bytes, 100);
    EXPECT("shared-cache-line", dma_unmap_single(noncoherent, dma, 100, DMA_FROM_DEVICE));
    EXPECT_STORE(line);

    /* Lines of its own; and a device that snoops. */
    dma = map(noncoherent, p, 128, DMA_FROM_DEVICE);
    EXPECT(NULL, p[128] = 1);
    dk_master_write(noncoherent, dma, bytes, 100);
    EXPECT(NULL, dma_unmap_single(noncoherent, dma, 128, DMA_FROM_DEVICE));
    dma = map(coherent, p + 32, 100, DMA_FROM_DEVICE);
    EXPECT(NULL, p[8] = 4);
    dk_master_write(coherent, dma, bytes, 100);
    EXPECT(NULL, dma_unmap_single(coherent, dma, 100, DMA_FROM_DEVICE));
    kfree(p);
}

static void test_pool(struct device *dev)
{
    struct dma_pool *pool = dma_pool_create("pool", dev, 48, 16, 0);
    dma_addr_t dma, second_dma;
    char *block = dma_pool_alloc(pool, GFP_KERNEL, &dma);
    char *second = dma_pool_alloc(pool, GFP_KERNEL, &second_dma);
    unsigned i;

    EXPECT(NULL, memset(block, 1, 48));
    EXPECT(NULL, memset(second, 1, 48));
    EXPECT("pool-overrun", block[48] = 1);
    EXPECT_STORE(__LINE__ - 1);
    EXPECT_AT(48, 1);
    EXPECT("pool-overrun", memset(second - 4, 0, 52));
    EXPECT_STORE(__LINE__ - 1);
    EXPECT_AT(0, 4);
    EXPECT(NULL, sink = (unsigned char)block[48]);
    /* What was told is not told again. */
    EXPECT(NULL, dma_pool_free(pool, block, dma));
    EXPECT("pool-use-after-free", WRITE_ONCE(block[5], 2));
    EXPECT_STORE(__LINE__ - 1);
    EXPECT_AT(5, 1);
    EXPECT(NULL, sink = (unsigned char)block[5]);
    for (i = 0; i < 300; i++) {
        EXPECT(NULL, block = dma_pool_alloc(pool, GFP_KERNEL, &dma));
        EXPECT(NULL, memset(block, 0, 48));
        EXPECT(NULL, dma_pool_free(pool, block, dma));
    }
    EXPECT(NULL, dma_pool_free(pool, second, second_dma));
    EXPECT(NULL, dma_pool_destroy(pool));
}

int main(void)
{
    const struct dk_machine_options options = { .size = sizeof(options), .depth = 3 };

    machine = dk_machine_create(NULL, &options);
    if (IS_ERR(machine))
        return 2;
    dk_machine_enter(machine);
    dk_check_set_sink(machine, take, NULL);
    coherent = dk_device_add(dk_device_find(machine, "coherent"), "c");
    noncoherent = dk_device_add(dk_device_find(machine, "noncoherent"), "n");
    bounce = dk_device_add(dk_device_find(machine, "bounce"), "b");
    /* Memory above 4 GiB is not to be bounced. */
    if (dma_set_mask(coherent, DMA_BIT_MASK(64)))
        return 2;
    test_directions();
    test_flags();
    test_edges();
    test_parts();
    test_behind_its_back();
    test_shared();
    test_without_sync();
    test_lists();
    test_aliases();
    test_allocations();
    test_shared_coherent();
    test_pool(coherent);
    test_pool(noncoherent);
    test_threads();
    test_beside();
    printf("%u failures\n", failures);
    dk_machine_destroy(machine);
    return failures != 0;
}
