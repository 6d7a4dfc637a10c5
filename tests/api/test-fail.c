/* SPDX-License-Identifier: MIT */
/*
 * Every allocation the library makes, its own and the machine's, fails in turn: each call returns its error,
 * nothing crashes, and (under the address sanitizer) nothing leaks.
 */
#include "api.h"

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

static void (*const scenarios[])(struct place *place) = {
    streaming, allocating, reporting, memory, registers_and_interrupts,
};

/* One whole life of a machine, in which any allocation may fail. */
static void live(const char *dts, void (*scenario)(struct place *place))
{
    struct dk_board *board = board_from(dts);
    const struct dk_machine_options options = { .size = sizeof(options), .arguments = "cma=1M", .depth = 1 };
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
    scenario(&place);
    dk_machine_destroy(place.machine);
}

static void every_allocation_fails_in_turn(void **state)
{
    static const char *const boards[] = { COHERENT_BOARD, NONCOHERENT_BOARD, "hostile.dts" };
    size_t board, scenario;

    (void)state;
    for (board = 0; board < 3; board++) {
        for (scenario = 0; scenario < sizeof(scenarios) / sizeof(scenarios[0]); scenario++) {
            unsigned long n = 0;

            /* The hostile board adds devices and regions, not other ways to fail once they stand. */
            if (board == 2 && scenario)
                continue;
            do {
                dk_fail_nth(++n);
                live(boards[board], scenarios[scenario]);
            } while (dk_fail_hits());
            dk_fail_nth(0);
            print_message("board %zu, scenario %zu: %lu allocations\n", board, scenario, n - 1);
            /* The loop has seen allocations fail, not only a machine that never came up. */
            assert_true(n > 20);
        }
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
