/* SPDX-License-Identifier: MIT */
/*
 * What mapping keeps of a machine: reserved regions brought to life, areas, pools.
 */
#include "mapping/mapping.h"

#include "base/alloc.h"
#include "base/log.h"
#include "mapping/atomic-pool.h"
#include "mapping/bounce.h"
#include "mm/cma.h"
#include <string.h>

/* A zone that holds no more than this serves a few old devices only. */
#define SMALL_ZONE ((u64)16 << 20)

static int make_region(struct dk_machine *machine, unsigned index)
{
    const struct dk_reserved *reserved = &machine->board->reserved[index];
    struct dk_mapping_state *state = machine->mapping;
    struct dk_region *region = &state->regions[index];

    if (reserved->kind == DK_RESERVED_CMA) {
        struct cma *area =
            dk_cma_create(machine->memory, reserved->range.base, reserved->range.size, 0, reserved->node);

        if (IS_ERR(area))
            return (int)PTR_ERR(area);
        region->cma = area;
        if (reserved->is_default)
            state->default_cma = area;
    } else if (reserved->kind == DK_RESERVED_COHERENT) {
        struct dk_coherent_pool *pool =
            dk_coherent_pool_create(machine, reserved->range.base, reserved->range.size, 0, true);

        if (IS_ERR(pool))
            return (int)PTR_ERR(pool);
        region->pool = pool;
        if (reserved->is_default)
            state->default_pool = pool;
    } else if (reserved->kind == DK_RESERVED_RESTRICTED) {
        struct dk_bounce_pool *bounce =
            dk_bounce_create(machine, reserved->range.base, reserved->range.size, reserved->node);

        if (IS_ERR(bounce))
            return (int)PTR_ERR(bounce);
        region->bounce = bounce;
    }
    return 0;
}

/* Whether a region of the board has part of [base, base + size). */
static bool is_reserved(const struct dk_board *board, u64 base, u64 size)
{
    unsigned i;

    for (i = 0; i < board->reserved_count; i++) {
        const struct dk_reserved *reserved = &board->reserved[i];

        if (!reserved->reason && !reserved->disabled && reserved->range.base < base + size &&
            base < reserved->range.base + reserved->range.size)
            return true;
    }
    return false;
}

/* cma=: an area of its own, at the top of what a 32-bit device reaches or where the argument says. */
static int make_own_area(struct dk_machine *machine)
{
    struct dk_mapping_state *state = machine->mapping;
    u64 size = (state->config.cma_size + PAGE_SIZE - 1) & PAGE_MASK;
    u64 base = state->config.cma_base & PAGE_MASK;
    struct page *page;
    int error;

    if (!size)
        return 0;
    if (base) {
        error = -EINVAL;
        if (dk_memory_is_ram(machine->memory, base, size))
            error = is_reserved(machine->board, base, size)
                        ? -EBUSY
                        : dk_memory_reserve(machine->memory, base, size, true);
        if (error) {
            dk_log(DK_LOG_ERROR, "cma=: 0x%llx + 0x%llx is not free memory", base, size);
            return error;
        }
    } else {
        u64 last = state->zone_dma_last < DMA_BIT_MASK(32) ? state->zone_dma_last : DMA_BIT_MASK(32);

        page = dk_pages_take(machine->memory, GFP_KERNEL | __GFP_NOWARN, size >> PAGE_SHIFT, 1024, 0, last);
        if (!page)
            page = dk_pages_take(machine->memory, GFP_KERNEL, size >> PAGE_SHIFT, 1024, 0, ~0ull);
        if (!page) {
            dk_log(DK_LOG_ERROR, "cma=: no 0x%llx contiguous bytes for the area", size);
            return -ENOMEM;
        }
        base = page_to_phys(page);
    }
    state->own_cma = dk_cma_create(machine->memory, base, size, 0, "cma=");
    if (IS_ERR(state->own_cma)) {
        error = (int)PTR_ERR(state->own_cma);
        state->own_cma = NULL;
        return error;
    }
    state->default_cma = state->own_cma;
    return 0;
}

/* Bytes of RAM in [0, last]. */
static u64 ram_up_to(const struct dk_board *board, u64 last)
{
    u64 bytes = 0;
    unsigned i;

    for (i = 0; i < board->memory_count && board->memory[i].base <= last; i++) {
        u64 room = last - board->memory[i].base + 1;

        bytes += board->memory[i].size < room ? board->memory[i].size : room;
    }
    return bytes;
}

/* By default 64 MiB, but no more than a quarter of the memory that everybody reaches. */
#define BOUNCE_SIZE ((u64)64 << 20)
#define BOUNCE_UNIT ((u64)DK_BOUNCE_SLOT * DK_BOUNCE_SEGMENT)

/*
 * The machine's bounce pool, in memory that a 32-bit device reaches and, where their zone is worth the name,
 * the narrower ones too. A machine all of whose devices reach all of its memory has none, unless swiotlb=
 * asks for one.
 */
static int make_bounce_pool(struct dk_machine *machine)
{
    struct dk_mapping_state *state = machine->mapping;
    const struct dk_mapping_config *config = &state->config;
    u64 last = ram_up_to(machine->board, state->zone_dma_last) > SMALL_ZONE ? state->zone_dma_last
                                                                            : DMA_BIT_MASK(32);
    u64 size = config->bounce_slots ? config->bounce_slots * DK_BOUNCE_SLOT : BOUNCE_SIZE;
    u64 most = ram_up_to(machine->board, last) / 4;

    if (config->bounce_never ||
        (!config->bounce_always && !config->bounce_slots && dk_memory_last(machine->memory) <= last))
        return 0;
    if (size > most && !config->bounce_slots)
        size = most;
    size = (size + BOUNCE_UNIT - 1) / BOUNCE_UNIT * BOUNCE_UNIT;
    state->bounce_pages = dk_pages_take(machine->memory, GFP_KERNEL | __GFP_NOWARN, size >> PAGE_SHIFT,
                                        BOUNCE_UNIT >> PAGE_SHIFT, 0, last);
    if (!state->bounce_pages) {
        dk_log(DK_LOG_WARNING, "swiotlb: no 0x%llx contiguous bytes below 0x%llx: nothing can be bounced",
               size, last);
        return 0;
    }
    state->bounce = dk_bounce_create(machine, page_to_phys(state->bounce_pages), size, "swiotlb");
    if (IS_ERR(state->bounce)) {
        int error = (int)PTR_ERR(state->bounce);

        state->bounce = NULL;
        return error;
    }
    return 0;
}

/* The last byte of RAM at or below @limit; @limit itself when all RAM lies above. */
static u64 last_ram_below(const struct dk_board *board, u64 limit)
{
    u64 last = 0;
    unsigned i;

    for (i = 0; i < board->memory_count; i++) {
        u64 end = board->memory[i].base + (board->memory[i].size - 1);

        if (board->memory[i].base > limit)
            continue;
        if (end > limit)
            end = limit;
        if (end > last)
            last = end;
    }
    return last ? last : limit;
}

int dk_mapping_start(struct dk_machine *machine, const struct dk_mapping_config *config, u64 zone_dma_last)
{
    const struct dk_board *board = machine->board;
    struct dk_mapping_state *state = dk_allocate(1, sizeof(*state));
    unsigned i;
    int error = -ENOMEM;

    if (!state)
        return -ENOMEM;
    pthread_mutex_init(&state->spaces_lock, NULL);
    INIT_LIST_HEAD(&state->spaces);
    pthread_mutex_init(&state->remaps_lock, NULL);
    INIT_LIST_HEAD(&state->remaps);
    pthread_mutex_init(&state->vmaps_lock, NULL);
    INIT_LIST_HEAD(&state->vmaps);
    pthread_mutex_init(&state->tables_lock, NULL);
    INIT_LIST_HEAD(&state->tables);
    machine->mapping = state;
    state->machine = machine;
    state->config = *config;
    state->zone_dma_last = last_ram_below(board, zone_dma_last);
    state->nodes = dk_allocate(board->node_count, sizeof(*state->nodes));
    state->regions = dk_allocate(board->reserved_count, sizeof(*state->regions));
    if (!state->nodes || !state->regions)
        goto finish;
    for (i = 0; i < board->node_count; i++) {
        const struct dk_node *node = &board->nodes[i];

        state->nodes[i] = (struct device_node){ node->name, node->path, node->phandle, machine, (int)i };
    }
    for (i = 0; i < board->reserved_count; i++) {
        if (board->reserved[i].reason || board->reserved[i].disabled)
            continue;
        error = make_region(machine, i);
        if (error) {
            dk_log(DK_LOG_ERROR, "%s: %s", board->reserved[i].node, strerror(-error));
            goto finish;
        }
    }
    error = make_own_area(machine);
    if (!error && config->cma_map) {
        struct dk_contiguous_map *map =
            dk_contiguous_map_create(machine, config->cma_map, config->cma_map_length);

        error = PTR_ERR_OR_ZERO(map);
        state->cma_map = error ? NULL : map;
    }
    if (!error)
        error = make_bounce_pool(machine);
    if (!error)
        error = dk_sa1111_start(machine);
    /* Where devices snoop there is nothing to remap. */
    if (!error && machine->cache && !board->no_mmu)
        error = dk_atomic_pools_start(machine, config->atomic_size);
    if (error)
        goto finish;
    return 0;

finish:
    dk_mapping_finish(machine);
    return error;
}

void dk_mapping_finish(struct dk_machine *machine)
{
    struct dk_mapping_state *state = machine->mapping;
    unsigned i;

    if (!state)
        return;
    dk_atomic_pools_finish(machine);
    for (i = 0; state->regions && i < machine->board->reserved_count; i++) {
        dk_cma_destroy(state->regions[i].cma);
        dk_coherent_pool_destroy(state->regions[i].pool);
        dk_bounce_destroy(state->regions[i].bounce);
    }
    dk_bounce_destroy(state->bounce);
    dk_bounce_destroy(state->sa1111);
    dk_iommu_spaces_finish(state);
    dk_noncontiguous_finish(state);
    dk_tables_finish(state);
    dk_contiguous_map_destroy(state->cma_map);
    dk_cma_destroy(state->own_cma);
    dk_coherent_pool_destroy(state->own_pool);
    pthread_mutex_destroy(&state->vmaps_lock);
    pthread_mutex_destroy(&state->remaps_lock);
    pthread_mutex_destroy(&state->spaces_lock);
    pthread_mutex_destroy(&state->tables_lock);
    dk_release(state->regions);
    dk_release(state->nodes);
    dk_release(state);
    machine->mapping = NULL;
}
