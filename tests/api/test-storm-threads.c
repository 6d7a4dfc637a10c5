/* SPDX-License-Identifier: MIT */
/*
 * Storms in several threads at once, on one machine and on two: right calls make no report and give all
 * memory back; wrong ones are counted, each of them.
 */
#include "storm.h"

#include "machine/machine.h"
#include <dmakit/dmabounce.h>
#include <pthread.h>

#define THREADS 4

static unsigned long operations(void)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    return 800;
#else
    return getenv("DMAKIT_TEST_FAST") ? 1000 : 6000;
#endif
}

struct part {
    struct storm storm;
    pthread_t thread;
    unsigned long mistakes; /* each of which is one report */
    unsigned number;
    unsigned counter;
};

static irqreturn_t allocate_in_handler(int irq, void *data)
{
    struct part *part = data;
    struct device *dev = part->storm.devices[0];
    char *buffer = kmalloc(256, GFP_ATOMIC);
    dma_addr_t dma = dma_map_single(dev, buffer, 256, DMA_TO_DEVICE);

    (void)irq;
    if (buffer && !dma_mapping_error(dev, dma))
        dma_unmap_single(dev, dma, 256, DMA_TO_DEVICE);
    kfree(buffer);
    __atomic_add_fetch(&part->counter, 1, __ATOMIC_RELAXED);
    return IRQ_HANDLED;
}

/* One mistake on a mapping of its own. */
static void mistake(struct part *part)
{
    struct device *dev = part->storm.devices[0];
    char *buffer = kmalloc(512, GFP_KERNEL);
    dma_addr_t dma = dma_map_single(dev, buffer, 512, DMA_BIDIRECTIONAL);

    assert_int_equal(dma_mapping_error(dev, dma), 0);
    switch (storm_below(&part->storm, 4)) {
    case 0:
        dma_sync_single_for_cpu(dev, dma + 500, 13, DMA_BIDIRECTIONAL);
        break;
    case 1:
        dma_unmap_single(dev, dma + 1, 511, DMA_BIDIRECTIONAL);
        break;
    case 2:
        dma_unmap_single(dev, dma, 511, DMA_BIDIRECTIONAL);
        dma = DMA_MAPPING_ERROR;
        break;
    default:
        dma_unmap_single(dev, dma, 512, DMA_TO_DEVICE);
        dma = DMA_MAPPING_ERROR;
    }
    part->mistakes++;
    if (dma != DMA_MAPPING_ERROR)
        dma_unmap_single(dev, dma, 512, DMA_BIDIRECTIONAL);
    kfree(buffer);
}

static void *work(void *data)
{
    struct part *part = data;
    struct storm *storm = &part->storm;
    struct device *dev = storm->devices[0];
    unsigned long count = operations();
    int irq = platform_get_irq(container_of(dev, struct platform_device, dev), 0);
    unsigned i;

    dk_machine_enter(storm->machine);
    assert_int_equal(request_irq((unsigned)irq, allocate_in_handler, 0, "storm", part), 0);
    while (count--) {
        struct storm_thing *thing = &storm->things[storm_below(storm, STORM_THINGS)];

        switch (storm_below(storm, 40)) {
        case 0:
            dk_interrupt_raise(dev, 0);
            break;
        case 1:
            if (storm->wrong)
                mistake(part);
            break;
        case 2: {
            char name[32];
            struct device *more;

            snprintf(name, sizeof(name), "more-%u-%lu", part->number, count);
            more = dk_device_add(dev->parent, name);
            assert_false(IS_ERR(more));
            dk_device_remove(more);
            break;
        }
        default:
            if (!thing->kind)
                storm_make(storm, thing, (enum storm_kind)(1 + storm_below(storm, STORM_KINDS - 1)),
                           storm->devices[storm_below(storm, 2)]);
            else if (storm_one_in(storm, 2))
                storm_use(storm, thing);
            else
                storm_undo(storm, thing);
        }
    }
    free_irq((unsigned)irq, part);
    for (i = 0; i < STORM_THINGS; i++)
        storm_undo(storm, &storm->things[i]);
    return NULL;
}

/* Where the devices of a storm are. */
struct place {
    const char *own;    /* what each thread's own device is below; NULL: below the shared one */
    const char *shared; /* what the device of all threads of a machine is below */
    const char *arguments;
    bool rule; /* the shared device bounces by a rule of its own */
};

/* Half of all mappings. */
static int bounces(struct device *dev, dma_addr_t address, size_t size)
{
    (void)dev;
    (void)address;
    return size & 1;
}

static struct device *shared_device(struct dk_machine *machine, const struct place *place)
{
    struct device *dev = device_below(machine, place->shared, "shared");

    /* What it does not reach fails, and that is no mistake. */
    assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32)), 0);
    if (place->rule)
        assert_int_equal(dmabounce_register_dev(dev, 512, 4096, bounces), 0);
    return dev;
}

/* Each thread has one device of its own, and all of a machine share another. */
static void storm_in_threads(const struct place *place, unsigned machine_count, uint64_t seed, int depth,
                             bool wrong)
{
    static const char *const boards[] = { "hostile.dts", "hostile.dts" };
    struct dk_machine *machines[2] = { NULL, NULL };
    struct part *parts = calloc(THREADS, sizeof(*parts));
    unsigned long mistakes[2] = { 0, 0 };
    u64 before[2] = { 0, 0 };
    unsigned i;

    assert_non_null(parts);
    for (i = 0; i < machine_count; i++) {
        machines[i] = machine_with(boards[i], place->arguments, seed, depth);
        before[i] = storm_free_pages(machines[i]);
        if (wrong)
            dk_check_set_sink(machines[i], ignore_report, NULL);
    }
    for (i = 0; i < THREADS; i++) {
        struct part *part = &parts[i];
        char name[32];

        part->number = i;
        part->storm.machine = machines[i % machine_count];
        part->storm.random = 977 + i;
        part->storm.wrong = wrong;
        snprintf(name, sizeof(name), "own-%u", i);
        part->storm.devices[1] = i < machine_count ? shared_device(part->storm.machine, place)
                                                   : parts[i % machine_count].storm.devices[1];
        part->storm.devices[0] = place->own ? device_below(part->storm.machine, place->own, name)
                                            : dk_device_add(part->storm.devices[1], name);
        assert_false(IS_ERR(part->storm.devices[0]));
        dma_set_mask_and_coherent(part->storm.devices[0], DMA_BIT_MASK(64));
    }
    for (i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&parts[i].thread, NULL, work, &parts[i]), 0);
    for (i = 0; i < THREADS; i++) {
        pthread_join(parts[i].thread, NULL);
        mistakes[i % machine_count] += parts[i].mistakes;
    }
    for (i = 0; i < machine_count; i++) {
        assert_int_equal(dk_check_count(machines[i], NULL), depth ? mistakes[i] : 0);
        dk_device_remove(parts[i].storm.devices[1]);
        assert_int_equal(storm_free_pages(machines[i]), before[i]);
        assert_int_equal(dk_machine_destroy(machines[i]), depth ? mistakes[i] : 0);
    }
    dk_machine_enter(NULL);
    free(parts);
}

static const struct place direct = { "coherent", "noncoherent", NULL, false };

static void right_calls_on_one_machine(void **state)
{
    (void)state;
    storm_in_threads(&direct, 1, 0, 1, false);
    storm_in_threads(&direct, 1, 7, 1, false);
    storm_in_threads(&direct, 1, 7, 0, false);
}

static void right_calls_on_two_machines(void **state)
{
    (void)state;
    storm_in_threads(&direct, 2, 0, 1, false);
    storm_in_threads(&direct, 2, 7, 1, false);
}

/* All threads in one address space, or in spaces of their own too. */
static void right_calls_behind_an_iommu(void **state)
{
    static const struct place one_space = { NULL, "iommu", NULL, false };
    static const struct place lazy = { NULL, "iommu", "iommu.strict=0", false };
    static const struct place own_spaces = { "iommu", "iommu", NULL, false };

    (void)state;
    storm_in_threads(&one_space, 1, 7, 1, false);
    storm_in_threads(&one_space, 1, 0, 0, false);
    storm_in_threads(&lazy, 1, 7, 1, false);
    storm_in_threads(&lazy, 1, 0, 0, false);
    storm_in_threads(&own_spaces, 1, 0, 1, false);
}

static void right_calls_while_bouncing(void **state)
{
    static const struct place forced = { "coherent", "noncoherent", "swiotlb=force", false };
    static const struct place rule = { "narrow", "noncoherent", NULL, true };
    static const struct place restricted = { NULL, "bounce", NULL, false };

    (void)state;
    storm_in_threads(&forced, 1, 7, 1, false);
    storm_in_threads(&forced, 1, 0, 0, false);
    storm_in_threads(&rule, 1, 7, 1, false);
    storm_in_threads(&restricted, 1, 0, 1, false);
}

static void mistakes_are_counted_exactly(void **state)
{
    static const struct place iommu = { NULL, "iommu", NULL, false };

    (void)state;
    storm_in_threads(&direct, 1, 0, 1, true);
    storm_in_threads(&direct, 2, 7, 1, true);
    storm_in_threads(&iommu, 1, 0, 1, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_calls_on_one_machine),   cmocka_unit_test(right_calls_on_two_machines),
        cmocka_unit_test(right_calls_behind_an_iommu),  cmocka_unit_test(right_calls_while_bouncing),
        cmocka_unit_test(mistakes_are_counted_exactly),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
