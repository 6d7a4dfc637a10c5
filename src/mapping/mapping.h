/* SPDX-License-Identifier: MIT */
/*
 * The mapping room's inner side: what dispatch, the back ends and the coherent pools share.
 */
#ifndef DK_MAPPING_MAPPING_H
#define DK_MAPPING_MAPPING_H

#include "check/check.h"
#include "machine/machine.h"
#include <dmakit/cma.h>
#include <dmakit/dma-map-ops.h>
#include <dmakit/of.h>

/* What the machine's options say about mapping. */
struct dk_mapping_config {
    u64 cma_size;        /* cma=: bytes of the default contiguous area; 0: the board's */
    u64 cma_base;        /* cma=size@base: where; 0: anywhere */
    const char *cma_map; /* cma_map=: rules, of @cma_map_length characters; NULL: none */
    size_t cma_map_length;
    bool iommu_passthrough; /* iommu.passthrough=1: devices behind an IOMMU map directly */
    bool iommu_lazy;        /* iommu.strict=0: what is unmapped stays reachable for a while */
    bool quarantine;        /* addresses and slots that are unmapped are not given out again at once */
    u64 bounce_slots;       /* swiotlb=N: slots of the machine's bounce pool; 0: by the size of memory */
    bool bounce_always;     /* swiotlb=force: what could be mapped directly is bounced too */
    bool bounce_never;      /* swiotlb=noforce: there is no pool */
    u64 atomic_size;        /* coherent_pool=: bytes of each atomic pool; 0: by the size of memory */
};

/* What a reserved region of the board has become: at most one of these. */
struct dk_region {
    struct cma *cma;
    struct dk_coherent_pool *pool;
    struct dk_bounce_pool *bounce;
};

struct dk_mapping_state {
    struct dk_machine *machine;
    struct dk_mapping_config config;
    struct device_node *nodes;             /* one for each of the board's */
    struct dk_region *regions;             /* one for each of the board's reserved regions */
    struct cma *default_cma;               /* one of @regions', or cma='s own; NULL: none */
    struct cma *own_cma;                   /* cma='s; NULL: none */
    struct dk_contiguous_map *cma_map;     /* cma_map='s rules; NULL: none */
    struct dk_coherent_pool *default_pool; /* one of @regions', or @own_pool; NULL: none */
    struct dk_coherent_pool *own_pool;     /* dma_init_global_coherent()'s */
    struct dk_atomic_pools *atomic_pools;  /* atomic-pool.c's; NULL: none */
    struct dk_bounce_pool *bounce; /* the machine's; NULL: all devices reach all memory, or bounce_never */
    struct page *bounce_pages;     /* its memory */
    struct dk_bounce_pool *sa1111; /* what the masters of an SA-1111 share; NULL: none needed it */
    struct page *sa1111_pages;     /* its memory */
    pthread_mutex_t spaces_lock;
    struct list_head spaces; /* IOMMU address spaces, guarded by spaces_lock */
    pthread_mutex_t tables_lock;
    struct list_head tables; /* of noncontiguous allocations, guarded by tables_lock */
    pthread_mutex_t remaps_lock;
    struct list_head remaps; /* remap.h's, oldest first; guarded by remaps_lock */
    pthread_mutex_t vmaps_lock;
    struct list_head vmaps; /* noncontiguous.c's: kernel addresses of tables; guarded by vmaps_lock */
    u64 zone_dma_last;      /* the last RAM address of the zone that GFP_DMA memory comes from */
    u64 cache_events;       /* atomic: numbers the calls that move cache lines, for eviction */
};

/* Regions, pools and areas come up before devices do. 0 or -errno, with nothing left behind. */
int dk_mapping_start(struct dk_machine *machine, const struct dk_mapping_config *config, u64 zone_dma_last);
/* After the devices went. */
void dk_mapping_finish(struct dk_machine *machine);
/* Hooks of a machine: choose a new device's back end; free what a removed one leaves. */
int dk_mapping_device_added(struct device *dev);
void dk_mapping_device_removed(struct device *dev);

/* Sets or clears the inline fast path, after anything it depends on has changed. */
void dk_mapping_refresh(struct device *dev);

/* noncontiguous.c: forgets which kernel addresses its tables have. */
void dk_noncontiguous_finish(struct dk_mapping_state *state);

/* ---- The direct back end ---- */

extern const struct dma_map_ops dk_direct_ops;

/* What @dev bounces through; NULL: nothing. */
static inline struct dk_bounce_pool *dk_bounce_pool_of(const struct device *dev)
{
    return dev->dk->bounce ? dev->dk->bounce : dk_device_machine(dev)->mapping->bounce;
}
/* Whether @dev bounces even what it reaches, always or by a rule of its own. */
static inline bool dk_bounce_forced(const struct device *dev)
{
    return dev->dk->bounce_always || dev->dk->needs_bounce ||
           dk_device_machine(dev)->mapping->config.bounce_always;
}
/* Frees the pool that @dev's driver registered, if any. */
void dk_bounce_leave(struct device *dev);
/* Makes the pool of an SA-1111's masters where there is one. 0 or -ENOMEM. */
int dk_sa1111_start(struct dk_machine *machine);
/* Lets a master of an SA-1111 bounce. */
void dk_sa1111_device_added(struct device *dev);
/* @count pages that @dev reaches under its coherent mask, or NULL; for dk_give_pages(). */
struct page *dk_direct_take(struct device *dev, size_t count, gfp_t gfp);
/* Whether @dev would reach any memory at all with a coherent mask of @mask. */
bool dk_direct_reaches_memory(const struct device *dev, u64 mask);

/* ---- Memory in pieces ---- */

/* An empty table for @dev that goes with the machine if its driver forgets it, or NULL. */
struct sg_table *dk_table_create(struct device *dev);
/* Frees it with its entries. */
void dk_table_destroy(struct device *dev, struct sg_table *table);
/* Frees what drivers forgot. */
void dk_tables_finish(struct dk_mapping_state *state);

/* ---- The IOMMU's back end ---- */

extern const struct dma_map_ops dk_iommu_ops;
/* Frees the spaces that drivers made and never released, after the devices went. */
void dk_iommu_spaces_finish(struct dk_mapping_state *state);
/* Whether @dev was added to one that it maps as: a USB interface to its host controller. Not so functions
 * below a PCI host. */
bool dk_maps_as_parent(const struct device *dev);
/* Puts @dev into the space of its own context. 0 or -ENOMEM; it is in none then. */
int dk_iommu_join_context(struct device *dev);

/* The last DMA address that mask and bus allow. */
static inline u64 dk_dma_limit(const struct device *dev, u64 mask)
{
    return dev->bus_dma_limit && dev->bus_dma_limit < mask ? dev->bus_dma_limit : mask;
}

dma_addr_t dk_direct_map(struct device *dev, phys_addr_t phys, size_t size, enum dma_data_direction direction,
                         unsigned long attrs);
void dk_direct_unmap(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                     unsigned long attrs);
void dk_direct_sync(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                    bool for_cpu);

void *dk_direct_alloc(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp, unsigned long attrs);
void dk_direct_free(struct device *dev, size_t size, void *cpu, dma_addr_t dma, unsigned long attrs);
struct page *dk_direct_alloc_pages(struct device *dev, size_t size, dma_addr_t *dma,
                                   enum dma_data_direction direction, gfp_t gfp);
void dk_direct_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t dma,
                          enum dma_data_direction direction);
int dk_direct_mmap(struct device *dev, struct vm_area_struct *vma, void *cpu, dma_addr_t dma, size_t size,
                   unsigned long attrs);
int dk_direct_get_sgtable(struct device *dev, struct sg_table *table, void *cpu, dma_addr_t dma, size_t size,
                          unsigned long attrs);

/* The page at @phys of @memory; NULL where there is no RAM of the board's. */
struct page *dk_page_at(struct dk_memory *memory, phys_addr_t phys);
/* The DMA address of [phys, phys + size) for @dev, whatever its mask: false when the bus cannot carry it
 * there. */
bool dk_phys_to_dma(const struct device *dev, phys_addr_t phys, u64 size, dma_addr_t *dma);

/* ---- The two views ---- */

/* Before the device may look, and before the CPU may: for a device that does not snoop. */
void dk_lines_to_device(struct dk_machine *machine, phys_addr_t phys, u64 size);
void dk_lines_to_cpu(struct dk_machine *machine, phys_addr_t phys, u64 size,
                     enum dma_data_direction direction);
/* Both, for [cpu, cpu + size) of the linear map or of vmalloc space as @direction says: dma_cache_sync().
 * Other addresses are left alone. */
void dk_lines_sync(struct device *dev, void *cpu, size_t size, enum dma_data_direction direction);
/* Cleaned and invalidated. */
void dk_lines_flush(struct dk_machine *machine, phys_addr_t phys, u64 size);
/*
 * Whole pages that the CPU will use past its cache, through the DRAM view: their lines are flushed, and they
 * are marked, so that no bus master looks for lines there. Their bytes stay. 0, or -ENOMEM: not marked.
 */
int dk_lines_uncache(struct dk_machine *machine, phys_addr_t phys, u64 size);
/* The way back, before whoever uses them through the cache: DRAM's bytes are in the cached view afterwards.
 * False: none of them was marked, and nothing happens. */
bool dk_lines_recache(struct dk_machine *machine, phys_addr_t phys, u64 size);

/* ---- Contiguous memory ---- */

/* Pages for @dev from its own area, or those of its cma_map= rule, or the default one; NULL when none serves.
 */
struct page *dk_contiguous_take(struct device *dev, size_t count, gfp_t gfp);
/* True when @page was an area's, and is free now or its release was refused. */
bool dk_contiguous_give(struct device *dev, struct page *page, size_t count);
/* Gives @count pages back to the area or the page allocator that they came from. */
void dk_give_pages(struct device *dev, struct page *page, size_t count);

/* A rule of cma_map=: areas for the devices whose names match. */
struct dk_contiguous_rule {
    const char *patterns; /* separated by commas */
    size_t length;
    struct cma **areas; /* to be tried in this order */
    size_t area_count;
};

/*
 * Reads cma_map='s @length characters at @text, which must live as long as the map, when all areas of
 * @machine are there. Error pointers: -EINVAL, with a log line, no such rules or no such area; -ENOMEM.
 */
struct dk_contiguous_map *dk_contiguous_map_create(struct dk_machine *machine, const char *text,
                                                   size_t length);
/* NULL is fine. */
void dk_contiguous_map_destroy(struct dk_contiguous_map *map);
/* The first rule of @map, which may be NULL, that is for @dev; NULL: none. */
const struct dk_contiguous_rule *dk_contiguous_map_find(const struct dk_contiguous_map *map,
                                                        const struct device *dev);

/* ---- Coherent pools ---- */

/*
 * A pool over [phys, phys + size) of @machine: an address of RAM that is reserved, or of its uncached alias,
 * or else of no RAM at all, which is made then. @device_base: the address that devices see; with @own_offset
 * each device's own window gives it. Error pointers: -EINVAL, -EBUSY part of it is in use as something else,
 * -ENOMEM.
 */
struct dk_coherent_pool *dk_coherent_pool_create(struct dk_machine *machine, phys_addr_t phys, u64 size,
                                                 dma_addr_t device_base, bool own_offset);
void dk_coherent_pool_destroy(struct dk_coherent_pool *pool);
/* Zeroed memory in a power of two of pages for @dev (NULL: its DMA address is the physical one), or NULL. */
void *dk_coherent_pool_take(struct dk_coherent_pool *pool, struct device *dev, size_t size, dma_addr_t *dma);
/* False when @cpu is not a block of the pool's. */
bool dk_coherent_pool_give(struct dk_coherent_pool *pool, const void *cpu, unsigned order);
/* Whether @cpu lies in the pool, and where: its physical address in RAM. */
bool dk_coherent_pool_holds(const struct dk_coherent_pool *pool, const void *cpu, u64 size,
                            phys_addr_t *phys);
/* Whether @dev got [cpu, cpu + size) from the pool at @dma, and where that is in RAM. */
bool dk_coherent_pool_locate(const struct dk_coherent_pool *pool, const struct device *dev, const void *cpu,
                             dma_addr_t dma, u64 size, phys_addr_t *phys);
/* Shows [cpu, cpu + size) at @vma as dma_mmap_attrs() does. */
int dk_coherent_pool_mmap(const struct dk_coherent_pool *pool, struct vm_area_struct *vma, const void *cpu,
                          u64 size);

/* Shows [phys, phys + size) at @vma from its vm_pgoff on: 0, -ENXIO past the end, -EINVAL, -ENOMEM. */
int dk_vma_show(struct dk_memory *memory, struct vm_area_struct *vma, phys_addr_t phys, u64 size,
                bool uncached);

#endif
