/* SPDX-License-Identifier: MIT */
/*
 * Every allocation the library makes, its own and the machine's, fails in turn: each call returns its error,
 * nothing crashes, and (under the address sanitizer) nothing leaks.
 */
#include "api.h"

#include <dmakit/dmabounce.h>
#include <dmakit/iommu.h>
#include <dmakit/usb.h>
#include <fcntl.h>
#include <sys/mman.h>

/*
 * A scenario uses what it gets and gives it back. Any call in it may fail; none may be skipped because
 * another failed, unless it needs the other's result.
 */
struct place {
    struct dk_machine *machine;
    struct device *dev;
};

static void streaming(struct place *place)
{
    struct device *dev = place->dev;
    char *buffer = kmalloc(4096, GFP_KERNEL);
    struct scatterlist list[2];
    struct sg_table table;
    struct page *pages[4];
    unsigned char bytes[64];
    dma_addr_t dma;
    int i;

    if (buffer) {
        dma = dma_map_single(dev, buffer, 128, DMA_BIDIRECTIONAL);
        if (!dma_mapping_error(dev, dma)) {
            dk_master_read(dev, dma, bytes, 64);
            dk_master_write(dev, dma, bytes, 64);
            dma_sync_single_for_cpu(dev, dma, 128, DMA_BIDIRECTIONAL);
            dma_sync_single_for_device(dev, dma, 64, DMA_BIDIRECTIONAL);
            dma_unmap_single(dev, dma, 128, DMA_BIDIRECTIONAL);
        }
        sg_init_table(list, 2);
        sg_set_buf(&list[0], buffer, 512);
        sg_set_buf(&list[1], buffer + 1024, 512);
        if (dma_map_sg(dev, list, 2, DMA_TO_DEVICE)) {
            dma_sync_sg_for_cpu(dev, list, 2, DMA_TO_DEVICE);
            dma_unmap_sg(dev, list, 2, DMA_TO_DEVICE);
        }
    }
    for (i = 0; i < 4; i++)
        pages[i] = alloc_page(GFP_KERNEL);
    if (pages[0] && pages[1] && pages[2] && pages[3]) {
        if (sg_alloc_table_from_pages(&table, pages, 4, 100, 12000, GFP_KERNEL) == 0) {
            if (dma_map_sgtable(dev, &table, DMA_FROM_DEVICE, 0) == 0) {
                dma_sync_sgtable_for_cpu(dev, &table, DMA_FROM_DEVICE);
                dma_unmap_sgtable(dev, &table, DMA_FROM_DEVICE, 0);
            }
            sg_free_table(&table);
        }
    }
    for (i = 0; i < 4; i++) {
        if (pages[i])
            __free_page(pages[i]);
    }
    dma = dma_map_resource(dev, 0xf0000000, 4096, DMA_TO_DEVICE, 0);
    if (!dma_mapping_error(dev, dma))
        dma_unmap_resource(dev, dma, 4096, DMA_TO_DEVICE, 0);
    kfree(buffer);
}

static void allocating(struct place *place)
{
    struct device *dev = place->dev;
    struct vm_area_struct vma = { 0 };
    struct sg_table table;
    struct page *page;
    dma_addr_t dma;
    void *cpu, *seen;

    cpu = dma_alloc_coherent(dev, 12288, &dma, GFP_KERNEL);
    if (cpu) {
        seen = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        vma.vm_start = (unsigned long)(uintptr_t)seen;
        vma.vm_end = vma.vm_start + 4096;
        dma_mmap_coherent(dev, &vma, cpu, dma, 12288);
        munmap(seen, 4096);
        if (dma_get_sgtable(dev, &table, cpu, dma, 12288) == 0)
            sg_free_table(&table);
        dma_free_coherent(dev, 12288, cpu, dma);
    }
    cpu = dma_alloc_wc(dev, 4096, &dma, GFP_ATOMIC);
    if (cpu)
        dma_free_wc(dev, 4096, cpu, dma);
    page = dma_alloc_pages(dev, 8192, &dma, DMA_TO_DEVICE, GFP_KERNEL);
    if (page)
        dma_free_pages(dev, 8192, page, dma, DMA_TO_DEVICE);
    cpu = dma_alloc_noncoherent(dev, 100, &dma, DMA_TO_DEVICE, GFP_KERNEL);
    if (cpu)
        dma_free_noncoherent(dev, 100, cpu, dma, DMA_TO_DEVICE);
    if (dma_declare_coherent_memory(dev, 0x10000000, 0, 0x4000) == 0) {
        cpu = dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL);
        if (cpu)
            dma_free_coherent(dev, 4096, cpu, dma);
        dma_release_coherent_memory(dev);
    }
    cpu = dmam_alloc_coherent(dev, 4096, &dma, GFP_KERNEL);
    if (cpu)
        dmam_free_coherent(dev, 4096, cpu, dma);
    dmam_alloc_coherent(dev, 4096, &dma, GFP_KERNEL);
    devm_kzalloc(dev, 100, GFP_KERNEL);
}

/* Each mistake's report is made of allocations too. */
static void reporting(struct place *place)
{
    struct device *dev = place->dev;
    struct device *below = dk_device_add(dev, "below");
    char *buffer = kmalloc(256, GFP_KERNEL);
    FILE *null = fopen("/dev/null", "w");
    char on_stack[16];
    dma_addr_t dma;

    dma_map_single(dev, on_stack, 16, DMA_TO_DEVICE);
    dma_unmap_single(dev, 0x1234, 16, DMA_TO_DEVICE);
    if (buffer && !IS_ERR(below)) {
        dma = dma_map_single(below, buffer, 64, DMA_TO_DEVICE);
        (void)dma;
    }
    if (!IS_ERR(below))
        dk_device_remove(below);
    if (null)
        fclose(null);
    kfree(buffer);
}

static void memory(struct place *place)
{
    struct kmem_cache *cache = kmem_cache_create("objects", 48, 0, 0, NULL);
    struct page *pages[2] = { alloc_page(GFP_KERNEL), alloc_page(GFP_KERNEL) };
    void *object, *area;

    (void)place;
    if (cache) {
        object = kmem_cache_alloc(cache, GFP_KERNEL);
        if (object)
            kmem_cache_free(cache, object);
        kmem_cache_destroy(cache);
    }
    area = vmalloc(10000);
    vfree(area);
    if (pages[0] && pages[1]) {
        area = vmap(pages, 2, 0, (pgprot_t){ 0 });
        if (area)
            vunmap(area);
    }
    if (pages[0])
        __free_page(pages[0]);
    if (pages[1])
        __free_page(pages[1]);
    object = alloc_pages_exact(5000, GFP_KERNEL);
    if (object)
        free_pages_exact(object, 5000);
}

static irqreturn_t handler(int irq, void *data)
{
    (void)irq;
    (void)data;
    return IRQ_HANDLED;
}

static uint64_t read_register(void *model, uint64_t offset, unsigned width)
{
    (void)model;
    (void)width;
    return offset;
}

static void write_register(void *model, uint64_t offset, unsigned width, uint64_t value)
{
    (void)model;
    (void)offset;
    (void)width;
    (void)value;
}

static void registers_and_interrupts(struct place *place)
{
    static const struct dk_register_ops ops = { read_register, write_register };
    struct platform_device *pdev = to_platform_device(place->dev);
    void *registers;
    int irq;

    if (dk_registers_add(place->dev, 4096, &ops, NULL) == 0) {
        registers = devm_platform_ioremap_resource(pdev, 0);
        if (!IS_ERR(registers))
            writel(readl((char *)registers + 4), (char *)registers + 8);
    }
    irq = platform_get_irq(pdev, 0);
    if (irq > 0 && request_irq((unsigned)irq, handler, 0, "test", place) == 0) {
        dk_interrupt_raise(place->dev, 0);
        free_irq((unsigned)irq, place);
    }
    if (irq > 0)
        devm_request_irq(place->dev, (unsigned)irq, handler, 0, "managed", place);
}

/* ---- Behind an IOMMU ---- */

static void pieces(struct place *place)
{
    struct device *dev = place->dev;
    struct sg_table *table = dma_alloc_noncontiguous(dev, 20480, DMA_BIDIRECTIONAL, GFP_KERNEL, 0);
    unsigned char bytes[64];
    dma_addr_t dma;
    void *cpu;

    if (table) {
        struct vm_area_struct vma = { 0 };
        void *seen = mmap(NULL, 20480, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        vma.vm_start = (unsigned long)(uintptr_t)seen;
        vma.vm_end = vma.vm_start + 20480;
        cpu = dma_vmap_noncontiguous(dev, 20480, table);
        if (cpu)
            memset(cpu, 1, 20480);
        dma_mmap_noncontiguous(dev, &vma, 20480, table);
        munmap(seen, 20480);
        dma_sync_sgtable_for_device(dev, table, DMA_BIDIRECTIONAL);
        dk_master_read(dev, sg_dma_address(table->sgl) + 8192, bytes, 64);
        dma_sync_sgtable_for_cpu(dev, table, DMA_BIDIRECTIONAL);
        if (cpu)
            dma_vunmap_noncontiguous(dev, cpu);
        dma_free_noncontiguous(dev, 20480, table, DMA_BIDIRECTIONAL);
    }
    cpu = dma_alloc_attrs(dev, 20480, &dma, GFP_KERNEL, DMA_ATTR_ALLOC_SINGLE_PAGES);
    if (cpu)
        dma_free_attrs(dev, 20480, cpu, dma, DMA_ATTR_ALLOC_SINGLE_PAGES);
    cpu = dma_alloc_attrs(dev, 20480, &dma, GFP_KERNEL, DMA_ATTR_FORCE_CONTIGUOUS);
    if (cpu)
        dma_free_attrs(dev, 20480, cpu, dma, DMA_ATTR_FORCE_CONTIGUOUS);
}

/* Large leaves, and their ends. */
static void large(struct place *place)
{
    struct page *page = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
    struct scatterlist list[3];
    dma_addr_t dma;
    int i;

    if (!page)
        return;
    dma = dma_map_page(place->dev, page, 0, (4 << 20) - 4096, DMA_TO_DEVICE);
    if (!dma_mapping_error(place->dev, dma))
        dma_unmap_page(place->dev, dma, (4 << 20) - 4096, DMA_TO_DEVICE);
    sg_init_table(list, 3);
    for (i = 0; i < 3; i++)
        sg_set_page(&list[i], page + (2 - i) * 256, 1 << 20, 0);
    if (dma_map_sg(place->dev, list, 3, DMA_FROM_DEVICE))
        dma_unmap_sg(place->dev, list, 3, DMA_FROM_DEVICE);
    __free_pages(page, MAX_PAGE_ORDER);
}

static void addresses_first(struct place *place)
{
    struct device *dev = place->dev;
    struct page *page = alloc_pages(GFP_KERNEL, 2);
    struct dma_iova_state state = { 0 };
    unsigned char bytes[64];

    if (!page)
        return;
    if (dma_iova_try_alloc(dev, &state, 0, 12288)) {
        if (dma_iova_link(dev, &state, page_to_phys(page), 0, 4096, DMA_BIDIRECTIONAL, 0) == 0) {
            dma_iova_link(dev, &state, page_to_phys(page + 2), 4096, 8192, DMA_BIDIRECTIONAL, 0);
            dma_iova_sync(dev, &state, 0, 12288);
            dk_master_write(dev, state.addr, bytes, 64);
            dma_iova_unlink(dev, &state, 0, 4096, DMA_BIDIRECTIONAL, 0);
        }
        dma_iova_destroy(dev, &state, 12288, DMA_BIDIRECTIONAL, 0);
    }
    if (dma_iova_try_alloc(dev, &state, 100, 100))
        dma_iova_free(dev, &state);
    __free_pages(page, 2);
}

static void mapper(struct place *place)
{
    struct dma_iommu_mapping *space = arm_iommu_create_mapping(place->dev, 0x100000, 1 << 20);
    char *buffer = kmalloc(4096, GFP_KERNEL);

    if (!IS_ERR(space)) {
        if (arm_iommu_attach_device(place->dev, space) == 0) {
            dma_addr_t dma =
                buffer ? dma_map_single(place->dev, buffer, 4096, DMA_TO_DEVICE) : DMA_MAPPING_ERROR;

            if (!dma_mapping_error(place->dev, dma))
                dma_unmap_single(place->dev, dma, 4096, DMA_TO_DEVICE);
            arm_iommu_detach_device(place->dev);
        }
        arm_iommu_release_mapping(space);
    }
    kfree(buffer);
}

/* A device that came below another, as one of its functions. */
static void more_devices(struct place *place)
{
    struct device *dev = dk_device_add(place->dev, "below");
    char *buffer = kmalloc(64, GFP_KERNEL);
    dma_addr_t dma;

    if (!IS_ERR(dev) && buffer) {
        dma = dma_map_single(dev, buffer, 64, DMA_TO_DEVICE);
        if (!dma_mapping_error(dev, dma))
            dma_unmap_single(dev, dma, 64, DMA_TO_DEVICE);
    }
    if (!IS_ERR(dev))
        dk_device_remove(dev);
    kfree(buffer);
}

/* ---- Bouncing ---- */

static int always(struct device *dev, dma_addr_t address, size_t size)
{
    (void)dev;
    (void)address;
    (void)size;
    return 1;
}

static void own_rule(struct place *place)
{
    if (dmabounce_register_dev(place->dev, 512, 4096, always))
        return;
    streaming(place);
    dmabounce_unregister_dev(place->dev);
}

#define IOMMU_BOARD(coherence)                                                                                            \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"iommu\"; compatible = \"dmakit,test\"; " coherence \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x2000000>; };"                                       \
    " mmu: iommu@10000000 { compatible = \"arm,mmu-401\"; reg = <0x10000000 0x10000>; #iommu-cells = <1>; };"             \
    " nic@0 { compatible = \"dmakit,nic\"; iommus = <&mmu 0x10>; }; aliases { nic = \"/nic@0\"; }; };"
#define COMPANION_BOARD                                                                                              \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"companion\"; compatible = \"dmakit,test\";"   \
    " dma-noncoherent; memory@c0000000 { device_type = \"memory\"; reg = <0xc0000000 0x2000000>; };"                 \
    " companion@0 { compatible = \"intel,sa1111\", \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;" \
    "  nic@0 { compatible = \"dmakit,nic\"; }; }; aliases { nic = \"/companion@0/nic@0\"; }; };"

/* One whole life of a machine, in which any allocation may fail. */
struct life {
    const char *name;
    const char *board;
    const char *arguments;
    void (*scenario)(struct place *place);
};

#define ON_BOTH(name, scenario)                                      \
    { name ", coherent", COHERENT_BOARD, "cma=1M", scenario },       \
    {                                                                \
        name ", non-coherent", NONCOHERENT_BOARD, "cma=1M", scenario \
    }
#define BEHIND_BOTH(name, scenario)                                                                    \
    { name ", IOMMU", IOMMU_BOARD("dma-coherent;"), NULL, scenario },                                  \
    {                                                                                                  \
        name ", lazy IOMMU, non-coherent", IOMMU_BOARD("dma-noncoherent;"), "iommu.strict=0", scenario \
    }

static const struct life lives[] = {
    ON_BOTH("streaming", streaming),
    ON_BOTH("allocating", allocating),
    ON_BOTH("reporting", reporting),
    ON_BOTH("memory", memory),
    ON_BOTH("registers and interrupts", registers_and_interrupts),
    ON_BOTH("pieces", pieces),
    /* The hostile board adds devices and regions, not other ways to fail once they stand. */
    { "streaming, hostile board", "hostile.dts", "cma=1M", streaming },
    BEHIND_BOTH("streaming", streaming),
    BEHIND_BOTH("allocating", allocating),
    BEHIND_BOTH("pieces", pieces),
    BEHIND_BOTH("large", large),
    BEHIND_BOTH("addresses first", addresses_first),
    BEHIND_BOTH("mapper", mapper),
    BEHIND_BOTH("more devices", more_devices),
    { "streaming, bounced", NONCOHERENT_BOARD, "swiotlb=force", streaming },
    { "streaming, SA-1111", COMPANION_BOARD, NULL, streaming },
    { "more devices, SA-1111", COMPANION_BOARD, NULL, more_devices },
    ON_BOTH("own rule", own_rule),
};

static void live(const struct life *life)
{
    struct dk_board *board = board_from(life->board);
    const struct dk_machine_options options = { .size = sizeof(options),
                                                .arguments = life->arguments,
                                                .depth = 1 };
    struct place place;

    if (IS_ERR(board))
        return;
    place.machine = dk_machine_create(board, &options);
    dk_board_free(board);
    if (IS_ERR(place.machine))
        return;
    dk_machine_enter(place.machine);
    place.dev = dk_device_find(place.machine, "nic");
    assert_non_null(place.dev);
    life->scenario(&place);
    dk_machine_destroy(place.machine);
}

static void every_allocation_fails_in_turn(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
        unsigned long n = 0;

        do {
            dk_fail_nth(++n);
            live(&lives[i]);
        } while (dk_fail_hits());
        dk_fail_nth(0);
        print_message("%s: %lu allocations\n", lives[i].name, n - 1);
        /* The loop has seen allocations fail, not only a machine that never came up. */
        assert_true(n > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails_in_turn),
    };
    int null = open("/dev/null", O_WRONLY);

    /* Reports go to standard error by default, and there are many. */
    dk_log_set_level(-1);
    if (null >= 0)
        dup2(null, STDERR_FILENO);
    return cmocka_run_group_tests_name("fail", tests, NULL, NULL);
}
