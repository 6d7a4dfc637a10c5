/* SPDX-License-Identifier: MIT */
/*
 * Memory in pieces: what an IOMMU makes one buffer of where no run of pages is as long, and what others do.
 */
#include "api.h"

#include "machine/machine.h"
#include <dmakit/iommu.h>
#include <dmakit/vmalloc.h>
#include <signal.h>
#include <sys/mman.h>

/* 16 MiB of RAM; behind is behind an IOMMU, plain is not. */
#define BOARD(coherence)                                                                                                   \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"pieces\"; compatible = \"dmakit,test\"; " coherence \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x1000000>; };"                                        \
    " mmu: iommu@10000000 { compatible = \"arm,mmu-401\"; reg = <0x10000000 0x10000>; #iommu-cells = <1>; };"              \
    " behind@0 { compatible = \"dmakit,nic\"; iommus = <&mmu 0x10>; }; plain@0 { compatible = \"dmakit,nic\"; };"          \
    " aliases { behind = \"/behind@0\"; plain = \"/plain@0\"; }; };"

static const char *const boards[] = { BOARD("dma-coherent;"), BOARD("dma-noncoherent;") };

#define SIZE ((size_t)60000) /* 15 pages */
#define PAGES 15
#define MOST_PAGES 4200

/* ---- Fragmentation ---- */

struct fragments {
    struct page *pages[MOST_PAGES];
    unsigned count;
};

/* Takes all memory, and gives every second page back: no two free ones are neighbours. */
static struct fragments *fragment(void)
{
    struct fragments *fragments = calloc(1, sizeof(*fragments));
    unsigned i;

    assert_non_null(fragments);
    while (fragments->count < MOST_PAGES &&
           (fragments->pages[fragments->count] = alloc_page(GFP_ATOMIC | __GFP_NOWARN)))
        fragments->count++;
    assert_true(fragments->count > 1000 && fragments->count < MOST_PAGES);
    for (i = 0; i < fragments->count; i++) {
        if (page_to_pfn(fragments->pages[i]) & 1) {
            __free_page(fragments->pages[i]);
            fragments->pages[i] = NULL;
        }
    }
    assert_null(alloc_pages(GFP_KERNEL | __GFP_NOWARN, 1));
    return fragments;
}

static void mend(struct fragments *fragments)
{
    unsigned i;

    for (i = 0; i < fragments->count; i++) {
        if (fragments->pages[i])
            __free_page(fragments->pages[i]);
    }
    free(fragments);
}

/* Addresses to show @pages pages at, from page @pgoff of the buffer on. */
static struct vm_area_struct hold(unsigned pages, unsigned pgoff)
{
    size_t bytes = (size_t)pages << PAGE_SHIFT;
    char *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct vm_area_struct vma = { .vm_pgoff = pgoff };

    assert_ptr_not_equal(at, MAP_FAILED);
    vma.vm_start = (unsigned long)(uintptr_t)at;
    vma.vm_end = vma.vm_start + bytes;
    return vma;
}

static char *shown(const struct vm_area_struct *vma)
{
    return (char *)(uintptr_t)vma->vm_start;
}

static void let_go(const struct vm_area_struct *vma)
{
    munmap(shown(vma), vma->vm_end - vma->vm_start);
}

static void reads(struct device *dev, dma_addr_t dma, size_t size, unsigned tag)
{
    unsigned char *bytes = malloc(size);

    assert_non_null(bytes);
    assert_int_equal(dk_master_read(dev, dma, bytes, size), 0);
    assert_true(filled(bytes, size, tag));
    free(bytes);
}

static void writes(struct device *dev, dma_addr_t dma, size_t size, unsigned tag)
{
    unsigned char *bytes = malloc(size);

    assert_non_null(bytes);
    fill(bytes, size, tag);
    assert_int_equal(dk_master_write(dev, dma, bytes, size), 0);
    free(bytes);
}

/* ---- dma_alloc_noncontiguous() ---- */

/* One DMA address, one kernel address and one user address for all of a table's pages. */
static void use_table(struct device *dev, struct sg_table *table)
{
    dma_addr_t dma = sg_dma_address(table->sgl);
    struct vm_area_struct whole = hold(PAGES, 0), part = hold(3, 5);
    char *cpu = dma_vmap_noncontiguous(dev, SIZE, table);
    size_t i;

    assert_int_equal(table->nents, 1);
    assert_true(sg_dma_len(table->sgl) >= SIZE);
    assert_non_null(cpu);
    for (i = 0; i < SIZE; i++)
        assert_int_equal(cpu[i], 0);
    fill(cpu, SIZE, 1);
    dma_sync_sgtable_for_device(dev, table, DMA_BIDIRECTIONAL);
    reads(dev, dma, SIZE, 1);
    writes(dev, dma, SIZE, 2);
    dma_sync_sgtable_for_cpu(dev, table, DMA_BIDIRECTIONAL);
    assert_true(filled(cpu, SIZE, 2));
    assert_int_equal(dma_mmap_noncontiguous(dev, &whole, SIZE, table), 0);
    assert_int_equal(dma_mmap_noncontiguous(dev, &part, SIZE, table), 0);
    assert_true(filled(shown(&whole), SIZE, 2));
    assert_memory_equal(shown(&part), cpu + 5 * PAGE_SIZE, 3 * PAGE_SIZE);
    shown(&part)[2 * PAGE_SIZE + 3] = 99;
    assert_int_equal(cpu[7 * PAGE_SIZE + 3], 99);
    let_go(&whole);
    let_go(&part);
    dma_vunmap_noncontiguous(dev, cpu);
}

static void an_iommu_makes_one_buffer_of_pieces(void **state)
{
    int board, round;

    (void)state;
    for (board = 0; board < 4; board++) {
        struct dk_machine *machine = machine_with(boards[board & 1], NULL, board & 2 ? 5 : 0, 1);
        struct device *behind = dk_device_find(machine, "behind"), *plain = dk_device_find(machine, "plain");
        struct fragments *fragments = fragment();
        struct log_lines lines;
        u64 before = 0;

        for (round = 0; round < 3; round++) {
            struct sg_table *table = dma_alloc_noncontiguous(behind, SIZE, DMA_BIDIRECTIONAL, GFP_KERNEL, 0);
            struct scatterlist *sg;
            u64 bytes = 0;
            unsigned i;

            assert_non_null(table);
            assert_true(table->orig_nents == PAGES);
            for_each_sgtable_sg (table, sg, i) {
                assert_int_equal(
                    iommu_iova_to_phys(iommu_get_domain_for_dev(behind), sg_dma_address(table->sgl) + bytes),
                    sg_phys(sg));
                bytes += sg->length;
            }
            assert_true(bytes == (u64)PAGES << PAGE_SHIFT);
            use_table(behind, table);
            dma_free_noncontiguous(behind, SIZE, table, DMA_BIDIRECTIONAL);
            /* What page tables and the like took, they take once. */
            if (round)
                assert_int_equal(dk_memory_free_pages(machine->memory), before);
            before = dk_memory_free_pages(machine->memory);
        }
        keep_log(&lines);
        assert_null(dma_alloc_noncontiguous(plain, SIZE, DMA_BIDIRECTIONAL, GFP_KERNEL, 0));
        assert_non_null(strstr(lines.text, "no memory for 60000 bytes"));
        keep_log(&lines);
        assert_null(dma_alloc_noncontiguous(plain, SIZE, DMA_BIDIRECTIONAL, GFP_KERNEL, DMA_ATTR_NO_WARN));
        assert_null(dma_alloc_noncontiguous(plain, SIZE, DMA_BIDIRECTIONAL, GFP_KERNEL | __GFP_NOWARN, 0));
        /* More than there is, in pieces or not. */
        assert_null(
            dma_alloc_noncontiguous(behind, 12 << 20, DMA_BIDIRECTIONAL, GFP_KERNEL, DMA_ATTR_NO_WARN));
        if (lines.count)
            fail_msg("%s", lines.text);
        drop_log();
        assert_int_equal(dk_memory_free_pages(machine->memory), before);
        mend(fragments);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* What lies between the pieces is not the device's: who stores there is not reported. */
static void between_the_pieces_is_memory_of_others(void **state)
{
    struct dk_machine *machine = machine_with(boards[0], NULL, 0, 3);
    struct device *behind = dk_device_find(machine, "behind");
    struct fragments *fragments = fragment();
    struct sg_table *table = dma_alloc_noncontiguous(behind, SIZE, DMA_BIDIRECTIONAL, GFP_KERNEL, 0);
    struct scatterlist *sg;
    unsigned i;

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    assert_non_null(table);
    assert_int_equal(table->orig_nents, PAGES);
    dma_sync_sgtable_for_device(behind, table, DMA_BIDIRECTIONAL);
    for_each_sgtable_sg (table, sg, i) {
        char *piece = sg_virt(sg);

        dk_instrument_access(piece + PAGE_SIZE, 8, DK_ACCESS_STORE, NULL);
        assert_int_equal(dk_check_count(machine, NULL), i);
        dk_instrument_access(piece + PAGE_SIZE - 8, 8, DK_ACCESS_STORE, NULL);
        assert_int_equal(dk_check_count(machine, "cpu-write-while-device-owns"), i + 1);
    }
    dma_free_noncontiguous(behind, SIZE, table, DMA_BIDIRECTIONAL);
    mend(fragments);
    dk_machine_destroy(machine);
}

/* Without an IOMMU, and without fragmentation, it is one piece. */
static void elsewhere_it_is_one_piece(void **state)
{
    int board;

    (void)state;
    for (board = 0; board < 2; board++) {
        struct dk_machine *machine = machine_with(boards[board], NULL, 3, 1);
        struct device *plain = dk_device_find(machine, "plain");
        struct sg_table *table = dma_alloc_noncontiguous(plain, SIZE, DMA_BIDIRECTIONAL, GFP_KERNEL, 0);
        char *cpu;

        assert_non_null(table);
        assert_int_equal(table->orig_nents, 1);
        assert_int_equal(sg_dma_address(table->sgl), sg_phys(table->sgl));
        cpu = dma_vmap_noncontiguous(plain, SIZE, table);
        assert_ptr_equal(cpu, sg_virt(table->sgl));
        dma_vunmap_noncontiguous(plain, cpu);
        use_table(plain, table);
        dma_free_noncontiguous(plain, SIZE, table, DMA_BIDIRECTIONAL);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* Large memory comes in large pieces, unless single pages are asked for, which then need not be large. */
static void pieces_are_as_large_as_may_be(void **state)
{
    struct dk_machine *machine = machine_on(boards[0]);
    struct device *behind = dk_device_find(machine, "behind");
    static const unsigned long attrs[] = { 0, DMA_ATTR_ALLOC_SINGLE_PAGES };
    struct sg_table *table;
    char *cpu;
    int i;

    (void)state;
    for (i = 0; i < 2; i++) {
        table = dma_alloc_noncontiguous(behind, 9 << 20, DMA_BIDIRECTIONAL, GFP_KERNEL, attrs[i]);
        assert_non_null(table);
        if (!attrs[i])
            assert_true(table->orig_nents <= 4);
        cpu = dma_vmap_noncontiguous(behind, 9 << 20, table);
        assert_non_null(cpu);
        fill(cpu + (5 << 20), 10000, 7);
        dma_sync_sgtable_for_device(behind, table, DMA_BIDIRECTIONAL);
        reads(behind, sg_dma_address(table->sgl) + (5 << 20), 10000, 7);
        dma_vunmap_noncontiguous(behind, cpu);
        dma_free_noncontiguous(behind, 9 << 20, table, DMA_BIDIRECTIONAL);
    }
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void wrong_arguments_are_refused(void **state)
{
    struct dk_machine *machine = machine_on(boards[1]);
    const char *const names[] = { "behind", "plain" };
    int i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct device *dev = dk_device_find(machine, names[i]);
        struct sg_table *table = dma_alloc_noncontiguous(dev, SIZE, DMA_TO_DEVICE, GFP_KERNEL, 0);
        struct vm_area_struct vma = hold(4, 0);

        assert_non_null(table);
        assert_null(dma_alloc_noncontiguous(NULL, SIZE, DMA_TO_DEVICE, GFP_KERNEL, 0));
        assert_null(dma_alloc_noncontiguous(dev, 0, DMA_TO_DEVICE, GFP_KERNEL, 0));
        assert_null(dma_alloc_noncontiguous(dev, SIZE_MAX, DMA_TO_DEVICE, GFP_KERNEL, 0));
        assert_null(dma_alloc_noncontiguous(dev, SIZE_MAX / 2, DMA_TO_DEVICE, GFP_KERNEL, 0));
        assert_null(dma_alloc_noncontiguous(dev, SIZE, DMA_NONE, GFP_KERNEL, 0));
        assert_null(dma_alloc_noncontiguous(dev, SIZE, DMA_TO_DEVICE, GFP_KERNEL | GFP_DMA, 0));
        assert_null(dma_alloc_noncontiguous(dev, SIZE, DMA_TO_DEVICE, GFP_KERNEL | __GFP_COMP, 0));
        assert_null(dma_alloc_noncontiguous(dev, SIZE, DMA_TO_DEVICE, GFP_KERNEL, DMA_ATTR_FORCE_CONTIGUOUS));
        assert_null(dma_vmap_noncontiguous(dev, SIZE, NULL));
        assert_null(dma_vmap_noncontiguous(NULL, SIZE, table));
        assert_null(dma_vmap_noncontiguous(dev, 0, table));
        assert_null(dma_vmap_noncontiguous(dev, SIZE + (1 << 20), table));
        assert_null(dma_vmap_noncontiguous(dev, SIZE_MAX - PAGE_SIZE, table));
        dma_vunmap_noncontiguous(dev, NULL);
        dma_free_noncontiguous(dev, SIZE, NULL, DMA_TO_DEVICE);

        assert_int_equal(dma_mmap_noncontiguous(dev, NULL, SIZE, table), -EINVAL);
        assert_int_equal(dma_mmap_noncontiguous(dev, &vma, SIZE, NULL), -EINVAL);
        vma.vm_pgoff = PAGES - 4;
        assert_int_equal(dma_mmap_noncontiguous(dev, &vma, SIZE, table), 0);
        vma.vm_pgoff++;
        assert_int_equal(dma_mmap_noncontiguous(dev, &vma, SIZE, table), -ENXIO);
        vma.vm_pgoff = PAGES;
        assert_int_equal(dma_mmap_noncontiguous(dev, &vma, SIZE, table), -ENXIO);
        vma.vm_pgoff = ~0ul;
        assert_int_equal(dma_mmap_noncontiguous(dev, &vma, SIZE, table), -ENXIO);
        vma.vm_pgoff = 0;
        vma.vm_start++;
        assert_int_equal(dma_mmap_noncontiguous(dev, &vma, SIZE, table), -EINVAL);
        vma.vm_start--;
        /* A size beyond the table's. */
        vma.vm_pgoff = PAGES - 2;
        assert_int_equal(dma_mmap_noncontiguous(dev, &vma, SIZE + (1 << 20), table), -ENXIO);
        let_go(&vma);
        dma_free_noncontiguous(dev, SIZE, table, DMA_TO_DEVICE);
    }
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static sigjmp_buf faulted;

static void jump(int number)
{
    (void)number;
    siglongjmp(faulted, 1);
}

/* Whether the CPU can write at @cpu. */
static bool is_writable(volatile char *cpu)
{
    struct sigaction action = { .sa_handler = jump }, before;
    bool writable = false;

    sigaction(SIGSEGV, &action, &before);
    if (!sigsetjmp(faulted, 1)) {
        *cpu = 1;
        writable = true;
    }
    sigaction(SIGSEGV, &before, NULL);
    return writable;
}

/* Kernel addresses that a table still has when it is freed go with it, once and for all, and are reported. */
static void kernel_addresses_end_with_the_table(void **state)
{
    const char *const names[] = { "behind", "plain" };
    int depth, i;

    (void)state;
    for (depth = 0; depth < 2; depth++) {
        for (i = 0; i < 2; i++) {
            struct dk_machine *machine = machine_with(boards[0], NULL, 0, depth);
            struct device *dev = dk_device_find(machine, names[i]);
            struct sg_table *table, *other;
            struct log_lines lines;
            char *cpu, *again, *others;

            dk_check_set_sink(machine, ignore_report, NULL);
            table = dma_alloc_noncontiguous(dev, SIZE, DMA_BIDIRECTIONAL, GFP_KERNEL,
                                            DMA_ATTR_ALLOC_SINGLE_PAGES);
            other = dma_alloc_noncontiguous(dev, SIZE, DMA_BIDIRECTIONAL, GFP_KERNEL,
                                            DMA_ATTR_ALLOC_SINGLE_PAGES);
            cpu = dma_vmap_noncontiguous(dev, SIZE, table);
            others = dma_vmap_noncontiguous(dev, SIZE, other);
            again = dma_vmap_noncontiguous(dev, SIZE, table);
            assert_true(cpu && others && again);
            keep_log(&lines);
            dma_free_noncontiguous(dev, SIZE, table, DMA_BIDIRECTIONAL);
            assert_int_equal(lines.count, !depth);
            assert_int_equal(dk_check_count(machine, NULL), depth);
            assert_int_equal(dk_check_count(machine, "freed-while-mapped"), depth);
            if (is_vmalloc_addr(cpu)) {
                assert_false(is_writable(cpu));
                assert_false(is_writable(again));
            }
            fill(others, SIZE, 3);
            /* Too late, and not twice. */
            keep_log(&lines);
            dma_vunmap_noncontiguous(dev, cpu);
            assert_int_equal(lines.count, 1);
            dma_vunmap_noncontiguous(dev, others);
            assert_int_equal(lines.count, 1);
            dma_vunmap_noncontiguous(dev, others);
            assert_int_equal(lines.count, 2);
            drop_log();
            dma_free_noncontiguous(dev, SIZE, other, DMA_BIDIRECTIONAL);
            assert_int_equal(dk_machine_destroy(machine), depth);
        }
    }
}

/* ---- Coherent memory ---- */

static void coherent_memory_has_one_address(void **state)
{
    int board;

    (void)state;
    for (board = 0; board < 4; board++) {
        struct dk_machine *machine = machine_with(boards[board & 1], NULL, board & 2 ? 5 : 0, 1);
        struct device *behind = dk_device_find(machine, "behind"), *plain = dk_device_find(machine, "plain");
        struct fragments *fragments = fragment();
        struct vm_area_struct part = hold(3, 5);
        struct log_lines lines;
        dma_addr_t dma, other;
        struct sg_table table;
        struct scatterlist *sg;
        u64 before, bytes = 0;
        unsigned i;
        char *cpu = dma_alloc_coherent(behind, SIZE, &dma, GFP_KERNEL);

        assert_non_null(cpu);
        dma_free_coherent(behind, SIZE, cpu, dma);
        before = dk_memory_free_pages(machine->memory);
        cpu = dma_alloc_coherent(behind, SIZE, &dma, GFP_KERNEL);
        assert_non_null(cpu);
        assert_true(is_vmalloc_addr(cpu));
        assert_int_equal(before - dk_memory_free_pages(machine->memory), PAGES);
        assert_int_equal(dma & (16 * PAGE_SIZE - 1), 0);
        for (i = 0; i < SIZE; i++)
            assert_int_equal(cpu[i], 0);
        /* Neither side says a word: the memory is coherent. */
        fill(cpu, SIZE, 1);
        reads(behind, dma, SIZE, 1);
        writes(behind, dma, SIZE, 2);
        assert_true(filled(cpu, SIZE, 2));
        assert_int_equal(dma_mmap_coherent(behind, &part, cpu, dma, SIZE), 0);
        assert_memory_equal(shown(&part), cpu + 5 * PAGE_SIZE, 3 * PAGE_SIZE);
        fill(shown(&part), 100, 3);
        reads(behind, dma + 5 * PAGE_SIZE, 100, 3);
        let_go(&part);
        part = hold(3, PAGES - 2);
        assert_int_equal(dma_mmap_coherent(behind, &part, cpu, dma, SIZE), -ENXIO);
        part.vm_end--;
        part.vm_pgoff = 0;
        assert_int_equal(dma_mmap_coherent(behind, &part, cpu, dma, SIZE), -EINVAL);
        part.vm_end++;
        let_go(&part);
        assert_int_equal(dma_get_sgtable(behind, &table, cpu, dma, SIZE), 0);
        assert_int_equal(table.orig_nents, PAGES);
        for_each_sgtable_sg (&table, sg, i) {
            assert_int_equal(iommu_iova_to_phys(iommu_get_domain_for_dev(behind), dma + bytes), sg_phys(sg));
            bytes += sg->length;
        }
        sg_free_table(&table);
        assert_int_equal(dma_get_sgtable(behind, &table, cpu, dma, SIZE + (1 << 20)), -ENXIO);
        assert_int_equal(dma_get_sgtable(behind, &table, cpu, dma, SIZE_MAX - PAGE_SIZE), -ENXIO);
        assert_int_equal(dma_get_sgtable(behind, &table, &table, dma, SIZE), -ENXIO);
        keep_log(&lines);
        assert_null(dma_alloc_attrs(plain, SIZE, &other, GFP_KERNEL, DMA_ATTR_NO_WARN));
        assert_null(
            dma_alloc_attrs(behind, SIZE, &other, GFP_KERNEL, DMA_ATTR_NO_WARN | DMA_ATTR_FORCE_CONTIGUOUS));
        if (lines.count)
            fail_msg("%s", lines.text);
        drop_log();
        assert_non_null(vmalloc_to_page(cpu));
        dma_free_coherent(behind, SIZE, cpu, dma);
        assert_null(vmalloc_to_page(cpu));
        assert_int_equal(dk_memory_free_pages(machine->memory), before);
        mend(fragments);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

static bool is_one_run(struct device *dev, dma_addr_t dma, unsigned pages)
{
    struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
    unsigned i;

    for (i = 1; i < pages; i++) {
        if (iommu_iova_to_phys(domain, dma + i * PAGE_SIZE) !=
            iommu_iova_to_phys(domain, dma) + i * PAGE_SIZE)
            return false;
    }
    return true;
}

/* What the attributes ask for is what an allocation is, and the same calls undo it. */
static void attributes_say_how(void **state)
{
    static const unsigned long cases[] = {
        0,
        DMA_ATTR_FORCE_CONTIGUOUS,
        DMA_ATTR_ALLOC_SINGLE_PAGES,
        DMA_ATTR_NO_KERNEL_MAPPING,
        DMA_ATTR_WRITE_COMBINE,
        DMA_ATTR_NON_CONSISTENT,
        DMA_ATTR_FORCE_CONTIGUOUS | DMA_ATTR_NO_KERNEL_MAPPING,
        DMA_ATTR_FORCE_CONTIGUOUS | DMA_ATTR_NON_CONSISTENT,
    };
    static const size_t sizes[] = { 100, 4096, 12288, SIZE, 1 << 20, (1 << 20) + 4096 };
    static const char *const arguments[] = { NULL, "cma=4M" };
    size_t i, k;
    int board;

    (void)state;
    for (board = 0; board < 4; board++) {
        struct dk_machine *machine = machine_with(boards[board & 1], arguments[board / 2], 0, 1);
        struct device *dev = dk_device_find(machine, "behind");

        for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            for (k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
                struct vm_area_struct vma = hold((unsigned)PFN_UP(sizes[k]), 0);
                size_t used = sizes[k] < 5000 ? sizes[k] : 5000;
                dma_addr_t dma;
                char *cpu = dma_alloc_attrs(dev, sizes[k], &dma, GFP_KERNEL, cases[i]);

                assert_non_null(cpu);
                assert_int_equal(dma & ((PAGE_SIZE << get_order(sizes[k])) - 1), 0);
                if (cases[i] & DMA_ATTR_FORCE_CONTIGUOUS)
                    assert_true(is_one_run(dev, dma, (unsigned)PFN_UP(sizes[k])));
                assert_int_equal(dma_mmap_attrs(dev, &vma, cpu, dma, sizes[k], cases[i]), 0);
                assert_int_equal(shown(&vma)[used - 1], 0);
                fill(shown(&vma), used, 4);
                if (cases[i] & DMA_ATTR_NON_CONSISTENT)
                    dma_cache_sync(dev, cpu, sizes[k], DMA_TO_DEVICE);
                reads(dev, dma, used, 4);
                writes(dev, dma, used, 5);
                if (cases[i] & DMA_ATTR_NON_CONSISTENT)
                    dma_cache_sync(dev, cpu, sizes[k], DMA_FROM_DEVICE);
                assert_true(filled(shown(&vma), used, 5));
                if (!(cases[i] & DMA_ATTR_NO_KERNEL_MAPPING))
                    assert_true(filled(cpu, used, 5));
                let_go(&vma);
                dma_free_attrs(dev, sizes[k], cpu, dma, cases[i]);
            }
        }
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* A size beyond the allocation leads to nobody else's pages. */
static void neighbours_are_not_shown(void **state)
{
    static const struct {
        gfp_t gfp;
        unsigned long attrs;
        size_t size;
    } cases[] = {
        { GFP_KERNEL, 0, 4096 },
        { GFP_KERNEL, 0, 100 },
        { GFP_KERNEL, 0, 8192 },
        { GFP_KERNEL, 0, 12000 },
        { GFP_KERNEL, DMA_ATTR_ALLOC_SINGLE_PAGES, 12288 },
        { GFP_KERNEL, DMA_ATTR_FORCE_CONTIGUOUS, 12288 },
        { GFP_ATOMIC, 0, 4096 },
        { GFP_ATOMIC, 0, 8192 },
    };
    size_t i;
    int board;

    (void)state;
    for (board = 0; board < 4; board++) {
        struct dk_machine *machine = machine_with(boards[board & 1], NULL, 3, board >> 1);
        struct device *dev = dk_device_find(machine, "behind");

        for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            const size_t size = cases[i].size, whole = (size_t)PFN_UP(size) << PAGE_SHIFT;
            struct vm_area_struct fits = hold((unsigned)PFN_UP(size), 0), beyond = hold(1, PFN_UP(size));
            dma_addr_t dma, others;
            char *cpu = dma_alloc_attrs(dev, size, &dma, cases[i].gfp, cases[i].attrs);
            char *other = dma_alloc_attrs(dev, size, &others, cases[i].gfp, cases[i].attrs);
            struct sg_table table;

            assert_true(cpu && other);
            assert_int_equal(dma_mmap_attrs(dev, &fits, cpu, dma, size, cases[i].attrs), 0);
            assert_int_equal(dma_mmap_attrs(dev, &beyond, cpu, dma, size, cases[i].attrs), -ENXIO);
            assert_int_equal(dma_get_sgtable_attrs(dev, &table, cpu, dma, whole, cases[i].attrs), 0);
            sg_free_table(&table);
            /* Without the checker nobody knows how long a block of the atomic pool is. */
            if (board >= 2 || cases[i].gfp == GFP_KERNEL || !(board & 1)) {
                if (dma_get_sgtable_attrs(dev, &table, cpu, dma, whole + 1, cases[i].attrs) != -ENXIO ||
                    dma_mmap_attrs(dev, &beyond, cpu, dma, 2 * whole, cases[i].attrs) != -ENXIO)
                    fail_msg("board %d case %zu", board, i);
            }
            assert_int_equal(dma_get_sgtable_attrs(dev, &table, cpu, dma, 32 << 20, cases[i].attrs), -ENXIO);
            let_go(&fits);
            let_go(&beyond);
            dma_free_attrs(dev, size, cpu, dma, cases[i].attrs);
            dma_free_attrs(dev, size, other, others, cases[i].attrs);
        }
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* One piece of more than a block of pages is a contiguous area's, and goes back there. */
static void contiguous_areas_serve(void **state)
{
    struct dk_machine *machine = machine_with(boards[1], "cma=6M", 0, 1);
    struct device *dev = dk_device_find(machine, "behind");
    dma_addr_t dma, other;
    struct page *page;
    int round;
    char *cpu;

    (void)state;
    for (round = 0; round < 3; round++) {
        cpu = dma_alloc_attrs(dev, 5 << 20, &dma, GFP_KERNEL, DMA_ATTR_FORCE_CONTIGUOUS);
        assert_non_null(cpu);
        assert_true(is_one_run(dev, dma, 5 << 8));
        assert_null(
            dma_alloc_attrs(dev, 5 << 20, &other, GFP_KERNEL, DMA_ATTR_FORCE_CONTIGUOUS | DMA_ATTR_NO_WARN));
        fill(cpu + (4 << 20), 4096, 6);
        reads(dev, dma + (4 << 20), 4096, 6);
        dma_free_attrs(dev, 5 << 20, cpu, dma, DMA_ATTR_FORCE_CONTIGUOUS);
        page = dma_alloc_pages(dev, 5 << 20, &dma, DMA_TO_DEVICE, GFP_KERNEL);
        assert_non_null(page);
        dma_free_pages(dev, 5 << 20, page, dma, DMA_TO_DEVICE);
    }
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* What is allocated anew never shows what was there before, to neither side. */
static void former_contents_are_gone(void **state)
{
    int board, round;

    (void)state;
    for (board = 0; board < 2; board++) {
        struct dk_machine *machine = machine_with(boards[board], NULL, 9, 1);
        struct device *dev = dk_device_find(machine, "behind");
        struct fragments *fragments = fragment();
        unsigned char zeros[4096] = { 0 }, seen[4096];

        for (round = 0; round < 20; round++) {
            dma_addr_t dma;
            char *cpu = dma_alloc_coherent(dev, SIZE, &dma, GFP_KERNEL);
            unsigned at;

            assert_non_null(cpu);
            for (at = 0; at < SIZE; at += 4096) {
                assert_memory_equal(cpu + at, zeros, at + 4096 > SIZE ? SIZE - at : 4096);
                assert_int_equal(dk_master_read(dev, dma + at, seen, 4096), 0);
                assert_memory_equal(seen, zeros, 4096);
            }
            memset(cpu, 0x5a, SIZE);
            writes(dev, dma, SIZE / 2, 8);
            dma_free_coherent(dev, SIZE, cpu, dma);
        }
        mend(fragments);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* What a driver forgets is reported, and goes with the machine. */
static void forgotten_tables_go_with_the_machine(void **state)
{
    static const char *const names[] = { "behind", "plain" };
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        struct dk_machine *machine = machine_with(boards[0], NULL, 0, i >> 1);

        dk_check_set_sink(machine, ignore_report, NULL);
        assert_non_null(dma_alloc_noncontiguous(dk_device_find(machine, names[i & 1]), SIZE, DMA_TO_DEVICE,
                                                GFP_KERNEL, 0));
        assert_int_equal(dk_machine_destroy(machine), i >> 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_iommu_makes_one_buffer_of_pieces),
        cmocka_unit_test(between_the_pieces_is_memory_of_others),
        cmocka_unit_test(elsewhere_it_is_one_piece),
        cmocka_unit_test(pieces_are_as_large_as_may_be),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(kernel_addresses_end_with_the_table),
        cmocka_unit_test(coherent_memory_has_one_address),
        cmocka_unit_test(attributes_say_how),
        cmocka_unit_test(neighbours_are_not_shown),
        cmocka_unit_test(contiguous_areas_serve),
        cmocka_unit_test(former_contents_are_gone),
        cmocka_unit_test(forgotten_tables_go_with_the_machine),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("noncontiguous", tests, NULL, NULL);
}
