/* SPDX-License-Identifier: MIT */
/*
 * Registers: widths, bounds, and what happens to accesses that lead nowhere.
 */
#include "compose.h"

#include <dmakit/platform.h>
#include <dmakit/registers.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct model {
    uint64_t offset, value;
    unsigned width;
    unsigned reads, writes;
};

static uint64_t model_read(void *data, uint64_t offset, unsigned width)
{
    struct model *model = data;

    __atomic_store_n(&model->offset, offset, __ATOMIC_RELAXED);
    __atomic_store_n(&model->width, width, __ATOMIC_RELAXED);
    __atomic_add_fetch(&model->reads, 1, __ATOMIC_RELAXED);
    return 0x8877665544332211ull;
}

static void model_write(void *data, uint64_t offset, unsigned width, uint64_t value)
{
    struct model *model = data;

    model->offset = offset;
    model->width = width;
    model->value = value;
    model->writes++;
}

static const struct dk_register_ops ops = { model_read, model_write };
static const struct dk_register_ops no_ops = { NULL, NULL };

static void test_adding_and_finding(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct platform_device *pdev = to_platform_device(dk_device_find(&c->machine, "dma0"));
    struct platform_device *other = to_platform_device(dk_device_find(&c->machine, "bus"));
    struct resource *first, *second, *others;
    struct model model = { 0 };

    (void)state;
    assert_null(platform_get_resource(pdev, IORESOURCE_MEM, 0));
    assert_int_equal(dk_registers_add(NULL, 16, &ops, &model), -EINVAL);
    assert_int_equal(dk_registers_add(&pdev->dev, 0, &ops, &model), -EINVAL);
    assert_int_equal(dk_registers_add(&pdev->dev, 16, NULL, &model), -EINVAL);
    assert_int_equal(dk_registers_add(&pdev->dev, DK_SLOT_SIZE / 2 + 1, &ops, &model), -EINVAL);
    assert_int_equal(dk_registers_add(&pdev->dev, 0x10000, &ops, &model), 0);
    assert_int_equal(dk_registers_add(&other->dev, 16, &ops, &model), 0);
    assert_int_equal(dk_registers_add(&pdev->dev, 20, &ops, &model), 0);
    first = platform_get_resource(pdev, IORESOURCE_MEM, 0);
    second = platform_get_resource(pdev, IORESOURCE_MEM, 1);
    others = platform_get_resource(other, IORESOURCE_MEM, 0);
    assert_non_null(first);
    assert_non_null(second);
    assert_null(platform_get_resource(pdev, IORESOURCE_MEM, 2));
    assert_null(platform_get_resource(pdev, IORESOURCE_IRQ, 0));
    assert_int_equal(resource_size(first), 0x10000);
    assert_int_equal(resource_size(second), 20);
    assert_true(first->start > dk_memory_last(c->machine.memory));
    assert_int_equal(first->start % PAGE_SIZE, 0);
    assert_true(others->start > first->end && second->start > others->end);
    assert_string_equal(first->name, "/soc/dma@1000");
    assert_int_equal(dk_registers_add(&pdev->dev, DK_SLOT_SIZE / 2, &ops, &model), 0);
    assert_int_equal(dk_registers_add(&pdev->dev, DK_SLOT_SIZE / 2, &ops, &model), -ENOSPC);
    dk_device_remove(&pdev->dev);
    assert_int_equal(dk_registers_add(&pdev->dev, 16, &ops, &model), -ENODEV);
    dispose(c);
}

/* The last cell of the slot stays free, so that an access past the last region is noticed as any other. */
static void test_the_last_cells(void **state)
{
    const uint64_t cell = 0x10000, cells = DK_SLOT_SIZE / cell;
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *dev = dk_device_find(&c->machine, "dma0");
    struct model model = { 0 };

    (void)state;
    assert_int_equal(dk_registers_add(dev, DK_SLOT_SIZE / 2, &ops, &model), 0);
    assert_int_equal(dk_registers_add(dev, (cells / 2 - 1) * cell, &ops, &model), -ENOSPC);
    assert_int_equal(dk_registers_add(dev, (cells / 2 - 2) * cell, &ops, &model), 0);
    assert_int_equal(dk_registers_add(dev, 1, &ops, &model), -ENOSPC);
    dispose(c);
}

struct peer {
    struct device *dev;
    dma_addr_t dma;
    int error;
};

static void *write_once(void *data)
{
    struct peer *peer = data;

    peer->error = dk_master_write(peer->dev, peer->dma, "x", 1);
    return NULL;
}

/* Another device's accesses by DMA are over when they have returned: removal has nothing to wait for. */
static void test_removal_after_a_peers_access(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *dev = dk_device_find(&c->machine, "dma0");
    struct peer peer = { .dev = dk_device_find(&c->machine, "bus"), .error = -1 };
    struct model model = { 0 };
    pthread_t thread;

    (void)state;
    assert_int_equal(dk_registers_add(dev, 16, &ops, &model), 0);
    peer.dma = platform_get_resource(to_platform_device(dev), IORESOURCE_MEM, 0)->start;
    assert_int_equal(pthread_create(&thread, NULL, write_once, &peer), 0);
    pthread_join(thread, NULL);
    assert_int_equal(peer.error, 0);
    assert_int_equal(model.writes, 1);
    dk_device_remove(dev);
    dispose(c);
}

static void test_widths(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct platform_device *pdev = to_platform_device(dk_device_find(&c->machine, "dma0"));
    struct model m = { 0 };
    char *io;
    char bytes[3];

    (void)state;
    assert_int_equal(dk_registers_add(&pdev->dev, 0x20, &ops, &m), 0);
    io = devm_platform_ioremap_resource(pdev, 0);
    assert_false(IS_ERR(io));
    assert_int_equal(readb(io + 3), 0x11);
    assert_int_equal(m.offset * 16 + m.width, 0x31);
    assert_int_equal(readw_relaxed(io + 2), 0x2211);
    assert_int_equal(m.offset * 16 + m.width, 0x22);
    assert_int_equal(ioread32(io + 0x1c), 0x44332211);
    assert_int_equal(m.offset * 16 + m.width, 0x1c4);
    assert_int_equal(readq(io + 0x18), 0x8877665544332211ull);
    assert_int_equal(m.offset * 16 + m.width, 0x188);
    writeb(0xab, io + 1);
    assert_int_equal(m.value, 0xab);
    writew(0xabcd, io + 2);
    assert_int_equal(m.value, 0xabcd);
    iowrite32(0xdeadbeef, io + 4);
    assert_int_equal(m.value, 0xdeadbeef);
    assert_int_equal(m.width, 4);
    writeq_relaxed(~1ull, io + 8);
    assert_int_equal(m.value, ~1ull);
    assert_int_equal(m.offset, 8);
    assert_int_equal(m.writes, 4);
    dk_io_write(io, 1, 0x1234);
    assert_int_equal(m.value, 0x34);
    memcpy_fromio(bytes, io + 1, 3);
    assert_memory_equal(bytes, "\x11\x11\x11", 3);
    memcpy_toio(io + 5, "xyz", 3);
    assert_int_equal(m.offset, 7);
    assert_int_equal(m.value, 'z');
    memset_io(io + 8, 5, 2);
    assert_int_equal(m.offset, 9);
    assert_int_equal(m.value, 5);
    dispose(c);
}

static void test_accesses_that_lead_nowhere(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct platform_device *pdev = to_platform_device(dk_device_find(&c->machine, "dma0"));
    struct resource *resource;
    struct model m = { 0 };
    char *io, *again, host[8];

    (void)state;
    assert_int_equal(dk_registers_add(&pdev->dev, 20, &ops, &m), 0);
    resource = platform_get_resource(pdev, IORESOURCE_MEM, 0);
    log_lines();
    assert_null(ioremap(resource->start - 1, 4));
    assert_null(ioremap(resource->start + 20, 4));
    assert_null(ioremap(resource->start, 0));
    assert_null(ioremap(resource->start, PAGE_SIZE + 1));
    assert_null(ioremap(0x1000, 4));
    assert_int_equal(log_lines(), 5);
    io = ioremap(resource->start, PAGE_SIZE);
    assert_non_null(io);
    assert_int_equal(readl(io + 16), 0x44332211);
    assert_int_equal(log_lines(), 0);
    assert_int_equal(readl(io + 20), 0xffffffff);
    assert_non_null(strstr(log_last(), "end"));
    assert_int_equal(readq(io + 16), ~0ull);
    assert_int_equal(readw(io + 1), 0xffff);
    assert_non_null(strstr(log_last(), "aligned"));
    writel(1, io + 20);
    writel(1, io + 2);
    assert_int_equal(log_lines(), 5);
    assert_int_equal(readb(io + 0x10000), 0xff);
    assert_int_equal(readb(host), 0xff);
    assert_int_equal(readb(NULL), 0xff);
    assert_int_equal(readb(dk_memory_cached(c->machine.memory, 0)), 0xff);
    assert_int_equal(log_lines(), 4);
    assert_int_equal(m.reads, 1);
    assert_int_equal(m.writes, 0);

    /* Each mapping is undone once. */
    again = ioremap(resource->start + 4, 4);
    assert_ptr_equal(again, io + 4);
    iounmap(io);
    assert_int_equal(readl(again), 0x44332211);
    iounmap(again);
    assert_int_equal(log_lines(), 0);
    assert_int_equal(readl(again), 0xffffffff);
    assert_non_null(strstr(log_last(), "not mapped"));
    iounmap(again);
    iounmap(NULL);
    iounmap(host);
    assert_int_equal(log_lines(), 4);
    dispose(c);
}

static void test_managed_mappings(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *dev = dk_device_find(&c->machine, "dma0");
    struct platform_device *pdev = to_platform_device(dev);
    struct resource *resource, wrong = { .start = 0x1000, .end = 0x1fff, .flags = IORESOURCE_MEM };
    struct model m = { 0 };
    char *io;

    (void)state;
    assert_int_equal(dk_registers_add(dev, 16, &ops, &m), 0);
    assert_int_equal(dk_registers_add(dev, 16, &no_ops, NULL), 0);
    resource = platform_get_resource(pdev, IORESOURCE_MEM, 0);
    assert_ptr_equal(devm_ioremap_resource(dev, NULL), ERR_PTR(-EINVAL));
    assert_ptr_equal(devm_ioremap_resource(dev, &wrong), ERR_PTR(-ENOMEM));
    wrong.flags = IORESOURCE_IRQ;
    assert_ptr_equal(devm_ioremap_resource(dev, &wrong), ERR_PTR(-EINVAL));
    assert_ptr_equal(devm_platform_ioremap_resource(pdev, 2), ERR_PTR(-EINVAL));
    io = devm_ioremap_resource(dev, resource);
    assert_false(IS_ERR(io));
    assert_ptr_equal(devm_ioremap_resource(dev, resource), ERR_PTR(-EBUSY));
    assert_ptr_equal(devm_ioremap(dev, resource->start, 16), io);
    devm_iounmap(dev, io);
    assert_int_equal(readb(io), 0x11);
    assert_null(devm_ioremap(dev, 0x1000, 16));

    /* A model without callbacks: nothing is there. */
    io = devm_platform_ioremap_resource(pdev, 1);
    log_lines();
    assert_int_equal(readw(io), 0xffff);
    writew(1, io);
    assert_int_equal(log_lines(), 0);

    io = devm_ioremap(dev, resource->start, 16);
    assert_int_equal(readb(io), 0x11);
    dk_device_remove(dev);
    assert_int_equal(readb(io), 0xff);
    assert_null(ioremap(resource->start, 16));
    dispose(c);
}

static void test_raw_dereference_faults(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct platform_device *pdev = to_platform_device(dk_device_find(&c->machine, "dma0"));
    struct model m = { 0 };
    volatile char *io;
    int status = 0;
    pid_t child;

    (void)state;
    assert_int_equal(dk_registers_add(&pdev->dev, 16, &ops, &m), 0);
    io = devm_platform_ioremap_resource(pdev, 0);
    child = fork();
    assert_true(child >= 0);
    if (!child) {
        signal(SIGSEGV, SIG_DFL);
        _exit(*io ? 1 : 2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    dispose(c);
}

struct reader {
    char *io;
    unsigned stop;
};

static void *read_on(void *data)
{
    struct reader *reader = data;

    while (!__atomic_load_n(&reader->stop, __ATOMIC_RELAXED)) {
        u32 value = readl(reader->io);

        if (value != 0x44332211 && value != 0xffffffff)
            return reader;
    }
    return NULL;
}

/* Unmapping and removing while another thread reads: it reads the register or all ones. */
static void test_unmapping_under_a_reader(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    unsigned long i, rounds = test_rounds(2000);
    struct reader reader = { 0 };
    pthread_t thread;
    void *result;

    (void)state;
    for (i = 0; i < 20; i++) {
        struct device *dev = dk_device_add(NULL, "card");
        struct model *m = calloc(1, sizeof(*m));
        struct resource *resource;
        unsigned long j;

        assert_int_equal(dk_registers_add(dev, 16, &ops, m), 0);
        resource = platform_get_resource(to_platform_device(dev), IORESOURCE_MEM, 0);
        reader.io = ioremap(resource->start, 16);
        reader.stop = 0;
        assert_int_equal(pthread_create(&thread, NULL, read_on, &reader), 0);
        for (j = 0; j < rounds / 20; j++) {
            iounmap(reader.io);
            assert_ptr_equal(ioremap(resource->start, 16), reader.io);
        }
        dk_device_remove(dev);
        /* Nobody is in the model any more. */
        memset(m, 0, sizeof(*m));
        free(m);
        __atomic_store_n(&reader.stop, 1, __ATOMIC_RELAXED);
        pthread_join(thread, &result);
        assert_null(result);
    }
    dispose(c);
}

static uint64_t remove_in_read(void *data, uint64_t offset, unsigned width)
{
    (void)offset;
    (void)width;
    dk_device_remove(data);
    return 1;
}

static void test_model_may_remove_its_device(void **state)
{
    static const struct dk_register_ops removing = { .read = remove_in_read };
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *dev = dk_device_find(&c->machine, "dma0");
    char *io;

    (void)state;
    assert_int_equal(dk_registers_add(dev, 16, &removing, dev), 0);
    io = ioremap(platform_get_resource(to_platform_device(dev), IORESOURCE_MEM, 0)->start, 16);
    assert_int_equal(readb(io), 1);
    assert_int_equal(readb(io), 0xff);
    dispose(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adding_and_finding),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_the_last_cells),
        cmocka_unit_test(test_removal_after_a_peers_access),
        cmocka_unit_test(test_accesses_that_lead_nowhere),
        cmocka_unit_test(test_managed_mappings),
        cmocka_unit_test(test_raw_dereference_faults),
        cmocka_unit_test(test_unmapping_under_a_reader),
        cmocka_unit_test(test_model_may_remove_its_device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
