/* SPDX-License-Identifier: MIT */
/*
 * Address spaces that a driver makes: what they hold, who shares them, and how they end, in every order.
 */
#include "api.h"

#include <dmakit/iommu.h>

/* a and b share an id, c has its own, w has it too and a window from 1 MiB to 2 MiB; plain has no IOMMU. */
#define BOARD(coherence)                                                                                                       \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"mapper\"; compatible = \"dmakit,test\"; " coherence     \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                                            \
    " mmu: iommu@10000000 { compatible = \"arm,mmu-401\"; reg = <0x10000000 0x10000>; #iommu-cells = <1>; };"                  \
    " a@0 { compatible = \"dmakit,nic\"; iommus = <&mmu 0x10>; }; b@0 { compatible = \"dmakit,nic\"; iommus = <&mmu 0x10>; };" \
    " c@0 { compatible = \"dmakit,nic\"; iommus = <&mmu 0x11>; }; plain@0 { compatible = \"dmakit,nic\"; };"                   \
    " bus@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"                                   \
    "  dma-ranges = <0x100000 0x40000000 0x100000>; w@0 { compatible = \"dmakit,nic\"; iommus = <&mmu 0x12>; }; };"            \
    " aliases { a = \"/a@0\"; b = \"/b@0\"; c = \"/c@0\"; w = \"/bus@0/w@0\"; plain = \"/plain@0\"; }; };"

#define BASE 0x10000000ull
#define SIZE (1ull << 20)

static struct dk_machine *machine_that_faults(const char *arguments)
{
    struct dk_machine *machine = machine_with(BOARD("dma-coherent;"), arguments, 0, 1);

    dk_check_set_sink(machine, ignore_report, NULL);
    return machine;
}

static bool is_reached(struct device *dev, dma_addr_t dma)
{
    char byte;

    return dk_master_read(dev, dma, &byte, 1) == 0;
}

/* A mapping of @dev, reached; the caller undoes it. */
static dma_addr_t map(struct device *dev, char *buffer)
{
    dma_addr_t dma = dma_map_single(dev, buffer, 4096, DMA_TO_DEVICE);

    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_true(is_reached(dev, dma));
    return dma;
}

/* Maps, reaches and unmaps; returns the address. */
static dma_addr_t use(struct device *dev, char *buffer)
{
    dma_addr_t dma = map(dev, buffer);

    dma_unmap_single(dev, dma, 4096, DMA_TO_DEVICE);
    assert_false(is_reached(dev, dma));
    return dma;
}

static bool is_within(dma_addr_t dma)
{
    return dma >= BASE && dma + 4095 < BASE + SIZE;
}

/* ---- Making ---- */

/* Accesses where nothing is mapped are reported, and nothing else is. */
static void finish(struct dk_machine *machine)
{
    unsigned long refused = dk_check_count(machine, "iommu-unmapped");

    assert_int_equal(dk_machine_destroy(machine), refused);
}

static void every_form_makes_a_space(void **state)
{
    static const struct bus_type bus = { "platform" };
    static struct bus_type changing = { "platform" }; /* as older drivers declare it */
    struct dk_machine *machine = machine_on(BOARD("dma-coherent;"));
    struct device *dev = dk_device_find(machine, "a");
    struct dma_iommu_mapping *spaces[5];
    char *buffer = kmalloc(4096, GFP_KERNEL);
    int i;

    (void)state;
    spaces[0] = arm_iommu_create_mapping(dev, BASE, SIZE);
    spaces[1] = arm_iommu_create_mapping(NULL, BASE, SIZE);
    spaces[2] = arm_iommu_create_mapping(&bus, BASE, SIZE);
    spaces[3] = arm_iommu_create_mapping(&changing, BASE, SIZE);
    spaces[4] = arm_iommu_create_mapping(&bus, BASE, SIZE, 0);
    for (i = 0; i < 5; i++) {
        assert_false(IS_ERR_OR_NULL(spaces[i]));
        assert_int_equal(arm_iommu_attach_device(dev, spaces[i]), 0);
        assert_true(is_within(use(dev, buffer)));
        arm_iommu_detach_device(dev);
        assert_false(is_within(use(dev, buffer)));
        arm_iommu_release_mapping(spaces[i]);
    }
    kfree(buffer);
    finish(machine);
}

static void what_is_no_space_is_refused(void **state)
{
    static const struct {
        dma_addr_t base;
        u64 size;
        long error;
    } cases[] = {
        { BASE, 0, -EINVAL },
        { 0, 4096, -EINVAL }, /* page 0 is no address */
        { BASE, 4095, -EINVAL },
        { BASE + 1, 4096, -EINVAL },
        { 1ull << 48, SIZE, -EINVAL },
        { ~0ull - 4095, SIZE, -EINVAL },
        { ~0ull - 4095, 4096, -EINVAL },
        { 1, ~0ull, 0 },
        { BASE, 4096, 0 },
        { BASE + 1, 8191, 0 },
        { 0, 8192, 0 },
        { (1ull << 48) - 4096, SIZE, 0 },
        { BASE, ~0ull - BASE, 0 },
    };
    struct dk_machine *machine = machine_on(BOARD("dma-coherent;"));
    struct device *dev = dk_device_find(machine, "a");
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dma_iommu_mapping *space = arm_iommu_create_mapping(dev, cases[i].base, cases[i].size);

        if (PTR_ERR_OR_ZERO(space) != cases[i].error)
            fail_msg("case %zu: %ld", i, (long)PTR_ERR_OR_ZERO(space));
        if (!IS_ERR(space))
            arm_iommu_release_mapping(space);
    }
    arm_iommu_release_mapping(NULL);
    finish(machine);
    dk_machine_enter(NULL);
    assert_int_equal(PTR_ERR(arm_iommu_create_mapping(NULL, BASE, SIZE)), -ENODEV);
}

/* ---- Attaching ---- */

static void attaching_says_what_is_wrong(void **state)
{
    struct dk_machine *machine = machine_with(BOARD("dma-coherent;"), NULL, 0, 1), *other;
    struct device *a = dk_device_find(machine, "a"), *gone = device_below(machine, "a", "gone"), *foreign;
    struct dma_iommu_mapping *space = arm_iommu_create_mapping(a, BASE, SIZE), *another;
    struct iommu_domain *own = iommu_get_domain_for_dev(a);
    char *buffer = kmalloc(4096, GFP_KERNEL);
    struct log_lines lines;
    dma_addr_t dma;

    (void)state;
    assert_int_equal(arm_iommu_attach_device(a, NULL), -EINVAL);
    assert_int_equal(arm_iommu_attach_device(NULL, space), -EINVAL);
    assert_int_equal(arm_iommu_attach_device(dk_device_find(machine, "plain"), space), -ENODEV);
    dk_device_remove(gone);
    assert_int_equal(arm_iommu_attach_device(gone, space), -EINVAL);
    /* What is mapped is undone where it was mapped. */
    dma = map(a, buffer);
    keep_log(&lines);
    assert_int_equal(arm_iommu_attach_device(a, space), -EBUSY);
    assert_non_null(strstr(lines.text, "live mappings"));
    dma_unmap_single(a, dma, 4096, DMA_TO_DEVICE);
    assert_ptr_equal(iommu_get_domain_for_dev(a), own);

    assert_int_equal(arm_iommu_attach_device(a, space), 0);
    assert_ptr_not_equal(iommu_get_domain_for_dev(a), own);
    another = arm_iommu_create_mapping(a, BASE, SIZE);
    assert_int_equal(arm_iommu_attach_device(a, space), -EBUSY);
    assert_int_equal(arm_iommu_attach_device(a, another), -EBUSY);
    dma = map(a, buffer);
    keep_log(&lines);
    arm_iommu_detach_device(a);
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.text, "live mappings"));
    assert_true(is_reached(a, dma));
    dma_unmap_single(a, dma, 4096, DMA_TO_DEVICE);
    keep_log(&lines);
    arm_iommu_detach_device(a);
    assert_int_equal(lines.count, 0);
    assert_ptr_equal(iommu_get_domain_for_dev(a), own);
    arm_iommu_detach_device(a);
    arm_iommu_detach_device(dk_device_find(machine, "plain"));
    assert_int_equal(lines.count, 2);
    arm_iommu_detach_device(NULL);
    drop_log();

    other = machine_with(BOARD("dma-coherent;"), "iommu.passthrough=1", 0, 1);
    foreign = dk_device_find(other, "a");
    assert_int_equal(arm_iommu_attach_device(foreign, space), -ENODEV);
    finish(other);
    other = machine_with(BOARD("dma-coherent;"), NULL, 0, 1);
    assert_int_equal(arm_iommu_attach_device(dk_device_find(other, "a"), space), -EINVAL);
    finish(other);
    dk_machine_enter(machine);
    arm_iommu_release_mapping(space);
    arm_iommu_release_mapping(another);
    kfree(buffer);
    finish(machine);
}

/* All who are attached see one space, and the others of their contexts do not. */
static void devices_share_a_space(void **state)
{
    struct dk_machine *machine = machine_that_faults(NULL);
    struct device *a = dk_device_find(machine, "a"), *b = dk_device_find(machine, "b");
    struct device *c = dk_device_find(machine, "c");
    struct dma_iommu_mapping *space = arm_iommu_create_mapping(a, BASE, SIZE);
    char *buffer = kmalloc(4096, GFP_KERNEL), *cpu;
    dma_addr_t first, second, coherent;

    (void)state;
    assert_int_equal(arm_iommu_attach_device(a, space), 0);
    assert_int_equal(arm_iommu_attach_device(c, space), 0);
    assert_ptr_equal(iommu_get_domain_for_dev(a), iommu_get_domain_for_dev(c));
    assert_ptr_not_equal(iommu_get_domain_for_dev(a), iommu_get_domain_for_dev(b));
    first = map(a, buffer);
    second = map(c, buffer);
    assert_true(is_within(first) && is_within(second) && first != second);
    assert_true(is_reached(c, first) && is_reached(a, second));
    assert_false(is_reached(b, first));
    cpu = dma_alloc_coherent(c, 20000, &coherent, GFP_KERNEL);
    assert_non_null(cpu);
    assert_true(is_within(coherent) && is_within(coherent + 16384) && is_reached(a, coherent + 19999));
    dma_unmap_single(a, first, 4096, DMA_TO_DEVICE);
    assert_true(!is_reached(c, first) && is_reached(a, second));
    dma_free_coherent(c, 20000, cpu, coherent);
    assert_false(is_reached(a, coherent));
    arm_iommu_detach_device(a);
    assert_false(is_reached(a, second));
    assert_true(is_reached(c, second));
    first = map(a, buffer);
    assert_true(is_reached(b, first) && !is_reached(c, first));
    dma_unmap_single(a, first, 4096, DMA_TO_DEVICE);
    dma_unmap_single(c, second, 4096, DMA_TO_DEVICE);
    arm_iommu_detach_device(c);
    arm_iommu_release_mapping(space);
    kfree(buffer);
    dk_machine_destroy(machine);
}

/* A device's windows hold for all of the space; one that comes too late is kept out. */
static void bound_the_space(int depth)
{
    struct dk_machine *machine = machine_with(BOARD("dma-coherent;"), NULL, 0, depth);
    struct device *a = dk_device_find(machine, "a"), *w = dk_device_find(machine, "w");
    struct dma_iommu_mapping *space = arm_iommu_create_mapping(a, 0x100000, 8 << 20);
    struct iommu_domain *own = iommu_get_domain_for_dev(w);
    char *buffer = kmalloc(4096, GFP_KERNEL);
    dma_addr_t dma;

    assert_int_equal(arm_iommu_attach_device(a, space), 0);
    dma = map(a, buffer);
    assert_true(dma >= 0x200000);
    assert_int_equal(arm_iommu_attach_device(w, space), -EBUSY);
    assert_ptr_equal(iommu_get_domain_for_dev(w), own);
    dma_unmap_single(w, map(w, buffer), 4096, DMA_TO_DEVICE);
    dma_unmap_single(a, dma, 4096, DMA_TO_DEVICE);
    assert_int_equal(arm_iommu_attach_device(w, space), 0);
    dma = use(w, buffer);
    assert_true(dma >= 0x100000 && dma < 0x200000);
    dma = use(a, buffer);
    assert_true(dma >= 0x100000 && dma < 0x200000);
    arm_iommu_release_mapping(space);
    arm_iommu_detach_device(a);
    arm_iommu_detach_device(w);
    kfree(buffer);
    finish(machine);
}

/* At depth 2 addresses are not given out again at once, but are nobody's. */
static void windows_bound_the_space(void **state)
{
    (void)state;
    bound_the_space(1);
    bound_the_space(2);
}

/* A mask must leave an address of the space. */
static void masks_meet_the_space(void **state)
{
    struct dk_machine *machine = machine_on(BOARD("dma-coherent;"));
    struct device *a = dk_device_find(machine, "a"), *w = dk_device_find(machine, "w");
    struct dma_iommu_mapping *space = arm_iommu_create_mapping(a, 0x180000, SIZE);
    char *buffer = kmalloc(4096, GFP_KERNEL);
    dma_addr_t dma;

    (void)state;
    assert_true(dma_supported(a, 0x1fff));
    assert_int_equal(arm_iommu_attach_device(a, space), 0);
    assert_int_equal(dma_supported(a, 0x180ffe), 0);
    assert_int_equal(dma_set_mask(a, 0x180fff), 0);
    assert_int_equal(use(a, buffer), 0x180000);
    assert_int_equal(dma_set_mask(a, DMA_BIT_MASK(20)), -EIO);
    assert_true(dma_supported(w, 0x100fff));
    assert_int_equal(arm_iommu_attach_device(w, space), 0);
    assert_int_equal(dma_supported(w, 0x100fff), 0);
    assert_int_equal(dma_supported(w, 0x180fff), 1);
    dma = use(w, buffer);
    assert_true(dma >= 0x180000 && dma < 0x200000);
    arm_iommu_detach_device(a);
    arm_iommu_detach_device(w);
    arm_iommu_release_mapping(space);
    kfree(buffer);
    finish(machine);
}

/* ---- Ends ---- */

enum step {
    END,
    ATTACH_A,
    ATTACH_C,
    DETACH_A,
    DETACH_C,
    REMOVE_A,
    RELEASE,
    USE_A, /* within the space */
    USE_C,
    OWN_A, /* in the context's own */
};

static void it_ends_in_any_order(void **state)
{
    static const enum step orders[][10] = {
        { RELEASE },
        { ATTACH_A, USE_A, DETACH_A, OWN_A, RELEASE },
        { ATTACH_A, RELEASE, USE_A, DETACH_A, OWN_A },
        { ATTACH_A, ATTACH_C, RELEASE, USE_A, DETACH_A, USE_C, OWN_A, DETACH_C },
        { ATTACH_A, ATTACH_C, DETACH_A, OWN_A, USE_C, ATTACH_A, USE_A, RELEASE },
        { ATTACH_A, ATTACH_C, REMOVE_A, USE_C, RELEASE, USE_C, DETACH_C },
        { ATTACH_A, REMOVE_A, RELEASE },
        { ATTACH_A, RELEASE, REMOVE_A },
        { ATTACH_A, DETACH_A, ATTACH_A, USE_A, DETACH_A, OWN_A, RELEASE },
        /* Never released, and attached to the end. */
        { ATTACH_A, USE_A, DETACH_A },
        { ATTACH_A, USE_A },
        { ATTACH_A, RELEASE, USE_A },
        { END },
    };
    static const char *const arguments[] = { NULL, "iommu.strict=0" };
    size_t i, k;
    int depth;

    (void)state;
    for (i = 0; i < 4 * sizeof(orders) / sizeof(orders[0]); i++) {
        const enum step *order = orders[i / 4];
        struct dk_machine *machine;
        struct dma_iommu_mapping *space;
        struct device *a, *c;
        char *buffer;

        depth = (int)(i & 1);
        machine = machine_with(BOARD("dma-noncoherent;"), arguments[i >> 1 & 1], 0, depth);
        a = dk_device_find(machine, "a");
        c = dk_device_find(machine, "c");
        space = arm_iommu_create_mapping(a, BASE, SIZE);
        buffer = kmalloc(4096, GFP_KERNEL);
        for (k = 0; k < 10 && order[k] != END; k++) {
            struct device *dev = order[k] == ATTACH_C || order[k] == DETACH_C || order[k] == USE_C ? c : a;
            dma_addr_t dma;

            switch (order[k]) {
            case ATTACH_A:
            case ATTACH_C:
                assert_int_equal(arm_iommu_attach_device(dev, space), 0);
                break;
            case DETACH_A:
            case DETACH_C:
                arm_iommu_detach_device(dev);
                break;
            case REMOVE_A:
                dk_device_remove(dev);
                break;
            case RELEASE:
                arm_iommu_release_mapping(space);
                break;
            default:
                dma = map(dev, buffer);
                dma_unmap_single(dev, dma, 4096, DMA_TO_DEVICE);
                assert_int_equal(is_within(dma), order[k] != OWN_A);
                /* What a lazy space had not forgotten goes with it. */
                if (k + 1 < 10 && (order[k + 1] == DETACH_A) && dev == a) {
                    arm_iommu_detach_device(a);
                    assert_false(is_reached(a, dma));
                    k++;
                }
            }
        }
        kfree(buffer);
        finish(machine);
    }
}

/* A space that nobody released is named in the log. */
static void what_is_not_released_is_logged(void **state)
{
    struct dk_machine *machine = machine_on(BOARD("dma-coherent;"));
    struct log_lines lines;

    (void)state;
    assert_false(IS_ERR(arm_iommu_create_mapping(dk_device_find(machine, "a"), BASE, SIZE)));
    keep_log(&lines);
    finish(machine);
    drop_log();
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.text, "0x10000000"));
}

/* ---- Looking ---- */

static void addresses_lead_to_memory(void **state)
{
    struct dk_machine *machine = machine_on(BOARD("dma-coherent;"));
    struct device *a = dk_device_find(machine, "a");
    struct iommu_domain *domain = iommu_get_domain_for_dev(a);
    struct page *page = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
    static const size_t offsets[] = { 0, 100, 4096 + 5 };
    static const size_t sizes[] = { 1, 4096, 3 << 20 };
    size_t i, k;

    (void)state;
    assert_non_null(domain);
    for (i = 0; i < 3; i++) {
        for (k = 0; k < 3; k++) {
            dma_addr_t dma = dma_map_page(a, page, offsets[i], sizes[k], DMA_BIDIRECTIONAL);
            phys_addr_t phys = page_to_phys(page) + offsets[i];

            assert_int_equal(dma_mapping_error(a, dma), 0);
            assert_true(iommu_iova_to_phys(domain, dma) == phys);
            assert_true(iommu_iova_to_phys(domain, dma + sizes[k] - 1) == phys + sizes[k] - 1);
            assert_true(iommu_iova_to_phys(domain, dma + sizes[k] / 2) == phys + sizes[k] / 2);
            assert_true(iommu_iova_to_phys(domain, ((dma + sizes[k] - 1) | 4095) + 1) == 0);
            assert_true(iommu_iova_to_phys(domain, (dma & ~4095ull) - 1) == 0);
            dma_unmap_page(a, dma, sizes[k], DMA_BIDIRECTIONAL);
            assert_true(iommu_iova_to_phys(domain, dma) == 0);
        }
    }
    assert_true(iommu_iova_to_phys(NULL, 0) == 0);
    assert_true(iommu_iova_to_phys(domain, DMA_MAPPING_ERROR) == 0);
    assert_true(iommu_iova_to_phys(domain, 1ull << 48) == 0);
    __free_pages(page, MAX_PAGE_ORDER);
    finish(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_makes_a_space),     cmocka_unit_test(what_is_no_space_is_refused),
        cmocka_unit_test(attaching_says_what_is_wrong), cmocka_unit_test(devices_share_a_space),
        cmocka_unit_test(windows_bound_the_space),      cmocka_unit_test(masks_meet_the_space),
        cmocka_unit_test(it_ends_in_any_order),         cmocka_unit_test(what_is_not_released_is_logged),
        cmocka_unit_test(addresses_lead_to_memory),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("mapper", tests, NULL, NULL);
}
