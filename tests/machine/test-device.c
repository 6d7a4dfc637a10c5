/* SPDX-License-Identifier: MIT */
/*
 * The device tree: what the board gives, what is added, found and removed; and drivers on it.
 */
#include "compose.h"

#include <dmakit/pci.h>
#include <dmakit/platform.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static void test_devices_of_the_board(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *root = dk_device_find(&c->machine, "/");
    struct device *dma = dk_device_find(&c->machine, "/soc/dma@1000");

    (void)state;
    assert_ptr_equal(root, c->machine.root);
    assert_null(root->parent);
    assert_int_equal(c->added, NODES - 1);
    assert_non_null(dma);
    assert_ptr_equal(dk_device_find(&c->machine, "dma0"), dma);
    assert_ptr_equal(dma->parent, dk_device_find(&c->machine, "bus"));
    assert_ptr_equal(dma->parent->parent, root);
    assert_string_equal(dev_name(dma), "dma@1000");
    assert_string_equal(dk_device_path(dma), "/soc/dma@1000");
    assert_string_equal(dk_device_path(root), "/");
    assert_string_equal(dev_name(NULL), "(null)");
    assert_string_equal(dk_device_path(NULL), "(null)");
    assert_ptr_equal(dk_device_machine_of(dma), &c->machine);
    assert_null(dk_device_machine_of(NULL));
    assert_int_equal(*dma->dma_mask, 0xffffffff);
    assert_int_equal(dma->coherent_dma_mask, 0xffffffff);
    assert_int_equal(dma->dma_parms->max_segment_size, 65536);
    assert_int_equal(dma->dma_parms->segment_boundary_mask, 0xffffffff);
    assert_int_equal(dma->bus_dma_limit, 0xc1ffffff);
    assert_int_equal(root->bus_dma_limit, 0);
    assert_ptr_equal(&to_platform_device(dma)->dev, dma);
    assert_ptr_equal(&to_pci_dev(dma)->dev, dma);
    dispose(c);
}

static void test_what_is_not_there(void **state)
{
    static const char *const paths[] = { "",         "/soc/off@4000", "off0",
                                         "/so",      "/soc/",         "soc",
                                         "dma",      "dma00",         "/soc/dma@1000/x",
                                         "/nothing", "dma0/x" };
    struct composed *c = compose(&(struct shape){ 0 });
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (dk_device_find(&c->machine, paths[i]))
            fail_msg("found \"%s\"", paths[i]);
    }
    assert_null(dk_device_find(&c->machine, NULL));
    assert_null(dk_device_find(NULL, "/"));
    dispose(c);
}

static void test_adding(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *dma = dk_device_find(&c->machine, "dma0");
    struct device *child = dk_device_add(dma, "port");
    struct device *grandchild = dk_device_add(child, "lane");
    struct device *dev;

    (void)state;
    assert_false(IS_ERR(child));
    assert_string_equal(dk_device_path(child), "/soc/dma@1000/port");
    assert_string_equal(dev_name(grandchild), "lane");
    assert_ptr_equal(dk_device_find(&c->machine, "/soc/dma@1000/port/lane"), grandchild);
    assert_ptr_equal(dk_device_find(&c->machine, "dma0/port"), child);
    assert_int_equal(child->dk->window_count, 1);
    assert_int_equal(child->bus_dma_limit, 0xc1ffffff);
    assert_int_equal(grandchild->dk->windows[0].dma, 0xc0000000);
    assert_int_equal(*child->dma_mask, 0xffffffff);
    assert_true(child->dk->number != dma->dk->number && child->dk->number != grandchild->dk->number);
    assert_true(child->dk->added && !dma->dk->added);

    assert_ptr_equal(dk_device_add(dma, "port"), ERR_PTR(-EEXIST));
    assert_ptr_equal(dk_device_add(dma, ""), ERR_PTR(-EINVAL));
    assert_ptr_equal(dk_device_add(dma, "a/b"), ERR_PTR(-EINVAL));
    assert_ptr_equal(dk_device_add(dma, NULL), ERR_PTR(-EINVAL));

    /* Coherency is inherited; so is what a bus makes of memory for those below it. */
    assert_true(dk_device_add(dk_device_find(&c->machine, "/soc/snoop@3000"), "x")->dma_coherent);
    assert_false(child->dma_coherent);
    dev = dk_device_add(dk_device_find(&c->machine, "/pcie"), "0000:00:01.0");
    assert_int_equal(dev->dk->windows[0].dma, 0x80000000);
    assert_int_equal(dev->bus_dma_limit, 0x80000000 + RAM_SIZE - 1);
    assert_string_equal(dev->bus->name, "pci");
    assert_string_equal(dk_device_add(dev, "function")->bus->name, "pci");
    assert_string_equal(dma->bus->name, "platform");
    dev = dk_device_add(dk_device_find(&c->machine, "/bus"), "second");
    assert_int_equal(dev->dk->windows[0].dma, 0x40000000);

    /* Without a parent: the default bus of the machine this thread entered. */
    dev = dk_device_add(NULL, "card");
    assert_ptr_equal(dev->parent, dk_device_find(&c->machine, "/soc"));
    dk_device_remove(dk_device_find(&c->machine, "/soc"));
    dev = dk_device_add(NULL, "card");
    assert_ptr_equal(dev->parent, c->machine.root);
    assert_string_equal(dk_device_path(dev), "/card");
    assert_ptr_equal(dk_device_add(child, "late"), ERR_PTR(-EINVAL));
    dispose(c);
    assert_ptr_equal(dk_device_add(NULL, "card"), ERR_PTR(-ENODEV));
}

static void test_add_refused_by_hook(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });

    (void)state;
    c->add_error = -ENXIO;
    assert_ptr_equal(dk_device_add(NULL, "card"), ERR_PTR(-ENXIO));
    assert_null(dk_device_find(&c->machine, "/soc/card"));
    assert_int_equal(c->removed, 0);
    c->add_error = 0;
    assert_false(IS_ERR(dk_device_add(NULL, "card")));
    dispose(c);
}

static void test_removing(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *top = dk_device_add(NULL, "top");
    struct device *first = dk_device_add(top, "first");

    (void)state;
    dk_device_add(top, "second");
    dk_device_add(first, "deep");
    dk_device_remove(top);
    assert_string_equal(c->removed_paths, " /soc/top/second /soc/top/first/deep /soc/top/first /soc/top");
    assert_null(dk_device_find(&c->machine, "/soc/top"));
    assert_null(dk_device_find(&c->machine, "/soc/top/first/deep"));
    dk_device_remove(top);
    dk_device_remove(first);
    dk_device_remove(NULL);
    assert_int_equal(c->removed, 4);
    /* Its memory stays for late users, and its name is free. */
    assert_string_equal(dk_device_path(top), "/soc/top");
    assert_false(IS_ERR(dk_device_add(NULL, "top")));
    dispose(c);
}

static void test_finish_removes_all(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });

    (void)state;
    dk_device_add(NULL, "card");
    dk_devices_finish(&c->machine);
    assert_int_equal(c->removed, NODES - 1 + 1);
    assert_string_equal(c->removed_paths + strlen(c->removed_paths) - 2, " /");
    assert_null(c->machine.root);
    assert_null(dk_device_find(&c->machine, "/"));
    assert_ptr_equal(dk_device_add(NULL, "card"), ERR_PTR(-ENODEV));
    dk_devices_finish(&c->machine);
    dispose(c);
}

static void test_log_lines_name_the_device(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });

    (void)state;
    log_lines();
    dev_err(dk_device_find(&c->machine, "dma0"), "no %s\n", "luck");
    assert_int_equal(log_lines(), 1);
    assert_string_equal(log_last(), "/soc/dma@1000: no luck");
    dev_dbg(dk_device_find(&c->machine, "dma0"), "too low");
    assert_int_equal(log_lines(), 0);
    dispose(c);
}

static void test_entering(void **state)
{
    struct composed *one = compose(&(struct shape){ 0 });
    struct composed *two = compose(&(struct shape){ .coherent = true });

    (void)state;
    assert_ptr_equal(dk_machine_current(), &two->machine);
    assert_ptr_equal(dk_machine_enter(&one->machine), &two->machine);
    assert_ptr_equal(dk_machine_current(), &one->machine);
    assert_ptr_equal(dk_machine_enter(NULL), &one->machine);
    assert_null(dk_machine_current());
    dispose(two);
    /* The only live one needs no entering. */
    assert_ptr_equal(dk_machine_current(), &one->machine);
    assert_null(dk_machine_enter(&one->machine));
    dispose(one);
    assert_null(dk_machine_current());
}

/* ---- Drivers ---- */

static char events[64];
static int probe_result;

static void note(void *data)
{
    size_t used = strlen(events);

    snprintf(events + used, sizeof(events) - used, "%s", (const char *)data);
}

static int probe(struct platform_device *pdev)
{
    note("p");
    assert_ptr_equal(dk_machine_current(), dk_device_machine_of(&pdev->dev));
    platform_set_drvdata(pdev, events);
    assert_int_equal(devm_add_action(&pdev->dev, note, "a"), 0);
    assert_int_equal(devm_add_action(&pdev->dev, note, "b"), 0);
    return probe_result;
}

static void drop(struct platform_device *pdev)
{
    assert_ptr_equal(platform_get_drvdata(pdev), events);
    note("r");
}

static void test_drivers(void **state)
{
    struct platform_driver driver = { .probe = probe, .remove = drop, .driver = { .name = "test" } };
    struct platform_driver silent = { .probe = NULL };
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *dev = dk_device_find(&c->machine, "dma0");

    (void)state;
    dk_machine_enter(NULL);
    assert_int_equal(dk_driver_bind(NULL, dev), -EINVAL);
    assert_int_equal(dk_driver_bind(&driver, NULL), -EINVAL);
    assert_int_equal(dk_driver_bind(&silent, dev), -EINVAL);
    dk_driver_unbind(dev);
    dk_driver_unbind(NULL);
    assert_int_equal(c->unbound, 0);

    probe_result = -EIO;
    assert_int_equal(dk_driver_bind(&driver, dev), -EIO);
    assert_string_equal(events, "pba");
    assert_null(dev->driver);
    assert_null(dev_get_drvdata(dev));

    probe_result = 0;
    events[0] = 0;
    assert_int_equal(dk_driver_bind(&driver, dev), 0);
    assert_ptr_equal(dev->driver, &driver.driver);
    assert_int_equal(dk_driver_bind(&driver, dev), -EBUSY);
    assert_string_equal(events, "p");
    dk_driver_unbind(dev);
    assert_string_equal(events, "prba");
    assert_null(dev->driver);
    assert_null(dev_get_drvdata(dev));
    assert_int_equal(c->unbound, 1);

    /* Removing the device unbinds first. */
    events[0] = 0;
    driver.remove = NULL;
    assert_int_equal(dk_driver_bind(&driver, dev), 0);
    dk_device_remove(dev);
    assert_string_equal(events, "pba");
    assert_int_equal(c->unbound, 2);
    assert_int_equal(dk_driver_bind(&driver, dev), -ENODEV);
    dispose(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices_of_the_board),
        cmocka_unit_test(test_what_is_not_there),
        cmocka_unit_test(test_adding),
        cmocka_unit_test(test_add_refused_by_hook),
        cmocka_unit_test(test_removing),
        cmocka_unit_test(test_finish_removes_all),
        cmocka_unit_test(test_log_lines_name_the_device),
        cmocka_unit_test(test_entering),
        cmocka_unit_test(test_drivers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
