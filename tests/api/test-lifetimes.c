/* SPDX-License-Identifier: MIT */
/*
 * Memory that is free and mapped all the same, whichever came first, and what is written after it was freed.
 */
#include "class-cases.h"

enum { PLAIN = 1, TRANSLATED = 2 };

static const struct class_board boards[] = {
    { COHERENT_BOARD, NULL, PLAIN },
    { NONCOHERENT_BOARD, NULL, PLAIN },
    { COHERENT_BOARD, "swiotlb=force", PLAIN },
    { NONCOHERENT_BOARD, "swiotlb=force", PLAIN },
    { BEHIND_IOMMU_BOARD("dma-coherent;"), NULL, TRANSLATED },
    { BEHIND_IOMMU_BOARD("dma-noncoherent;"), "iommu.strict=0", TRANSLATED },
};

static dma_addr_t map_it(struct scene *scene, void *cpu, size_t size, enum dma_data_direction direction)
{
    dma_addr_t dma = dma_map_single(scene->dev, cpu, size, direction);

    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    return dma;
}

/* ---- Freed while mapped ---- */

static void object_freed_bad(struct scene *scene)
{
    char *object = kmalloc(512, GFP_KERNEL);
    dma_addr_t dma = map_it(scene, object + 128, 256, DMA_FROM_DEVICE);

    AT(scene, kfree(object));
    dma_unmap_single(scene->dev, dma, 256, DMA_FROM_DEVICE);
}

static void read_object_freed_bad(struct scene *scene)
{
    struct kmem_cache *cache = kmem_cache_create("packets", 512, 64, 0, NULL);
    char *object = kmem_cache_alloc(cache, GFP_KERNEL);
    dma_addr_t dma = map_it(scene, object, 512, DMA_TO_DEVICE);

    AT(scene, kmem_cache_free(cache, object));
    dma_unmap_single(scene->dev, dma, 512, DMA_TO_DEVICE);
    kmem_cache_destroy(cache);
}

static void large_freed_bad(struct scene *scene)
{
    char *object = kmalloc(100000, GFP_KERNEL);
    dma_addr_t dma = map_it(scene, object + 65536, 4096, DMA_TO_DEVICE);

    AT(scene, kfree(object));
    dma_unmap_single(scene->dev, dma, 4096, DMA_TO_DEVICE);
}

static void pages_freed_bad(struct scene *scene)
{
    struct page *pages = alloc_pages(GFP_KERNEL, 2);
    dma_addr_t dma = dma_map_page(scene->dev, pages + 3, 0, 4096, DMA_FROM_DEVICE);

    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    AT(scene, __free_pages(pages, 2));
    dma_unmap_page(scene->dev, dma, 4096, DMA_FROM_DEVICE);
}

static void last_reference_bad(struct scene *scene)
{
    struct page *page = alloc_page(GFP_KERNEL);
    dma_addr_t dma = dma_map_page(scene->dev, page, 0, 4096, DMA_TO_DEVICE);

    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    get_page(page);
    put_page(page);
    AT(scene, put_page(page));
    dma_unmap_page(scene->dev, dma, 4096, DMA_TO_DEVICE);
}

static void vmalloc_freed_bad(struct scene *scene)
{
    char *area = vmalloc(16384);
    dma_addr_t dma = dma_map_page(scene->dev, vmalloc_to_page(area + 8192), 0, 4096, DMA_TO_DEVICE);

    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    AT(scene, vfree(area));
    dma_unmap_page(scene->dev, dma, 4096, DMA_TO_DEVICE);
}

static void list_freed_bad(struct scene *scene)
{
    struct page *pages[2] = { alloc_page(GFP_KERNEL), alloc_page(GFP_KERNEL) };
    struct scatterlist sgs[2];

    sg_init_table(sgs, 2);
    sg_set_page(&sgs[0], pages[0], 4096, 0);
    sg_set_page(&sgs[1], pages[1], 4096, 0);
    assert_true(dma_map_sg(scene->dev, sgs, 2, DMA_TO_DEVICE) > 0);
    AT(scene, __free_page(pages[1]));
    dma_unmap_sg(scene->dev, sgs, 2, DMA_TO_DEVICE);
    __free_page(pages[0]);
}

/* Neighbours go, references go, and memory goes after its unmapping; coherent memory with its mapping. */
static void freed_good(struct scene *scene)
{
    char *objects[3], *area = vmalloc(8192);
    struct page *page = alloc_page(GFP_KERNEL);
    dma_addr_t dma, coherent;
    void *cpu = dma_alloc_coherent(scene->dev, 4096, &coherent, GFP_KERNEL);
    struct page *pages;
    int i;

    for (i = 0; i < 3; i++)
        objects[i] = kmalloc(256, GFP_KERNEL);
    dma = map_it(scene, objects[1], 256, DMA_BIDIRECTIONAL);
    kfree(objects[0]);
    kfree(objects[2]);
    dma_unmap_single(scene->dev, dma, 256, DMA_BIDIRECTIONAL);
    kfree(objects[1]);
    dma = dma_map_page(scene->dev, page, 0, 4096, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    get_page(page);
    __free_page(page);
    dma_unmap_page(scene->dev, dma, 4096, DMA_TO_DEVICE);
    put_page(page);
    vfree(area);
    dma_free_coherent(scene->dev, 4096, cpu, coherent);
    pages = dma_alloc_pages(scene->dev, 8192, &dma, DMA_BIDIRECTIONAL, GFP_KERNEL);
    assert_non_null(pages);
    dma_free_pages(scene->dev, 8192, pages, dma, DMA_BIDIRECTIONAL);
}

/* ---- Mapped when it is free ---- */

static void free_object_mapped_bad(struct scene *scene)
{
    char *neighbour = kmalloc(256, GFP_KERNEL), *object = kmalloc(256, GFP_KERNEL);
    dma_addr_t dma;

    kfree(object);
    dma = AT(scene, dma_map_single(scene->dev, object, 256, DMA_TO_DEVICE));
    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    dma_unmap_single(scene->dev, dma, 256, DMA_TO_DEVICE);
    kfree(neighbour);
}

static void free_page_mapped_bad(struct scene *scene)
{
    struct page *page = alloc_pages(GFP_KERNEL, 1);
    dma_addr_t dma;

    __free_pages(page, 1);
    dma = AT(scene, dma_map_page(scene->dev, page + 1, 0, 4096, DMA_TO_DEVICE));
    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    dma_unmap_page(scene->dev, dma, 4096, DMA_TO_DEVICE);
}

/* All kinds of memory that is in use. */
static void used_mapped_good(struct scene *scene)
{
    struct kmem_cache *cache = kmem_cache_create("odd", 1000, 0, 0, NULL);
    char *object = kmem_cache_alloc(cache, GFP_KERNEL), *large = kmalloc(50000, GFP_KERNEL);
    struct page *pages = alloc_pages(GFP_KERNEL, 3);
    char *exact = alloc_pages_exact(3 * 4096, GFP_KERNEL), *area = vmalloc(4096);

    dma_unmap_single(scene->dev, map_it(scene, object + 900, 100, DMA_TO_DEVICE), 100, DMA_TO_DEVICE);
    dma_unmap_single(scene->dev, map_it(scene, large + 40000, 10000, DMA_TO_DEVICE), 10000, DMA_TO_DEVICE);
    dma_unmap_single(scene->dev, map_it(scene, page_address(pages + 5), 8192, DMA_TO_DEVICE), 8192,
                     DMA_TO_DEVICE);
    dma_unmap_single(scene->dev, map_it(scene, exact + 8192, 4096, DMA_TO_DEVICE), 4096, DMA_TO_DEVICE);
    dma_unmap_single(scene->dev, map_it(scene, page_address(vmalloc_to_page(area)), 64, DMA_TO_DEVICE), 64,
                     DMA_TO_DEVICE);
    vfree(area);
    free_pages_exact(exact, 3 * 4096);
    __free_pages(pages, 3);
    kfree(large);
    kmem_cache_free(cache, object);
    kmem_cache_destroy(cache);
}

static const struct class_case cases[] = {
    { "freed-while-mapped", object_freed_bad, freed_good, 0, 2 },
    { "freed-while-mapped", read_object_freed_bad, freed_good, 0, 2 },
    { "freed-while-mapped", large_freed_bad, freed_good, 0, 2 },
    { "freed-while-mapped", pages_freed_bad, freed_good, 0, 2 },
    { "freed-while-mapped", last_reference_bad, freed_good, 0, 2 },
    { "freed-while-mapped", vmalloc_freed_bad, freed_good, 0, 2 },
    { "freed-while-mapped", list_freed_bad, freed_good, 0, 2 },
    { "maps-freed-memory", free_object_mapped_bad, used_mapped_good, 0, 2 },
    { "maps-freed-memory", free_page_mapped_bad, used_mapped_good, 0, 2 },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void each_mistake_is_reported_where_it_stands(void **state)
{
    (void)state;
    class_mistakes(cases, COUNT(cases), boards, COUNT(boards), "test-lifetimes.c");
}

static void each_correct_twin_is_silent(void **state)
{
    (void)state;
    class_twins(cases, COUNT(cases), boards, COUNT(boards));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_reported_where_it_stands),
        cmocka_unit_test(each_correct_twin_is_silent),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("lifetimes", tests, NULL, NULL);
}
