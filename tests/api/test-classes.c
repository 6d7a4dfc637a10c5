/* SPDX-License-Identifier: MIT */
/*
 * Each class of depth 1: a driver that makes the mistake is reported, with class, file and line; its correct
 * twin is not.
 */
#include "api.h"

struct scene {
    struct dk_machine *machine;
    struct device *dev;
    char *buffer; /* 4096 bytes of kmalloc() */
    int line;     /* where the mistake stands */
};

/* Marks the mistake: notes the line of the call it wraps. */
#define AT(scene, call) ((scene)->line = __LINE__, (call))

static dma_addr_t map(struct scene *scene, size_t size, enum dma_data_direction direction)
{
    dma_addr_t dma = dma_map_single(scene->dev, scene->buffer, size, direction);

    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    return dma;
}

/* ---- Freeing ---- */

static void leak_bad(struct scene *scene)
{
    dma_addr_t dma = AT(scene, dma_map_single(scene->dev, scene->buffer, 64, DMA_TO_DEVICE));

    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    dk_device_remove(scene->dev);
}

static void leak_good(struct scene *scene)
{
    dma_unmap_single(scene->dev, map(scene, 64, DMA_TO_DEVICE), 64, DMA_TO_DEVICE);
    dk_device_remove(scene->dev);
}

static void invalid_free_bad(struct scene *scene)
{
    AT(scene, dma_unmap_single(scene->dev, DMA_MAPPING_ERROR, 64, DMA_TO_DEVICE));
}

static void not_allocated_bad(struct scene *scene)
{
    dma_addr_t dma = map(scene, 64, DMA_TO_DEVICE);

    dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE);
    AT(scene, dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE));
}

static void wrong_size_bad(struct scene *scene)
{
    dma_addr_t dma = map(scene, 128, DMA_TO_DEVICE);

    AT(scene, dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE));
}

static void wrong_function_bad(struct scene *scene)
{
    dma_addr_t dma = map(scene, 4096, DMA_BIDIRECTIONAL);

    AT(scene, dma_free_coherent(scene->dev, 4096, scene->buffer, dma));
}

static void right_function_good(struct scene *scene)
{
    /* single and page are one kind of mapping. */
    dma_unmap_page(scene->dev, map(scene, 64, DMA_TO_DEVICE), 64, DMA_TO_DEVICE);
}

static void wrong_cpu_bad(struct scene *scene)
{
    dma_addr_t dma;
    char *cpu = dma_alloc_coherent(scene->dev, 8192, &dma, GFP_KERNEL);

    assert_non_null(cpu);
    AT(scene, dma_free_coherent(scene->dev, 8192, cpu + 4096, dma));
}

static void wrong_cpu_good(struct scene *scene)
{
    dma_addr_t dma;
    char *cpu = dma_alloc_coherent(scene->dev, 8192, &dma, GFP_KERNEL);

    assert_non_null(cpu);
    dma_free_coherent(scene->dev, 8192, cpu, dma);
}

static void freed_remapped_bad(struct scene *scene)
{
    struct device *importer = device_below(scene->machine, "bus", "importer");
    struct sg_table table;
    dma_addr_t dma;
    char *cpu = dma_alloc_coherent(scene->dev, 8192, &dma, GFP_KERNEL);

    assert_int_equal(dk_coherent_remap(importer, &table, scene->dev, cpu, dma, 8192, 0), 0);
    AT(scene, dma_free_coherent(scene->dev, 8192, cpu, dma));
    dk_coherent_unmap(importer, &table);
}

static void freed_remapped_good(struct scene *scene)
{
    struct device *importer = device_below(scene->machine, "bus", "importer");
    struct sg_table table;
    dma_addr_t dma;
    char *cpu = dma_alloc_coherent(scene->dev, 8192, &dma, GFP_KERNEL);

    assert_int_equal(dk_coherent_remap(importer, &table, scene->dev, cpu, dma, 8192, 0), 0);
    dk_coherent_unmap(importer, &table);
    dma_free_coherent(scene->dev, 8192, cpu, dma);
}

static struct dma_pool *pool_with_block(struct scene *scene, char **cpu, dma_addr_t *dma)
{
    struct dma_pool *pool = dma_pool_create("pool", scene->dev, 100, 4, 0);

    *cpu = dma_pool_alloc(pool, GFP_KERNEL, dma);
    assert_non_null(*cpu);
    return pool;
}

static void wrong_pool_bad(struct scene *scene)
{
    dma_addr_t dma;
    char *cpu;
    struct dma_pool *pool = pool_with_block(scene, &cpu, &dma);
    struct dma_pool *other = dma_pool_create("other", scene->dev, 100, 4, 0);

    AT(scene, dma_pool_free(other, cpu, dma));
    dma_pool_free(pool, cpu, dma);
    dma_pool_destroy(other);
    dma_pool_destroy(pool);
}

static void pool_late_bad(struct scene *scene)
{
    dma_addr_t dma;
    char *cpu;
    struct dma_pool *pool = pool_with_block(scene, &cpu, &dma);

    dma_pool_free(pool, cpu, dma);
    AT(scene, dk_master_write(scene->dev, dma, "late", 4));
    dma_pool_destroy(pool);
}

static void pool_overrun_bad(struct scene *scene)
{
    dma_addr_t dma;
    char *cpu;
    struct dma_pool *pool = pool_with_block(scene, &cpu, &dma);

    cpu[100] = 1;
    AT(scene, dma_pool_free(pool, cpu, dma));
    dma_pool_destroy(pool);
}

static void pool_busy_bad(struct scene *scene)
{
    dma_addr_t dma;
    char *cpu;
    struct dma_pool *pool = pool_with_block(scene, &cpu, &dma);

    AT(scene, dma_pool_destroy(pool));
}

static void pool_good(struct scene *scene)
{
    dma_addr_t dma;
    char *cpu;
    struct dma_pool *pool = pool_with_block(scene, &cpu, &dma);

    memset(cpu, 1, 100);
    assert_int_equal(dk_master_write(scene->dev, dma + 96, "last", 4), 0);
    dma_pool_free(pool, cpu, dma);
    dma_pool_destroy(pool);
}

static void freed_mapped_bad(struct scene *scene)
{
    struct sg_table *table = dma_alloc_noncontiguous(scene->dev, 8192, DMA_TO_DEVICE, GFP_KERNEL, 0);

    assert_non_null(table);
    assert_non_null(dma_vmap_noncontiguous(scene->dev, 8192, table));
    AT(scene, dma_free_noncontiguous(scene->dev, 8192, table, DMA_TO_DEVICE));
}

static void freed_mapped_good(struct scene *scene)
{
    struct sg_table *table = dma_alloc_noncontiguous(scene->dev, 8192, DMA_TO_DEVICE, GFP_KERNEL, 0);
    void *cpu = dma_vmap_noncontiguous(scene->dev, 8192, table);

    assert_non_null(cpu);
    dma_vunmap_noncontiguous(scene->dev, cpu);
    dma_free_noncontiguous(scene->dev, 8192, table, DMA_TO_DEVICE);
}

static void sg_of(struct scene *scene, struct scatterlist *sg, int nents, unsigned size)
{
    int i;

    sg_init_table(sg, (unsigned)nents);
    for (i = 0; i < nents; i++)
        sg_set_buf(&sg[i], scene->buffer + (size_t)i * 1024, size);
}

static void sg_count_bad(struct scene *scene)
{
    struct scatterlist sg[2];

    sg_of(scene, sg, 2, 512);
    assert_int_equal(dma_map_sg(scene->dev, sg, 2, DMA_TO_DEVICE), 2);
    AT(scene, dma_unmap_sg(scene->dev, sg, 1, DMA_TO_DEVICE));
}

static void sg_good(struct scene *scene)
{
    struct scatterlist sg[2];

    sg_of(scene, sg, 2, 512);
    assert_int_equal(dma_map_sg(scene->dev, sg, 2, DMA_TO_DEVICE), 2);
    dma_sync_sg_for_cpu(scene->dev, sg, 2, DMA_TO_DEVICE);
    dma_sync_sg_for_device(scene->dev, sg, 2, DMA_TO_DEVICE);
    dma_unmap_sg(scene->dev, sg, 2, DMA_TO_DEVICE);
}

static void wrong_direction_bad(struct scene *scene)
{
    dma_addr_t dma = map(scene, 64, DMA_TO_DEVICE);

    AT(scene, dma_unmap_single(scene->dev, dma, 64, DMA_FROM_DEVICE));
}

static void unchecked_bad(struct scene *scene)
{
    dma_addr_t dma = dma_map_single(scene->dev, scene->buffer, 64, DMA_TO_DEVICE);

    AT(scene, dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE));
}

static void unmap_good(struct scene *scene)
{
    dma_unmap_single(scene->dev, map(scene, 64, DMA_TO_DEVICE), 64, DMA_TO_DEVICE);
    dma_unmap_single(scene->dev, map(scene, 64, DMA_FROM_DEVICE), 64, DMA_FROM_DEVICE);
}

/* ---- What may be mapped ---- */

static void stack_bad(struct scene *scene)
{
    char on_stack[64] = { 0 };

    assert_int_equal(AT(scene, dma_map_single(scene->dev, on_stack, 64, DMA_TO_DEVICE)), DMA_MAPPING_ERROR);
}

static const char constant[64] = "a constant in the program's read-only data";

static void rodata_bad(struct scene *scene)
{
    assert_int_equal(AT(scene, dma_map_single(scene->dev, (char *)(uintptr_t)constant, 64, DMA_TO_DEVICE)),
                     DMA_MAPPING_ERROR);
}

static void copied_good(struct scene *scene)
{
    memcpy(scene->buffer, constant, 64);
    unmap_good(scene);
}

static void heap_bad(struct scene *scene)
{
    char *heap = calloc(64, 1);

    assert_int_equal(AT(scene, dma_map_single(scene->dev, heap, 64, DMA_TO_DEVICE)), DMA_MAPPING_ERROR);
    free(heap);
}

static void vmalloc_bad(struct scene *scene)
{
    char *area = vmalloc(8192);

    assert_non_null(area);
    assert_int_equal(AT(scene, dma_map_single(scene->dev, area, 64, DMA_TO_DEVICE)), DMA_MAPPING_ERROR);
    vfree(area);
}

static void vmalloc_good(struct scene *scene)
{
    char *area = vmalloc(8192);
    dma_addr_t dma = dma_map_page(scene->dev, vmalloc_to_page(area + 4096), 0, 64, DMA_TO_DEVICE);

    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    dma_unmap_page(scene->dev, dma, 64, DMA_TO_DEVICE);
    vfree(area);
}

/* ---- Syncs ---- */

static void sync_not_mapped_bad(struct scene *scene)
{
    dma_addr_t dma = map(scene, 64, DMA_FROM_DEVICE);

    dma_unmap_single(scene->dev, dma, 64, DMA_FROM_DEVICE);
    AT(scene, dma_sync_single_for_cpu(scene->dev, dma, 64, DMA_FROM_DEVICE));
}

static void sync_range_bad(struct scene *scene)
{
    dma_addr_t dma = map(scene, 64, DMA_FROM_DEVICE);

    AT(scene, dma_sync_single_range_for_cpu(scene->dev, dma, 32, 64, DMA_FROM_DEVICE));
    dma_unmap_single(scene->dev, dma, 64, DMA_FROM_DEVICE);
}

static void sync_good(struct scene *scene)
{
    dma_addr_t dma = map(scene, 64, DMA_FROM_DEVICE);

    dma_sync_single_range_for_cpu(scene->dev, dma, 32, 32, DMA_FROM_DEVICE);
    dma_sync_single_for_cpu(scene->dev, dma, 64, DMA_FROM_DEVICE);
    dma_sync_single_for_device(scene->dev, dma, 64, DMA_FROM_DEVICE);
    /* What the device owns already may be given to it again. */
    dma_sync_single_for_device(scene->dev, dma, 64, DMA_FROM_DEVICE);
    dma_unmap_single(scene->dev, dma, 64, DMA_FROM_DEVICE);
    /* One direction of a bidirectional mapping. */
    dma = map(scene, 64, DMA_BIDIRECTIONAL);
    dma_sync_single_for_cpu(scene->dev, dma, 64, DMA_FROM_DEVICE);
    dma_sync_single_for_device(scene->dev, dma, 64, DMA_TO_DEVICE);
    dma_unmap_single(scene->dev, dma, 64, DMA_BIDIRECTIONAL);
}

static void sync_direction_bad(struct scene *scene)
{
    dma_addr_t dma = map(scene, 64, DMA_FROM_DEVICE);

    AT(scene, dma_sync_single_for_cpu(scene->dev, dma, 64, DMA_TO_DEVICE));
    dma_unmap_single(scene->dev, dma, 64, DMA_FROM_DEVICE);
}

static void sync_readonly_bad(struct scene *scene)
{
    dma_addr_t dma = map(scene, 64, DMA_TO_DEVICE);

    AT(scene, dma_sync_single_for_cpu(scene->dev, dma, 64, DMA_FROM_DEVICE));
    dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE);
}

static void sync_writeonly_bad(struct scene *scene)
{
    dma_addr_t dma = map(scene, 64, DMA_FROM_DEVICE);

    AT(scene, dma_sync_single_for_device(scene->dev, dma, 64, DMA_TO_DEVICE));
    dma_unmap_single(scene->dev, dma, 64, DMA_FROM_DEVICE);
}

static void sync_sg_count_bad(struct scene *scene)
{
    struct scatterlist sg[2];

    sg_of(scene, sg, 2, 512);
    assert_int_equal(dma_map_sg(scene->dev, sg, 2, DMA_FROM_DEVICE), 2);
    AT(scene, dma_sync_sg_for_cpu(scene->dev, sg, 1, DMA_FROM_DEVICE));
    dma_unmap_sg(scene->dev, sg, 2, DMA_FROM_DEVICE);
}

/* ---- Scatterlists' limits ---- */

static void segment_bad(struct scene *scene)
{
    struct scatterlist sg;

    dma_set_max_seg_size(scene->dev, 1024);
    sg_init_one(&sg, scene->buffer, 2048);
    assert_int_equal(AT(scene, dma_map_sg(scene->dev, &sg, 1, DMA_TO_DEVICE)), 1);
    dma_unmap_sg(scene->dev, &sg, 1, DMA_TO_DEVICE);
}

static void segment_good(struct scene *scene)
{
    struct scatterlist sg;

    dma_set_max_seg_size(scene->dev, 2048);
    dma_set_seg_boundary(scene->dev, 4095);
    sg_init_one(&sg, scene->buffer, 2048);
    assert_int_equal(dma_map_sg(scene->dev, &sg, 1, DMA_TO_DEVICE), 1);
    dma_unmap_sg(scene->dev, &sg, 1, DMA_TO_DEVICE);
}

static void boundary_bad(struct scene *scene)
{
    struct scatterlist sg;

    dma_set_seg_boundary(scene->dev, 1023);
    sg_init_one(&sg, scene->buffer + 512, 1024);
    assert_int_equal(AT(scene, dma_map_sg(scene->dev, &sg, 1, DMA_TO_DEVICE)), 1);
    dma_unmap_sg(scene->dev, &sg, 1, DMA_TO_DEVICE);
}

/* ---- Lines ---- */

static void overlap_bad(struct scene *scene)
{
    dma_addr_t first = map(scene, 96, DMA_FROM_DEVICE);
    dma_addr_t second = AT(scene, dma_map_single(scene->dev, scene->buffer + 96, 32, DMA_FROM_DEVICE));

    assert_int_equal(dma_mapping_error(scene->dev, second), 0);
    dma_unmap_single(scene->dev, first, 96, DMA_FROM_DEVICE);
    dma_unmap_single(scene->dev, second, 32, DMA_FROM_DEVICE);
}

static void overlap_good(struct scene *scene)
{
    dma_addr_t first = map(scene, 128, DMA_FROM_DEVICE), second, again;

    second = dma_map_single(scene->dev, scene->buffer + 128, 32, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(scene->dev, second), 0);
    dma_unmap_single(scene->dev, first, 128, DMA_FROM_DEVICE);
    dma_unmap_single(scene->dev, second, 32, DMA_FROM_DEVICE);
    /* The same bytes twice, for devices that only read them. */
    first = map(scene, 128, DMA_TO_DEVICE);
    again = map(scene, 128, DMA_TO_DEVICE);
    dma_unmap_single(scene->dev, first, 128, DMA_TO_DEVICE);
    dma_unmap_single(scene->dev, again, 128, DMA_TO_DEVICE);
}

/* @count mappings of one line, each of which says that it takes care of the caches itself. */
static void overlap_times(struct scene *scene, int count)
{
    struct device *dev = scene->dev;
    char *line = scene->buffer;
    unsigned long own = DMA_ATTR_SKIP_CPU_SYNC;
    dma_addr_t dma[9];
    int i;

    for (i = 0; i < count; i++) {
        dma[i] = AT(scene, dma_map_single_attrs(dev, line, 64, DMA_FROM_DEVICE, own));
        assert_int_equal(dma_mapping_error(dev, dma[i]), 0);
    }
    for (i = 0; i < count; i++)
        dma_unmap_single_attrs(dev, dma[i], 64, DMA_FROM_DEVICE, own);
}

static void overflow_bad(struct scene *scene)
{
    overlap_times(scene, 9);
}

static void overflow_good(struct scene *scene)
{
    overlap_times(scene, 7);
}

/* ---- Context ---- */

static void sleeps_bad(struct scene *scene)
{
    spinlock_t lock;
    dma_addr_t dma;
    void *cpu;

    spin_lock_init(&lock);
    spin_lock(&lock);
    cpu = AT(scene, dma_alloc_coherent(scene->dev, 4096, &dma, GFP_KERNEL));
    spin_unlock(&lock);
    dma_free_coherent(scene->dev, 4096, cpu, dma);
}

static void sleeps_good(struct scene *scene)
{
    spinlock_t lock;
    dma_addr_t dma;
    void *cpu;

    spin_lock_init(&lock);
    spin_lock(&lock);
    cpu = dma_alloc_coherent(scene->dev, 4096, &dma, GFP_ATOMIC);
    spin_unlock(&lock);
    assert_non_null(cpu);
    dma_free_coherent(scene->dev, 4096, cpu, dma);
    cpu = dma_alloc_coherent(scene->dev, 4096, &dma, GFP_KERNEL);
    dma_free_coherent(scene->dev, 4096, cpu, dma);
}

/* ---- Objects ---- */

static void double_free_bad(struct scene *scene)
{
    void *neighbour = kmalloc(64, GFP_KERNEL), *object = kmalloc(64, GFP_KERNEL);

    kfree(object);
    AT(scene, kfree(object));
    kfree(neighbour);
}

static void invalid_free_of_object_bad(struct scene *scene)
{
    char *object = kmalloc(64, GFP_KERNEL);

    AT(scene, kfree(object + 8));
    kfree(object);
}

static void wrong_cache_bad(struct scene *scene)
{
    struct kmem_cache *one = kmem_cache_create("one", 64, 0, 0, NULL);
    struct kmem_cache *other = kmem_cache_create("other", 64, 0, 0, NULL);
    void *object = kmem_cache_alloc(one, GFP_KERNEL);

    AT(scene, kmem_cache_free(other, object));
    kmem_cache_free(one, object);
    kmem_cache_destroy(one);
    kmem_cache_destroy(other);
}

static void overrun_bad(struct scene *scene)
{
    struct kmem_cache *cache = kmem_cache_create("fenced", 60, 0, SLAB_RED_ZONE, NULL);
    char *object = kmem_cache_alloc(cache, GFP_KERNEL);

    memset(object, 1, 61);
    AT(scene, kmem_cache_free(cache, object));
    kmem_cache_destroy(cache);
}

static void use_after_free_bad(struct scene *scene)
{
    struct kmem_cache *cache = kmem_cache_create("poisoned", 60, 0, SLAB_POISON, NULL);
    char *neighbour = kmem_cache_alloc(cache, GFP_KERNEL), *object = kmem_cache_alloc(cache, GFP_KERNEL);

    kmem_cache_free(cache, object);
    object[59] = 1;
    object = AT(scene, kmem_cache_alloc(cache, GFP_KERNEL));
    kmem_cache_free(cache, object);
    kmem_cache_free(cache, neighbour);
    kmem_cache_destroy(cache);
}

static void cache_leak_bad(struct scene *scene)
{
    struct kmem_cache *cache = kmem_cache_create("left", 60, 0, 0, NULL);
    void *object = kmem_cache_alloc(cache, GFP_KERNEL);

    AT(scene, kmem_cache_destroy(cache));
    kmem_cache_free(cache, object);
    kmem_cache_destroy(cache);
}

/* All that an object's life may hold, in a cache that looks at everything. */
static void object_good(struct scene *scene)
{
    struct kmem_cache *cache =
        kmem_cache_create("looked at", 60, 0, SLAB_RED_ZONE | SLAB_POISON | SLAB_HWCACHE_ALIGN, NULL);
    char *object = kmem_cache_alloc(cache, GFP_KERNEL), *again;
    dma_addr_t dma;

    memset(object, 1, ksize(object));
    dma = dma_map_single(scene->dev, object, 60, DMA_BIDIRECTIONAL);
    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    assert_int_equal(
        dk_master_write(scene->dev, dma, "a device writes it to its end, and no further..............", 60),
        0);
    dma_unmap_single(scene->dev, dma, 60, DMA_BIDIRECTIONAL);
    kmem_cache_free(cache, object);
    again = kmem_cache_zalloc(cache, GFP_KERNEL);
    kfree(again);
    kmem_cache_destroy(cache);
    object = kmalloc(40, GFP_KERNEL);
    memset(object, 1, ksize(object));
    kfree(krealloc(object, 400, GFP_KERNEL));
}

static void mempool_leak_bad(struct scene *scene)
{
    mempool_t *pool = mempool_create_kmalloc_pool(2, 100);
    void *element = mempool_alloc(pool, GFP_KERNEL);

    AT(scene, mempool_destroy(pool));
    kfree(element);
}

static void mempool_double_free_bad(struct scene *scene)
{
    mempool_t *pool = mempool_create_kmalloc_pool(2, 100);
    void *element = mempool_alloc_preallocated(pool);

    mempool_free(element, pool);
    AT(scene, mempool_free(element, pool));
    mempool_destroy(pool);
}

/* Each element is given back once, whether it came from the reserve or not. */
static void mempool_good(struct scene *scene)
{
    mempool_t *pool = mempool_create_kmalloc_pool(2, 100);
    void *elements[3] = { mempool_alloc(pool, GFP_KERNEL), mempool_alloc_preallocated(pool),
                          mempool_alloc(pool, GFP_ATOMIC) };

    (void)scene;
    mempool_free(elements[0], pool);
    mempool_free(elements[1], pool);
    elements[1] = mempool_alloc(pool, GFP_KERNEL);
    mempool_free(elements[2], pool);
    mempool_free(elements[1], pool);
    mempool_destroy(pool);
}

/* ---- What an IOMMU sees ---- */

static void unmapped_bad(struct scene *scene)
{
    dma_addr_t dma = map(scene, 64, DMA_TO_DEVICE);
    char byte;

    dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE);
    assert_int_equal(AT(scene, dk_master_read(scene->dev, dma + 3, &byte, 1)), -EFAULT);
}

static void permission_bad(struct scene *scene)
{
    dma_addr_t dma = map(scene, 64, DMA_TO_DEVICE);

    assert_int_equal(AT(scene, dk_master_write(scene->dev, dma + 3, "x", 1)), -EFAULT);
    dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE);
}

static void after_unmap_bad(struct scene *scene)
{
    dma_addr_t dma = map(scene, 64, DMA_FROM_DEVICE);

    dma_unmap_single(scene->dev, dma, 64, DMA_FROM_DEVICE);
    assert_int_equal(AT(scene, dk_master_write(scene->dev, dma + 3, "x", 1)), 0);
}

static void access_good(struct scene *scene)
{
    dma_addr_t dma = map(scene, 64, DMA_TO_DEVICE);
    char byte;

    assert_int_equal(dk_master_read(scene->dev, dma + 63, &byte, 1), 0);
    dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE);
    dma = map(scene, 64, DMA_BIDIRECTIONAL);
    assert_int_equal(dk_master_read(scene->dev, dma, &byte, 1), 0);
    assert_int_equal(dk_master_write(scene->dev, dma, &byte, 1), 0);
    dma_unmap_single(scene->dev, dma, 64, DMA_BIDIRECTIONAL);
}

/* ---- Contiguous areas ---- */

static struct cma *declare(void)
{
    struct cma *area = NULL;

    assert_int_equal(cma_declare_contiguous(0, 0x100000, 0, 0, 0, false, "frames", &area), 0);
    return area;
}

static void release_mismatch_bad(struct scene *scene)
{
    struct cma *area = declare();
    struct page *pages = cma_alloc(area, 16, 0, false);

    assert_true(AT(scene, cma_release(area, pages, 8)));
}

static void release_twice_bad(struct scene *scene)
{
    struct cma *area = declare();
    struct page *pages = cma_alloc(area, 16, 0, false);

    cma_release(area, pages, 16);
    assert_true(AT(scene, cma_release(area, pages, 16)));
}

/* Also asking an area whether pages are its own is no mistake. */
static void release_good(struct scene *scene)
{
    struct cma *area = declare(), *other = declare();
    struct page *pages = cma_alloc(area, 16, 0, false);

    (void)scene;
    assert_false(cma_release(other, pages, 16));
    get_page(pages);
    assert_true(cma_release(area, pages, 16));
    put_page(pages);
    pages = cma_alloc(area, 16, 0, false);
    assert_true(cma_release(area, pages, 16));
}

/* The device goes on after its buffer was freed, and with it the last of a section's memory: @late, or
 * before. */
static void masked(struct scene *scene, bool late)
{
    struct page *blocks[6];
    dma_addr_t dma;
    char byte;
    int i;

    /* Far from what else was allocated. */
    for (i = 0; i < 6; i++) {
        blocks[i] = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
        assert_non_null(blocks[i]);
    }
    dma = dma_map_page(scene->dev, blocks[5], 0, 4096, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    if (!late)
        assert_int_equal(dk_master_read(scene->dev, dma + 3, &byte, 1), 0);
    dma_unmap_page(scene->dev, dma, 4096, DMA_TO_DEVICE);
    for (i = 0; i < 6; i++)
        __free_pages(blocks[i], MAX_PAGE_ORDER);
    if (late)
        assert_int_equal(AT(scene, dk_master_read(scene->dev, dma + 3, &byte, 1)), 0);
}

static void masked_bad(struct scene *scene)
{
    masked(scene, true);
}

static void masked_good(struct scene *scene)
{
    masked(scene, false);
}

/* Every back end: what a class needs of it, and what it has. */
/* PLACE: a buffer's place in memory is its place for the device too. */
/* DIES: memory that nobody uses is not refreshed. */
enum { STRICT = 1, LAZY = 2, LINES = 4, PLACE = 8, DIES = 16 };

#define WITH_DIES(coherence)                                                                                             \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"dies\"; compatible = \"dmakit,dies\"; " coherence \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                                      \
    " rank@0 { density = <512>; io-width = <32>; dmakit,pasr = \"bank\"; dmakit,base = <0x40000000>; };"                 \
    " bus@2 { compatible = \"dmakit,bus\"; };"                                                                           \
    " nic@1 { compatible = \"dmakit,nic\"; }; aliases { nic = \"/nic@1\"; bus = \"/bus@2\"; }; };"

#define BEHIND_IOMMU(coherence)                                                                                            \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"iommu\"; compatible = \"dmakit,iommu\"; " coherence \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                                        \
    " mmu: iommu@0 { compatible = \"dmakit,mmu\"; #iommu-cells = <1>; };"                                                  \
    " bus@2 { compatible = \"dmakit,bus\"; };"                                                                             \
    " nic@1 { compatible = \"dmakit,nic\"; iommus = <&mmu 7>; }; aliases { nic = \"/nic@1\"; bus = \"/bus@2\"; }; };"

static const struct {
    const char *dts;
    const char *arguments;
    unsigned has;
} boards[] = {
    { COHERENT_BOARD, NULL, PLACE },
    { NONCOHERENT_BOARD, NULL, PLACE | LINES },
    { WITH_DIES("dma-coherent;"), NULL, PLACE | DIES },
    { WITH_DIES("dma-noncoherent;"), NULL, PLACE | LINES | DIES },
    { COHERENT_BOARD, "swiotlb=force", 0 },
    { NONCOHERENT_BOARD, "swiotlb=force", LINES },
    { BEHIND_IOMMU("dma-coherent;"), NULL, STRICT },
    { BEHIND_IOMMU("dma-noncoherent;"), NULL, STRICT | LINES },
    { BEHIND_IOMMU("dma-coherent;"), "iommu.strict=0", LAZY },
    { BEHIND_IOMMU("dma-noncoherent;"), "iommu.strict=0", LAZY | LINES },
};

static const struct {
    const char *class_name;
    void (*bad)(struct scene *scene);
    void (*good)(struct scene *scene);
    unsigned needs;
} classes[] = {
    { "freed-while-remapped", freed_remapped_bad, freed_remapped_good },
    { "freed-while-mapped", freed_mapped_bad, freed_mapped_good },
    { "slab-double-free", double_free_bad, object_good },
    { "slab-invalid-free", invalid_free_of_object_bad, object_good },
    { "slab-wrong-cache", wrong_cache_bad, object_good },
    { "slab-overrun", overrun_bad, object_good },
    { "slab-use-after-free", use_after_free_bad, object_good },
    { "slab-leak", cache_leak_bad, object_good },
    { "mempool-leak", mempool_leak_bad, mempool_good },
    { "mempool-double-free", mempool_double_free_bad, mempool_good },
    { "pool-wrong-pool", wrong_pool_bad, pool_good },
    { "pool-use-after-free", pool_late_bad, pool_good },
    { "pool-overrun", pool_overrun_bad, pool_good },
    { "pool-destroyed-busy", pool_busy_bad, pool_good },
    { "leak-at-remove", leak_bad, leak_good },
    { "free-invalid-address", invalid_free_bad, unmap_good },
    { "free-not-allocated", not_allocated_bad, unmap_good },
    { "free-wrong-size", wrong_size_bad, unmap_good },
    { "free-wrong-function", wrong_function_bad, right_function_good },
    { "free-wrong-cpu-address", wrong_cpu_bad, wrong_cpu_good },
    { "free-wrong-sg-count", sg_count_bad, sg_good },
    { "free-wrong-direction", wrong_direction_bad, unmap_good },
    { "error-unchecked", unchecked_bad, unmap_good },
    { "maps-stack", stack_bad, copied_good },
    { "maps-rodata", rodata_bad, copied_good },
    { "maps-invalid-address", heap_bad, copied_good },
    { "maps-vmalloc", vmalloc_bad, vmalloc_good },
    { "sync-not-mapped", sync_not_mapped_bad, sync_good },
    { "sync-out-of-range", sync_range_bad, sync_good },
    { "sync-wrong-direction", sync_direction_bad, sync_good },
    { "sync-readonly-for-cpu", sync_readonly_bad, sync_good },
    { "sync-writeonly-for-device", sync_writeonly_bad, sync_good },
    { "sync-wrong-sg-count", sync_sg_count_bad, sg_good },
    { "sg-segment-too-long", segment_bad, segment_good },
    { "sg-crosses-boundary", boundary_bad, segment_good, PLACE },
    /* On a coherent machine two owners of one line do no harm. */
    { "overlapping-lines", overlap_bad, overlap_good, LINES },
    { "overlap-overflow", overflow_bad, overflow_good },
    { "sleeps-in-atomic", sleeps_bad, sleeps_good },
    { "iommu-unmapped", unmapped_bad, access_good, STRICT },
    { "iommu-permission", permission_bad, access_good, STRICT },
    { "access-to-masked-section", masked_bad, masked_good, DIES },
    { "device-access-after-unmap", after_unmap_bad, access_good, LAZY },
    { "cma-release-mismatch", release_mismatch_bad, release_good },
    { "cma-release-not-allocated", release_twice_bad, release_good },
};

static bool is_seen(size_t class_index, size_t board)
{
    return (classes[class_index].needs & boards[board].has) == classes[class_index].needs;
}

/* Classes whose report has no mapping: there is none, or the call never got that far. */
static const char *const without_mapping[] = {
    "free-invalid-address", "free-not-allocated",   "maps-stack",           "maps-rodata",
    "maps-vmalloc",         "maps-invalid-address", "sg-segment-too-long",  "sg-crosses-boundary",
    "sync-not-mapped",      "sleeps-in-atomic",     "cma-release-mismatch", "cma-release-not-allocated",
};

/* Classes that are about objects: no device has to do with them, and no mapping. */
static bool is_of_objects(const char *class_name)
{
    return !strncmp(class_name, "slab-", 5) || !strncmp(class_name, "mempool-", 8);
}

static bool has_mapping(const char *class_name)
{
    size_t i;

    if (is_of_objects(class_name))
        return false;
    for (i = 0; i < sizeof(without_mapping) / sizeof(without_mapping[0]); i++) {
        if (!strcmp(class_name, without_mapping[i]))
            return false;
    }
    return true;
}

/* Areas and objects are the machine's. */
static bool has_device(const char *class_name)
{
    return strncmp(class_name, "cma-", 4) != 0 && !is_of_objects(class_name);
}

struct seen {
    unsigned long reports;
    char class_name[64];
    char file[256];
    char function[64];
    int line;
    bool whole; /* every part that a reader needs is there */
};

static void note(const struct dk_report *report, void *data)
{
    struct seen *seen = data;
    /* A leak is named by the call that created it. */
    const struct dk_frames *stack =
        strcmp(report->class_name, "leak-at-remove") ? &report->access.stack : &report->mapping.stack;

    seen->reports++;
    snprintf(seen->class_name, sizeof(seen->class_name), "%s", report->class_name);
    if (stack->count) {
        snprintf(seen->file, sizeof(seen->file), "%s", stack->frames[0].file ? stack->frames[0].file : "");
        snprintf(seen->function, sizeof(seen->function), "%s",
                 stack->frames[0].function ? stack->frames[0].function : "");
        seen->line = stack->frames[0].line;
    }
    seen->whole = report->what && *report->what && report->advice && *report->advice && report->device &&
                  !*report->device == !has_device(report->class_name) && report->severity &&
                  report->access.kind && report->access.name;
    /* The mapping it is about, and the line that made it. */
    if (has_mapping(report->class_name))
        seen->whole = seen->whole && report->mapping.kind && report->mapping.direction &&
                      report->mapping.size && report->mapping.stack.count &&
                      report->mapping.stack.frames[0].file &&
                      strstr(report->mapping.stack.frames[0].file, "test-classes.c");
}

/* Runs one side of one class on one board. */
static struct seen play(void (*part)(struct scene *scene), size_t board, struct scene *scene)
{
    struct seen seen = { 0 };

    scene->machine = machine_with(boards[board].dts, boards[board].arguments, 0, 1);
    scene->dev = dk_device_find(scene->machine, "nic");
    scene->buffer = kmalloc(4096, GFP_KERNEL);
    assert_non_null(scene->buffer);
    dk_check_set_sink(scene->machine, note, &seen);
    part(scene);
    return seen;
}

static void each_mistake_is_reported_where_it_stands(void **state)
{
    size_t i, board;

    (void)state;
    for (board = 0; board < sizeof(boards) / sizeof(boards[0]); board++) {
        for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
            struct scene scene = { 0 };
            struct seen seen;

            if (!is_seen(i, board))
                continue;
            seen = play(classes[i].bad, board, &scene);
            if (seen.reports != 1 || strcmp(seen.class_name, classes[i].class_name) ||
                seen.line != scene.line)
                print_error("%s on board %zu: %lu reports, %s at %s:%d, expected line %d\n",
                            classes[i].class_name, board, seen.reports, seen.class_name, seen.file, seen.line,
                            scene.line);
            assert_int_equal(seen.reports, 1);
            assert_string_equal(seen.class_name, classes[i].class_name);
            assert_non_null(strstr(seen.file, "test-classes.c"));
            assert_int_equal(seen.line, scene.line);
            assert_true(seen.whole);
            assert_true(dk_check_count(scene.machine, classes[i].class_name) >= 1);
            dk_check_set_sink(scene.machine, note, &seen);
            dk_machine_destroy(scene.machine);
        }
    }
}

static void each_correct_twin_is_silent(void **state)
{
    size_t i, board;

    (void)state;
    for (board = 0; board < sizeof(boards) / sizeof(boards[0]); board++) {
        for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
            struct scene scene = { 0 };
            struct seen seen = play(classes[i].good, board, &scene);

            if (seen.reports)
                print_error("%s's twin on board %zu: %s at %s:%d\n", classes[i].class_name, board,
                            seen.class_name, seen.file, seen.line);
            assert_int_equal(seen.reports, 0);
            kfree(scene.buffer);
            assert_int_equal(dk_machine_destroy(scene.machine), 0);
        }
    }
}

/* The same mistake in a loop is one report with a count; at another line it is another report. */
static void a_repeated_mistake_is_one_report(void **state)
{
    struct scene scene = { 0 };
    struct seen seen = { 0 };
    int i;

    (void)state;
    scene.machine = machine_on(COHERENT_BOARD);
    scene.dev = dk_device_find(scene.machine, "nic");
    scene.buffer = kmalloc(4096, GFP_KERNEL);
    dk_check_set_sink(scene.machine, note, &seen);
    for (i = 0; i < 100; i++)
        wrong_size_bad(&scene);
    assert_int_equal(seen.reports, 1);
    assert_int_equal(dk_check_count(scene.machine, "free-wrong-size"), 100);
    assert_int_equal(dk_check_count(scene.machine, "free-wrong-direction"), 0);
    wrong_direction_bad(&scene);
    assert_int_equal(seen.reports, 2);
    kfree(scene.buffer);
    assert_int_equal(dk_machine_destroy(scene.machine), 101);
}

/* Depth 0 reports nothing, and a bad call still does no harm. */
static void depth_zero_is_silent(void **state)
{
    size_t i, board;

    (void)state;
    for (board = 0; board < sizeof(boards) / sizeof(boards[0]); board++) {
        for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
            struct scene scene = { 0 };

            /* Without the checker's records these free memory that is still in use, as they do in a kernel.
             */
            if (!is_seen(i, board) || !strcmp(classes[i].class_name, "free-wrong-function") ||
                !strcmp(classes[i].class_name, "free-wrong-cpu-address"))
                continue;
            scene.machine = machine_with(boards[board].dts, boards[board].arguments, 0, 0);
            scene.dev = dk_device_find(scene.machine, "nic");
            scene.buffer = kmalloc(4096, GFP_KERNEL);
            classes[i].bad(&scene);
            assert_int_equal(dk_check_count(scene.machine, NULL), 0);
            assert_int_equal(dk_machine_destroy(scene.machine), 0);
        }
    }
}

static void the_list_of_classes_is_whole(void **state)
{
    const char *const *names = dk_check_classes();
    size_t i, count;

    (void)state;
    for (count = 0; names[count]; count++)
        assert_non_null(dk_check_class_summary(names[count]));
    /* What other depths find, other files show (test-handover.c, test-strays.c). */
    assert_true(count >= sizeof(classes) / sizeof(classes[0]));
    for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        assert_non_null(dk_check_class_summary(classes[i].class_name));
    assert_null(dk_check_class_summary("no-such-class"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_reported_where_it_stands),
        cmocka_unit_test(each_correct_twin_is_silent),
        cmocka_unit_test(a_repeated_mistake_is_one_report),
        cmocka_unit_test(depth_zero_is_silent),
        cmocka_unit_test(the_list_of_classes_is_whole),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("classes", tests, NULL, NULL);
}
