/* SPDX-License-Identifier: MIT */
/*
 * Every allocation of the checker fails in turn: no crash, no leak, and no report of what was right.
 */
#include "fake-machine.h"

#include <dmakit/fail.h>
#include <dmakit/log.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fake_machine fake;
static unsigned delivered, log_lines;

static void count_delivery(const struct dk_report *report, void *data)
{
    (void)data;
    assert_true(strlen(report->class_name) && strlen(report->what) && strlen(report->advice));
    delivered++;
}

static void count_line(int level, const char *line, void *data)
{
    (void)level;
    (void)line;
    (void)data;
    log_lines++;
}

#define MAPPINGS 200

static struct dk_mapping buffer(unsigned i)
{
    return (struct dk_mapping){ .kind = DK_MAPPING_SINGLE,
                                .dma = i * 0x1000,
                                .phys = i * 0x1000 + 0x100000,
                                .size = 64,
                                .direction = DMA_FROM_DEVICE };
}

static void behave(void)
{
    struct device *dev = &fake.devices[0];
    struct dk_mapping mapping, found;
    unsigned i;

    for (i = 0; i < MAPPINGS; i++) {
        mapping = buffer(i);
        dk_check_mapped(dev, "dma_map_single", &mapping);
        dk_check_mapping_error(dev, mapping.dma);
    }
    for (i = 0; i < MAPPINGS; i++) {
        mapping = buffer(i);
        assert_true(dk_check_sync(dev, "dma_sync", mapping.dma, 64, DMA_FROM_DEVICE, true, 0, &found));
        assert_true(dk_check_unmap(dev, "dma_unmap_single", &mapping, &found));
        assert_true(found.size == 64 && found.dma == mapping.dma);
    }
}

static void misbehave(void)
{
    struct dk_mapping mapping = buffer(1);
    struct dk_mapping found;

    /* A device that was never mapped for is not quiet. */
    dk_check_unmap(&fake.devices[1], "dma_unmap_single", &mapping, &found);
    dk_check_mapped(&fake.devices[0], "dma_map_single", &mapping);
    dk_check_device_removed(&fake.devices[0]);
}

static int create(void)
{
    const struct dk_check_options options = { .depth = 1 };
    struct dk_checker *checker = dk_checker_create(&fake.machine, &options);

    if (IS_ERR(checker))
        return (int)PTR_ERR(checker);
    fake.machine.checker = checker;
    dk_check_set_sink(&fake.machine, count_delivery, NULL);
    return 0;
}

/* Runs the program with the @n-th allocation failing; false: there was no such allocation. */
static bool run(unsigned long n, void (*program)(void), unsigned least, unsigned most)
{
    int error;
    bool hit;

    delivered = log_lines = 0;
    fake_start(&fake);
    dk_fail_nth(n);
    error = create();
    assert_true(!error || error == -ENOMEM);
    if (!error)
        program();
    hit = dk_fail_hits();
    dk_fail_nth(0);
    if (!error && (delivered < least || delivered > most))
        print_error("allocation %lu: %u reports\n", n, delivered);
    assert_true(error || (delivered >= least && delivered <= most));
    assert_true(log_lines <= 1);
    fake_finish(&fake);
    return hit;
}

static void test_right_program(void **state)
{
    unsigned long n = 1;

    (void)state;
    while (run(n, behave, 0, 0))
        n++;
    assert_true(n > 10);
}

/* The free of nothing is reported unless the checker's very tables are missing; a leak where it was
 * remembered. */
static void test_wrong_program(void **state)
{
    unsigned long n = 1;

    (void)state;
    while (run(n, misbehave, 1, 3))
        n++;
    assert_true(n > 15);
    run(0, misbehave, 3, 3);
}

static void test_stays_quiet(void **state)
{
    struct dk_mapping mapping = buffer(1), found;
    struct device *dev = &fake.devices[0];
    volatile unsigned i; /* keeps the loop in one piece */

    (void)state;
    delivered = log_lines = 0;
    fake_start(&fake);
    assert_int_equal(create(), 0);
    /* All from one place, so that the stack is known, and only a new block of records can fail. */
    for (i = 1; log_lines == 0 && i < 100; i++) {
        struct dk_mapping more = buffer(i);

        dk_fail_nth(i > 1);
        dk_check_mapped(dev, "dma_map_single", &more);
        dk_fail_nth(0);
    }
    dk_check_mapping_error(dev, mapping.dma);
    assert_int_equal(log_lines, 1);
    /* What is unknown may be one of those; what is known is still checked. */
    mapping.dma = 0x999000;
    assert_true(dk_check_unmap(dev, "dma_unmap_single", &mapping, &found));
    assert_true(found.dma == 0x999000);
    assert_true(dk_check_sync(dev, "dma_sync", 0x999000, 8, DMA_TO_DEVICE, true, 0, &found));
    assert_true(dk_check_sync(dev, "dma_sync", 0x1000, 65, DMA_FROM_DEVICE, true, 0, &found));
    assert_int_equal(delivered, 0);
    mapping = buffer(1);
    mapping.size = 65;
    assert_true(dk_check_unmap(dev, "dma_unmap_single", &mapping, &found));
    assert_int_equal(delivered, 1);
    assert_int_equal(dk_check_count(&fake.machine, "free-wrong-size"), 1);
    fake_finish(&fake);
}

static int quiet_log(void **state)
{
    (void)state;
    dk_log_set_sink(count_line, NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_program),
        cmocka_unit_test(test_wrong_program),
        cmocka_unit_test(test_stays_quiet),
    };

    return cmocka_run_group_tests(tests, quiet_log, NULL);
}
