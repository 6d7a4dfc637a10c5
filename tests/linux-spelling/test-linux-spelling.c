/* SPDX-License-Identifier: MIT */
/*
 * Driver source in Linux's spelling compiles, links, and runs on a machine: copier.c and its model here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dmakit/dmakit.h>
#include <sys/types.h>

#include "copier-regs.h"
#include "system-headers.h"

struct model {
    struct device *dev;
    uint64_t from, to;
    unsigned major;
};

static uint64_t read_register(void *data, uint64_t offset, unsigned width)
{
    const struct model *model = data;

    (void)width;
    if (offset == COPIER_VERSION)
        return model->major << 16;
    return offset == COPIER_STATE ? COPIER_IDLE : 0;
}

static void write_register(void *data, uint64_t offset, unsigned width, uint64_t value)
{
    struct model *model = data;
    unsigned char *bytes;

    (void)width;
    if (offset == COPIER_FROM)
        model->from = value;
    if (offset == COPIER_TO)
        model->to = value;
    if (offset != COPIER_START)
        return;
    bytes = malloc(value);
    if (bytes && !dk_master_read(model->dev, model->from, bytes, value) &&
        !dk_master_write(model->dev, model->to, bytes, value))
        dk_interrupt_raise(model->dev, 0);
    free(bytes);
}

static const struct dk_register_ops registers = { read_register, write_register };

struct bed {
    struct dk_machine *machine;
    struct device *dev;
    struct model model;
};

static int set_up(void **state)
{
    struct bed *bed = calloc(1, sizeof(*bed));

    if (!bed)
        return -1;
    bed->machine = dk_machine_create(NULL, NULL);
    assert_false(IS_ERR(bed->machine));
    dk_machine_enter(bed->machine);
    bed->dev = dk_device_add(NULL, "copier");
    assert_false(IS_ERR(bed->dev));
    bed->model = (struct model){ .dev = bed->dev, .major = COPIER_MAJOR };
    assert_int_equal(dk_registers_add(bed->dev, COPIER_SIZE, &registers, &bed->model), 0);
    *state = bed;
    return 0;
}

static int tear_down(void **state)
{
    struct bed *bed = *state;
    unsigned long reports = dk_machine_destroy(bed->machine);

    free(bed);
    return reports ? -1 : 0;
}

static void copies_bytes(void **state)
{
    static const size_t sizes[] = { 1, 63, 4096, 4097, 70000 };
    struct bed *bed = *state;
    unsigned char *from = malloc(70000), *to = malloc(70000);
    int runs = 0;
    size_t i, j;

    assert_non_null(from);
    assert_non_null(to);
    assert_int_equal(dk_driver_bind(dk_module_driver_copier_driver, bed->dev), 0);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (j = 0; j < sizes[i]; j++)
            from[j] = (unsigned char)(i + j * 13 + j / 256);
        memset(to, 0, sizes[i]);
        assert_int_equal(copier_copy(bed->dev, to, from, sizes[i]), 0);
        assert_memory_equal(to, from, sizes[i]);
        assert_true(copier_runs(bed->dev) > runs);
        runs = copier_runs(bed->dev);
    }
    assert_int_equal(copier_copy(bed->dev, to, from, 0), -EINVAL);
    dk_driver_unbind(bed->dev);
    free(from);
    free(to);
}

static void refuses_another_version(void **state)
{
    struct bed *bed = *state;

    bed->model.major = COPIER_MAJOR + 1;
    assert_int_equal(dk_driver_bind(dk_module_driver_copier_driver, bed->dev), -ENODEV);
}

static void module_functions_are_found(void **state)
{
    (void)state;
    assert_int_equal(dk_module_init_copier_init(), 0);
    dk_module_exit_copier_exit();
}

static void system_headers_are_reached(void **state)
{
    (void)state;
    assert_int_equal(system_facts.le32_size, 4);
    assert_int_equal(system_facts.not_supported, EOPNOTSUPP);
    assert_true(system_facts.sysinfo_size > 0);
    assert_int_equal(system_facts.module_flag, 2);
    assert_int_equal(system_facts.pci_register, 0);
    assert_true(system_facts.sync_ioctl != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copies_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_another_version, set_up, tear_down),
        cmocka_unit_test(module_functions_are_found),
        cmocka_unit_test(system_headers_are_reached),
    };

    return cmocka_run_group_tests_name("linux-spelling", tests, NULL, NULL);
}
