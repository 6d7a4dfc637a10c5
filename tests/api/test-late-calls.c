/* SPDX-License-Identifier: MIT */
/*
 * Calls that come too late, too often, too long, or with what is not what was mapped: each class with its
 * correct twin.
 */
#include "class-cases.h"

#include <sys/mman.h>

enum { PLAIN = 1, HIGH = 2, BOUNCES = 4, TRANSLATED = 8, SEGMENTS = 16, UNCACHED = 32 };

/* RAM above 4 GiB alone, but for little: what a mask of 32 bits does not reach. */
#define ABOVE_BOARD                                                                                                            \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"above\"; compatible = \"dmakit,above\"; dma-coherent; " \
    " memory@100000000 { device_type = \"memory\"; reg = <1 0 0 0x4000000>; };"                                                \
    " bus: bus@0 { compatible = \"simple-bus\"; #address-cells = <2>; #size-cells = <2>; ranges;"                              \
    " nic: nic@0 { compatible = \"dmakit,nic\"; }; };"                                                                         \
    " aliases { bus = \"/bus@0\"; nic = \"/bus@0/nic@0\"; }; };"

static const struct class_board boards[] = {
    { COHERENT_BOARD, NULL, PLAIN | SEGMENTS },
    { NONCOHERENT_BOARD, NULL, PLAIN | SEGMENTS | UNCACHED },
    { COHERENT_BOARD, "swiotlb=force", BOUNCES | SEGMENTS },
    { NONCOHERENT_BOARD, "swiotlb=force", BOUNCES | SEGMENTS | UNCACHED },
    { OFFSET_BOARD, NULL, PLAIN | SEGMENTS },
    { BEHIND_IOMMU_BOARD("dma-coherent;"), NULL, TRANSLATED },
    { BEHIND_IOMMU_BOARD("dma-noncoherent;"), "iommu.strict=0", TRANSLATED | UNCACHED },
};

static const struct class_board above[] = {
    { ABOVE_BOARD, "swiotlb=noforce", HIGH },
};

static char bytes[4096];

/* ---- Asked too late ---- */

static void asked_after_sync_bad(struct scene *scene)
{
    dma_addr_t dma = dma_map_single(scene->dev, scene->buffer, 256, DMA_BIDIRECTIONAL);

    dma_sync_single_for_device(scene->dev, dma, 256, DMA_BIDIRECTIONAL);
    assert_int_equal(AT(scene, dma_mapping_error(scene->dev, dma)), 0);
    dma_unmap_single(scene->dev, dma, 256, DMA_BIDIRECTIONAL);
}

static void asked_after_access_bad(struct scene *scene)
{
    dma_addr_t dma = dma_map_single(scene->dev, scene->buffer, 256, DMA_BIDIRECTIONAL);

    assert_int_equal(dk_master_read(scene->dev, dma, bytes, 4), 0);
    assert_int_equal(AT(scene, dma_mapping_error(scene->dev, dma)), 0);
    dma_unmap_single(scene->dev, dma, 256, DMA_BIDIRECTIONAL);
}

/* Asked twice, in use in between; and of two mappings of one buffer the first is in use. */
static void asked_good(struct scene *scene)
{
    dma_addr_t dma = class_map(scene, 256, DMA_TO_DEVICE), second;

    dma_sync_single_for_device(scene->dev, dma, 256, DMA_TO_DEVICE);
    assert_int_equal(dk_master_read(scene->dev, dma, bytes, 4), 0);
    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    second = dma_map_single(scene->dev, scene->buffer, 256, DMA_TO_DEVICE);
    dma_sync_single_for_device(scene->dev, dma, 256, DMA_TO_DEVICE);
    assert_int_equal(dk_master_read(scene->dev, dma, bytes, 4), 0);
    assert_int_equal(dma_mapping_error(scene->dev, second), 0);
    dma_unmap_single(scene->dev, dma, 256, DMA_TO_DEVICE);
    dma_unmap_single(scene->dev, second, 256, DMA_TO_DEVICE);
}

/* ---- Lists that change ---- */

struct list {
    struct page *pages[3];
    struct scatterlist sgs[3];
};

/* Three pages, which an IOMMU makes one segment of. */
static void make_list(struct scene *scene, struct list *list)
{
    int i;

    sg_init_table(list->sgs, 3);
    for (i = 0; i < 3; i++) {
        list->pages[i] = alloc_page(GFP_KERNEL);
        sg_set_page(&list->sgs[i], list->pages[i], 2048 + (unsigned)i * 1024, i ? 0 : 2048);
    }
    sg_set_page(&list->sgs[0], list->pages[0], 2048, 2048);
    assert_true(dma_map_sg(scene->dev, list->sgs, 3, DMA_TO_DEVICE) > 0);
}

static void free_list(struct list *list)
{
    int i;

    for (i = 0; i < 3; i++)
        __free_page(list->pages[i]);
}

static void length_changed_bad(struct scene *scene)
{
    struct list list;

    make_list(scene, &list);
    list.sgs[0].length = 1024;
    AT(scene, dma_unmap_sg(scene->dev, list.sgs, 3, DMA_TO_DEVICE));
    free_list(&list);
}

static void page_changed_bad(struct scene *scene)
{
    struct list list;

    make_list(scene, &list);
    sg_set_page(&list.sgs[0], list.pages[1], 2048, 2048);
    AT(scene, dma_unmap_sg(scene->dev, list.sgs, 3, DMA_TO_DEVICE));
    free_list(&list);
}

static void address_changed_bad(struct scene *scene)
{
    struct list list;

    make_list(scene, &list);
    sg_dma_address(&list.sgs[0]) += 64;
    AT(scene, dma_unmap_sg(scene->dev, list.sgs, 3, DMA_TO_DEVICE));
    free_list(&list);
}

static void later_entry_changed_bad(struct scene *scene)
{
    struct list list;

    make_list(scene, &list);
    sg_dma_len(&list.sgs[2]) = 100;
    AT(scene, dma_unmap_sg(scene->dev, list.sgs, 3, DMA_TO_DEVICE));
    free_list(&list);
}

static void changed_at_sync_bad(struct scene *scene)
{
    struct list list;

    make_list(scene, &list);
    list.sgs[0].length -= 8;
    AT(scene, dma_sync_sg_for_device(scene->dev, list.sgs, 3, DMA_TO_DEVICE));
    list.sgs[0].length += 8;
    dma_unmap_sg(scene->dev, list.sgs, 3, DMA_TO_DEVICE);
    free_list(&list);
}

/* Unmapped through a copy, and changed when it is not mapped. */
static void list_good(struct scene *scene)
{
    struct scatterlist copy[3];
    struct list list;

    make_list(scene, &list);
    dma_sync_sg_for_device(scene->dev, list.sgs, 3, DMA_TO_DEVICE);
    memcpy(copy, list.sgs, sizeof(copy));
    dma_unmap_sg(scene->dev, copy, 3, DMA_TO_DEVICE);
    sg_set_page(&list.sgs[0], list.pages[1], 4096, 0);
    sg_set_page(&list.sgs[1], list.pages[0], 512, 0);
    assert_true(dma_map_sg(scene->dev, list.sgs, 2, DMA_BIDIRECTIONAL) > 0);
    dma_sync_sg_for_cpu(scene->dev, list.sgs, 2, DMA_BIDIRECTIONAL);
    dma_unmap_sg(scene->dev, list.sgs, 2, DMA_BIDIRECTIONAL);
    free_list(&list);
}

/* ---- Coherent memory mapped ---- */

static void coherent_mapped_bad(struct scene *scene)
{
    dma_addr_t coherent, dma;
    char *cpu = dma_alloc_coherent(scene->dev, 8192, &coherent, GFP_KERNEL);

    assert_non_null(cpu);
    dma = AT(scene, dma_map_single(scene->dev, cpu + 4096, 64, DMA_TO_DEVICE));
    if (!dma_mapping_error(scene->dev, dma))
        dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE);
    dma_free_coherent(scene->dev, 8192, cpu, coherent);
}

static void pool_block_mapped_bad(struct scene *scene)
{
    struct dma_pool *pool = dma_pool_create("pool", scene->dev, 64, 64, 0);
    dma_addr_t block, dma;
    char *cpu = dma_pool_alloc(pool, GFP_KERNEL, &block);

    assert_non_null(cpu);
    dma = AT(scene, dma_map_single(scene->dev, cpu, 64, DMA_TO_DEVICE));
    if (!dma_mapping_error(scene->dev, dma))
        dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE);
    dma_pool_free(pool, cpu, block);
    dma_pool_destroy(pool);
}

/* No list of dma_get_sgtable()'s: its segments are whole pages. */
static void coherent_list_bad(struct scene *scene)
{
    struct scatterlist sg;
    dma_addr_t coherent;
    char *cpu = dma_alloc_coherent(scene->dev, 2048, &coherent, GFP_KERNEL);

    assert_non_null(cpu);
    sg_init_one(&sg, cpu, 2048);
    if (AT(scene, dma_map_sg(scene->dev, &sg, 1, DMA_TO_DEVICE)) == 1)
        dma_unmap_sg(scene->dev, &sg, 1, DMA_TO_DEVICE);
    dma_free_coherent(scene->dev, 2048, cpu, coherent);
}

/* What was coherent is ordinary memory again; and what is shown to another device by its pages. */
static void coherent_good(struct scene *scene)
{
    struct device *other = dk_device_add(scene->dev, "other");
    struct sg_table table;
    dma_addr_t coherent, dma;
    struct page *page;
    void *cpu;
    int i;

    for (i = 0; i < 8; i++) {
        cpu = dma_alloc_coherent(scene->dev, 4096, &coherent, GFP_KERNEL);
        dma_free_coherent(scene->dev, 4096, cpu, coherent);
        page = alloc_page(GFP_KERNEL);
        dma = dma_map_page(scene->dev, page, 0, 4096, DMA_BIDIRECTIONAL);
        assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
        dma_unmap_page(scene->dev, dma, 4096, DMA_BIDIRECTIONAL);
        __free_page(page);
    }
    cpu = dma_alloc_coherent(scene->dev, 2048, &coherent, GFP_KERNEL);
    assert_int_equal(dma_get_sgtable(scene->dev, &table, cpu, coherent, 2048), 0);
    if (!dma_map_sgtable(other, &table, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC))
        dma_unmap_sgtable(other, &table, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    if (!dma_map_sgtable(scene->dev, &table, DMA_TO_DEVICE, 0))
        dma_unmap_sgtable(scene->dev, &table, DMA_TO_DEVICE, 0);
    sg_free_table(&table);
    dma_free_coherent(scene->dev, 2048, cpu, coherent);
}

/* ---- A device that is gone ---- */

static void freed_after_remove_bad(struct scene *scene)
{
    dk_device_remove(scene->dev);
    AT(scene, dma_unmap_single(scene->dev, 0x1000, 64, DMA_TO_DEVICE));
}

static void synced_after_remove_bad(struct scene *scene)
{
    dk_device_remove(scene->dev);
    AT(scene, dma_sync_single_for_cpu(scene->dev, 0x1000, 64, DMA_FROM_DEVICE));
}

static void freed_before_remove_good(struct scene *scene)
{
    dma_unmap_single(scene->dev, class_map(scene, 64, DMA_TO_DEVICE), 64, DMA_TO_DEVICE);
    dk_device_remove(scene->dev);
}

/* ---- Masks and limits ---- */

static void no_mask_bad(struct scene *scene)
{
    dma_addr_t dma = AT(scene, dma_map_single(scene->dev, scene->buffer, 64, DMA_TO_DEVICE));

    assert_int_equal(dma_mapping_error(scene->dev, dma), -ENOMEM);
}

static void no_mask_list_bad(struct scene *scene)
{
    struct scatterlist sg;

    sg_init_one(&sg, scene->buffer, 64);
    assert_int_equal(AT(scene, dma_map_sg(scene->dev, &sg, 1, DMA_TO_DEVICE)), 0);
}

static void no_mask_coherent_bad(struct scene *scene)
{
    dma_addr_t dma;

    assert_null(AT(scene, dma_alloc_coherent(scene->dev, 4096, &dma, GFP_KERNEL)));
}

static void no_mask_pages_bad(struct scene *scene)
{
    dma_addr_t dma;

    assert_null(AT(scene, dma_alloc_pages(scene->dev, 4096, &dma, DMA_TO_DEVICE, GFP_KERNEL)));
}

/* Who says that the device has 32 bits, or that the allocation may fail, knows it. */
static void no_memory_good(struct scene *scene)
{
    dma_addr_t dma;

    assert_null(dma_alloc_coherent(scene->dev, 4096, &dma, GFP_KERNEL | __GFP_NOWARN));
    assert_int_equal(dma_set_mask_and_coherent(scene->dev, DMA_BIT_MASK(32)), 0);
    assert_null(dma_alloc_coherent(scene->dev, 4096, &dma, GFP_KERNEL));
}

static void mask_good(struct scene *scene)
{
    dma_addr_t dma;

    assert_int_equal(dma_set_mask_and_coherent(scene->dev, DMA_BIT_MASK(64)), 0);
    dma = class_map(scene, 64, DMA_TO_DEVICE);
    /* Narrower, but not too narrow for what is mapped. */
    assert_int_equal(dma_set_mask(scene->dev, DMA_BIT_MASK(63)), 0);
    dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE);
    assert_int_equal(dma_set_mask_and_coherent(scene->dev, DMA_BIT_MASK(32)), 0);
}

/* It says that its device has 32 bits, and no more. */
static void honest_mask_good(struct scene *scene)
{
    assert_int_equal(dma_set_mask_and_coherent(scene->dev, DMA_BIT_MASK(32)), 0);
    assert_int_equal(
        dma_mapping_error(scene->dev, dma_map_single(scene->dev, scene->buffer, 64, DMA_TO_DEVICE)), -ENOMEM);
}

/* Either call says it. */
static void honest_streaming_mask_good(struct scene *scene)
{
    assert_int_equal(dma_set_mask(scene->dev, DMA_BIT_MASK(32)), 0);
    assert_int_equal(
        dma_mapping_error(scene->dev, dma_map_single(scene->dev, scene->buffer, 64, DMA_TO_DEVICE)), -ENOMEM);
}

static void honest_coherent_mask_good(struct scene *scene)
{
    assert_int_equal(dma_set_coherent_mask(scene->dev, DMA_BIT_MASK(32)), 0);
    assert_int_equal(
        dma_mapping_error(scene->dev, dma_map_single(scene->dev, scene->buffer, 64, DMA_TO_DEVICE)), -ENOMEM);
}

/* Drivers of old write one of the masks themselves: that no memory is where the other reaches, they know. */
static void own_coherent_mask_good(struct scene *scene)
{
    scene->dev->coherent_dma_mask = DMA_BIT_MASK(64);
    assert_int_equal(
        dma_mapping_error(scene->dev, dma_map_single(scene->dev, scene->buffer, 64, DMA_TO_DEVICE)), -ENOMEM);
}

static void late_mask_bad(struct scene *scene)
{
    dma_addr_t dma;

    assert_int_equal(dma_set_mask_and_coherent(scene->dev, DMA_BIT_MASK(64)), 0);
    dma = class_map(scene, 64, DMA_TO_DEVICE);
    assert_int_equal(AT(scene, dma_set_mask(scene->dev, DMA_BIT_MASK(32))), 0);
    dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE);
}

static void late_coherent_mask_bad(struct scene *scene)
{
    dma_addr_t dma;
    void *cpu;

    assert_int_equal(dma_set_mask_and_coherent(scene->dev, DMA_BIT_MASK(64)), 0);
    cpu = dma_alloc_coherent(scene->dev, 4096, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    assert_int_equal(AT(scene, dma_set_coherent_mask(scene->dev, DMA_BIT_MASK(32))), 0);
    dma_free_coherent(scene->dev, 4096, cpu, dma);
}

static void late_segment_size_bad(struct scene *scene)
{
    struct scatterlist sg;

    sg_init_one(&sg, scene->buffer, 4096);
    assert_int_equal(dma_map_sg(scene->dev, &sg, 1, DMA_TO_DEVICE), 1);
    AT(scene, dma_set_max_seg_size(scene->dev, 1024));
    dma_unmap_sg(scene->dev, &sg, 1, DMA_TO_DEVICE);
}

static void late_boundary_bad(struct scene *scene)
{
    struct scatterlist sg;

    sg_init_one(&sg, scene->buffer, 4096);
    assert_int_equal(dma_map_sg(scene->dev, &sg, 1, DMA_TO_DEVICE), 1);
    AT(scene, dma_set_seg_boundary(scene->dev, 1023));
    dma_unmap_sg(scene->dev, &sg, 1, DMA_TO_DEVICE);
}

static void limits_good(struct scene *scene)
{
    struct scatterlist sg;

    dma_set_max_seg_size(scene->dev, 65536);
    sg_init_one(&sg, scene->buffer, 2048);
    assert_int_equal(dma_map_sg(scene->dev, &sg, 1, DMA_TO_DEVICE), 1);
    dma_set_max_seg_size(scene->dev, 4096);
    dma_set_seg_boundary(scene->dev, 0xffff);
    /* What is 0 is not set. */
    dma_set_max_seg_size(scene->dev, 0);
    dma_set_seg_boundary(scene->dev, 0);
    dma_unmap_sg(scene->dev, &sg, 1, DMA_TO_DEVICE);
}

static void too_long_bad(struct scene *scene)
{
    struct page *pages = alloc_pages(GFP_KERNEL, 7);
    dma_addr_t dma;

    assert_non_null(pages);
    assert_true(dma_max_mapping_size(scene->dev) < 0x80000);
    dma = AT(scene, dma_map_page(scene->dev, pages, 0, 0x80000, DMA_TO_DEVICE));
    assert_int_equal(dma_mapping_error(scene->dev, dma), -ENOMEM);
    __free_pages(pages, 7);
}

static void long_good(struct scene *scene)
{
    struct page *pages = alloc_pages(GFP_KERNEL, 7);
    size_t most = dma_max_mapping_size(scene->dev);
    dma_addr_t dma;

    most = most < 0x80000 ? most : 0x80000;
    dma = dma_map_page(scene->dev, pages, 0, most, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    dma_unmap_page(scene->dev, dma, most, DMA_TO_DEVICE);
    __free_pages(pages, 7);
}

/* ---- Attributes ---- */

static void freed_otherwise_bad(struct scene *scene)
{
    dma_addr_t dma;
    void *cpu = dma_alloc_wc(scene->dev, 4096, &dma, GFP_KERNEL);

    assert_non_null(cpu);
    AT(scene, dma_free_coherent(scene->dev, 4096, cpu, dma));
}

/* A page of address space for memory to be shown at. Given back with munmap(). */
static struct vm_area_struct page_of_addresses(void)
{
    void *place = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned long start = (unsigned long)(uintptr_t)place;

    assert_ptr_not_equal(place, MAP_FAILED);
    return (struct vm_area_struct){ .vm_start = start, .vm_end = start + 4096 };
}

static void shown_otherwise_bad(struct scene *scene)
{
    struct vm_area_struct vma = page_of_addresses();
    dma_addr_t dma;
    void *cpu = dma_alloc_coherent(scene->dev, 4096, &dma, GFP_KERNEL);

    assert_non_null(cpu);
    AT(scene, (void)dma_mmap_wc(scene->dev, &vma, cpu, dma, 4096));
    munmap((void *)(uintptr_t)vma.vm_start, 4096);
    dma_free_coherent(scene->dev, 4096, cpu, dma);
}

static void attributes_good(struct scene *scene)
{
    struct vm_area_struct vma = page_of_addresses();
    dma_addr_t dma;
    void *cpu = dma_alloc_attrs(scene->dev, 4096, &dma, GFP_KERNEL,
                                DMA_ATTR_WRITE_COMBINE | DMA_ATTR_NO_WARN | DMA_ATTR_FORCE_CONTIGUOUS);

    assert_non_null(cpu);
    (void)dma_mmap_wc(scene->dev, &vma, cpu, dma, 4096);
    munmap((void *)(uintptr_t)vma.vm_start, 4096);
    dma_free_wc(scene->dev, 4096, cpu, dma);
}

/* The page frame of byte @offset of the device's memory. */
static unsigned long frame_at(struct scene *scene, void *cpu, dma_addr_t dma, size_t size, size_t offset)
{
    struct sg_table table;
    struct scatterlist *sg;
    unsigned long frame = 0;
    unsigned i;

    assert_int_equal(dma_get_sgtable(scene->dev, &table, cpu, dma, size), 0);
    for_each_sgtable_sg (&table, sg, i) {
        if (offset < sg->length && !frame)
            frame = page_to_pfn(sg_page(sg)) + (offset >> PAGE_SHIFT);
        offset -= sg->length;
    }
    sg_free_table(&table);
    assert_true(frame);
    return frame;
}

static void shown_cached_bad(struct scene *scene)
{
    struct vm_area_struct vma = page_of_addresses();
    dma_addr_t dma;
    void *cpu = dma_alloc_coherent(scene->dev, 12288, &dma, GFP_KERNEL);
    unsigned long frame;

    assert_non_null(cpu);
    frame = frame_at(scene, cpu, dma, 12288, 8192);
    assert_int_equal(AT(scene, remap_pfn_range(&vma, vma.vm_start, frame, 4096, vma.vm_page_prot)), 0);
    munmap((void *)(uintptr_t)vma.vm_start, 4096);
    dma_free_coherent(scene->dev, 12288, cpu, dma);
}

/* Uncached; cached, where the device snoops; and ordinary memory that had been coherent. */
static void shown_good(struct scene *scene)
{
    struct vm_area_struct vma = page_of_addresses();
    unsigned long frame;
    struct page *page;
    dma_addr_t dma;
    void *cpu = dma_alloc_coherent(scene->dev, 4096, &dma, GFP_KERNEL);

    assert_non_null(cpu);
    frame = frame_at(scene, cpu, dma, 4096, 0);
    assert_int_equal(remap_pfn_range(&vma, vma.vm_start, frame, 4096, pgprot_dmacoherent(vma.vm_page_prot)),
                     0);
    assert_int_equal(remap_pfn_range(&vma, vma.vm_start, frame, 4096, pgprot_noncached(vma.vm_page_prot)), 0);
    if (scene->dev->dma_coherent)
        assert_int_equal(remap_pfn_range(&vma, vma.vm_start, frame, 4096, vma.vm_page_prot), 0);
    assert_int_equal(dma_mmap_coherent(scene->dev, &vma, cpu, dma, 4096), 0);
    dma_free_coherent(scene->dev, 4096, cpu, dma);
    page = alloc_page(GFP_KERNEL);
    assert_int_equal(remap_pfn_range(&vma, vma.vm_start, page_to_pfn(page), 4096, vma.vm_page_prot), 0);
    __free_page(page);
    munmap((void *)(uintptr_t)vma.vm_start, 4096);
}

static const struct class_case cases[] = {
    { "error-checked-too-late", asked_after_sync_bad, asked_good, 0, 1 },
    { "error-checked-too-late", asked_after_access_bad, asked_good, 0, 2 },
    { "sg-changed-while-mapped", length_changed_bad, list_good, 0, 1 },
    { "sg-changed-while-mapped", page_changed_bad, list_good, 0, 1 },
    { "sg-changed-while-mapped", address_changed_bad, list_good, 0, 1 },
    { "sg-changed-while-mapped", later_entry_changed_bad, list_good, SEGMENTS, 1 },
    { "sg-changed-while-mapped", changed_at_sync_bad, list_good, 0, 1 },
    { "maps-coherent-memory", coherent_mapped_bad, coherent_good, 0, 1 },
    { "maps-coherent-memory", pool_block_mapped_bad, coherent_good, 0, 1 },
    { "maps-coherent-memory", coherent_list_bad, coherent_good, 0, 1 },
    { "free-after-remove", freed_after_remove_bad, freed_before_remove_good, 0, 1 },
    { "free-after-remove", synced_after_remove_bad, freed_before_remove_good, 0, 1 },
    { "mask-set-too-late", late_segment_size_bad, limits_good, 0, 1 },
    { "mask-set-too-late", late_boundary_bad, limits_good, 0, 1 },
    { "exceeds-max-mapping", too_long_bad, long_good, BOUNCES, 1 },
    { "alias-different-attributes", freed_otherwise_bad, attributes_good, 0, 1 },
    { "alias-different-attributes", shown_otherwise_bad, attributes_good, 0, 1 },
    { "alias-different-attributes", shown_cached_bad, shown_good, UNCACHED, 1 },
};

static const struct class_case above_cases[] = {
    { "mask-not-set", no_mask_bad, mask_good, HIGH, 1 },
    { "mask-not-set", no_mask_list_bad, honest_mask_good, HIGH, 1 },
    { "mask-not-set", no_mask_bad, honest_streaming_mask_good, HIGH, 1 },
    { "mask-not-set", no_mask_bad, honest_coherent_mask_good, HIGH, 1 },
    { "mask-not-set", no_mask_bad, own_coherent_mask_good, HIGH, 1 },
    { "mask-not-set", no_mask_coherent_bad, no_memory_good, HIGH, 1 },
    { "mask-not-set", no_mask_pages_bad, no_memory_good, HIGH, 1 },
    { "mask-set-too-late", late_mask_bad, mask_good, HIGH, 1 },
    { "mask-set-too-late", late_coherent_mask_bad, mask_good, HIGH, 1 },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void each_mistake_is_reported_where_it_stands(void **state)
{
    (void)state;
    class_mistakes(cases, COUNT(cases), boards, COUNT(boards), "test-late-calls.c");
    class_mistakes(above_cases, COUNT(above_cases), above, COUNT(above), "test-late-calls.c");
}

static void each_correct_twin_is_silent(void **state)
{
    (void)state;
    class_twins(cases, COUNT(cases), boards, COUNT(boards));
    class_twins(above_cases, COUNT(above_cases), above, COUNT(above));
}

/* Memory below 32 bits that ran out is no matter of the mask. */
static void memory_that_ran_out_is_not_the_masks(void **state)
{
    struct class_seen seen = { 0 };
    struct scene scene = { 0 };
    dma_addr_t dma;
    unsigned count = 0;

    (void)state;
    scene.machine = machine_with(HIGH_BOARD, NULL, 0, 1);
    scene.dev = dk_device_find(scene.machine, "nic");
    dk_check_set_sink(scene.machine, class_note, &seen);
    while (dma_alloc_coherent(scene.dev, 0x400000, &dma, GFP_KERNEL))
        count++;
    assert_true(count > 4);
    assert_int_equal(seen.reports, 0);
    dk_check_set_sink(scene.machine, ignore_report, NULL);
    dk_machine_destroy(scene.machine);
}

/* ---- Mappings without end ---- */

/* Maps until it fails, or @most times; returns how often. One place in the program, however often it is
 * called. */
__attribute__((noinline)) static unsigned fill_space(struct scene *scene, unsigned most, dma_addr_t *all)
{
    unsigned i;

    for (i = 0; i < most; i++) {
        all[i] = AT(scene, dma_map_single(scene->dev, scene->buffer, 64, DMA_TO_DEVICE));
        if (dma_mapping_error(scene->dev, all[i]))
            break;
    }
    return i;
}

static void mappings_without_end_are_named_when_they_fill_the_pool(void **state)
{
    static dma_addr_t all[40000];
    struct class_seen seen = { 0 };
    struct scene scene = { 0 };
    unsigned count;

    (void)state;
    scene.machine = machine_with(COHERENT_BOARD, "swiotlb=16384,force", 0, 1);
    scene.dev = dk_device_find(scene.machine, "nic");
    scene.buffer = kmalloc(4096, GFP_KERNEL);
    dk_check_set_sink(scene.machine, class_note, &seen);
    count = fill_space(&scene, 40000, all);
    assert_int_equal(count, 16384);
    assert_int_equal(seen.reports, 1);
    assert_string_equal(seen.class_name, "leak-while-bound");
    assert_int_equal(seen.line, scene.line);
    dk_check_set_sink(scene.machine, ignore_report, NULL);
    dk_machine_destroy(scene.machine);
}

/* A pool that is full of a ring which goes round. */
static void a_ring_that_fills_the_pool_is_no_leak(void **state)
{
    static dma_addr_t all[40000];
    struct class_seen seen = { 0 };
    struct scene scene = { 0 };
    volatile unsigned i; /* not unrolled: both rounds come from one place */
    unsigned count = 0;

    (void)state;
    scene.machine = machine_with(COHERENT_BOARD, "swiotlb=16384,force", 0, 1);
    scene.dev = dk_device_find(scene.machine, "nic");
    scene.buffer = kmalloc(4096, GFP_KERNEL);
    dk_check_set_sink(scene.machine, class_note, &seen);
    for (i = 0; i < 2; i++) {
        count = fill_space(&scene, i ? 40000 : 100, all);
        if (i)
            break;
        while (count--)
            dma_unmap_single(scene.dev, all[count], 64, DMA_TO_DEVICE);
    }
    assert_int_equal(seen.reports, 0);
    while (count--)
        dma_unmap_single(scene.dev, all[count], 64, DMA_TO_DEVICE);
    kfree(scene.buffer);
    assert_int_equal(dk_machine_destroy(scene.machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_reported_where_it_stands),
        cmocka_unit_test(each_correct_twin_is_silent),
        cmocka_unit_test(memory_that_ran_out_is_not_the_masks),
        cmocka_unit_test(mappings_without_end_are_named_when_they_fill_the_pool),
        cmocka_unit_test(a_ring_that_fills_the_pool_is_no_leak),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("late calls", tests, NULL, NULL);
}
