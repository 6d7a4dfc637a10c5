/* SPDX-License-Identifier: MIT */
/*
 * What the storms share: seeded choices, and things that are made, used and undone.
 */
#ifndef TESTS_API_STORM_H
#define TESTS_API_STORM_H

#include "api.h"

#define STORM_DEVICES 4
#define STORM_THINGS 48
#define STORM_ENTRIES 6 /* of a scatterlist, at most */

#define STORM_COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum storm_kind {
    STORM_NOTHING,
    STORM_SINGLE,      /* kmalloc() and dma_map_single() */
    STORM_PAGE,        /* alloc_pages() and dma_map_page() */
    STORM_LIST,        /* kmalloc() and dma_map_sg() or dma_map_sgtable() */
    STORM_COHERENT,    /* dma_alloc_attrs() */
    STORM_MANAGED,     /* dmam_alloc_coherent() */
    STORM_NONCOHERENT, /* dma_alloc_noncoherent() */
    STORM_PAGES,       /* dma_alloc_pages() */
    STORM_PIECES,      /* dma_alloc_noncontiguous() and dma_vmap_noncontiguous() */
    STORM_VIRTUAL,     /* vmalloc() */
    STORM_AREA,        /* alloc_pages_exact() */
    STORM_KINDS
};

/* One thing that lives, and all that undoing it takes. */
struct storm_thing {
    enum storm_kind kind;
    struct device *dev;
    char *cpu; /* NULL: it has no kernel address */
    struct page *page;
    unsigned order;
    dma_addr_t dma;
    size_t size;
    enum dma_data_direction direction;
    unsigned long attrs;
    struct sg_table table;
    bool by_table;
    int mapped; /* segments of the table */
    struct sg_table *pieces;
};

struct storm {
    struct dk_machine *machine;
    u64 random;
    bool wrong; /* makes mistakes too */
    struct device *devices[STORM_DEVICES];
    unsigned devices_made;
    struct storm_thing things[STORM_THINGS];
    unsigned long moved; /* transfers that were compared */
};

static inline u64 storm_random(struct storm *storm)
{
    storm->random ^= storm->random << 13;
    storm->random ^= storm->random >> 7;
    storm->random ^= storm->random << 17;
    return storm->random * 0x2545f4914f6cdd1dull >> 16;
}

static inline unsigned storm_below(struct storm *storm, unsigned bound)
{
    return (unsigned)(storm_random(storm) % bound);
}

static inline bool storm_one_in(struct storm *storm, unsigned n)
{
    return !storm_below(storm, n);
}

static inline bool storm_is_streaming(const struct storm_thing *thing)
{
    return thing->kind >= STORM_SINGLE && thing->kind <= STORM_LIST;
}

/* Makes a thing of @kind for @dev in the empty @thing; it stays empty when there is no memory or no way. */
void storm_make(struct storm *storm, struct storm_thing *thing, enum storm_kind kind, struct device *dev);
/* Moves bytes through @thing both ways as its direction allows, with the syncs that takes, and compares. */
void storm_use(struct storm *storm, struct storm_thing *thing);
/* Undoes @thing, rightly. */
void storm_undo(struct storm *storm, struct storm_thing *thing);

/* Pages of @machine that are nobody's: free ones, and those that its atomic pools hold, which may have grown.
 */
u64 storm_free_pages(struct dk_machine *machine);

#endif
