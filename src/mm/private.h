/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share about a machine's memory.
 *
 * Lock order: regions_lock or the movable lock, the write stop's, slab_lock or vmalloc_lock, pages_lock, an
 * area's lock, section_lock. Physical addresses in the page allocator are page frame numbers; ends are
 * exclusive.
 */
#ifndef DK_MM_PRIVATE_H
#define DK_MM_PRIVATE_H

#include "mm/memory.h"
#include <dmakit/error.h>

/* PAGE_MASK for physical addresses, which may be wider than pointers. */
#define DK_PHYS_MASK (~((phys_addr_t)PAGE_SIZE - 1))
/* Pages of the largest block. Extents begin and end at multiples of it, but where RAM or a zone does not. */
#define DK_BLOCK_PAGES ((u64)1 << MAX_PAGE_ORDER)
#define DK_SECTION_PAGES ((u64)DK_SLOT_SIZE >> PAGE_SHIFT)

/* ---- Physical memory's map (ram.c) ---- */

#define DK_RAM_RESERVED 0x1u /* never the page allocator's */
#define DK_RAM_NO_MAP 0x2u   /* no kernel address */
#define DK_RAM_HIGHMEM 0x4u  /* no kernel address, and the page allocator's */
#define DK_RAM_ADDED 0x8u    /* dk_memory_add() brought it */

struct dk_ram {
    phys_addr_t base, end;
    unsigned flags;
};

/* Sorted and disjoint. Never changed once published: a change publishes another, and this one lives on behind
 * it. */
struct dk_ram_map {
    struct dk_ram_map *previous;
    size_t count;
    struct dk_ram ranges[];
};

/* A map with room for @count ranges; NULL: out of memory. */
struct dk_ram_map *dk_ram_map_allocate(size_t count);
/*
 * A copy of @map in which @flags are set on what exists of [base, end), or with DK_RAM_ADDED the whole of it
 * is new. NULL: out of memory. Not published.
 */
struct dk_ram_map *dk_ram_map_change(const struct dk_ram_map *map, phys_addr_t base, phys_addr_t end,
                                     unsigned flags);
/* The first range that ends above @phys, or NULL. */
const struct dk_ram *dk_ram_at_or_above(const struct dk_ram_map *map, phys_addr_t phys);
/* The range that holds @phys, or NULL. */
const struct dk_ram *dk_ram_find(const struct dk_memory *memory, phys_addr_t phys);
/* The map in force. Any context; lock-free. */
const struct dk_ram_map *dk_ram_map(const struct dk_memory *memory);
/* Puts @map in force; the one before stays readable. Under section_lock. */
void dk_ram_map_publish(struct dk_memory *memory, struct dk_ram_map *map);

/* ---- Zones and the buddy allocator (zone.c, extent.c, buddy.c) ---- */

/*
 * A free run. Its type is MIGRATE_MOVABLE when it is anybody's: its blocks get a type when one of them is
 * broken, and lose it when they are whole again. MIGRATE_ISOLATE stays.
 */
struct dk_extent {
    u64 start, end;
    u8 type;
};

enum dk_zone_kind { DK_ZONE_DMA, DK_ZONE_DMA32, DK_ZONE_NORMAL, DK_ZONE_HIGHMEM, DK_ZONE_COUNT };

/*
 * How many pages a request leaves free. Each mark is at least as high as the one before.
 */
enum dk_mark {
    DK_MARK_NONE, /* 0: what must not wait for memory, __GFP_HIGH and __GFP_MEMALLOC */
    DK_MARK_MIN,  /* everybody else */
    DK_MARK_LOW,  /* below it everybody tries the next zone first, and who may sleep calls the shrinkers */
    DK_MARK_HIGH, /* below it the zone's page lists are not used, so that its count says what there is */
    DK_MARK_COUNT,
};

/*
 * Free memory of a zone: extents, whose struct pages were never touched or are all zero, and blocks in lists.
 * A block of the largest order that becomes free goes back to the extents.
 */
struct dk_zone {
    u64 start, end;
    u64 present;                /* pages of RAM, reserved ones too */
    u64 ram_start, ram_end;     /* where the RAM in it begins and ends */
    u64 free;                   /* pages in extents and lists, but for isolated ones */
    u64 free_of[MIGRATE_TYPES]; /* the same by the type of list and extent, and isolated ones */
    u64 marks[DK_MARK_COUNT];
    u64 lowmem_reserve[DK_ZONE_COUNT]; /* pages kept from requests that could have had that zone */
    bool tight;                        /* free < marks[DK_MARK_HIGH]; atomic access */
    struct list_head lists[MIGRATE_TYPES][MAX_PAGE_ORDER + 1];
    struct dk_extent *extents; /* sorted; no two of one type touch */
    size_t count, capacity;
    size_t promised; /* room that blocks need which are isolated now, when that ends */
};

/* struct page's flags, of the first page of a block. */
#define DK_PAGE_FREE 0x1u       /* in a zone's list */
#define DK_PAGE_USED 0x2u       /* allocated */
#define DK_PAGE_LARGE 0x4u      /* a kmalloc() of its own pages */
#define DK_PAGE_SLAB 0x8u       /* a slab's */
#define DK_PAGE_VMALLOC 0x10u   /* a vmalloc() area's */
#define DK_PAGE_CMA 0x20u       /* cma_alloc()'s */
#define DK_PAGE_GIVEN 0x40u     /* cma_release() came, but references are left */
#define DK_PAGE_LISTED 0x80u    /* free, in a thread's list (page-lists.h), and nothing else is set */
#define DK_PAGE_COMPOUND 0x100u /* allocated with __GFP_COMP, of several pages */
#define DK_PAGE_MOVABLE 0x200u  /* its owner can move it, with page->movable */
#define DK_PAGE_ISOLATED 0x400u /* about to be moved */
#define DK_PAGE_LOCKED 0x800u   /* lock_page() */
#define DK_PAGE_KEPT 0x1000u    /* the first page of a run that a thread keeps for its next cma_alloc() */
#define DK_PAGE_SHOWN 0x2000u   /* movable memory's (movable.c), which private_data leads to */
#define DK_PAGE_LENT 0x4000u    /* a contiguous area's, lent to movable memory */
#define DK_PAGE_HANDLE 0x8000u  /* the first page of a contiguous area's run that a handle has */
#define DK_PAGE_HELD 0x10000u   /* was a kmalloc() of its own pages, and is in quarantine */
/* Somebody's, so that __free_pages() must not touch it. */
#define DK_PAGE_OWNED \
    (DK_PAGE_LARGE | DK_PAGE_SLAB | DK_PAGE_VMALLOC | DK_PAGE_CMA | DK_PAGE_SHOWN | DK_PAGE_HELD)

/*
 * Pages in threads' lists, and the first page of a contiguous area's run, change without pages_lock: flags,
 * run and count of a block's first page are accessed atomically by everybody, and the rest changes under
 * pages_lock alone. Its run and count are set before its flags say that it is used, and an allocated
 * run is changed by nobody but who has a reference to it; so who finds, acquiring the flags, that it is used
 * and covers a page that he may use, has found the run of that page.
 */
static inline u32 dk_page_flags(const struct page *page)
{
    return __atomic_load_n(&page->flags, __ATOMIC_ACQUIRE);
}

static inline u32 dk_page_run(const struct page *page)
{
    return __atomic_load_n(&page->run, __ATOMIC_RELAXED);
}

static inline void dk_page_set_flags(struct page *page, u32 flags)
{
    __atomic_store_n(&page->flags, flags, __ATOMIC_RELEASE);
}

/* Sets up the zones of @memory from its map: every page of it is free. 0, or -ENOMEM. */
int dk_zones_start(struct dk_memory *memory, const struct dk_memory_config *config,
                   phys_addr_t highmem_start);
void dk_zones_finish(struct dk_memory *memory);
/* The zone that holds @pfn. */
struct dk_zone *dk_zone_of(struct dk_memory *memory, u64 pfn);
/*
 * The zones that @gfp asks for, in the order to try, into @kinds[DK_ZONE_COUNT]; returns how many. 0: the
 * flags contradict each other.
 */
unsigned dk_zone_list(const struct dk_memory *memory, gfp_t gfp, enum dk_zone_kind *kinds);

/* Room for @extra more extents, so that as many insertions cannot fail. False: out of memory. */
bool dk_extents_grow(struct dk_zone *zone, size_t extra);
/* Adds [start, end) of @type, which touches no other free memory in the extents but at its ends. False: out
 * of memory. */
bool dk_extent_insert(struct dk_zone *zone, u64 start, u64 end, enum migratetype type);
/* Cuts [start, end) out of the extent @index; room for one more must be there when it lies in the middle. */
void dk_extent_cut(struct dk_zone *zone, size_t index, u64 start, u64 end);
/* The index of the first extent that ends above @pfn; zone->count when none does. */
size_t dk_extent_at_or_above(const struct dk_zone *zone, u64 pfn);

/* Adds @pages, or with a negative number takes them off, in the zone's counts of what is free. */
void dk_zone_count(struct dk_zone *zone, enum migratetype type, s64 pages);
/* Whether @zone has @count pages for a request of @type, and keeps what @mark says. @class_kind: the highest
 * zone that the request could have had; DK_ZONE_COUNT: it respects no lowmem_reserve. */
bool dk_zone_may_take(const struct dk_zone *zone, u64 count, enum dk_mark mark, unsigned class_kind);
/* Whether its page lists are not to be used. Any context; lock-free. */
static inline bool dk_zone_tight(const struct dk_zone *zone)
{
    return __atomic_load_n(&zone->tight, __ATOMIC_RELAXED);
}

/* All of the following under pages_lock. */

/* What a caller asks a zone for: @count pages aligned to @align within [lowest, highest). */
struct dk_request {
    u64 count, align, lowest, highest;
    enum migratetype type; /* MIGRATE_UNMOVABLE or MIGRATE_MOVABLE */
    u64 choice;            /* buddy.c's own: 0, or what a seed makes of the number of the allocation */
};

/* Makes [start, end), in one zone, free: merged with its buddies. Its sections are mapped. Cannot fail. */
void dk_buddy_free(struct dk_memory *memory, struct dk_zone *zone, u64 start, u64 end);
/*
 * Takes what @request asks for out of @zone; *pfn is the first page. Runs of up to a section lie in one
 * section, so that their kernel addresses follow each other. False: there are none, or out of memory.
 */
bool dk_buddy_take(struct dk_memory *memory, struct dk_zone *zone, struct dk_request *request, u64 *pfn);
/* The first pfn from @pfn up to @end that is not free; @end when all are. */
u64 dk_buddy_first_used(struct dk_memory *memory, struct dk_zone *zone, u64 pfn, u64 end);
/* Takes [start, end), all free, out; dk_extents_grow() made room and its edge sections are mapped. */
void dk_buddy_remove(struct dk_memory *memory, struct dk_zone *zone, u64 start, u64 end);
/* Puts the page blocks' free pages back where their types say, from extents and lists. */
void dk_buddy_sort(struct dk_memory *memory, struct dk_zone *zone, u64 start, u64 end);

/* ---- Page blocks (page-block.c); under pages_lock too ---- */

/* Where the free pages of the block that holds @pfn belong: its type, or MIGRATE_ISOLATE. */
enum migratetype dk_block_type(struct dk_memory *memory, u64 pfn);
/* The same for a block that is wholly free. */
enum migratetype dk_block_whole_type(struct dk_memory *memory, u64 pfn);
/* The end of the block that holds @pfn, or of its section if that is not mapped; @end if that comes first. */
u64 dk_block_end(struct dk_memory *memory, u64 pfn, u64 end);
/* How far from @start, up to @end, whole free blocks are of one type, which is *type. */
u64 dk_blocks_alike(struct dk_memory *memory, u64 start, u64 end, enum migratetype *type);
/* The blocks of [start, end) are broken for @type, or with MIGRATE_MOVABLE whole again. */
void dk_blocks_use(struct dk_memory *memory, u64 start, u64 end, enum migratetype type);
/* How many pages of @zone in the block that holds @pfn are free or allocated as @type. */
u64 dk_block_alike_pages(struct dk_memory *memory, const struct dk_zone *zone, u64 pfn,
                         enum migratetype type);
/*
 * The step from @pfn to the next page that starts something: a free block, an allocation; *free is the page
 * of a free block that starts here.
 */
u64 dk_block_step(struct dk_memory *memory, u64 pfn, struct page **free);
/* Isolates the page blocks that [start, end), of one zone, touches: nothing is given out of them, and the
 * page lists stay closed. -EBUSY: one of them is isolated; -ENOMEM; else 0. */
int dk_blocks_isolate(struct dk_memory *memory, u64 start, u64 end);
/* Ends that. */
void dk_blocks_rejoin(struct dk_memory *memory, u64 start, u64 end);

/* The highest place for @count pages, aligned, in both [start, end) and [lowest, highest); false: there is
 * none. */
bool dk_run_fit(u64 start, u64 end, u64 count, u64 align, u64 lowest, u64 highest, u64 *place);

/* The page of @pfn if its section is mapped, else NULL. Any context; lock-free. */
struct page *dk_page_mapped(struct dk_memory *memory, u64 pfn);
/* The page of @pfn, its section mapped if need be. NULL: no RAM there, or out of memory. */
struct page *dk_page_get(struct dk_memory *memory, u64 pfn);
/* Whether @page is a struct page of some memory's RAM: its memory and pfn. */
bool dk_page_find(const struct page *page, struct dk_memory **memory, u64 *pfn);

/*
 * @count pages for this library's own callers, marked @flags; asks the fault point. NULL: there are none, or
 * the flags of @gfp contradict. Cleared with __GFP_ZERO; a log line on failure without __GFP_NOWARN.
 */
struct page *dk_pages_take_marked(struct dk_memory *memory, gfp_t gfp, size_t count, size_t align,
                                  phys_addr_t lowest, phys_addr_t highest, unsigned flags);
/* Gives back what dk_pages_take_marked() gave with @flags. False, and a log line naming @call: it is not
 * that. */
bool dk_pages_give_marked(struct dk_memory *memory, struct page *page, size_t count, unsigned flags,
                          const char *call);
/* The first page of the allocation that holds the page of @pfn, and its pfn; NULL: it is not allocated. Under
 * pages_lock. */
struct page *dk_page_head(struct dk_memory *memory, u64 pfn, u64 *head_pfn);
/* Makes @page an allocation of one page. Under pages_lock. */
void dk_page_single(struct page *page, u8 type);
/* Drops a reference of the allocation that starts at @pfn, the last one with all of it. Under pages_lock. */
void dk_page_drop(struct dk_memory *memory, struct page *page, u64 pfn);
/*
 * Moves the page of @pfn, which is movable and has one reference, elsewhere; not under pages_lock. 0;
 * -EAGAIN: it is not as it was, or its owner cannot just now; -EBUSY: its owner gave up; -ENOMEM: there is no
 * page for its contents.
 */
int dk_page_migrate(struct dk_memory *memory, u64 pfn, gfp_t gfp);
/* alloc_contig_range() on a named memory. */
int dk_contig_take(struct dk_memory *memory, u64 start, u64 end, enum migratetype type, gfp_t gfp);
/* The same for who knows already that @page is the one of @pfn. */
bool dk_pages_give_found(struct dk_memory *memory, struct page *page, u64 pfn, size_t count, unsigned flags,
                         const char *call);
/* Clears the CPU's view of @count pages from @pfn. */
void dk_pages_clear(struct dk_memory *memory, u64 pfn, u64 count);
/* The last reference to pages of a contiguous area went after cma_release(): cma.c's. Under pages_lock, and
 * takes the area's lock. */
void dk_cma_idle(struct dk_memory *memory, struct page *page, u64 pfn);
/* dk_page_head() of an area's page, whose runs begin anywhere: the first used page at or before it. Under
 * pages_lock; time by the run. */
struct page *dk_cma_head(struct dk_memory *memory, u64 pfn, u64 *head_pfn);
/* The last reference to a lent page went: cma-lend.c's. Under pages_lock. */
void dk_cma_lent_idle(struct dk_memory *memory, struct page *page, u64 pfn);

/* ---- The rest of a memory ---- */

#define DK_ROOT_BITS ((DK_PHYS_BITS - DK_SLOT_SHIFT + 1) / 2)
#define DK_LEAF_BITS (DK_PHYS_BITS - DK_SLOT_SHIFT - DK_ROOT_BITS)

struct dk_section_leaf {
    struct dk_section *sections[(size_t)1 << DK_LEAF_BITS];
};

struct dk_slab_state;
struct dk_vmalloc_state;
struct dk_movable_state;
struct dk_page_lists;
struct dk_reclaim;
struct dk_pasr;

struct dk_memory {
    struct list_head link; /* in the list of live memories */
    u64 id;                /* never given to another memory */
    bool forked;           /* atomic access */
    bool two_views;
    unsigned line;
    u64 seed;
    unsigned slab_debug;
    size_t quarantine; /* bytes that it may have */
    phys_addr_t last;
    const struct dk_hooks *hooks;
    void *machine;
    int cached_fd, dram_fd; /* -1: none */

    struct dk_ram_map *map;                                  /* atomic access; changed under section_lock */
    pthread_mutex_t section_lock;                            /* guards making sections, slots, and the map */
    struct dk_section_leaf *root[(size_t)1 << DK_ROOT_BITS]; /* atomic access */
    struct list_head slots;                                  /* those that dk_memory_take_slot() gave */

    pthread_mutex_t pages_lock; /* guards the zones and all struct pages */
    struct dk_zone zones[DK_ZONE_COUNT];
    bool has_marks;    /* the zones have watermarks */
    u8 first_zones[8]; /* by a request's zone flags: whose lists serve it; DK_ZONE_COUNT: none's */
    struct dk_page_lists *lists;
    struct dk_reclaim *reclaim;
    pthread_cond_t freed;   /* waited for with pages_lock */
    unsigned waiting;       /* threads that do; they keep the page lists closed */
    u64 allocations;        /* counts them, for the seed */
    struct list_head areas; /* contiguous ones; guarded by pages_lock */

    pthread_mutex_t regions_lock; /* guards the next two, and is held in allocators' calls */
    struct list_head regions;     /* cma-regions.c's */
    struct list_head allocators;

    struct dk_slab_state *slab;
    struct dk_vmalloc_state *vmalloc;
    struct dk_movable_state *movable;
    struct dk_pasr *pasr; /* pasr.h; NULL: there are no dies. Atomic access; set under pages_lock, once */
};

/* slab.c */
struct dk_slab_state *dk_slab_start(struct dk_memory *memory);
void dk_slab_finish(struct dk_slab_state *state);
/* vmalloc.c */
struct dk_vmalloc_state *dk_vmalloc_start(struct dk_memory *memory);
void dk_vmalloc_finish(struct dk_vmalloc_state *state);
/* movable.c */
struct dk_movable_state *dk_movable_start(bool by_signal);
/* Mappings that are left go, their pages with the memory. */
void dk_movable_finish(struct dk_movable_state *state);
/* The zone flags of the movable memory that @page stands in. False: in none. Takes its lock. */
bool dk_movable_zones(struct dk_memory *memory, const struct page *page, gfp_t *zones);
/* The page behind @address, or NULL when nothing is mapped there. Takes vmalloc_lock. */
struct page *dk_vmalloc_page(struct dk_memory *memory, const void *address);

/*
 * pasr.c: [start, end) came to the free memory in extents, largest blocks and contiguous areas, or leaves it.
 * Pages that were unused, or in use, already stay so. Under pages_lock.
 */
void dk_pasr_block_freed(struct dk_pasr *pasr, u64 start, u64 end);
void dk_pasr_block_taken(struct dk_pasr *pasr, u64 start, u64 end);
/* Reports memory that the CPU touched while it slept, found by @call. With no lock of this room held. */
void dk_pasr_report_touched(struct dk_pasr *pasr, const char *call);

static inline void dk_block_freed(const struct dk_memory *memory, u64 start, u64 end)
{
    if (memory->pasr)
        dk_pasr_block_freed(memory->pasr, start, end);
}

static inline void dk_block_taken(const struct dk_memory *memory, u64 start, u64 end)
{
    if (memory->pasr)
        dk_pasr_block_taken(memory->pasr, start, end);
}

/* section.c */
void dk_sections_finish(struct dk_memory *memory);
/* The section if it is mapped. Lock-free. */
struct dk_section *dk_section_mapped(struct dk_memory *memory, phys_addr_t phys);
/* A section's kernel addresses were taken away: pointers into it take the long way from now on. Under
 * section_lock. */
void dk_section_forget_linear(struct dk_memory *memory, phys_addr_t base, phys_addr_t end);

/* slot.c: a run of @count slots' address space, PROT_NONE. NULL: none, or out of memory. Asks the fault
 * point. */
char *dk_slots_reserve(size_t count);
void dk_slots_release(char *start, size_t count);
/* Enters and removes slots in the table. */
void dk_slot_enter(struct dk_slot *slot);
void dk_slot_leave(const struct dk_slot *slot);
/* As dk_memory_take_slot(), @count slots at consecutive addresses; returns the first address. */
char *dk_memory_take_slots(struct dk_memory *memory, enum dk_slot_kind kind, size_t count);
void dk_memory_finish_slots(struct dk_memory *memory);

/* current.c: 0 or -ENOMEM; and the reverse. */
int dk_current_add(struct dk_memory *memory);
/* False: this process is a child that fork() made, and @memory its parent's. */
bool dk_current_remove(struct dk_memory *memory);
/* dk_memory_current() for @call: a log line when there is none. */
struct dk_memory *dk_current_for(const char *call);

/* A number that looks random and depends on the arguments alone. */
static inline u64 dk_mix(u64 seed, u64 number)
{
    u64 x = seed * 0x9e3779b97f4a7c15ull + number;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* Tells higher rooms that memory has a new user; with no lock held, and before it is cleared. */
static inline void dk_memory_taken(const struct dk_memory *memory, phys_addr_t phys, u64 size)
{
    struct dk_pasr *pasr = __atomic_load_n(&memory->pasr, __ATOMIC_ACQUIRE);

    if (pasr)
        dk_pasr_report_touched(pasr, "alloc_pages");
    if (memory->two_views && memory->hooks && memory->hooks->memory_taken)
        memory->hooks->memory_taken(memory->hooks->data, phys, size);
}

/* What is known of a free. */
struct dk_freed {
    const char *call;
    u32 stack; /* of the call, as dk_hooks.memory_freed numbers it; 0: not known */
    bool used; /* a device still has the memory mapped */
};

/* What dk_memory_freed() does where there is somebody to tell. @freed, if not NULL, is filled in. */
void dk_memory_tell_freed(const struct dk_memory *memory, phys_addr_t phys, u64 size, const char *call,
                          struct dk_freed *freed);

/*
 * Tells who wants to know that [phys, phys + size) is about to be freed by @call. No lock is held. A macro:
 * an inline function would be a frame of the report's stack that is not known as the library's.
 */
#define dk_memory_freed(memory_, phys, size, call, freed)         \
    do {                                                          \
        const struct dk_memory *told_ = (memory_);                \
                                                                  \
        if (told_->hooks && told_->hooks->memory_freed)           \
            dk_memory_tell_freed(told_, phys, size, call, freed); \
    } while (0)

#endif
