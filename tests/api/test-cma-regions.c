/* SPDX-License-Identifier: MIT */
/*
 * Regions of contiguous memory with allocators of the program's own: who is called when, and what a bad
 * allocator or caller gets.
 */
#include "api.h"

#define MIB ((u64)1 << 20)

#define BOARD                                                                                                       \
    "/dts-v1/;\n"                                                                                                   \
    "/ { #address-cells = <1>; #size-cells = <1>; model = \"regions\"; compatible = \"dmakit,test\"; dma-coherent;" \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x2000000>; };"                                 \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges;"                                           \
    "  area@40800000 { compatible = \"shared-dma-pool\"; reusable; reg = <0x40800000 0x100000>; }; }; };"

/* ---- An allocator that goes down from the top and never back, and does what it is told to ---- */

struct top_down {
    phys_addr_t next;
    unsigned set_up, cleaned_up, allocated, freed;
    int init_error;
    phys_addr_t bad_choice; /* not 0: what it chooses, whether it is free or not */
};

static int top_down_init(struct cma_region *region)
{
    struct top_down *state = region->private_data;

    state->set_up++;
    state->next = region->start + region->size;
    return state->init_error;
}

static void top_down_cleanup(struct cma_region *region)
{
    ((struct top_down *)region->private_data)->cleaned_up++;
}

static int top_down_alloc(struct cma_region *region, u64 size, u64 alignment, phys_addr_t *start)
{
    struct top_down *state = region->private_data;

    assert_int_equal(size % 4096, 0);
    assert_true(alignment >= 4096);
    if (state->bad_choice) {
        *start = state->bad_choice;
        return 0;
    }
    if (state->next - region->start < size)
        return -ENOSPC;
    state->next = (state->next - size) & ~(alignment - 1);
    if (state->next < region->start)
        return -ENOSPC;
    *start = state->next;
    state->allocated++;
    return 0;
}

static void top_down_free(struct cma_region *region, phys_addr_t start, u64 size)
{
    struct top_down *state = region->private_data;

    assert_true(start >= region->start && start + size <= region->start + region->size);
    state->freed++;
}

static struct cma_allocator make_allocator(void)
{
    return (struct cma_allocator){ .name = "top-down",
                                   .init = top_down_init,
                                   .cleanup = top_down_cleanup,
                                   .alloc = top_down_alloc,
                                   .free = top_down_free };
}

static int error_of(dma_addr_t address)
{
    assert_true(IS_ERR_VALUE(address));
    return (int)(long)address;
}

static void an_allocator_chooses_the_places(void **state)
{
    struct dk_machine *machine = machine_on(BOARD);
    struct cma_allocator allocator = make_allocator();
    struct top_down own = { 0 };
    struct cma_region region = {
        .name = "video", .start = 0x41000000, .size = MIB, .allocator_name = "top-down", .private_data = &own
    };
    struct cma_info info;
    dma_addr_t first, second;

    (void)state;
    /* It may come after its region; until then the region has nobody to serve it. */
    assert_int_equal(cma_region_register(&region), 0);
    assert_int_equal(error_of(cma_alloc_from("video", 4096, 0)), -ENODEV);
    assert_int_equal(cma_allocator_register(&allocator), 0);
    assert_int_equal(own.set_up, 0);
    first = cma_alloc_from("video", 5000, 0);
    assert_int_equal(first, 0x410fe000);
    second = cma_alloc_from_region(&region, 1, 0x10000);
    assert_int_equal(second, 0x410f0000);
    assert_int_equal(own.set_up, 1);
    assert_int_equal(own.allocated, 2);
    assert_int_equal(cma_info_about(&info, "video"), 0);
    assert_int_equal(info.total_size, MIB);
    assert_int_equal(info.free_size, MIB - 3 * 4096);
    assert_int_equal(error_of(cma_alloc_from("video", MIB, 0)), -ENOSPC);

    assert_int_equal(cma_allocator_unregister(&allocator), -EBUSY);
    assert_int_equal(cma_region_unregister(&region), -EBUSY);
    assert_int_equal(cma_free(first), 0);
    assert_int_equal(cma_free(first), -ENOENT);
    assert_int_equal(cma_free(second + 4096), -ENOENT);
    assert_int_equal(cma_free(second + 1), -ENOENT);
    assert_int_equal(own.freed, 1);
    assert_int_equal(cma_free(second), 0);
    assert_int_equal(own.freed, 2);
    assert_int_equal(cma_region_unregister(&region), 0);
    assert_int_equal(own.cleaned_up, 1);
    assert_int_equal(cma_region_unregister(&region), -EINVAL);
    assert_int_equal(cma_allocator_unregister(&allocator), 0);
    assert_int_equal(cma_allocator_unregister(&allocator), -ENOENT);

    /* Its memory can be had again. */
    assert_int_equal(cma_region_register(&region), 0);
    assert_int_equal(region.start, 0x41000000);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void a_bad_allocator_does_no_harm(void **state)
{
    struct dk_machine *machine = machine_on(BOARD);
    struct cma_allocator allocator = make_allocator();
    struct top_down own = { .init_error = -EIO };
    struct cma_region region = { .size = MIB, .allocator_name = "top-down", .private_data = &own };
    const phys_addr_t outside = 0x40000000;
    dma_addr_t good;

    (void)state;
    assert_int_equal(cma_region_register(&region), 0);
    assert_int_equal(cma_allocator_register(&allocator), 0);
    assert_int_equal(error_of(cma_alloc_from_region(&region, 4096, 0)), -EIO);
    own.init_error = 0;
    good = cma_alloc_from_region(&region, 8192, 0);
    assert_int_equal(good, region.start + MIB - 8192);
    /* A place that is taken, half taken, outside, over the end, not aligned. */
    own.bad_choice = good;
    assert_int_equal(error_of(cma_alloc_from_region(&region, 4096, 0)), -EFAULT);
    own.bad_choice = good - 4096;
    assert_int_equal(error_of(cma_alloc_from_region(&region, 8192, 0)), -EFAULT);
    own.bad_choice = outside;
    assert_int_equal(error_of(cma_alloc_from_region(&region, 4096, 0)), -EFAULT);
    own.bad_choice = region.start;
    assert_int_equal(error_of(cma_alloc_from_region(&region, 2 * MIB, 0)), -EFAULT);
    own.bad_choice = region.start + 4096;
    assert_int_equal(error_of(cma_alloc_from_region(&region, 4096, 8192)), -EFAULT);
    own.bad_choice = region.start + 4097;
    assert_int_equal(error_of(cma_alloc_from_region(&region, 4096, 0)), -EFAULT);
    assert_int_equal(own.freed, 0);
    own.bad_choice = region.start + 4096;
    assert_int_equal(cma_alloc_from_region(&region, 4096, 0), region.start + 4096);
    assert_int_equal(cma_free(region.start + 4096), 0);
    assert_int_equal(cma_free(good), 0);
    assert_int_equal(cma_region_unregister(&region), 0);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void names_are_looked_up_in_turn(void **state)
{
    struct dk_machine *machine = machine_on(BOARD);
    struct cma_region small = { .name = "small", .size = 8192 };
    struct cma_region private = { .size = 65536, .alignment = 65536 };
    dma_addr_t a, b, c;

    (void)state;
    assert_int_equal(cma_region_register(&small), 0);
    assert_int_equal(cma_region_register(&private), 0);
    assert_int_equal(private.start % 65536, 0);
    a = cma_alloc_from("small,area", 8192, 0);
    assert_int_equal(a, small.start);
    b = cma_alloc_from("small,area", 8192, 0);
    assert_int_equal(b, 0x40800000);
    assert_int_equal(error_of(cma_alloc_from("small", 1, 0)), -ENOMEM);
    assert_int_equal(error_of(cma_alloc_from("small,nobody,area", 1, 0)), -ENOENT);
    assert_int_equal(error_of(cma_alloc_from("", 1, 0)), -ENOENT);
    assert_int_equal(error_of(cma_alloc_from(NULL, 1, 0)), -EINVAL);
    assert_int_equal(error_of(cma_alloc_from("area", 0, 0)), -EINVAL);
    assert_int_equal(error_of(cma_alloc_from("area", ~(size_t)0, 0)), -EINVAL);
    assert_int_equal(error_of(cma_alloc_from("area", 4096, 12288)), -EINVAL);
    assert_int_equal(error_of(cma_alloc_from("area", 4096, (dma_addr_t)1 << 50)), -ENOMEM);
    c = cma_alloc_from("area", 4096, 0x40000);
    assert_int_equal(c, 0x40840000);
    assert_int_equal(cma_alloc_from_region(&private, 65536, 65536), private.start);
    assert_int_equal(cma_free(a), 0);
    assert_int_equal(cma_free(b), 0);
    assert_int_equal(cma_free(c), 0);
    assert_int_equal(cma_free(private.start), 0);
    assert_int_equal(cma_free(0x1000), -ENOENT);
    assert_int_equal(cma_free(~(dma_addr_t)4095), -ENOENT);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void bad_registrations_are_refused(void **state)
{
    struct dk_machine *machine = machine_on(BOARD);
    struct cma_region region = { .name = "video", .size = 4096 };
    struct cma_region same = region, area = { .name = "area", .size = 4096 }, odd = { .size = 4095 };
    struct cma_region there = { .start = 0x40800000, .size = 4096 };
    struct cma_allocator allocator = make_allocator(), nameless = make_allocator(), twin = make_allocator();

    (void)state;
    nameless.name = NULL;
    assert_int_equal(cma_allocator_register(NULL), -EINVAL);
    assert_int_equal(cma_allocator_register(&nameless), -EINVAL);
    assert_int_equal(cma_allocator_unregister(NULL), -EINVAL);
    assert_int_equal(cma_allocator_register(&allocator), 0);
    assert_int_equal(cma_allocator_register(&twin), -EBUSY);
    assert_int_equal(cma_allocator_unregister(&twin), -ENOENT);
    assert_int_equal(cma_region_register(NULL), -EINVAL);
    assert_int_equal(cma_region_unregister(NULL), -EINVAL);
    assert_int_equal(cma_region_unregister(&region), -EINVAL);
    assert_int_equal(error_of(cma_alloc_from_region(NULL, 4096, 0)), -EINVAL);
    assert_int_equal(error_of(cma_alloc_from_region(&region, 4096, 0)), -EINVAL);
    assert_int_equal(cma_region_register(&region), 0);
    assert_int_equal(cma_region_register(&region), -EBUSY);
    assert_int_equal(cma_region_register(&same), -EBUSY);
    assert_int_equal(cma_region_register(&area), -EBUSY);
    assert_int_equal(cma_region_register(&odd), -EINVAL);
    assert_int_equal(cma_region_register(&there), -EBUSY);
    assert_int_equal(dk_machine_destroy(machine), 0);
    /* With the machine they are gone. */
    assert_int_equal(cma_allocator_register(&allocator), -EINVAL);
    assert_int_equal(error_of(cma_alloc_from("video", 4096, 0)), -EINVAL);
    assert_int_equal(cma_free(0x40800000), -EINVAL);
}

static void each_allocation_fails(void **state)
{
    unsigned long n, hits = 1;

    (void)state;
    for (n = 1; hits; n++) {
        struct dk_machine *machine = machine_on(BOARD);
        struct cma_region region = { .name = "video", .size = MIB };
        dma_addr_t address;
        int error;

        dk_fail_nth(n);
        error = cma_region_register(&region);
        assert_true(!error || error == -ENOMEM);
        address = cma_alloc_from("video,area", MIB, MIB);
        if (IS_ERR_VALUE(address))
            assert_true(error_of(address) == -ENOMEM || error);
        else
            assert_int_equal(cma_free(address), 0);
        if (!error)
            assert_int_equal(cma_region_unregister(&region), 0);
        hits = dk_fail_hits();
        dk_fail_nth(0);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
    assert_true(n > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_allocator_chooses_the_places), cmocka_unit_test(a_bad_allocator_does_no_harm),
        cmocka_unit_test(names_are_looked_up_in_turn),     cmocka_unit_test(bad_registrations_are_refused),
        cmocka_unit_test(each_allocation_fails),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("cma-regions", tests, NULL, NULL);
}
