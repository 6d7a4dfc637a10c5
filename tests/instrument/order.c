/* SPDX-License-Identifier: MIT */
/*
 * Barriers between the CPU's accesses to descriptors, and what a device and the CPU see without them. A
 * program of its own, built with the flags of dmakit-check. The device's side is played in the same thread,
 * so that what it sees is the same in every run.
 */
#include <dmakit/dmakit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct descriptor {
    u64 address;
    u32 length;
    u32 owner;
    u32 status;
    u32 received;
};

static struct dk_machine *machine;
static struct device *dev;
static struct descriptor *ring;
static dma_addr_t ring_dma;
static void __iomem *registers;
static unsigned failures;
static volatile u64 sink;
static char last[64];
static int last_line;

static void take(const struct dk_report *report, void *data)
{
    (void)data;
    snprintf(last, sizeof(last), "%s", report->class_name);
    last_line = report->access.stack.count ? report->access.stack.frames[0].line : 0;
}

static unsigned long counted(void)
{
    return dk_check_count(machine, NULL);
}

static void expect(int line, unsigned long before, const char *wanted, int wanted_line)
{
    if (counted() - before != (wanted != NULL) || strcmp(last, wanted ? wanted : "") ||
        (wanted && last_line != wanted_line)) {
        fprintf(stderr, "line %d: %lu reports, \"%s\" at line %d instead of \"%s\" at %d\n", line,
                counted() - before, last, last_line, wanted ? wanted : "", wanted_line);
        failures++;
    }
    last[0] = '\0';
    last_line = 0;
}
#define EXPECT(before, wanted, wanted_line) expect(__LINE__, before, wanted, wanted_line)

static u64 device_read(size_t offset, size_t size)
{
    u64 value = 0;

    dk_master_read(dev, ring_dma + offset, &value, size);
    return value;
}

static void device_write(size_t offset, u32 value)
{
    dk_master_write(dev, ring_dma + offset, &value, sizeof(value));
}

#define OFFSET(index, field) ((index) * sizeof(struct descriptor) + offsetof(struct descriptor, field))

/* ---- The CPU gives a descriptor to a device that polls ---- */

enum order { NONE, DMA_WMB, WMB, MB, RELEASE, ONCE, LOCK, DOORBELL, ORDERS };

static int store_line;

static void publish(unsigned i, enum order order)
{
    static DEFINE_SPINLOCK(lock);
    struct descriptor *descriptor = &ring[i];

    descriptor->address = 0x1000 + i;
    descriptor->length = 64;
    if (order == DMA_WMB)
        dma_wmb();
    if (order == WMB)
        wmb();
    if (order == MB)
        mb();
    if (order == LOCK) {
        spin_lock(&lock);
        spin_unlock(&lock);
    }
    if (order == RELEASE) {
        smp_store_release(&descriptor->owner, 1);
    } else if (order == ONCE) {
        store_line = __LINE__ + 1;
        WRITE_ONCE(descriptor->owner, 1);
    } else {
        store_line = __LINE__ + 1;
        descriptor->owner = 1;
    }
    if (order == DOORBELL)
        writel(0, (char *)registers + 8);
}

static void test_published(void)
{
    unsigned order;

    for (order = 0; order < ORDERS; order++) {
        unsigned long before = counted();
        bool wrong = order == NONE || order == ONCE;

        ring[order].owner = 0;
        mb();
        device_read(OFFSET(order, owner), 4);
        publish(order, (enum order)order);
        device_read(OFFSET(order, owner), 4);
        device_read(OFFSET(order, address), 8);
        device_read(OFFSET(order, length), 4);
        /* Both words could be missing; the second is not said again by the sink, but it counts. */
        if (wrong && counted() - before == 2)
            before++;
        EXPECT(before, wrong ? "descriptor-published-before-wmb" : NULL, store_line);
    }
}

/* Devices that take whole descriptors, or look at what is not theirs yet, are not told anything by that. */
static void test_prefetch(void)
{
    unsigned long before = counted();
    struct descriptor whole;
    unsigned i;

    for (i = 0; i < 3; i++) {
        ring[20].owner = 0;
        mb();
        dk_master_read(dev, ring_dma + OFFSET(20, address), &whole, sizeof(whole));
        ring[20].address = i;
        dk_master_read(dev, ring_dma + OFFSET(20, address), &whole, sizeof(whole));
        ring[20].length = i;
        dk_master_read(dev, ring_dma + OFFSET(20, address), &whole, sizeof(whole));
        dk_master_read(dev, ring_dma + OFFSET(20, address), &whole, sizeof(whole));
        dma_wmb();
        ring[20].owner = 1;
        dk_master_read(dev, ring_dma + OFFSET(20, address), &whole, sizeof(whole));
        dk_master_read(dev, ring_dma + OFFSET(20, address), &whole, sizeof(whole));
    }
    /* Word by word, in any order. */
    for (i = 0; i < 3; i++) {
        ring[21].owner = 0;
        mb();
        device_read(OFFSET(21, owner), 4);
        device_read(OFFSET(21, length), 4);
        device_read(OFFSET(21, address), 8);
        ring[21].address = i;
        ring[21].length = i;
        device_read(OFFSET(21, length), 4);
        device_read(OFFSET(21, address), 8);
        device_read(OFFSET(21, owner), 4);
        dma_wmb();
        ring[21].owner = 1;
        device_read(OFFSET(21, owner), 4);
        device_read(OFFSET(21, address), 8);
        device_read(OFFSET(21, length), 4);
    }
    EXPECT(before, NULL, 0);
}

/* ---- The CPU rings ---- */

static uint64_t model_read(void *model, uint64_t offset, unsigned width)
{
    (void)model;
    (void)offset;
    (void)width;
    return 0;
}

/* Offset 0 is the doorbell: the device looks at descriptor @value at once. */
static void model_write(void *model, uint64_t offset, unsigned width, uint64_t value)
{
    (void)model;
    (void)width;
    if (offset)
        return;
    device_read(OFFSET(value, owner), 4);
    device_read(OFFSET(value, address), 8);
}

static void test_doorbell(void)
{
    unsigned long before = counted();
    int line;

    ring[30].address = 1;
    dma_wmb();
    ring[30].owner = 1;
    line = __LINE__ + 1;
    writel_relaxed(30, registers);
    EXPECT(before, "doorbell-before-write", line);

    before = counted();
    ring[31].address = 1;
    ring[31].owner = 1;
    writel(31, registers);
    ring[32].address = 1;
    ring[32].owner = 1;
    wmb();
    writel_relaxed(32, registers);
    /* Written long ago, and ordered by something else since. */
    writel_relaxed(31, registers);
    EXPECT(before, NULL, 0);
}

/* ---- The CPU takes a descriptor from a device ---- */

enum read_order { READ_NONE, READ_DMA_RMB, READ_RMB, READ_MB, READ_ACQUIRE, READ_REGISTER, READ_ORDERS };

static int load_line;

static u64 receive(unsigned i, enum read_order order)
{
    struct descriptor *descriptor = &ring[i];
    u32 status;

    if (order == READ_ACQUIRE)
        status = smp_load_acquire(&descriptor->status);
    else
        status = READ_ONCE(descriptor->status);
    if (!status)
        return 0;
    if (order == READ_DMA_RMB)
        dma_rmb();
    if (order == READ_RMB)
        rmb();
    if (order == READ_MB)
        mb();
    if (order == READ_REGISTER)
        readl(registers);
    load_line = __LINE__ + 1;
    return descriptor->received;
}

static void test_received(void)
{
    unsigned order;

    for (order = 0; order < READ_ORDERS; order++) {
        unsigned long before = counted();
        bool wrong = order == READ_NONE;
        unsigned i = 40 + order;

        ring[i].status = 0;
        mb();
        sink = receive(i, (enum read_order)order);
        device_write(OFFSET(i, received), 77);
        device_write(OFFSET(i, status), 1);
        sink = receive(i, (enum read_order)order);
        EXPECT(before, wrong ? "descriptor-read-before-rmb" : NULL, load_line);
    }
}

/* Counters that a device keeps, read side by side: none says that another is valid. */
static void test_counters(void)
{
    unsigned long before = counted();
    u32 round;

    for (round = 1; round < 5; round++) {
        sink = READ_ONCE(ring[50].length);
        sink = READ_ONCE(ring[50].owner);
        device_write(OFFSET(50, owner), round);
        device_write(OFFSET(50, length), round);
    }
    EXPECT(before, NULL, 0);
}

/* ---- Races ---- */

/* A device that writes while the CPU polls a streaming mapping, sync after sync. */
static void test_polled_streaming(void)
{
    char *p = kzalloc(64, GFP_KERNEL), bytes[4] = { 1, 1, 1, 1 };
    dma_addr_t dma = dma_map_single(dev, p, 64, DMA_FROM_DEVICE);
    unsigned long before = counted();
    int line;

    if (dma_mapping_error(dev, dma))
        exit(2);
    dma_sync_single_for_cpu(dev, dma, 64, DMA_FROM_DEVICE);
    /* Between the sync and the load: nobody has said so yet. */
    dk_master_write(dev, dma, bytes, 4);
    sink = (unsigned char)p[0];
    EXPECT(before, NULL, 0);
    before = counted();
    rmb();
    line = __LINE__ + 1;
    sink = (unsigned char)p[1];
    EXPECT(before, "missing-sync-for-cpu", line);
    dma_unmap_single(dev, dma, 64, DMA_FROM_DEVICE);
    kfree(p);
}

int main(void)
{
    static const struct dk_register_ops ops = { model_read, model_write };
    const struct dk_machine_options options = { .size = sizeof(options), .depth = 3 };
    struct resource *resource;

    machine = dk_machine_create(NULL, &options);
    if (IS_ERR(machine))
        return 2;
    dk_machine_enter(machine);
    dk_check_set_sink(machine, take, NULL);
    dev = dk_device_add(NULL, "order");
    ring = dma_alloc_coherent(dev, PAGE_SIZE, &ring_dma, GFP_KERNEL);
    if (!ring || dk_registers_add(dev, 64, &ops, NULL))
        return 2;
    resource = platform_get_resource(to_platform_device(dev), IORESOURCE_MEM, 0);
    registers = devm_ioremap(dev, resource->start, 64);
    test_published();
    test_prefetch();
    test_doorbell();
    test_received();
    test_counters();
    test_polled_streaming();
    printf("%u failures\n", failures);
    dma_free_coherent(dev, PAGE_SIZE, ring, ring_dma);
    dk_machine_destroy(machine);
    return failures != 0;
}
