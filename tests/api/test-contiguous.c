/* SPDX-License-Identifier: MIT */
/*
 * Contiguous areas as drivers and boards see them: which one serves a device, declaring more of them, and
 * what is told about them.
 */
#include "api.h"

#define MIB ((u64)1 << 20)

/*
 * A codec with two banks, as s5p-mfc has them: each of its two memory interfaces is a device below it with an
 * area of its own. 64 MiB at 0x40000000.
 */
#define BOARD                                                                                                     \
    "/dts-v1/;\n"                                                                                                 \
    "/ { #address-cells = <1>; #size-cells = <1>; model = \"codec\"; compatible = \"dmakit,test\"; dma-coherent;" \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                               \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges;"                                         \
    "  left: left@40800000 { compatible = \"shared-dma-pool\"; reusable; reg = <0x40800000 0x400000>; };"         \
    "  right: right@41000000 { compatible = \"shared-dma-pool\"; reusable; reg = <0x41000000 0x400000>; };"       \
    "  dflt: common@41800000 { compatible = \"shared-dma-pool\"; reusable; linux,cma-default;"                    \
    "   reg = <0x41800000 0x800000>; }; };"                                                                       \
    " codec@1 { compatible = \"dmakit,codec\"; memory-region = <&left>, <&right>;"                                \
    "  memory-region-names = \"left\", \"right\"; };"                                                             \
    " camera@2 { compatible = \"dmakit,camera\"; }; soc { camera@3 { compatible = \"dmakit,camera\"; }; };"       \
    " nic@4 { compatible = \"dmakit,nic\"; };"                                                                    \
    " aliases { codec = \"/codec@1\"; camera = \"/camera@2\"; far = \"/soc/camera@3\"; nic = \"/nic@4\"; }; };"

static const u64 left = 0x40800000, right = 0x41000000, common = 0x41800000;

static bool lies_in(u64 address, u64 base, u64 size)
{
    return address >= base && address - base < size;
}

/* Allocates @size bytes for @dev and frees them; returns where they were. */
static dma_addr_t place_of(struct device *dev, size_t size)
{
    dma_addr_t dma;
    void *cpu = dma_alloc_coherent(dev, size, &dma, GFP_KERNEL);

    assert_non_null(cpu);
    dma_free_coherent(dev, size, cpu, dma);
    return dma;
}

/* ---- Two banks ---- */

static void two_banks_serve_one_codec(void **state)
{
    struct dk_machine *machine = machine_on(BOARD);
    struct device *codec = dk_device_find(machine, "codec");
    struct device *bank[2] = { dk_device_add(codec, "left"), dk_device_add(codec, "right") };
    static const u64 base[2] = { 0x40800000, 0x41000000 };
    static const char *const names[2] = { "left", "right" };
    int i, j;

    (void)state;
    for (j = 0; j < 2; j++) {
        for (i = 0; i < 2; i++) {
            assert_int_equal(j ? of_reserved_mem_device_init_by_name(bank[i], codec->of_node, names[i])
                               : of_reserved_mem_device_init_by_idx(bank[i], codec->of_node, i),
                             0);
            assert_ptr_equal(dev_get_cma_area(bank[i]), dk_cma_get(names[i]));
        }
        for (i = 0; i < 2; i++) {
            assert_true(lies_in(place_of(bank[i], MIB), base[i], 4 * MIB));
            /* Single pages too: the bank is the device's alone. */
            assert_true(lies_in(place_of(bank[i], 4096), base[i], 4 * MIB));
        }
        /* The codec itself has neither. */
        assert_true(lies_in(place_of(codec, MIB), common, 8 * MIB));
        assert_int_equal(of_reserved_mem_device_init_by_idx(bank[0], codec->of_node, 2), -ENODEV);
        assert_int_equal(of_reserved_mem_device_init_by_name(bank[0], codec->of_node, "top"), -ENODEV);
        for (i = 0; i < 2; i++)
            of_reserved_mem_device_release(bank[i]);
        assert_ptr_equal(dev_get_cma_area(bank[0]), dk_cma_get("common"));
    }
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* A full bank is not helped out by the other: the memory comes from the page allocator, as in Linux. */
static void a_full_bank_stays_alone(void **state)
{
    struct dk_machine *machine = machine_on(BOARD);
    struct device *codec = dk_device_find(machine, "codec");
    struct page *whole, *page;
    dma_addr_t place;

    (void)state;
    assert_int_equal(of_reserved_mem_device_init(codec), 0);
    whole = dma_alloc_from_contiguous(codec, 1024, 0, false);
    assert_int_equal(page_to_phys(whole), left);
    assert_null(dma_alloc_from_contiguous(codec, 1, 0, true));
    place = place_of(codec, 64 * 4096);
    assert_false(lies_in(place, left, 4 * MIB) || lies_in(place, right, 4 * MIB) ||
                 lies_in(place, common, 8 * MIB));
    /* What it has goes back there, whatever area it has by then. */
    of_reserved_mem_device_release(codec);
    assert_false(dma_release_from_contiguous(codec, whole, 1024));
    dma_free_contiguous(codec, whole, 4 * MIB);
    of_reserved_mem_device_init(codec);
    page = dma_alloc_from_contiguous(codec, 1024, 0, false);
    assert_ptr_equal(page, whole);
    assert_true(dma_release_from_contiguous(codec, page, 1024));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- Linux's calls ---- */

static void pages_come_from_the_devices_area(void **state)
{
    struct dk_machine *machine = machine_on(BOARD);
    struct device *nic = dk_device_find(machine, "nic");
    struct dk_machine *other = machine_on(BOARD);
    struct page *page;

    (void)state;
    dk_machine_enter(machine);
    assert_ptr_equal(dev_get_cma_area(NULL), dk_cma_get("common"));
    page = dma_alloc_from_contiguous(NULL, 16, 4, false);
    assert_true(lies_in(page_to_phys(page), common, 8 * MIB));
    assert_true(dma_release_from_contiguous(NULL, page, 16));

    dev_set_cma_area(nic, dk_cma_get("right"));
    page = dma_alloc_from_contiguous(nic, 3, 20, false);
    assert_true(lies_in(page_to_phys(page), right, 4 * MIB));
    assert_int_equal(page_to_phys(page) % MIB, 0);
    assert_false(dma_release_from_contiguous(nic, NULL, 3));
    assert_false(dma_release_from_contiguous(nic, page, 0));
    assert_false(dma_release_from_contiguous(nic, page, -3));
    assert_false(dma_release_from_contiguous(NULL, page, 3));
    assert_true(dma_release_from_contiguous(nic, page, 3));
    assert_null(dma_alloc_contiguous(nic, 0, GFP_KERNEL));
    assert_null(dma_alloc_contiguous(nic, 4096, GFP_ATOMIC));
    assert_null(dma_alloc_contiguous(NULL, 4096, GFP_KERNEL));
    page = dma_alloc_contiguous(nic, 5000, GFP_KERNEL);
    assert_true(lies_in(page_to_phys(page), right, 4 * MIB));
    dma_free_contiguous(nic, page, 5000);
    dma_free_contiguous(nic, NULL, 5000);

    /* Another machine's area is no area for it; none is the default one. */
    dk_machine_enter(other);
    dev_set_cma_area(nic, dk_cma_get("left"));
    dk_machine_enter(machine);
    assert_ptr_equal(dev_get_cma_area(nic), dk_cma_get("right"));
    dev_set_cma_area(nic, NULL);
    assert_ptr_equal(dev_get_cma_area(nic), dk_cma_get("common"));
    assert_null(dma_alloc_contiguous(nic, 4096, GFP_KERNEL));
    /* What the area does not have may be the page allocator's; freeing finds out. */
    page = alloc_pages(GFP_KERNEL, 1);
    dma_free_contiguous(nic, page, 8192);
    assert_int_equal(dk_machine_destroy(other), 0);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- Declaring ---- */

static void declaring_has_linux_s_errors(void **state)
{
    static const struct {
        u64 base, size, limit, alignment;
        unsigned order_per_bit;
        bool fixed;
        int error;
    } cases[] = {
        { 0, 0, 0, 0, 0, false, -EINVAL },                         /* empty */
        { 0, 4097, 0, 0, 0, false, -EINVAL },                      /* no whole pages */
        { 0, 3 * 4096, 0, 0, 1, false, -EINVAL },                  /* no whole units */
        { 0, 4096, 0, 0, 11, false, -EINVAL },                     /* a unit too large */
        { 0, 4096, 0, 12288, 0, false, -EINVAL },                  /* no power of two */
        { 0x40101000, 4096, 0, 0x100000, 0, true, -EINVAL },       /* a base that is not aligned */
        { 0x40000000, 4096, 0x40000fff, 0, 0, true, -EINVAL },     /* past the limit */
        { 0x43fff000, 8192, 0, 0, 0, true, -EINVAL },              /* past the end of memory */
        { 0x43fff000, 8192, 0, 0, 0, false, -EINVAL },             /* the same */
        { ~(u64)4095, 8192, 0, 0, 0, true, -EINVAL },              /* wraps */
        { 0, ~(u64)4095, 0, 0, 0, false, -EINVAL },                /* more than there is */
        { 0x3ffff000, 4096, 0, 0, 0, true, -EINVAL },              /* no memory there */
        { 0x40bff000, 8192, 0, 0, 0, true, -EBUSY },               /* its first half is an area's */
        { 0x407ff000, 8192, 0, 0, 0, true, -EBUSY },               /* its second half is */
        { 0, 40 * MIB, 0, 0, 0, false, -ENOMEM },                  /* in one piece there is less */
        { 0x40800000, 4 * MIB, 0x40c00000, 0, 0, false, -ENOMEM }, /* all of it is an area's */
        { 0x40c00000, MIB, 0, 0, 0, true, 0 },
        { 0x40c00000, MIB, 0, 0, 0, true, -EBUSY }, /* taken by the one before */
        { 0x40d00000, MIB, 0x41000000, 2 * MIB, 0, false, 0 },
        { 0, 64 * 4096, 0x40800000, 0, 6, false, 0 },
    };
    struct dk_machine *machine = machine_on(BOARD);
    struct cma *area, *unchanged = (struct cma *)&cases;
    struct page *page;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int error;

        area = unchanged;
        error = cma_declare_contiguous(cases[i].base, cases[i].size, cases[i].limit, cases[i].alignment,
                                       cases[i].order_per_bit, cases[i].fixed, i % 2 ? "more" : NULL, &area);
        if (error != cases[i].error)
            fail_msg("case %zu: %d, expected %d", i, error, cases[i].error);
        if (error) {
            assert_ptr_equal(area, unchanged);
            continue;
        }
        assert_int_equal(cma_get_size(area), cases[i].size);
        if (cases[i].fixed)
            assert_int_equal(cma_get_base(area), cases[i].base);
        assert_true(cma_get_base(area) >= cases[i].base);
        assert_true(!cases[i].limit || cma_get_base(area) + cases[i].size <= cases[i].limit);
        assert_true(!cases[i].alignment || cma_get_base(area) % cases[i].alignment == 0);
        assert_int_equal(strncmp(cma_get_name(area), i % 2 ? "more" : "cma", 3), 0);
        page = cma_alloc(area, cases[i].size / 4096, 0, false);
        assert_int_equal(page_to_phys(page), cma_get_base(area));
        /* What is an area's is not the page allocator's. */
        assert_true(cma_release(area, page, cases[i].size / 4096));
        assert_null(cma_alloc(area, cases[i].size / 4096 + 1, 0, true));
    }
    assert_int_equal(cma_declare_contiguous(0, MIB, 0, 0, 0, false, "a", NULL), -EINVAL);
    /* A page in use in the middle. */
    page = alloc_pages(GFP_KERNEL, 0);
    assert_int_equal(cma_declare_contiguous(page_to_phys(page), 4096, 0, 0, 0, true, "a", &area), -EBUSY);
    __free_pages(page, 0);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static int count_area(struct cma *area, void *data)
{
    unsigned *left_to_see = data;

    assert_non_null(cma_get_name(area));
    return --*left_to_see ? 0 : 7;
}

static void a_machine_has_so_many_areas(void **state)
{
    struct dk_machine *machine = machine_on(BOARD);
    unsigned to_see = 1000, i;
    struct cma *area;
    char name[8];

    (void)state;
    for (i = 3; i < 64; i++) {
        snprintf(name, sizeof(name), "a%u", i);
        area = dk_cma_declare(machine, 0, 4096, 0, 0, 0, false, name);
        assert_false(IS_ERR(area));
        assert_ptr_equal(dk_cma_get(name), area);
    }
    assert_int_equal(PTR_ERR(dk_cma_declare(machine, 0, 4096, 0, 0, 0, false, "last")), -ENOSPC);
    assert_int_equal(PTR_ERR(dk_cma_declare(NULL, 0, 4096, 0, 0, 0, false, "last")), -EINVAL);
    assert_null(dk_cma_get("last"));
    assert_null(dk_cma_get(NULL));
    assert_int_equal(cma_for_each_area(count_area, &to_see), 0);
    assert_int_equal(to_see, 1000 - 64);
    to_see = 5;
    assert_int_equal(cma_for_each_area(count_area, &to_see), 7);
    assert_int_equal(dk_machine_destroy(machine), 0);
    assert_int_equal(cma_for_each_area(count_area, &to_see), 0);
    assert_int_equal(cma_declare_contiguous(0, 4096, 0, 0, 0, false, "a", &area), -EINVAL);
}

static void a_driver_declares_its_own(void **state)
{
    struct dk_machine *machine = machine_on(BOARD);
    struct device *nic = dk_device_find(machine, "nic");
    struct cma *area;

    (void)state;
    assert_int_equal(dma_declare_contiguous(NULL, MIB, 0, 0), -EINVAL);
    assert_int_equal(dma_declare_contiguous(nic, MIB, 0x40800000, 0), -EBUSY);
    assert_ptr_equal(dev_get_cma_area(nic), dk_cma_get("common"));
    assert_int_equal(dma_declare_contiguous(nic, MIB, 0x40c00000, 0), 0);
    assert_int_equal(place_of(nic, MIB), 0x40c00000);
    assert_string_equal(cma_get_name(dev_get_cma_area(nic)), dev_name(nic));
    assert_int_equal(dma_contiguous_reserve_area(MIB, 0, 0x40800000, &area, false), 0);
    assert_true(cma_get_base(area) + MIB <= 0x40800000);
    assert_string_equal(cma_get_name(area), "reserved");
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- The map ---- */

static u64 base_for(const char *map, const char *device)
{
    struct dk_machine *machine = machine_with(BOARD, map, 0, 1);
    struct device *dev = dk_device_find(machine, device);
    dma_addr_t place = place_of(dev, MIB);
    u64 base = cma_get_base(dev_get_cma_area(dev));

    assert_true(lies_in(place, base, 8 * MIB));
    assert_int_equal(dk_machine_destroy(machine), 0);
    return base;
}

static void rules_say_which_area_is_whose(void **state)
{
    static const struct {
        const char *map, *device;
        u64 base;
    } cases[] = {
        { "cma_map=camera=left", "camera", 0x40800000 },
        { "cma_map=camera=left", "far", 0x40800000 },
        { "cma_map=camera=left", "nic", 0x41800000 },
        { "cma_map=camera@2=left;camera=right", "camera", 0x40800000 },
        { "cma_map=camera@2=left;camera=right", "far", 0x41000000 },
        { "cma_map=/soc/*=left;*=right;", "far", 0x40800000 },
        { "cma_map=/soc/*=left;*=right;", "nic", 0x41000000 },
        { "cma_map=n?c,codec=right", "nic", 0x41000000 },
        { "cma_map=n?c,codec=right", "codec", 0x41000000 },
        { "cma_map=n?c,codec=right", "camera", 0x41800000 },
        { "cma_map=c*a=right@41000000", "camera", 0x41000000 },
        { "cma_map=c*d=right", "camera", 0x41800000 },
        { "cma_map=*=/reserved-memory/left@40800000", "nic", 0x40800000 },
        { "cma_map=*=left;nic=right", "nic", 0x40800000 },
        { "cma_map=nic=default;*=left", "nic", 0x41800000 },
        { "cma=2M@0x40000000 cma_map=nic=default;*=left", "nic", 0x40000000 },
        { "cma=2M@0x40000000 cma_map=nic=common", "nic", 0x41800000 },
        { "cma_map=", "nic", 0x41800000 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (base_for(cases[i].map, cases[i].device) != cases[i].base)
            fail_msg("%s: %s has another area", cases[i].map, cases[i].device);
    }
}

/* Several areas of a rule are tried in turn; a region of the device's own comes before any rule. */
static void areas_of_a_rule_are_tried_in_turn(void **state)
{
    struct dk_machine *machine = machine_with(BOARD, "cma_map=nic,codec=right,left", 0, 1);
    struct device *nic = dk_device_find(machine, "nic"), *codec = dk_device_find(machine, "codec");
    struct page *pages[2], *page;
    struct cma_info info;

    (void)state;
    assert_int_equal(cma_info(&info, nic), 0);
    assert_int_equal(info.count, 2);
    assert_int_equal(info.total_size, 8 * MIB);
    pages[0] = dma_alloc_from_contiguous(nic, 1000, 0, false);
    pages[1] = dma_alloc_from_contiguous(nic, 1000, 0, false);
    assert_true(lies_in(page_to_phys(pages[0]), right, 4 * MIB));
    assert_true(lies_in(page_to_phys(pages[1]), left, 4 * MIB));
    assert_null(dma_alloc_from_contiguous(nic, 25, 0, true));
    assert_true(lies_in(place_of(nic, 4096), right, 4 * MIB));
    assert_true(dma_release_from_contiguous(nic, pages[1], 1000));
    assert_true(dma_release_from_contiguous(nic, pages[0], 1000));
    assert_int_equal(of_reserved_mem_device_init(codec), 0);
    page = dma_alloc_from_contiguous(codec, 1, 0, false);
    assert_int_equal(page_to_phys(page), left);
    of_reserved_mem_device_release(codec);
    assert_true(dma_release_from_contiguous(codec, page, 1));
    assert_ptr_equal(dev_get_cma_area(codec), dk_cma_get("right"));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void bad_rules_make_no_machine(void **state)
{
    static const char *const cases[] = {
        "cma_map=camera",  "cma_map=camera=",  "cma_map==left",          "cma_map=;",
        "cma_map=a,=left", "cma_map=,a=left",  "cma_map=a=left;;b=left", "cma_map=a=left,",
        "cma_map=a=,left", "cma_map=a=nobody", "cma_map=a=left=right",   "cma_map=a=lef",
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct dk_machine_options options = { .size = sizeof(options), .arguments = cases[i] };
        struct dk_machine *machine;
        struct log_lines lines;

        keep_log(&lines);
        if (create_machine(BOARD, &options, &machine) != -EINVAL || !strstr(lines.text, "0 cma_map="))
            fail_msg("%s: \"%s\"", cases[i], lines.text);
        drop_log();
    }
}

/* ---- Telling ---- */

static void areas_tell_what_they_have(void **state)
{
    struct dk_machine *machine = machine_on(BOARD);
    struct cma *area = dk_cma_get("left");
    struct page *pages[3], *kept;
    struct cma_info info;
    char text[1024], small[10];
    int length;

    (void)state;
    assert_int_equal(cma_info_about(NULL, "left"), -EINVAL);
    assert_int_equal(cma_info(&info, NULL), -EINVAL);
    assert_int_equal(cma_info_about(&info, "left,nobody"), -ENOENT);
    assert_int_equal(cma_info_about(&info, ""), -ENOENT);
    assert_int_equal(cma_info_about(&info, NULL), 0);
    assert_int_equal(info.count, 3);
    assert_int_equal(info.lower_bound, left);
    assert_int_equal(info.upper_bound, common + 8 * MIB);
    assert_int_equal(info.free_size, 16 * MIB);
    assert_int_equal(info.largest_free, 8 * MIB);

    /* 1024 pages, a piece of the picture is 16 of them. */
    pages[0] = cma_alloc(area, 16, 0, false);
    pages[1] = cma_alloc(area, 500, 0, false);
    pages[2] = cma_alloc(area, 8, 0, false);
    cma_release(area, pages[1], 500);
    assert_int_equal(cma_info_about(&info, "right,left"), 0);
    assert_int_equal(info.count, 2);
    assert_int_equal(info.lower_bound, left);
    assert_int_equal(info.upper_bound, right + 4 * MIB);
    assert_int_equal(info.total_size, 8 * MIB);
    assert_int_equal(info.free_size, 8 * MIB - 24 * 4096);
    assert_int_equal(info.largest_free, 4 * MIB);
    length = dk_cma_describe(area, text, sizeof(text));
    assert_int_equal(length, strlen(text));
    assert_string_equal(text, "/reserved-memory/left@40800000: 1024 pages at 0x40800000 in units of 1\n"
                              "used: 24 pages, 2 allocations, the largest of 16\n"
                              "movable: 0 pages, 0 of them pinned; the largest run without them: 500\n"
                              "free: 1000 pages in 2 runs, the largest of 500; threads kept 0\n"
                              "[#...............................+...............................]\n");
    assert_int_equal(dk_cma_describe(area, small, sizeof(small)), length);
    assert_string_equal(small, "/reserved");
    assert_int_equal(dk_cma_describe(area, NULL, 0), length);
    assert_int_equal(dk_cma_describe(NULL, text, sizeof(text)), 0);
    cma_release(area, pages[0], 16);
    cma_release(area, pages[2], 8);

    /* What a thread keeps is free, and in one piece with its neighbours once somebody looks. */
    area = dk_cma_declare(machine, 0, 16 * MIB, 0, 0, 0, false, "large");
    assert_false(IS_ERR(area));
    for (unsigned i = 0; i < 3; i++) {
        kept = cma_alloc(area, 16, 0, false);
        cma_release(area, kept, 16);
    }
    dk_cma_describe(area, text, sizeof(text));
    assert_non_null(strstr(text, "free: 4096 pages in 1 runs, the largest of 4096; threads kept 16\n"));
    dk_cma_describe(area, text, sizeof(text));
    assert_non_null(strstr(text, "threads kept 0\n"));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* A device that no area serves is told of none. */
static void without_an_area_there_is_nothing_to_tell(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *nic = dk_device_find(machine, "nic");
    struct cma_info info;

    (void)state;
    assert_null(dev_get_cma_area(nic));
    assert_null(dma_alloc_from_contiguous(nic, 4, 0, true));
    assert_int_equal(cma_info(&info, nic), 0);
    assert_int_equal(info.count, 0);
    assert_int_equal(info.total_size, 0);
    assert_int_equal(cma_info_about(&info, NULL), 0);
    assert_int_equal(info.count, 0);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- Every allocation fails ---- */

static void use_everything(const struct dk_board *board)
{
    const struct dk_machine_options options = {
        .size = sizeof(options),
        .arguments = "cma=1M cma_map=camera,/soc/*=left,right;nic=default",
        .depth = 1,
    };
    struct dk_machine *machine;
    struct device *nic;
    struct cma *area;
    long error;

    machine = dk_machine_create(board, &options);
    error = PTR_ERR_OR_ZERO(machine);
    if (error) {
        assert_int_equal(error, -ENOMEM);
        return;
    }
    dk_machine_enter(machine);
    nic = dk_device_find(machine, "nic");
    error = dma_declare_contiguous(nic, MIB, 0, 0);
    assert_true(!error || error == -ENOMEM);
    error = cma_declare_contiguous(0x40c00000, MIB, 0, 0, 0, true, "more", &area);
    assert_true(!error || error == -ENOMEM);
    if (!error) {
        struct page *page = cma_alloc(area, 256, 0, true);

        assert_true(!page || cma_release(area, page, 256));
    }
    dma_free_contiguous(nic, dma_alloc_contiguous(nic, 8192, GFP_KERNEL), 8192);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void each_allocation_fails(void **state)
{
    struct dk_board *board = board_from(BOARD);
    unsigned long n, hits = 1;

    (void)state;
    for (n = 1; hits; n++) {
        dk_fail_nth(n);
        use_everything(board);
        hits = dk_fail_hits();
        dk_fail_nth(0);
    }
    assert_true(n > 50);
    dk_board_free(board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_banks_serve_one_codec),
        cmocka_unit_test(a_full_bank_stays_alone),
        cmocka_unit_test(pages_come_from_the_devices_area),
        cmocka_unit_test(declaring_has_linux_s_errors),
        cmocka_unit_test(a_machine_has_so_many_areas),
        cmocka_unit_test(a_driver_declares_its_own),
        cmocka_unit_test(rules_say_which_area_is_whose),
        cmocka_unit_test(areas_of_a_rule_are_tried_in_turn),
        cmocka_unit_test(bad_rules_make_no_machine),
        cmocka_unit_test(areas_tell_what_they_have),
        cmocka_unit_test(without_an_area_there_is_nothing_to_tell),
        cmocka_unit_test(each_allocation_fails),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("contiguous", tests, NULL, NULL);
}
