/* SPDX-License-Identifier: MIT */
#include "storm.h"

#include "machine/machine.h"
#include "mapping/atomic-pool.h"

static const enum dma_data_direction directions[] = { DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_BIDIRECTIONAL };

static size_t random_size(struct storm *storm)
{
    switch (storm_below(storm, 4)) {
    case 0:
        return 1 + storm_below(storm, 64);
    case 1:
        return 1 + storm_below(storm, 2048);
    case 2:
        return (size_t)PAGE_SIZE << storm_below(storm, 3);
    default:
        return 1 + storm_below(storm, 20000);
    }
}

/* ---- Making ---- */

static bool make_single(struct storm *storm, struct storm_thing *thing)
{
    thing->cpu = kmalloc(thing->size, storm_one_in(storm, 2) ? GFP_KERNEL : GFP_ATOMIC);
    if (!thing->cpu)
        return false;
    thing->dma = dma_map_single_attrs(thing->dev, thing->cpu, thing->size, thing->direction, thing->attrs);
    if (!dma_mapping_error(thing->dev, thing->dma))
        return true;
    kfree(thing->cpu);
    return false;
}

static bool make_page(struct storm *storm, struct storm_thing *thing)
{
    size_t offset = storm_below(storm, 3 * PAGE_SIZE);

    thing->order = get_order(offset + thing->size);
    thing->page = alloc_pages(GFP_KERNEL, thing->order);
    if (!thing->page)
        return false;
    thing->cpu = (char *)page_address(thing->page) + offset;
    thing->dma =
        dma_map_page_attrs(thing->dev, thing->page, offset, thing->size, thing->direction, thing->attrs);
    if (!dma_mapping_error(thing->dev, thing->dma))
        return true;
    __free_pages(thing->page, thing->order);
    return false;
}

/* Entries of one buffer, so that neighbours share lines; lengths differ. Some are whole pages, which an IOMMU
 * merges. */
static bool make_list(struct storm *storm, struct storm_thing *thing)
{
    unsigned entries = 1 + storm_below(storm, STORM_ENTRIES), i;
    struct scatterlist *sg;
    char *at;

    thing->size = entries * (storm_one_in(storm, 3) ? PAGE_SIZE : 1 + storm_below(storm, 3000));
    thing->cpu = kmalloc(thing->size, GFP_KERNEL);
    if (!thing->cpu)
        return false;
    if (sg_alloc_table(&thing->table, entries, GFP_KERNEL))
        goto free;
    at = thing->cpu;
    for_each_sgtable_sg (&thing->table, sg, i) {
        sg_set_buf(sg, at, (unsigned)(thing->size / entries));
        at += thing->size / entries;
    }
    thing->by_table = storm_one_in(storm, 2);
    if (!thing->by_table)
        thing->mapped =
            (int)dma_map_sg_attrs(thing->dev, thing->table.sgl, (int)entries, thing->direction, thing->attrs);
    else if (!dma_map_sgtable(thing->dev, &thing->table, thing->direction, thing->attrs))
        thing->mapped = (int)thing->table.nents;
    if (thing->mapped) {
        thing->dma = sg_dma_address(thing->table.sgl);
        return true;
    }
    sg_free_table(&thing->table);
free:
    kfree(thing->cpu);
    return false;
}

static bool make_allocation(struct storm *storm, struct storm_thing *thing)
{
    gfp_t gfp = storm_one_in(storm, 3) ? GFP_ATOMIC : GFP_KERNEL;
    static const unsigned long attrs[] = { 0, 0, DMA_ATTR_WRITE_COMBINE, DMA_ATTR_NO_KERNEL_MAPPING,
                                           DMA_ATTR_NO_WARN };

    switch (thing->kind) {
    case STORM_COHERENT:
        thing->attrs = attrs[storm_below(storm, STORM_COUNT(attrs))];
        thing->cpu = dma_alloc_attrs(thing->dev, thing->size, &thing->dma, gfp, thing->attrs);
        break;
    case STORM_MANAGED:
        thing->cpu = dmam_alloc_coherent(thing->dev, thing->size, &thing->dma, gfp);
        break;
    case STORM_NONCOHERENT:
        thing->cpu = dma_alloc_noncoherent(thing->dev, thing->size, &thing->dma, thing->direction, gfp);
        break;
    default:
        thing->page = dma_alloc_pages(thing->dev, thing->size, &thing->dma, thing->direction, gfp);
        thing->cpu = thing->page ? page_address(thing->page) : NULL;
    }
    return thing->cpu;
}

static bool make_pieces(struct storm_thing *thing)
{
    thing->pieces = dma_alloc_noncontiguous(thing->dev, thing->size, thing->direction, GFP_KERNEL, 0);
    if (!thing->pieces)
        return false;
    thing->dma = sg_dma_address(thing->pieces->sgl);
    thing->cpu = dma_vmap_noncontiguous(thing->dev, thing->size, thing->pieces);
    if (thing->cpu)
        return true;
    dma_free_noncontiguous(thing->dev, thing->size, thing->pieces, thing->direction);
    return false;
}

void storm_make(struct storm *storm, struct storm_thing *thing, enum storm_kind kind, struct device *dev)
{
    bool made;

    *thing = (struct storm_thing){
        .kind = kind,
        .dev = dev,
        .size = random_size(storm),
        .direction = directions[storm_below(storm, 3)],
    };
    switch (kind) {
    case STORM_SINGLE:
        made = make_single(storm, thing);
        break;
    case STORM_PAGE:
        made = make_page(storm, thing);
        break;
    case STORM_LIST:
        made = make_list(storm, thing);
        break;
    case STORM_PIECES:
        made = make_pieces(thing);
        break;
    case STORM_VIRTUAL:
        thing->cpu = vmalloc(thing->size);
        made = thing->cpu;
        break;
    case STORM_AREA:
        thing->cpu = alloc_pages_exact(thing->size, GFP_KERNEL);
        made = thing->cpu;
        break;
    default:
        made = make_allocation(storm, thing);
    }
    if (!made)
        thing->kind = STORM_NOTHING;
}

/* ---- Using ---- */

static void for_cpu(struct storm_thing *thing)
{
    if (thing->kind == STORM_PIECES)
        dma_sync_sgtable_for_cpu(thing->dev, thing->pieces, thing->direction);
    else if (thing->kind == STORM_LIST && thing->by_table)
        dma_sync_sgtable_for_cpu(thing->dev, &thing->table, thing->direction);
    else if (thing->kind == STORM_LIST)
        dma_sync_sg_for_cpu(thing->dev, thing->table.sgl, (int)thing->table.orig_nents, thing->direction);
    else
        dma_sync_single_for_cpu(thing->dev, thing->dma, thing->size, thing->direction);
}

static void for_device(struct storm_thing *thing)
{
    if (thing->kind == STORM_PIECES)
        dma_sync_sgtable_for_device(thing->dev, thing->pieces, thing->direction);
    else if (thing->kind == STORM_LIST && thing->by_table)
        dma_sync_sgtable_for_device(thing->dev, &thing->table, thing->direction);
    else if (thing->kind == STORM_LIST)
        dma_sync_sg_for_device(thing->dev, thing->table.sgl, (int)thing->table.orig_nents, thing->direction);
    else
        dma_sync_single_range_for_device(thing->dev, thing->dma, 0, thing->size, thing->direction);
}

/* The device moves all of @thing's bytes between itself and @bytes; a list's segments are one after another.
 */
static int device_moves(struct storm_thing *thing, char *bytes, bool write)
{
    int segments = thing->kind == STORM_LIST ? thing->mapped : 1, i;
    struct scatterlist *sg = thing->table.sgl;
    int error = 0;

    for (i = 0; i < segments && !error; i++) {
        dma_addr_t dma = thing->kind == STORM_LIST ? sg_dma_address(sg) : thing->dma;
        size_t size = thing->kind == STORM_LIST ? sg_dma_len(sg) : thing->size;

        error = write ? dk_master_write(thing->dev, dma, bytes, size)
                      : dk_master_read(thing->dev, dma, bytes, size);
        bytes += size;
        if (thing->kind == STORM_LIST)
            sg = sg_next(sg);
    }
    return error;
}

void storm_use(struct storm *storm, struct storm_thing *thing)
{
    unsigned tag = storm_below(storm, 200);
    bool coherent = thing->kind == STORM_COHERENT || thing->kind == STORM_MANAGED;
    char *bytes;
    int error = 0;

    if (thing->kind == STORM_VIRTUAL || thing->kind == STORM_AREA) {
        fill(thing->cpu, thing->size, tag);
        assert_true(filled(thing->cpu, thing->size, tag));
        return;
    }
    if (thing->attrs & DMA_ATTR_NO_KERNEL_MAPPING)
        return;
    bytes = malloc(thing->size);
    assert_non_null(bytes);
    if (coherent || thing->direction != DMA_FROM_DEVICE) {
        if (!coherent)
            for_cpu(thing);
        fill(thing->cpu, thing->size, tag);
        if (!coherent)
            for_device(thing);
        error = device_moves(thing, bytes, false);
        if (!storm->wrong) {
            assert_int_equal(error, 0);
            assert_true(filled(bytes, thing->size, tag));
        }
    }
    if (coherent || thing->direction != DMA_TO_DEVICE) {
        fill(bytes, thing->size, tag + 1);
        if (!coherent)
            for_device(thing);
        error = device_moves(thing, bytes, true);
        if (!coherent)
            for_cpu(thing);
        if (!storm->wrong) {
            assert_int_equal(error, 0);
            assert_true(filled(thing->cpu, thing->size, tag + 1));
        }
        if (!coherent)
            for_device(thing);
    }
    storm->moved++;
    free(bytes);
}

/* ---- Undoing ---- */

void storm_undo(struct storm *storm, struct storm_thing *thing)
{
    (void)storm;
    switch (thing->kind) {
    case STORM_NOTHING:
        return;
    case STORM_SINGLE:
        dma_unmap_single_attrs(thing->dev, thing->dma, thing->size, thing->direction, thing->attrs);
        kfree(thing->cpu);
        break;
    case STORM_PAGE:
        dma_unmap_page_attrs(thing->dev, thing->dma, thing->size, thing->direction, thing->attrs);
        __free_pages(thing->page, thing->order);
        break;
    case STORM_LIST:
        if (thing->by_table)
            dma_unmap_sgtable(thing->dev, &thing->table, thing->direction, thing->attrs);
        else
            dma_unmap_sg_attrs(thing->dev, thing->table.sgl, (int)thing->table.orig_nents, thing->direction,
                               thing->attrs);
        sg_free_table(&thing->table);
        kfree(thing->cpu);
        break;
    case STORM_COHERENT:
        dma_free_attrs(thing->dev, thing->size, thing->cpu, thing->dma, thing->attrs);
        break;
    case STORM_MANAGED:
        dmam_free_coherent(thing->dev, thing->size, thing->cpu, thing->dma);
        break;
    case STORM_NONCOHERENT:
        dma_free_noncoherent(thing->dev, thing->size, thing->cpu, thing->dma, thing->direction);
        break;
    case STORM_PAGES:
        dma_free_pages(thing->dev, thing->size, thing->page, thing->dma, thing->direction);
        break;
    case STORM_PIECES:
        dma_vunmap_noncontiguous(thing->dev, thing->cpu);
        dma_free_noncontiguous(thing->dev, thing->size, thing->pieces, thing->direction);
        break;
    case STORM_VIRTUAL:
        vfree(thing->cpu);
        break;
    default:
        free_pages_exact(thing->cpu, thing->size);
    }
    thing->kind = STORM_NOTHING;
}

u64 storm_free_pages(struct dk_machine *machine)
{
    u64 pages, unused;

    dk_atomic_pools_settle(machine);
    dk_atomic_pools_usage(machine, &pages, &unused);
    return dk_memory_free_pages(machine->memory) + unused;
}
