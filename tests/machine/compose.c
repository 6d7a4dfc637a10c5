/* SPDX-License-Identifier: MIT */
#include "compose.h"

#include "base/alloc.h"
#include <dmakit/barrier.h>
#include <dmakit/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct dk_window dma_windows[] = { { 0xc0000000, 0, 0x2000000 } };
static struct dk_window two_windows[] = {
    { 0x0, 0x0, 0x1000000 },
    { 0x1000000, SECOND_RAM, 0x1000000 },
    { 0x4000000, 0x3f00000, 0x200000 },
};
static struct dk_window pcie_windows[] = { { 0x80000000, 0, RAM_SIZE } };
static struct dk_window leaf_windows[] = { { 0x40000000, 0, RAM_SIZE } };

static struct dk_node nodes[NODES] = {
    [NODE_ROOT] = { .path = "/", .name = "", .parent = -1, .enabled = true, .iommu = -1 },
    [NODE_SOC] = { .path = "/soc", .name = "soc", .enabled = true, .iommu = -1 },
    [NODE_DMA] = { .path = "/soc/dma@1000",
                   .name = "dma@1000",
                   .parent = NODE_SOC,
                   .enabled = true,
                   .iommu = -1,
                   .windows = dma_windows,
                   .window_count = 1,
                   .below_windows = dma_windows,
                   .below_window_count = 1 },
    [NODE_TWO] = { .path = "/soc/two@2000",
                   .name = "two@2000",
                   .parent = NODE_SOC,
                   .enabled = true,
                   .iommu = -1,
                   .windows = two_windows,
                   .window_count = 3,
                   .below_windows = two_windows,
                   .below_window_count = 3 },
    [NODE_SNOOP] = { .path = "/soc/snoop@3000",
                     .name = "snoop@3000",
                     .parent = NODE_SOC,
                     .enabled = true,
                     .coherent = true,
                     .iommu = -1 },
    [NODE_OFF] = { .path = "/soc/off@4000", .name = "off@4000", .parent = NODE_SOC, .iommu = -1 },
    [NODE_PCIE] = { .path = "/pcie",
                    .name = "pcie",
                    .enabled = true,
                    .iommu = -1,
                    .pci_host = true,
                    .below_windows = pcie_windows,
                    .below_window_count = 1 },
    [NODE_BUS] = { .path = "/bus",
                   .name = "bus",
                   .enabled = true,
                   .iommu = -1,
                   .below_windows = leaf_windows,
                   .below_window_count = 1 },
    [NODE_LEAF] = { .path = "/bus/leaf",
                    .name = "leaf",
                    .parent = NODE_BUS,
                    .enabled = true,
                    .iommu = -1,
                    .windows = leaf_windows,
                    .window_count = 1,
                    .below_windows = leaf_windows,
                    .below_window_count = 1 },
};
static struct dk_range ram[] = { { 0, RAM_SIZE }, { SECOND_RAM, RAM_SIZE } };
static struct dk_alias aliases[] = { { "bus", NODE_SOC }, { "dma0", NODE_DMA }, { "off0", NODE_OFF } };
static unsigned by_path[] = { NODE_ROOT, NODE_BUS, NODE_LEAF,  NODE_PCIE, NODE_SOC,
                              NODE_DMA,  NODE_OFF, NODE_SNOOP, NODE_TWO };
static const char *no_compatible[] = { NULL };

static const struct dk_board board = {
    .model = "by hand",
    .compatible = no_compatible,
    .memory = ram,
    .memory_count = 2,
    .nodes = nodes,
    .node_count = NODES,
    .by_path = by_path,
    .aliases = aliases,
    .alias_count = 3,
    .default_bus = NODE_SOC,
    .line = 64,
    .alias = { ALIAS_BASE, ALIAS_TARGET, ALIAS_SIZE },
    .arguments = "",
};

static void hook_finding(void *data, const struct dk_finding *finding)
{
    struct composed *composed = data;

    snprintf(composed->finding_class, sizeof(composed->finding_class), "%s", finding->class_name);
    snprintf(composed->finding_call, sizeof(composed->finding_call), "%s", finding->call);
    __atomic_add_fetch(&composed->findings, 1, __ATOMIC_RELEASE);
}

static int hook_added(void *data, struct device *dev)
{
    struct composed *composed = data;

    (void)dev;
    composed->added++;
    return composed->add_error;
}

static void hook_removed(void *data, struct device *dev)
{
    struct composed *composed = data;
    size_t used = strlen(composed->removed_paths);

    snprintf(composed->removed_paths + used, sizeof(composed->removed_paths) - used, " %s",
             dk_device_path(dev));
    composed->removed++;
}

static void hook_unbound(void *data, struct device *dev)
{
    (void)dev;
    ((struct composed *)data)->unbound++;
}

static u64 hook_access(void *data, const struct dk_master_move *move)
{
    struct composed *composed = data;

    /* Bus masters may be in several threads. */
    __atomic_fetch_add(&composed->accesses, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&composed->access_dma, move->dma, __ATOMIC_RELAXED);
    __atomic_store_n(&composed->access_phys, move->phys, __ATOMIC_RELAXED);
    __atomic_store_n(&composed->access_length, move->length, __ATOMIC_RELAXED);
    __atomic_store_n(&composed->access_write, move->from != NULL, __ATOMIC_RELAXED);
    return 0;
}

static void hook_fault(void *data, struct device *dev, const struct dk_master_fault *fault)
{
    struct composed *composed = data;

    (void)dev;
    __atomic_fetch_add(&composed->faults, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&composed->fault_dma, fault->dma, __ATOMIC_RELAXED);
    __atomic_store_n(&composed->fault_length, fault->length, __ATOMIC_RELAXED);
    __atomic_store_n(&composed->fault_write, fault->write, __ATOMIC_RELAXED);
    __atomic_store_n(&composed->fault_kind, fault->kind, __ATOMIC_RELAXED);
}

static void hook_stale(void *data, struct device *dev, dma_addr_t dma, u64 length, bool write)
{
    struct composed *composed = data;

    (void)dev;
    composed->stale++;
    composed->stale_dma = dma;
    composed->stale_length = length;
    composed->stale_write = write;
}

static int bring_up(struct dk_machine *machine, const struct shape *shape)
{
    const struct dk_memory_range ranges[] = { { 0, RAM_SIZE }, { SECOND_RAM, RAM_SIZE } };
    struct dk_memory *memory = dk_memory_create(&(struct dk_memory_config){
        .ranges = ranges,
        .range_count = 2,
        .two_views = !shape->coherent,
        .line = shape->line ? shape->line : 64,
        .zone_dma32_end = 1ull << 32,
        .hooks = &machine->hooks,
        .machine = machine,
    });
    int error;

    if (IS_ERR(memory))
        return (int)PTR_ERR(memory);
    machine->memory = memory;
    if (!shape->coherent) {
        machine->cache = dk_cache_create(memory, shape->seed);
        if (!machine->cache)
            return -ENOMEM;
    }
    error = dk_registers_start(machine);
    if (!error)
        error = dk_interrupts_start(machine);
    if (!error)
        error = dk_devices_start(machine);
    return error;
}

struct composed *compose(const struct shape *shape)
{
    struct composed *composed = calloc(1, sizeof(*composed));
    struct dk_machine *machine = &composed->machine;

    log_lines();
    machine->board = &board;
    machine->seed = shape->seed;
    machine->hooks = (struct dk_hooks){
        .data = composed,
        .finding = hook_finding,
        .device_added = hook_added,
        .device_removed = hook_removed,
        .driver_unbound = hook_unbound,
        .master_access = hook_access,
        .master_fault = hook_fault,
        .master_stale = hook_stale,
    };
    INIT_LIST_HEAD(&machine->link);
    pthread_mutex_init(&machine->devices_lock, NULL);
    if (bring_up(machine, shape)) {
        dispose(composed);
        return NULL;
    }
    dk_machine_enter(machine);
    return composed;
}

void dispose(struct composed *composed)
{
    struct dk_machine *machine;

    if (!composed)
        return;
    machine = &composed->machine;
    dk_devices_finish(machine);
    dk_interrupts_finish(machine);
    dk_registers_finish(machine);
    dk_cache_destroy(machine->cache);
    dk_machine_enter(NULL);
    dk_memory_destroy(machine->memory);
    pthread_mutex_destroy(&machine->devices_lock);
    free(composed);
}

static unsigned lines;
static char last_line[512];
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void count_line(int level, const char *line, void *data)
{
    (void)level;
    (void)data;
    pthread_mutex_lock(&log_lock);
    lines++;
    snprintf(last_line, sizeof(last_line), "%s", line);
    pthread_mutex_unlock(&log_lock);
}

unsigned log_lines(void)
{
    static bool silent;
    unsigned count;

    if (!silent)
        dk_log_set_sink(count_line, NULL);
    silent = true;
    pthread_mutex_lock(&log_lock);
    count = lines;
    lines = 0;
    pthread_mutex_unlock(&log_lock);
    return count;
}

const char *log_last(void)
{
    return last_line;
}

u64 test_seed(u64 otherwise)
{
    const char *text = getenv("DMAKIT_TEST_SEED");
    u64 seed = text ? strtoull(text, NULL, 0) : otherwise;

    printf("seed %llu (DMAKIT_TEST_SEED)\n", seed);
    return seed;
}

u64 test_random(u64 *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

unsigned long test_rounds(unsigned long count)
{
#ifdef DK_THREAD_CHECKED
    return count / 20;
#else
    return getenv("DMAKIT_TEST_FAST") ? count / 20 : count;
#endif
}

unsigned wait_for(const unsigned *word, unsigned value)
{
    unsigned tries;

    for (tries = 0; tries < 100000 && __atomic_load_n(word, __ATOMIC_ACQUIRE) != value; tries++)
        nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}
