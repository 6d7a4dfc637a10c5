/* SPDX-License-Identifier: MIT */
/*
 * Each allocation of the machine room fails in turn: an error, no crash, nothing left behind.
 */
#include "compose.h"

#include <dmakit/fail.h>
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

static unsigned actions;

static void act(void *data)
{
    (void)data;
    actions++;
}

static irqreturn_t handle(int irq, void *data)
{
    (void)irq;
    __atomic_add_fetch((unsigned *)data, 1, __ATOMIC_RELEASE);
    return IRQ_HANDLED;
}

static uint64_t read_seven(void *model, uint64_t offset, unsigned width)
{
    (void)model;
    (void)offset;
    (void)width;
    return 7;
}

static const struct dk_register_ops ops = { .read = read_seven };

/* Everything a driver asks of the machine. 0 or the first error. */
static int probe(struct platform_device *pdev)
{
    static unsigned calls;
    struct device *dev = &pdev->dev;
    void *io;
    int error;

    error = devm_add_action_or_reset(dev, act, NULL);
    if (error)
        return error;
    if (!devm_kzalloc(dev, 5000, GFP_KERNEL))
        return -ENOMEM;
    error = dk_registers_add(dev, 64, &ops, NULL);
    if (error)
        return error;
    io = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(io))
        return (int)PTR_ERR(io);
    if (readl(io) != 7)
        return -EIO;
    if (!devm_ioremap(dev, platform_get_resource(pdev, IORESOURCE_MEM, 0)->start, 4))
        return -ENOMEM;
    error = devm_request_irq(dev, (unsigned)platform_get_irq(pdev, 0), handle, 0, NULL, &calls);
    if (error)
        return error;
    return devm_request_threaded_irq(dev, (unsigned)platform_get_irq(pdev, 1), NULL, handle, IRQF_ONESHOT,
                                     "x", &calls);
}

/* 0 when all went well, else a plausible error. */
static int live(const struct shape *shape)
{
    struct platform_driver driver = { .probe = probe, .driver = { .name = "test" } };
    struct composed *c = compose(shape);
    struct device *dev;
    char bytes[200] = { 0 };
    int error;

    if (!c)
        return -ENOMEM;
    dev = dk_device_add(NULL, "card");
    error = PTR_ERR_OR_ZERO(dev);
    if (!error)
        error = dk_driver_bind(&driver, dev);
    if (!error)
        error = dk_master_write(dev, 0x7fc0, bytes, sizeof(bytes));
    if (!error)
        error = dk_master_read(dev, 0x7fc0, bytes, sizeof(bytes));
    dispose(c);
    return error;
}

static void test_each_allocation_fails(void **state)
{
    unsigned coherent;

    (void)state;
    for (coherent = 0; coherent < 2; coherent++) {
        const struct shape shape = { .coherent = coherent };
        unsigned survived = 0;
        unsigned long n;

        assert_int_equal(live(&shape), 0);
        for (n = 1; n < 1000; n++) {
            int error;

            dk_fail_nth(n);
            error = live(&shape);
            if (!dk_fail_hits())
                break;
            dk_fail_nth(0);
            survived += !error;
            if (error && error != -ENOMEM && error != -EAGAIN && error != -EFAULT && error != -EMFILE)
                fail_msg("allocation %lu failed and the answer was %d", n, error);
        }
        dk_fail_nth(0);
        assert_in_range(n, 40, 999);
        /* kmalloc() tries a smaller slab, and whatever that stands on, before it gives up. */
        assert_in_range(survived, 0, 20);
    }
    assert_true(actions > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
