/* SPDX-License-Identifier: MIT */
/*
 * Managed resources go with the device, newest first.
 */
#include "compose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static char order[64];

static void note(void *data)
{
    size_t used = strlen(order);

    snprintf(order + used, sizeof(order) - used, "%s", (const char *)data);
}

static void test_order(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *dev = dk_device_add(NULL, "card");
    static char one[] = "1", two[] = "2", three[] = "3";

    (void)state;
    order[0] = 0;
    assert_int_equal(devm_add_action(dev, note, one), 0);
    assert_int_equal(devm_add_action_or_reset(dev, note, two), 0);
    assert_int_equal(devm_add_action(dev, note, three), 0);
    assert_int_equal(devm_add_action(dev, note, two), 0);
    /* The newest that matches goes; the older one stays. */
    devm_remove_action(dev, note, two);
    assert_string_equal(order, "");
    devm_release_action(dev, note, one);
    assert_string_equal(order, "1");
    devm_release_action(dev, note, one);
    devm_remove_action(dev, note, one);
    assert_string_equal(order, "1");
    dk_device_remove(dev);
    assert_string_equal(order, "132");
    assert_string_equal(c->removed_paths, " /soc/card");
    dispose(c);
}

static void note_again(void *data)
{
    note(data);
    note(data);
}

/* What differs in one of both is another resource. */
static void test_same_data_of_two_actions(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *dev = dk_device_add(NULL, "card");
    static char one[] = "1";

    (void)state;
    order[0] = 0;
    assert_int_equal(devm_add_action(dev, note, one), 0);
    assert_int_equal(devm_add_action(dev, note_again, one), 0);
    devm_remove_action(dev, note, one);
    devm_release_action(dev, note, one);
    dk_device_remove(dev);
    assert_string_equal(order, "11");
    dispose(c);
}

static void test_removed_device_takes_none(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *dev = dk_device_add(NULL, "card");
    static char one[] = "1", two[] = "2";

    (void)state;
    order[0] = 0;
    dk_device_remove(dev);
    log_lines();
    assert_int_equal(devm_add_action(dev, note, one), -ENODEV);
    assert_string_equal(order, "");
    assert_int_equal(log_lines(), 1);
    assert_int_equal(devm_add_action_or_reset(dev, note, two), -ENODEV);
    assert_string_equal(order, "2");
    assert_null(devm_kmalloc(dev, 16, GFP_KERNEL));
    dispose(c);
}

static void test_memory(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct composed *other = compose(&(struct shape){ 0 });
    struct device *dev = dk_device_find(&c->machine, "dma0");
    struct dk_memory *memory = NULL;
    phys_addr_t phys;
    char *pointer;
    unsigned i;

    (void)state;
    /* From the device's machine, whichever this thread has entered. */
    assert_ptr_equal(dk_machine_current(), &other->machine);
    pointer = devm_kzalloc(dev, 300, GFP_KERNEL);
    assert_non_null(pointer);
    assert_ptr_equal(dk_machine_current(), &other->machine);
    assert_int_equal(dk_address_find(pointer, &memory, &phys), DK_ADDRESS_LINEAR);
    assert_ptr_equal(memory, c->machine.memory);
    for (i = 0; i < 300; i++)
        assert_int_equal(pointer[i], 0);
    assert_null(devm_kcalloc(dev, SIZE_MAX / 2, 3, GFP_KERNEL));
    assert_non_null(devm_kcalloc(dev, 4, 3, GFP_KERNEL));
    log_lines();
    devm_kfree(dev, NULL);
    devm_kfree(dev, pointer);
    assert_int_equal(log_lines(), 0);
    devm_kfree(dev, pointer);
    assert_int_equal(log_lines(), 1);
    dispose(other);
    dispose(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_same_data_of_two_actions),
        cmocka_unit_test(test_removed_device_takes_none),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
