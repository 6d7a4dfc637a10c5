/* SPDX-License-Identifier: MIT */
/*
 * A device's coherent memory, of every kind, for another device to reach, on every kind of bus; how long it
 * lasts; and what is reported.
 */
#include "api.h"

#include "mm/memory.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

/* ---- The board: a bus of each kind, on it two devices that snoop (c) and two that do not (n) ---- */

#define MASTER(name, unit, more) \
    name "@" #unit " { compatible = \"dmakit,nic\"; reg = <" #unit " 1>; " more "};"
#define MASTERS(more)    \
    MASTER("n", 0, more) \
    MASTER("n", 1, more) MASTER("c", 2, "dma-coherent; " more) MASTER("c", 3, "dma-coherent; " more)
#define BUS(name, cells, ranges, masters)                                                                  \
    name " { compatible = \"simple-bus\"; #address-cells = <" cells "; #size-cells = <1>; ranges; " ranges \
         " " masters " };"

/* 64 MiB of RAM at 1 GiB. The area straddles the border between the two windows of the bus that has two. */
#define BOARD(coherence, pool)                                                                                                                                                         \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"remap\"; compatible = \"dmakit,test\"; " coherence                                                              \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                                                                                                    \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges;"                                                                                                              \
    "  area: area@40f00000 { compatible = \"shared-dma-pool\"; reusable; reg = <0x40f00000 0x200000>; };"                                                                              \
    "  pool: pool@42800000 { compatible = \"shared-dma-pool\"; no-map; reg = <0x42800000 0x80000>; " pool                                                                              \
    " };"                                                                                                                                                                              \
    "  cell: cell@42000000 { compatible = \"restricted-dma-pool\"; reg = <0x42000000 0x100000>; }; };"                                                                                 \
    " smmu: iommu@f0000000 { compatible = \"arm,smmu-v1\"; reg = <0xf0000000 0x10000>; #iommu-cells = <1>; };" BUS(                                                                    \
        "identity", "1>", "", MASTERS(""))                                                                                                                                             \
        BUS("offset", "1>", "dma-ranges = <0x80000000 0x40000000 0x4000000>;",                                                                                                         \
            MASTERS(                                                                                                                                                                   \
                "")) " high { compatible = \"simple-bus\"; #address-cells = <2>; #size-cells = <1>; ranges;"                                                                           \
                     "  dma-ranges = <1 0 0x40000000 0x4000000>;"                                                                                                                      \
                     "  n@0 { compatible = \"dmakit,nic\"; }; c@2 { compatible = \"dmakit,nic\"; dma-coherent; }; };" BUS(                                                             \
                         "two", "1>",                                                                                                                                                  \
                         "dma-ranges = <0x20000000 0x40000000 0x1000000>, <0xa0000000 0x41000000 0x3000000>;",                                                                         \
                         MASTERS(                                                                                                                                                      \
                             "")) BUS("area", "1>", "",                                                                                                                                \
                                      MASTERS(                                                                                                                                         \
                                          "memory-region = <&area>; ")) BUS("pool", "1>", "",                                                                                          \
                                                                            MASTERS(                                                                                                   \
                                                                                "memory-region = <&pool>; "))                                                                          \
                         BUS("cell", "1>", "", MASTERS("memory-region = <&cell>; ")) " iommu { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges; " MASTER( \
                             "n", 0, "iommus = <&smmu 1>; ") MASTER("n", 1, "iommus = <&smmu 2>; ")                                                                                    \
                             MASTER("c", 2, "dma-coherent; iommus = <&smmu 3>; ")                                                                                                      \
                                 MASTER("c", 3, "dma-coherent; iommus = <&smmu 4>; ") " }; };"

#define MIXED BOARD("dma-noncoherent;", "")
#define COHERENT BOARD("dma-coherent;", "")
#define DEFAULT_POOL BOARD("dma-noncoherent;", "linux,dma-default;")

/* Memory on a device itself. */
#define DECLARED 0x10000000u

/* The importer of a bus, or with @owner the other device of the same kind. */
static struct device *device_on(struct dk_machine *machine, const char *bus, bool snoops, bool owner)
{
    char path[64];
    struct device *dev;

    snprintf(path, sizeof(path), "/%s/%c@%d", bus, snoops ? 'c' : 'n', (snoops ? 2 : 0) + (owner ? 1 : 0));
    dev = dk_device_find(machine, path);
    assert_non_null(dev);
    return dev;
}

/* ---- Memory ---- */

struct kind {
    const char *name;
    const char *board;
    const char *bus;
    size_t size;
    unsigned long attrs;
    gfp_t gfp;
    bool region;   /* the device takes its reserved memory first */
    bool declared; /* outside RAM */
    bool coherent; /* the machine has one view */
};

static const struct kind kinds[] = {
    { "pages", MIXED, "identity", 300000, 0, GFP_KERNEL },
    { "a page", MIXED, "identity", 100, DMA_ATTR_WRITE_COMBINE, GFP_KERNEL },
    { "pages of a coherent machine", COHERENT, "identity", 300000, 0, GFP_KERNEL, .coherent = true },
    { "atomic", MIXED, "identity", 6000, 0, GFP_ATOMIC },
    { "behind an offset", MIXED, "offset", 6000, 0, GFP_KERNEL },
    { "a cookie", MIXED, "identity", 20000, DMA_ATTR_NO_KERNEL_MAPPING, GFP_KERNEL },
    { "a cookie on two windows", MIXED, "two", 20000, DMA_ATTR_NO_KERNEL_MAPPING, GFP_KERNEL },
    { "an area", MIXED, "area", 0x120000, 0, GFP_KERNEL, true },
    { "a device's pool", MIXED, "pool", 70000, 0, GFP_KERNEL, true },
    { "the default pool", DEFAULT_POOL, "identity", 70000, 0, GFP_KERNEL },
    { "memory on the device", MIXED, "identity", 70000, 0, GFP_KERNEL, .declared = true },
    { "an IOMMU", MIXED, "iommu", 300000, 0, GFP_KERNEL },
    { "an IOMMU, page by page", MIXED, "iommu", 60000, DMA_ATTR_ALLOC_SINGLE_PAGES, GFP_KERNEL },
    { "an IOMMU, atomic", MIXED, "iommu", 6000, 0, GFP_ATOMIC },
    { "an IOMMU on a coherent machine", COHERENT, "iommu", 60000, 0, GFP_KERNEL, .coherent = true },
    { "a restricted pool", MIXED, "cell", 100000, 0, GFP_KERNEL },
};

struct allocation {
    struct device *owner;
    const struct kind *kind;
    char *cpu; /* as it was returned */
    dma_addr_t dma;
    char *bytes; /* where the CPU reads and writes */
};

static size_t whole_pages(size_t size)
{
    return (size + 4095) & ~(size_t)4095;
}

static void show_cookie(struct allocation *of)
{
    size_t size = whole_pages(of->kind->size);
    struct vm_area_struct vma = { 0 };

    of->bytes = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    vma.vm_start = (unsigned long)(uintptr_t)of->bytes;
    vma.vm_end = vma.vm_start + size;
    assert_int_equal(dma_mmap_attrs(of->owner, &vma, of->cpu, of->dma, of->kind->size, of->kind->attrs), 0);
}

static void allocate(struct dk_machine *machine, const struct kind *kind, bool snoops,
                     struct allocation *made)
{
    made->kind = kind;
    made->owner = device_on(machine, kind->bus, snoops, true);
    made->cpu = dma_alloc_attrs(made->owner, kind->size, &made->dma, kind->gfp, kind->attrs);
    assert_non_null(made->cpu);
    made->bytes = made->cpu;
    if (kind->attrs & DMA_ATTR_NO_KERNEL_MAPPING)
        show_cookie(made);
}

static void release(struct allocation *made)
{
    if (made->bytes != made->cpu)
        munmap(made->bytes, whole_pages(made->kind->size));
    dma_free_attrs(made->owner, made->kind->size, made->cpu, made->dma, made->kind->attrs);
}

/* ---- What the importer has ---- */

static bool move(struct device *dev, struct sg_table *table, unsigned char *bytes, bool write)
{
    struct scatterlist *sg;
    unsigned i;

    for_each_sgtable_dma_sg (table, sg, i) {
        if (write ? dk_master_write(dev, sg_dma_address(sg), bytes, sg_dma_len(sg))
                  : dk_master_read(dev, sg_dma_address(sg), bytes, sg_dma_len(sg)))
            return false;
        bytes += sg_dma_len(sg);
    }
    return true;
}

static void check_table(struct device *dev, struct sg_table *table, size_t size, bool one_range)
{
    struct scatterlist *sg;
    dma_addr_t next = sg_dma_address(table->sgl);
    size_t bytes = 0;
    unsigned i;

    assert_int_equal(table->nents, table->orig_nents);
    for_each_sgtable_dma_sg (table, sg, i) {
        assert_null(sg_page(sg));
        assert_in_range(sg_dma_len(sg), 1, dma_get_max_seg_size(dev));
        assert_true(((sg_dma_address(sg) ^ (sg_dma_address(sg) + (sg_dma_len(sg) - 1))) &
                     ~(u64)dma_get_seg_boundary(dev)) == 0);
        assert_true(sg_dma_address(sg) + (sg_dma_len(sg) - 1) <= dma_get_mask(dev));
        if (one_range)
            assert_int_equal(sg_dma_address(sg), next);
        next = sg_dma_address(sg) + sg_dma_len(sg);
        bytes += sg_dma_len(sg);
    }
    assert_null(sg);
    assert_int_equal(bytes, size);
}

/* The CPU, the owner and the importer each see what the two others wrote. */
static void pass_around(const struct allocation *of, size_t offset, size_t size, struct device *dev,
                        struct sg_table *table)
{
    unsigned char *bytes = malloc(size);

    fill(of->bytes + offset, size, 1);
    assert_true(move(dev, table, bytes, false));
    assert_true(filled(bytes, size, 1));
    fill(bytes, size, 2);
    assert_true(move(dev, table, bytes, true));
    assert_true(filled(of->bytes + offset, size, 2));
    assert_int_equal(dk_master_read(of->owner, of->dma + offset, bytes, size), 0);
    assert_true(filled(bytes, size, 2));
    fill(bytes, size, 3);
    assert_int_equal(dk_master_write(of->owner, of->dma + offset, bytes, size), 0);
    assert_true(filled(of->bytes + offset, size, 3));
    assert_true(move(dev, table, bytes, false));
    assert_true(filled(bytes, size, 3));
    /* Less than a line: the rest of it stays as it was. */
    assert_int_equal(dk_master_write(dev, sg_dma_address(table->sgl) + 7, "xyz", 3), 0);
    assert_memory_equal(of->bytes + offset + 7, "xyz", 3);
    assert_true(filled(of->bytes + offset, 7, 3));
    memcpy(of->bytes + offset + 1, "abc", 3);
    assert_int_equal(dk_master_read(dev, sg_dma_address(table->sgl), bytes, 10), 0);
    assert_memory_equal(bytes + 1, "abc", 3);
    assert_memory_equal(bytes + 7, "xyz", 3);
    free(bytes);
}

static const char *const buses[] = { "identity", "offset", "high", "two", "iommu", "cell" };

/* What is right for an importer. */
static int expected(const struct allocation *of, const char *bus, bool snoops)
{
    if (!of->kind->coherent && of->owner->dma_coherent && !snoops)
        return -EOPNOTSUPP;
    if (!strcmp(bus, "high"))
        return -EIO;
    if (!strcmp(bus, "cell"))
        return strcmp(of->kind->bus, "cell") ? -EIO : 0;
    if (of->kind->declared && strcmp(bus, "identity") && strcmp(bus, "iommu"))
        return -EIO;
    return 0;
}

static void share_with(struct dk_machine *machine, const struct allocation *of, const char *bus, bool snoops,
                       size_t offset, size_t size)
{
    struct device *dev = device_on(machine, bus, snoops, false);
    char *cpu = of->kind->attrs & DMA_ATTR_NO_KERNEL_MAPPING ? of->cpu : of->cpu + offset;
    struct sg_table table = { NULL, 17, 18 }, second;
    int error = dk_coherent_remap(dev, &table, of->owner, cpu, of->dma + offset, size, 0);

    if (error != expected(of, bus, snoops))
        print_error("%s, owner %s, for %s: %d\n", of->kind->name, dk_device_path(of->owner),
                    dk_device_path(dev), error);
    assert_int_equal(error, expected(of, bus, snoops));
    if (error) {
        assert_int_equal(table.nents, 17);
        return;
    }
    check_table(dev, &table, size, !strcmp(bus, "iommu"));
    pass_around(of, offset, size, dev, &table);
    /* Once more at the same time, with other segments. */
    assert_int_equal(dma_set_max_seg_size(dev, 8192), 0);
    assert_int_equal(dma_set_seg_boundary(dev, 0x1fff), 0);
    assert_int_equal(dk_coherent_remap(dev, &second, of->owner, cpu, of->dma + offset, size, 0), 0);
    check_table(dev, &second, size, !strcmp(bus, "iommu"));
    pass_around(of, offset, size, dev, &second);
    dk_coherent_unmap(dev, &table);
    assert_null(table.sgl);
    pass_around(of, offset, size, dev, &second);
    dk_coherent_unmap(dev, &second);
    assert_int_equal(dma_set_max_seg_size(dev, 65536), 0);
    assert_int_equal(dma_set_seg_boundary(dev, 0xffffffff), 0);
}

static void share(const struct kind *kind, bool snoops, uint64_t seed)
{
    struct dk_machine *machine = machine_with(kind->board, NULL, seed, 1);
    struct device *owner = device_on(machine, kind->bus, snoops, true);
    struct allocation made;
    size_t bus;
    int other;

    if (kind->region)
        assert_int_equal(of_reserved_mem_device_init(owner), 0);
    if (kind->declared)
        assert_int_equal(dma_declare_coherent_memory(owner, DECLARED, DECLARED, 0x40000), 0);
    allocate(machine, kind, snoops, &made);
    for (bus = 0; bus < sizeof(buses) / sizeof(buses[0]); bus++) {
        for (other = 0; other < 2; other++) {
            share_with(machine, &made, buses[bus], other, 0, kind->size);
            share_with(machine, &made, buses[bus], other, kind->size / 3, kind->size / 2);
        }
    }
    release(&made);
    if (kind->region)
        of_reserved_mem_device_release(owner);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void every_kind_of_memory_for_every_kind_of_device(void **state)
{
    uint64_t seed;
    size_t i;
    int snoops;

    (void)state;
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        for (snoops = 0; snoops < 2; snoops++) {
            for (seed = 0; seed < seeds(2); seed++)
                share(&kinds[i], snoops, seed);
        }
    }
}

/* A run for each window, however the owner sees it; and for each piece that an IOMMU made one. */
static void segments_follow_the_memory(void **state)
{
    struct dk_machine *machine = machine_on(MIXED);
    struct device *owner = device_on(machine, "area", false, true),
                  *two = device_on(machine, "two", false, false);
    struct device *behind = device_on(machine, "iommu", false, true),
                  *plain = device_on(machine, "identity", false, false);
    struct page *pages[64];
    struct sg_table table;
    dma_addr_t dma;
    unsigned i, apart = 0;
    char *cpu;

    (void)state;
    assert_int_equal(of_reserved_mem_device_init(owner), 0);
    cpu = dma_alloc_coherent(owner, 0x200000, &dma, GFP_KERNEL);
    assert_int_equal(dma, 0x40f00000);
    assert_int_equal(dma_set_max_seg_size(two, 0x1000000), 0);
    assert_int_equal(dk_coherent_remap(two, &table, owner, cpu, dma, 0x200000, 0), 0);
    assert_int_equal(table.nents, 2);
    assert_int_equal(sg_dma_address(table.sgl), 0x20f00000);
    assert_int_equal(sg_dma_len(table.sgl), 0x100000);
    assert_int_equal(sg_dma_address(sg_next(table.sgl)), 0xa0000000);
    assert_int_equal(sg_dma_len(sg_next(table.sgl)), 0x100000);
    dk_coherent_unmap(two, &table);
    dma_free_coherent(owner, 0x200000, cpu, dma);

    /* Free pages that are no neighbours. */
    for (i = 0; i < 64; i++)
        pages[i] = alloc_page(GFP_KERNEL);
    for (i = 0; i < 64; i += 2)
        __free_page(pages[i]);
    assert_int_equal(dma_set_max_seg_size(plain, 0x1000000), 0);
    cpu = dma_alloc_attrs(behind, 16 * 4096, &dma, GFP_KERNEL, DMA_ATTR_ALLOC_SINGLE_PAGES);
    assert_int_equal(dk_coherent_remap(plain, &table, behind, cpu + 100, dma + 100, 10 * 4096, 0), 0);
    for (i = 0; i < 11; i++) {
        if (i && iommu_iova_to_phys(iommu_get_domain_for_dev(behind), dma + i * 4096u) !=
                     iommu_iova_to_phys(iommu_get_domain_for_dev(behind), dma + (i - 1) * 4096u) + 4096)
            apart++;
    }
    assert_true(apart > 0);
    assert_int_equal(table.nents, apart + 1);
    assert_int_equal(sg_dma_address(table.sgl),
                     iommu_iova_to_phys(iommu_get_domain_for_dev(behind), dma + 100));
    dk_coherent_unmap(plain, &table);
    dma_free_attrs(behind, 16 * 4096, cpu, dma, DMA_ATTR_ALLOC_SINGLE_PAGES);
    for (i = 1; i < 64; i += 2)
        __free_page(pages[i]);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* A pool on the device, at an address that only the device has for it. */
static void a_device_s_own_address_is_found(void **state)
{
    struct dk_machine *machine = machine_on(MIXED);
    struct device *owner = device_on(machine, "offset", false, true);
    struct device *dev = device_on(machine, "identity", true, false);
    unsigned char bytes[8192];
    struct sg_table table;
    dma_addr_t dma;
    char *cpu;

    (void)state;
    assert_int_equal(dma_declare_coherent_memory(owner, DECLARED, 0x1000, 0x8000), 0);
    cpu = dma_alloc_coherent(owner, 8192, &dma, GFP_KERNEL);
    assert_int_equal(dma, 0x1000);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, 8192, 0), 0);
    assert_int_equal(sg_dma_address(table.sgl), DECLARED);
    fill(cpu, 8192, 1);
    assert_true(move(dev, &table, bytes, false));
    assert_true(filled(bytes, 8192, 1));
    dk_coherent_unmap(dev, &table);
    dma_free_coherent(owner, 8192, cpu, dma);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* A wider mask reaches more; a lazy IOMMU and a machine that bounces all streaming mappings change nothing.
 */
static void masks_and_arguments(void **state)
{
    static const char *const arguments[] = { "quiet", "iommu.strict=0", "swiotlb=force",
                                             "iommu.passthrough=1" };
    size_t i, bus;

    (void)state;
    for (i = 0; i < 4; i++) {
        struct dk_machine *machine = machine_with(MIXED, arguments[i], 1, 1);
        struct allocation made;

        allocate(machine, &kinds[0], false, &made);
        for (bus = 0; bus < sizeof(buses) / sizeof(buses[0]); bus++)
            share_with(machine, &made, buses[bus], bus % 2, 0, kinds[0].size);
        if (i == 0) {
            struct device *dev = device_on(machine, "high", true, false);
            struct sg_table table;

            assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(64)), 0);
            assert_int_equal(dk_coherent_remap(dev, &table, made.owner, made.cpu, made.dma, 6000, 0), 0);
            assert_int_equal(sg_dma_address(table.sgl), made.dma - 0x40000000 + (1ull << 32));
            pass_around(&made, 0, 6000, dev, &table);
            dk_coherent_unmap(dev, &table);
        }
        release(&made);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

static void refusals_say_why(void **state)
{
    struct dk_machine *machine = machine_on(MIXED);
    struct device *snooping = device_on(machine, "identity", true, true);
    struct device *plain = device_on(machine, "identity", false, false),
                  *high = device_on(machine, "high", true, false);
    struct log_lines lines;
    struct sg_table table;
    dma_addr_t dma;
    char *cpu = dma_alloc_coherent(snooping, 4096, &dma, GFP_KERNEL);

    (void)state;
    keep_log(&lines);
    assert_int_equal(dk_coherent_remap(plain, &table, snooping, cpu, dma, 4096, 0), -EOPNOTSUPP);
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.text, "through its cache"));
    assert_non_null(strstr(lines.text, "/identity/c@3"));
    keep_log(&lines);
    assert_int_equal(dk_coherent_remap(high, &table, snooping, cpu, dma, 4096, 0), -EIO);
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.text, "cannot be bounced"));
    keep_log(&lines);
    assert_int_equal(dk_coherent_remap(plain, &table, snooping, cpu, dma, 4096, DMA_ATTR_NO_WARN),
                     -EOPNOTSUPP);
    assert_int_equal(dk_coherent_remap(high, &table, snooping, cpu, dma, 4096, DMA_ATTR_NO_WARN), -EIO);
    assert_int_equal(lines.count, 0);
    drop_log();
    dma_free_coherent(snooping, 4096, cpu, dma);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static int needs_bounce(struct device *dev, dma_addr_t dma, size_t size)
{
    (void)dev;
    (void)size;
    return dma >= 0x40000000;
}

static void bad_arguments_are_refused(void **state)
{
    struct dk_machine *machine = machine_on(MIXED), *foreign = machine_on(COHERENT);
    struct device *owner = device_on(machine, "identity", false, true),
                  *dev = device_on(machine, "iommu", false, false);
    struct device *direct = device_on(machine, "offset", false, false);
    struct sg_table table;
    dma_addr_t dma, other, page;
    char *cpu, *mine;
    u64 *mask;

    (void)state;
    dk_machine_enter(machine);
    cpu = dma_alloc_coherent(owner, 8192, &dma, GFP_KERNEL);
    mine = dma_alloc_noncoherent(owner, 4096, &other, DMA_BIDIRECTIONAL, GFP_KERNEL);
    assert_int_equal(dk_coherent_remap(NULL, &table, owner, cpu, dma, 8192, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(dev, &table, NULL, cpu, dma, 8192, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(dev, NULL, owner, cpu, dma, 8192, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, 0, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, 8193, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, ~(size_t)0, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu + 1, dma, 4096, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma + 4096, 4096, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu - 4096, dma - 4096, 4096, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu + 8192, dma + 8192, 1, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(dev, &table, direct, cpu, dma, 8192, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, mine, other, 4096, 0), -EINVAL);
    assert_int_equal(
        dk_coherent_remap(dk_device_find(foreign, "/identity/n@0"), &table, owner, cpu, dma, 8192, 0),
        -EINVAL);
    mask = dev->dma_mask;
    dev->dma_mask = NULL;
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, 8192, 0), -EINVAL);
    dev->dma_mask = mask;
    /* By a rule of its own the device does not reach it as it is. */
    assert_int_equal(dmabounce_register_dev(direct, 512, 4096, needs_bounce), 0);
    assert_int_equal(dk_coherent_remap(direct, &table, owner, cpu, dma, 8192, 0), -EIO);
    dmabounce_unregister_dev(direct);
    assert_int_equal(dk_coherent_remap(direct, &table, owner, cpu, dma, 8192, 0), 0);
    dk_coherent_unmap(direct, &table);
    dk_coherent_unmap(NULL, &table);
    dk_coherent_unmap(dev, NULL);
    dma_free_noncoherent(owner, 4096, mine, other, DMA_BIDIRECTIONAL);
    dma_free_coherent(owner, 8192, cpu, dma);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, 8192, 0), -EINVAL);
    cpu = dma_alloc_coherent(owner, 4096, &page, GFP_KERNEL);
    dk_device_remove(dev);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, page, 4096, 0), -EINVAL);
    dma_free_coherent(owner, 4096, cpu, page);
    dk_device_remove(owner);
    assert_int_equal(dk_coherent_remap(direct, &table, owner, cpu, page, 4096, 0), -EINVAL);
    assert_int_equal(dk_machine_destroy(foreign), 0);
    assert_int_equal(dk_machine_destroy(machine), 0);

    /* Without the checker what leads to no memory is still found out. */
    machine = machine_with(MIXED, NULL, 0, 0);
    owner = device_on(machine, "offset", false, true);
    dev = device_on(machine, "iommu", false, false);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, NULL, 0x1000, 4096, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, NULL, 0x83fff000, 8192, 0), -EINVAL);
    assert_int_equal(dk_coherent_remap(owner, &table, dev, NULL, 0x1000, 4096, 0), -EINVAL);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- How long the memory lasts ---- */

static u64 free_pages_of(struct dk_machine *machine)
{
    (void)machine;
    return dk_memory_free_pages(dk_memory_current());
}

/* All that the page allocator has left: none of it is what @dev reaches, whose writes change none of it. */
static void write_into_nobody_s(struct device *dev, struct sg_table *table, size_t size)
{
    static struct page *blocks[4096];
    static unsigned orders[4096];
    unsigned char *bytes = malloc(size);
    unsigned count = 0, i, page;
    int order;

    for (order = MAX_PAGE_ORDER; order >= 0; order--) {
        while (count < 4096 &&
               (blocks[count] = alloc_pages(GFP_KERNEL | __GFP_NOWARN | __GFP_ZERO, (unsigned)order)))
            orders[count++] = (unsigned)order;
    }
    assert_in_range(count, 1, 4095);
    memset(bytes, 0xa5, size);
    assert_true(move(dev, table, bytes, true));
    for (i = 0; i < count; i++) {
        for (page = 0; page < 1u << orders[i]; page++)
            assert_int_equal(*((unsigned char *)page_address(blocks[i]) + page * 4096u), 0);
        __free_pages(blocks[i], orders[i]);
    }
    free(bytes);
}

static void memory_lasts_as_long_as_its_remaps(void **state)
{
    static const char *const owners[] = { "identity", "iommu", "pool", "area", "cell" };
    static const char *const importers[] = { "iommu", "offset" };
    size_t size = 40000, i;
    int depth, importer;

    (void)state;
    for (i = 0; i < 20; i++) {
        const char *bus = owners[i % 5];
        struct dk_machine *machine;
        struct device *owner, *dev, *second;
        struct sg_table table, part;
        static unsigned char zeros[40000];
        unsigned char bytes[16];
        dma_addr_t dma, again;
        char *cpu, *next;
        u64 before;

        depth = i / 5 % 2;
        importer = (int)i / 10;
        machine = machine_with(MIXED, NULL, 0, depth);
        dk_check_set_sink(machine, ignore_report, NULL);
        owner = device_on(machine, bus, false, true);
        dev = device_on(machine, importers[importer], true, false);
        second = device_on(machine, "identity", false, false);
        if (i % 5 == 2 || i % 5 == 3)
            assert_int_equal(of_reserved_mem_device_init(owner), 0);
        before = free_pages_of(machine);
        cpu = dma_alloc_coherent(owner, size, &dma, GFP_KERNEL);
        assert_non_null(cpu);
        assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, size, 0), 0);
        assert_int_equal(dk_coherent_remap(second, &part, owner, cpu + 8192, dma + 8192, 100, 0), 0);
        dma_free_coherent(owner, size, cpu, dma);
        assert_int_equal(dk_check_count(machine, "freed-while-remapped"), depth);
        write_into_nobody_s(dev, &table, size);
        assert_int_equal(dk_master_read(second, sg_dma_address(part.sgl), bytes, 16), 0);
        assert_int_equal(bytes[3], 0xa5);
        /* What the owner allocates now is other memory, at other addresses. */
        next = dma_alloc_coherent(owner, size, &again, GFP_KERNEL);
        assert_non_null(next);
        assert_true(again >= dma + size || again + size <= dma);
        fill(next, size, 1);
        assert_true(move(dev, &table, zeros, true));
        assert_true(filled(next, size, 1));
        dma_free_coherent(owner, size, next, again);
        dk_coherent_unmap(dev, &table);
        write_into_nobody_s(second, &part, 100);
        /* Freed again: not twice. */
        dma_free_coherent(owner, size, cpu, dma);
        assert_int_equal(dk_check_count(machine, "free-not-allocated"), depth);
        if (i % 5 < 2)
            assert_true(free_pages_of(machine) < before);
        dk_coherent_unmap(second, &part);
        assert_int_equal(free_pages_of(machine), before);
        if (i % 5 > 1) {
            next = dma_alloc_coherent(owner, size, &again, GFP_KERNEL);
            assert_int_equal(again, dma);
            dma_free_coherent(owner, size, next, again);
        }
        assert_int_equal(dk_machine_destroy(machine), 2 * depth);
    }
}

/* Whoever goes first, the other goes on or is told; nothing is reached that is somebody else's. */
static void devices_may_go(void **state)
{
    static const char *const owners[] = { "identity", "iommu" };
    static const char *const importers[] = { "iommu", "two" };
    unsigned i;

    (void)state;
    for (i = 0; i < 16; i++) {
        struct dk_machine *machine = machine_with(MIXED, NULL, 0, 1);
        struct device *owner = device_on(machine, owners[i % 2], false, true);
        struct device *dev = device_on(machine, importers[i / 2 % 2], true, false);
        bool freed = i / 4 % 2, owner_goes = i / 8;
        u64 before = free_pages_of(machine);
        unsigned char bytes[8192];
        struct sg_table table, more;
        dma_addr_t dma, first;
        char *cpu;

        dk_check_set_sink(machine, ignore_report, NULL);
        cpu = dma_alloc_coherent(owner, 8192, &dma, GFP_KERNEL);
        assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, 8192, 0), 0);
        assert_int_equal(dk_coherent_remap(dev, &more, owner, cpu, dma, 4096, 0), 0);
        first = sg_dma_address(table.sgl);
        if (freed)
            dma_free_coherent(owner, 8192, cpu, dma);
        if (owner_goes) {
            dk_device_remove(owner);
            assert_int_equal(dk_check_count(machine, "leak-at-remove"), !freed);
            write_into_nobody_s(dev, &table, 8192);
            dk_coherent_unmap(dev, &table);
            dk_coherent_unmap(dev, &more);
            /* How it was allocated went with the owner. */
            assert_int_equal(free_pages_of(machine), before - 2);
        } else {
            dk_device_remove(dev);
            assert_int_equal(dk_check_count(machine, "leak-at-remove"), 2);
            assert_int_equal(dk_master_read(dev, first, bytes, 16), -EFAULT);
            if (!freed)
                dma_free_coherent(owner, 8192, cpu, dma);
            assert_int_equal(free_pages_of(machine), before);
            /* The entries are the driver's still. */
            dk_coherent_unmap(dev, &table);
            assert_null(table.sgl);
            sg_free_table(&more);
        }
        assert_int_equal(dk_check_count(machine, "freed-while-remapped"), freed);
        assert_int_equal(dk_check_count(machine, "free-not-allocated"), 0);
        dk_machine_destroy(machine);
    }
}

/* Both left at the end of the machine. */
static void what_is_left_goes_with_the_machine(void **state)
{
    int depth;

    (void)state;
    for (depth = 0; depth < 2; depth++) {
        struct dk_machine *machine = machine_with(MIXED, NULL, 0, depth);
        struct device *owner = device_on(machine, "iommu", false, true);
        struct sg_table table;
        dma_addr_t dma;
        char *cpu = dma_alloc_coherent(owner, 8192, &dma, GFP_KERNEL);

        dk_check_set_sink(machine, ignore_report, NULL);
        assert_int_equal(
            dk_coherent_remap(device_on(machine, "iommu", true, false), &table, owner, cpu, dma, 8192, 0), 0);
        assert_int_equal(dk_machine_destroy(machine), 2 * depth);
        sg_free_table(&table);
    }
}

/* A driver's managed memory, freed for it while it is remapped. */
static void managed_memory_lasts_too(void **state)
{
    struct dk_machine *machine = machine_on(MIXED);
    struct device *owner = device_on(machine, "identity", false, true),
                  *dev = device_on(machine, "iommu", false, false);
    struct sg_table table;
    dma_addr_t dma;
    void *cpu = dmam_alloc_coherent(owner, 8192, &dma, GFP_KERNEL);

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, 8192, 0), 0);
    dk_device_remove(owner);
    assert_int_equal(dk_check_count(machine, "freed-while-remapped"), 1);
    write_into_nobody_s(dev, &table, 8192);
    dk_coherent_unmap(dev, &table);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

/* ---- Reports ---- */

struct seen {
    unsigned count;
    char class_name[64], kind[32], what[1024];
};

static void note(const struct dk_report *report, void *data)
{
    struct seen *seen = data;

    seen->count++;
    snprintf(seen->class_name, sizeof(seen->class_name), "%s", report->class_name);
    snprintf(seen->kind, sizeof(seen->kind), "%s", report->mapping.kind ? report->mapping.kind : "");
    snprintf(seen->what, sizeof(seen->what), "%s", report->what);
    assert_string_equal(report->access.kind, "call");
}

static void expect(struct seen *seen, const char *class_name, const char *kind, const char *part)
{
    assert_int_equal(seen->count, 1);
    assert_string_equal(seen->class_name, class_name);
    assert_string_equal(seen->kind, kind);
    assert_non_null(strstr(seen->what, part));
    seen->count = 0;
}

static void mistakes_are_reported(void **state)
{
    struct dk_machine *machine = machine_on(MIXED);
    struct device *owner = device_on(machine, "identity", false, true),
                  *dev = device_on(machine, "two", false, false);
    struct device *other = device_on(machine, "two", true, false);
    struct sg_table table, twin, copy;
    struct seen seen = { 0 };
    dma_addr_t dma;
    char *cpu = dma_alloc_coherent(owner, 8192, &dma, GFP_KERNEL);

    (void)state;
    dk_check_set_sink(machine, note, &seen);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, 8192, 0), 0);
    assert_int_equal(dk_coherent_remap(other, &twin, owner, cpu, dma, 8192, 0), 0);
    /* The table has no pages to map. */
    assert_int_equal(dma_map_sg(dev, table.sgl, (int)table.orig_nents, DMA_BIDIRECTIONAL), 0);
    expect(&seen, "maps-invalid-address", "", "dma_map_sg()");
    assert_int_equal(dma_map_sgtable(other, &table, DMA_BIDIRECTIONAL, 0), -EINVAL);
    expect(&seen, "maps-invalid-address", "", "dma_map_sgtable()");
    assert_int_equal(dma_map_page(dev, sg_page(table.sgl), 0, 8192, DMA_BIDIRECTIONAL), DMA_MAPPING_ERROR);
    expect(&seen, "maps-invalid-address", "", "dma_map_page()");
    /* Syncs are allowed, and change nothing. */
    fill(cpu, 8192, 1);
    dma_sync_sgtable_for_device(dev, &table, DMA_BIDIRECTIONAL);
    dma_sync_sgtable_for_cpu(dev, &table, DMA_BIDIRECTIONAL);
    assert_true(filled(cpu, 8192, 1));
    assert_int_equal(seen.count, 0);
    /* Another device's, although it has the same at the same address. */
    dk_coherent_unmap(other, &table);
    expect(&seen, "free-not-allocated", "remap", "not this device's");
    assert_non_null(strstr(seen.what, "/two/n@0"));
    dma_free_coherent(owner, 8192, cpu, dma);
    expect(&seen, "freed-while-remapped", "remap", "/two/");
    dk_coherent_unmap(other, &twin);
    copy = table;
    dk_coherent_unmap(dev, &table);
    assert_int_equal(seen.count, 0);
    /* Twice. */
    dk_coherent_unmap(dev, &table);
    expect(&seen, "free-not-allocated", "", "dk_coherent_unmap()");
    dk_coherent_unmap(dev, &copy);
    assert_int_equal(dk_check_count(machine, "free-not-allocated"), 3);
    seen.count = 0;
    /* By another function: nothing is undone then, and the table is still good. */
    cpu = dma_alloc_coherent(owner, 8192, &dma, GFP_KERNEL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, 8192, 0), 0);
    dma_unmap_sg(dev, table.sgl, (int)table.orig_nents, DMA_BIDIRECTIONAL);
    expect(&seen, "free-wrong-function", "remap", "dk_coherent_unmap()");
    dk_coherent_unmap(dev, &table);
    expect(&seen, "free-not-allocated", "remap", "unmapped before already");
    dma_free_coherent(owner, 8192, cpu, dma);
    /* Left. */
    cpu = dma_alloc_coherent(owner, 8192, &dma, GFP_KERNEL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, 8192, 0), 0);
    dk_device_remove(dev);
    expect(&seen, "leak-at-remove", "remap", "still mapped");
    dk_coherent_unmap(dev, &table);
    dma_free_coherent(owner, 8192, cpu, dma);
    assert_int_equal(seen.count, 0);
    dk_machine_destroy(machine);
}

/* A remap in several ranges is one mapping to the reports. */
static void several_ranges_are_one_leak(void **state)
{
    struct dk_machine *machine = machine_on(MIXED);
    struct device *owner = device_on(machine, "area", false, true),
                  *dev = device_on(machine, "two", false, false);
    struct seen seen = { 0 };
    struct sg_table table;
    dma_addr_t dma;
    char *cpu;

    (void)state;
    dk_check_set_sink(machine, note, &seen);
    assert_int_equal(of_reserved_mem_device_init(owner), 0);
    cpu = dma_alloc_coherent(owner, 0x200000, &dma, GFP_KERNEL);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, 0x200000, 0), 0);
    dk_coherent_unmap(dev, &table);
    assert_int_equal(dk_coherent_remap(dev, &table, owner, cpu, dma, 0x200000, 0), 0);
    dk_device_remove(dev);
    expect(&seen, "leak-at-remove", "remap", "0x20f00000");
    sg_free_table(&table);
    dma_free_coherent(owner, 0x200000, cpu, dma);
    of_reserved_mem_device_release(owner);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

/* ---- Failing, and many at once ---- */

static void every_allocation_fails_in_turn(void **state)
{
    static const char *const importers[] = { "iommu", "two" };
    unsigned long n, i;

    (void)state;
    for (i = 0; i < 4; i++) {
        for (n = 1;; n++) {
            struct dk_machine *machine = machine_with(MIXED, i / 2 ? "iommu.strict=0" : NULL, 0, 1);
            struct device *owner = device_on(machine, "iommu", false, true);
            struct device *dev = device_on(machine, importers[i % 2], false, false);
            u64 before = free_pages_of(machine);
            struct sg_table table;
            unsigned long hits;
            dma_addr_t dma;
            char *cpu;
            int error;

            cpu = dma_alloc_attrs(owner, 40000, &dma, GFP_KERNEL, DMA_ATTR_ALLOC_SINGLE_PAGES);
            assert_non_null(cpu);
            dk_fail_nth(n);
            error = dk_coherent_remap(dev, &table, owner, cpu, dma, 40000, 0);
            hits = dk_fail_hits();
            dk_fail_nth(0);
            if (!error) {
                fill(cpu, 40000, 1);
                dk_coherent_unmap(dev, &table);
            } else {
                assert_int_equal(error, -ENOMEM);
                assert_int_equal(hits, 1);
            }
            dma_free_attrs(owner, 40000, cpu, dma, DMA_ATTR_ALLOC_SINGLE_PAGES);
            assert_int_equal(free_pages_of(machine), before);
            /* What the checker could not remember is no report. */
            assert_int_equal(dk_machine_destroy(machine), 0);
            if (!hits)
                break;
        }
        assert_true(n > 4);
    }
}

#define THREADS 4

struct crowd {
    struct device *owner;
    char *cpu;
    dma_addr_t dma;
    pthread_barrier_t barrier;
};

struct one_of_them {
    struct crowd *crowd;
    struct device *dev;
    unsigned refused;
    pthread_t thread;
};

/* Until the owner has freed the memory. */
static void *go_on_remapping(void *data)
{
    struct one_of_them *me = data;
    struct crowd *crowd = me->crowd;
    unsigned char bytes[64] = { 0 };
    struct sg_table table;
    unsigned i;

    pthread_barrier_wait(&crowd->barrier);
    for (i = 0; i < 1000000 && !me->refused; i++) {
        if (dk_coherent_remap(me->dev, &table, crowd->owner, crowd->cpu + 4096, crowd->dma + 4096, 8192,
                              DMA_ATTR_NO_WARN)) {
            me->refused++;
            continue;
        }
        assert_int_equal(dk_master_read(me->dev, sg_dma_address(table.sgl) + 64, bytes, sizeof(bytes)), 0);
        dk_coherent_unmap(me->dev, &table);
        if (i == 50)
            pthread_barrier_wait(&crowd->barrier);
    }
    return NULL;
}

static void a_crowd_and_a_free(void **state)
{
    static const char *const importers[THREADS] = { "iommu", "iommu", "offset", "two" };
    unsigned round, i;

    (void)state;
    for (round = 0; round < 8; round++) {
        struct dk_machine *machine = machine_with(MIXED, round % 2 ? "iommu.strict=0" : NULL, round, 1);
        struct one_of_them crowd_of[THREADS];
        struct crowd crowd = { .owner =
                                   device_on(machine, round / 2 % 2 ? "iommu" : "identity", false, true) };
        u64 before = free_pages_of(machine);

        dk_check_set_sink(machine, ignore_report, NULL);
        pthread_barrier_init(&crowd.barrier, NULL, THREADS + 1);
        crowd.cpu = dma_alloc_coherent(crowd.owner, 16384, &crowd.dma, GFP_KERNEL);
        for (i = 0; i < THREADS; i++) {
            crowd_of[i] =
                (struct one_of_them){ &crowd, device_on(machine, importers[i], i % 2, false), 0, 0 };
            assert_int_equal(pthread_create(&crowd_of[i].thread, NULL, go_on_remapping, &crowd_of[i]), 0);
        }
        pthread_barrier_wait(&crowd.barrier);
        pthread_barrier_wait(&crowd.barrier);
        dma_free_coherent(crowd.owner, 16384, crowd.cpu, crowd.dma);
        for (i = 0; i < THREADS; i++) {
            pthread_join(crowd_of[i].thread, NULL);
            assert_int_equal(crowd_of[i].refused, 1);
        }
        pthread_barrier_destroy(&crowd.barrier);
        assert_int_equal(free_pages_of(machine), before);
        /* At most the one free was a mistake. */
        assert_int_equal(dk_check_count(machine, NULL), dk_check_count(machine, "freed-while-remapped"));
        assert_in_range(dk_machine_destroy(machine), 0, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_memory_for_every_kind_of_device),
        cmocka_unit_test(segments_follow_the_memory),
        cmocka_unit_test(a_device_s_own_address_is_found),
        cmocka_unit_test(masks_and_arguments),
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(memory_lasts_as_long_as_its_remaps),
        cmocka_unit_test(devices_may_go),
        cmocka_unit_test(what_is_left_goes_with_the_machine),
        cmocka_unit_test(managed_memory_lasts_too),
        cmocka_unit_test(mistakes_are_reported),
        cmocka_unit_test(several_ranges_are_one_leak),
        cmocka_unit_test(every_allocation_fails_in_turn),
        cmocka_unit_test(a_crowd_and_a_free),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("remap", tests, NULL, NULL);
}
