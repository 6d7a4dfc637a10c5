/* SPDX-License-Identifier: MIT */
/*
 * A machine's physical memory: sections of DK_SLOT_SIZE, each mapped at first touch, in one or two views.
 *
 * A section's cached view is a piece of one memfd per machine, so that vmalloc() can show a page a second
 * time; on a machine with two views the DRAM view is a second memfd. struct page arrays stand in slots of
 * their own.
 */
#ifndef DK_MM_MEMORY_H
#define DK_MM_MEMORY_H

#include "base/hooks.h"
#include <dmakit/page.h>
#include <dmakit/slot.h>
#include <pthread.h>

/* Physical addresses stay below this: 52 bits, as on today's widest machines. */
#define DK_PHYS_BITS 52

struct dk_memory_range {
    phys_addr_t base;
    u64 size;
};

struct dk_memory_config {
    const struct dk_memory_range *ranges; /* RAM: sorted, disjoint, page-aligned inwards by the callee */
    unsigned range_count;
    bool two_views;     /* not coherent: DRAM and the CPU's cached view differ */
    unsigned line;      /* cache line in bytes: a power of two, 16 to 4096 */
    u64 zone_dma_end;   /* first physical address above ZONE_DMA; 0: no such zone */
    u64 zone_dma32_end; /* first one above ZONE_DMA32; 0: no such zone */
    /* Pages, over all zones, that requests without __GFP_HIGH leave free: the zones' watermarks follow from
     * it, and what lower zones keep from requests that could have had a higher one. 0: none of that. */
    u64 reserve;
    u64 highmem;         /* bytes at the top of RAM without a kernel address; 0 on 64-bit boards */
    u64 seed;            /* 0: no fragmentation */
    bool stop_by_signal; /* stores into pages that move: userfaultfd is not tried (write-stop.h) */
    unsigned slab_debug; /* SLAB_POISON, SLAB_RED_ZONE: for kmalloc() and every cache that can have them */
    size_t quarantine;   /* bytes of freed kmalloc() and cache memory kept out of use for a while; 0: none */
    const struct dk_hooks *hooks; /* kept, not copied; may be NULL */
    void *machine;                /* the owner, for dk_memory_machine() */
};

#define DK_BLOCK_ISOLATED 0x80u

struct dk_section {
    struct dk_memory *memory;
    phys_addr_t base;
    char *cached; /* the CPU's view */
    char *dram;   /* what bus masters see; == cached on a machine with one view */
    char *fill;   /* fill copies of lines that a device overwrote; NULL with one view */
    u64 *filled;  /* one bit a line: it has a fill copy; guarded by the cache's page locks; NULL with one view
                   */
    u64 *uncached; /* one bit a page: the CPU uses it through the DRAM view alone; atomic, NULL: no page is */
    struct page *pages;
    /* A page block's type, as in enum migratetype, and DK_BLOCK_ISOLATED; guarded by pages_lock. */
    u8 block_types[DK_SLOT_SIZE >> (PAGE_SHIFT + MAX_PAGE_ORDER)];
    struct dk_slot cached_slot, dram_slot, pages_slot;
};

/*
 * Makes the memory; nothing is mapped yet. Error pointers: -EINVAL a range that wraps, overlaps or lies
 * above DK_PHYS_BITS, -ENOMEM, -EMFILE, -EFBIG the process may not have a file that large (RLIMIT_FSIZE).
 * Time and memory do not grow with the ranges' sizes.
 */
struct dk_memory *dk_memory_create(const struct dk_memory_config *config);

/* Unmaps everything; pointers into it fault afterwards. NULL is fine. No other thread may be inside. */
void dk_memory_destroy(struct dk_memory *memory);

void *dk_memory_machine(const struct dk_memory *memory);
const struct dk_hooks *dk_memory_hooks(const struct dk_memory *memory);
unsigned dk_memory_line(const struct dk_memory *memory);
bool dk_memory_two_views(const struct dk_memory *memory);
/* The last byte of RAM. */
phys_addr_t dk_memory_last(const struct dk_memory *memory);
/* In a child made by fork() the machine's calls fail: true there. */
bool dk_memory_forked(const struct dk_memory *memory);

/* Whether [phys, phys + size) is RAM, reserved or not. */
bool dk_memory_is_ram(const struct dk_memory *memory, phys_addr_t phys, u64 size);
/* Whether any byte of [phys, phys + size) is; @size is not 0, and the range does not wrap. */
bool dk_memory_has_ram(const struct dk_memory *memory, phys_addr_t phys, u64 size);
/* Whether all of it is RAM, and every page of it has a kernel address. */
bool dk_memory_is_linear(const struct dk_memory *memory, phys_addr_t phys, u64 size);

/* Whether @phys is RAM of the board's, which a struct page stands for in the drivers' eyes: not memory that
 * dk_memory_add() brought. */
bool dk_memory_has_page(const struct dk_memory *memory, phys_addr_t phys);

/*
 * Takes [base, base + size) from the page allocator for good: reserved memory, before anything was allocated
 * there. @map false: it loses its kernel address too (no-map). Parts that are not RAM are passed over.
 * -EBUSY when a page of it is in use (nothing changed), -ENOMEM.
 */
int dk_memory_reserve(struct dk_memory *memory, phys_addr_t base, u64 size, bool map);

/*
 * Makes [base, base + size), page-aligned and no RAM so far, memory that the page allocator never gives out:
 * a device's own memory, say. -EINVAL unaligned, wrapping or above DK_PHYS_BITS; -EBUSY part of it is RAM;
 * -ENOMEM.
 */
int dk_memory_add(struct dk_memory *memory, phys_addr_t base, u64 size);

/*
 * Shows [phys, phys + size) at @address, which the caller holds: the cached view, or with @uncached the DRAM
 * view. The caller unmaps it with munmap(). 0; -EINVAL unaligned or no RAM there; -ENOMEM.
 */
int dk_memory_show(struct dk_memory *memory, void *address, phys_addr_t phys, u64 size, bool uncached);

/* As dk_memory_show() in the cached view, in place of memory that holds the same and that threads are using.
 */
int dk_memory_show_copy(struct dk_memory *memory, void *address, phys_addr_t phys, u64 size);

/*
 * The section that holds @phys, mapped now if need be; NULL when @phys lies in no RAM section or memory ran
 * out. Lock-free once mapped.
 */
struct dk_section *dk_memory_section(struct dk_memory *memory, phys_addr_t phys);

/* The CPU's cached address of @phys, and its DRAM address. NULL as for dk_memory_section(). */
char *dk_memory_cached(struct dk_memory *memory, phys_addr_t phys);
char *dk_memory_dram(struct dk_memory *memory, phys_addr_t phys);

/*
 * The first address in [phys, end) whose page was ever touched in one of the two views, or @end: before it
 * both views are zeros, and looking at them would only cost the host memory.
 */
phys_addr_t dk_memory_touched(const struct dk_memory *memory, phys_addr_t phys, phys_addr_t end);

/*
 * Marks [phys, phys + size), whole pages of RAM, as used through the DRAM view and not through the cache. 0,
 * or -ENOMEM with nothing changed. Nothing to do on a machine with one view. Any context and thread; moves no
 * cache lines.
 */
int dk_memory_set_uncached(struct dk_memory *memory, phys_addr_t phys, u64 size);
/* Takes the marks away; returns whether there was one. Any context and thread. */
bool dk_memory_clear_uncached(struct dk_memory *memory, phys_addr_t phys, u64 size);
/* Whether all pages that [phys, phys + size) touches are marked. Any context; lock-free. */
bool dk_memory_is_uncached(struct dk_memory *memory, phys_addr_t phys, u64 size);

/* Whether the page of @phys, an address of @section, is marked. */
static inline bool dk_section_page_uncached(const struct dk_section *section, phys_addr_t phys)
{
    const u64 *marks = __atomic_load_n(&section->uncached, __ATOMIC_ACQUIRE);
    u64 page = (phys - section->base) >> PAGE_SHIFT;

    return marks && __atomic_load_n(&marks[page / 64], __ATOMIC_RELAXED) >> page % 64 & 1;
}

enum dk_address_kind {
    DK_ADDRESS_HOST,     /* not machine memory: the host's heap, stack, globals, or wild */
    DK_ADDRESS_LINEAR,   /* the linear map: has a physical address */
    DK_ADDRESS_HOLE,     /* inside a section, but no RAM there, or no-map */
    DK_ADDRESS_UNCACHED, /* the DRAM view */
    DK_ADDRESS_VMALLOC,
    DK_ADDRESS_REGISTERS,
    DK_ADDRESS_PAGES, /* a struct page */
};

/*
 * What @address is. For LINEAR, HOLE and UNCACHED *phys is its physical address; for VMALLOC the page's
 * behind it (or the kind HOLE when nothing is mapped there). *memory is the owner (NULL for HOST). Lock-free
 * but for VMALLOC.
 */
enum dk_address_kind dk_address_find(const void *address, struct dk_memory **memory, phys_addr_t *phys);

/*
 * Takes a free slot of address space for @memory: DK_SLOT_SIZE bytes, aligned, PROT_NONE, entered in dk_slots
 * with @kind. NULL when the address space or memory ran out. dk_memory_destroy() gives it back.
 */
struct dk_slot *dk_memory_take_slot(struct dk_memory *memory, enum dk_slot_kind kind);

/*
 * The memory that calls without a device use: the one this thread entered, else the only live one, else NULL.
 */
struct dk_memory *dk_memory_current(void);
/* Sets what this thread entered; returns what it had entered before. NULL: none. */
struct dk_memory *dk_memory_enter(struct dk_memory *memory);

/*
 * @count pages whose physical addresses lie in [lowest, highest] (inclusive bytes), physically contiguous,
 * aligned to @align pages (a power of two). The general form below alloc_pages() for DMA's needs. @gfp: zone
 * flags choose where to look first; the range always holds. NULL when there are none.
 */
struct page *dk_pages_take(struct dk_memory *memory, gfp_t gfp, size_t count, size_t align,
                           phys_addr_t lowest, phys_addr_t highest);
/* Gives back what dk_pages_take() gave, @count as then. */
void dk_pages_give(struct dk_memory *memory, struct page *page, size_t count);

/* alloc_pages() on a named memory. */
struct page *dk_pages_allocate(struct dk_memory *memory, gfp_t gfp, unsigned order);

/*
 * The zone that @gfp names, by GFP_DMA, GFP_DMA32, __GFP_HIGHMEM or none of them: how many pages of RAM it
 * has, and in *first to *last where they may be. 0: there is no such zone.
 */
u64 dk_memory_zone(const struct dk_memory *memory, gfp_t gfp, phys_addr_t *first, phys_addr_t *last);

struct dk_pasr_layout;
struct pasr_die;

/* dk_pasr_die_add() on a named memory. */
struct pasr_die *dk_memory_add_die(struct dk_memory *memory, const struct dk_pasr_layout *layout);
/* dk_pasr_pair() on a named memory. */
int dk_memory_pair_dies(struct dk_memory *memory, struct pasr_die *die, unsigned section,
                        struct pasr_die *partner, unsigned partner_section);

/* Nobody writes the dies' mask registers from now on: what follows is the memory's end. NULL is fine. */
void dk_memory_drop_controllers(struct dk_memory *memory);

/*
 * Whether @phys is in a section that sleeps, so that no bus master finds what was stored there. *run, bytes
 * from there on, is cut where that changes. Any context; takes the PASR lock where there are sleeping
 * sections.
 */
bool dk_pasr_run(struct dk_memory *memory, phys_addr_t phys, u64 *run);
/* Whether it may be anywhere: false, and the above has no more to say. Lock-free. */
bool dk_pasr_any_asleep(const struct dk_memory *memory);
/* What [phys, phys + size) of such a section reads as. Any context. */
void dk_pasr_garbage(const struct dk_memory *memory, phys_addr_t phys, void *into, u64 size);

/*
 * Whether the page or object at @phys is free: in the page allocator, or in a slab. False where that is not
 * known: reserved memory, areas' own. Any context; takes locks of the page allocator and of objects.
 */
bool dk_memory_is_freed(struct dk_memory *memory, phys_addr_t phys);

/* Frees for good what is in quarantine, for @call. False: nothing was. Any context; with no lock held that
 * comes behind slab_lock. */
bool dk_memory_end_quarantine(struct dk_memory *memory, const char *call);

/* A device is about to write to [phys, phys + size), and that is said by who sees it: what is in quarantine
 * there is not looked at any more. Any context; takes the locks of objects. */
void dk_memory_excuse(struct dk_memory *memory, phys_addr_t phys, u64 size);

/* Free pages now; for tests and `top`. What is in quarantine is free, and leaves it. */
u64 dk_memory_free_pages(struct dk_memory *memory);
/* Whether there are as many. What is in quarantine leaves it only if it counts. */
bool dk_memory_has_free(struct dk_memory *memory, u64 pages);

/*
 * Reports (class sleeps-in-atomic) when @gfp may sleep (__GFP_DIRECT_RECLAIM) and this thread is in atomic
 * context. Every allocator calls it first, with the name of the program's call. @memory may be NULL.
 */
void dk_might_sleep_gfp(struct dk_memory *memory, gfp_t gfp, const char *call);

/*
 * Maps @count pages at consecutive new addresses in the vmalloc space: their cached view, or with @uncached
 * their DRAM view. NULL when out of address space. dk_vunmap() takes them away (the pages stay).
 */
void *dk_vmap(struct dk_memory *memory, struct page **pages, size_t count, bool uncached);
/* -EINVAL when @address is not the start of such an area. */
int dk_vunmap(const void *address);
/* How many pages dk_vmap() shows at @address; 0: it is not the start of such an area. */
size_t dk_vmap_pages(const void *address);

#endif
