/* SPDX-License-Identifier: MIT */
/*
 * The checker's inner side: what src/mapping tells it of each call of the driver, and what it answers.
 *
 * Every call is made whether or not the checker is on; a NULL checker answers "go on" at once.
 */
#ifndef DK_CHECK_CHECK_H
#define DK_CHECK_CHECK_H

#include "machine/machine.h"
#include <dmakit/check.h>
#include <dmakit/dma-direction.h>

enum dk_mapping_kind {
    DK_MAPPING_SINGLE,
    DK_MAPPING_PAGE,
    DK_MAPPING_SG,
    DK_MAPPING_RESOURCE,
    DK_MAPPING_COHERENT,      /* dma_alloc_attrs() and what stands on it */
    DK_MAPPING_NONCOHERENT,   /* dma_alloc_noncoherent() */
    DK_MAPPING_PAGES,         /* dma_alloc_pages() */
    DK_MAPPING_NONCONTIGUOUS, /* dma_alloc_noncontiguous() */
    DK_MAPPING_IOVA,          /* dma_iova_try_alloc(): addresses, with or without memory behind them */
    DK_MAPPING_BLOCK,         /* dma_alloc(): coherent, and its size is not the driver's to say at the end */
    DK_MAPPING_REMAP,         /* dk_coherent_remap(): another device's coherent memory */
    DK_MAPPING_POOL,          /* dma_pool_create(): a pool, at its first chunk */
    DK_MAPPING_POOL_BLOCK,    /* dma_pool_alloc() */
};

/* A mapping or allocation, as the driver described it. */
struct dk_mapping {
    enum dk_mapping_kind kind;
    bool shared; /* set by dk_check_unmap(): dk_check_unmapped() is to be called afterwards */
    dma_addr_t dma;
    phys_addr_t phys; /* of the first byte */
    const void
        *cpu; /* single: the pointer; page: the page's address or NULL; allocations: what was returned */
    u64 size;
    u64 contiguous; /* bytes from @phys on that follow each other in memory; 0: all of them */
    enum dma_data_direction direction;
    unsigned long attrs;
    int sg_nents;   /* sg: the caller's nents; else 0 */
    int sg_mapped;  /* sg: how many segments dma_map_sg() returned; else 0 */
    const void *sg; /* sg: the entry that has @dma and @size; else NULL */
    u64 number;     /* counts the machine's mappings; set by dk_check_mapped() */
};

/*
 * Options of the checker, from DMAKIT_OPTIONS.
 */
enum dk_report_format {
    DK_REPORT_TEXT,
    DK_REPORT_JSON, /* a line each */
    DK_REPORT_SARIF,
};

enum dk_report_colour { DK_COLOUR_AUTO, DK_COLOUR_ALWAYS, DK_COLOUR_NEVER };

struct dk_check_options {
    int depth; /* 1 to 3; from 2 on mappings are watched as they change hands (handover.h) */
    enum dk_report_format format;
    enum dk_report_colour colour; /* of text; auto: on a terminal */
    const char *report_path;      /* default sink appends to this file; NULL: standard error, not for SARIF */
    const char *suppressions;     /* file of reports that are not made; NULL: none */
    bool print_suppressed;        /* JSON and SARIF have those too, marked */
    bool abort_on_error;          /* abort() after the first report: the user asked for it */
};

/* Error pointers: -ENOMEM, or what is wrong with the report file or the suppressions, which the log says.
 * Sets nothing on @machine. */
struct dk_checker *dk_checker_create(struct dk_machine *machine, const struct dk_check_options *options);
/* Frees all reports. NULL is fine. */
void dk_checker_destroy(struct dk_checker *checker);
unsigned long dk_checker_count(struct dk_checker *checker, const char *class_name);

/*
 * @call is the name of the function the driver called. Each of these captures the caller's stack where it is
 * needed; frames inside the library are cut off, so that the first frame is the driver's.
 */

/*
 * Before a mapping: the arguments alone. False: a report was made and the call is to fail (maps-stack,
 * maps-rodata, maps-vmalloc, maps-invalid-address). @cpu: the pointer given to a single mapping; @length
 * bytes.
 */
bool dk_check_map_address(struct device *dev, const char *call, const void *cpu, u64 length);
/* The same for a page: @page is not a struct page of a machine -> maps-invalid-address. @phys_valid says it.
 */
bool dk_check_map_page(struct device *dev, const char *call, const struct page *page, u64 offset, u64 length);

/*
 * A mapping or allocation was made: remember it, and report overlapping-lines and overlap-overflow. Sets
 * @mapping->number, which is 0 before; but the second and later segments of one dma_map_sg(), and ranges of
 * one remap, come with the first one's, so that they are one mapping to the reports. Out of memory: it stays
 * unremembered, a log line says so once, and the device's checks of unknown mappings go quiet (no false
 * alarm).
 */
void dk_check_mapped(struct device *dev, const char *call, struct dk_mapping *mapping);

/*
 * @size bytes at @phys are behind byte @offset of @mapping too, which dk_check_mapped() has just remembered:
 * an IOMMU makes pieces of memory one. The same reports.
 */
void dk_check_mapped_piece(struct device *dev, const char *call, const struct dk_mapping *mapping, u64 offset,
                           phys_addr_t phys, u64 size);

/*
 * Coherent memory of @dev in one piece was taken, before anybody is told of it, or goes back, after it was
 * freed: [phys, phys + size), known to the device as @dma. What is in pieces is not told.
 */
void dk_check_coherent_taken(struct device *dev, phys_addr_t phys, u64 size, dma_addr_t dma);
void dk_check_coherent_given(struct device *dev, phys_addr_t phys);

/* Segments after dma_map_sg(): sg-segment-too-long, sg-crosses-boundary; one call for each mapped segment. */
void dk_check_sg_segment(struct device *dev, const char *call, dma_addr_t dma, u64 length);

/* The driver asked dma_mapping_error() about @dma. */
void dk_check_mapping_error(struct device *dev, dma_addr_t dma);

/*
 * Before an unmap or free of what @asked describes: finds the record, reports what differs (free-*,
 * error-unchecked), forgets it, and writes the record into *found so that the caller undoes what was really
 * done. False: there is no such mapping (free-not-allocated, free-invalid-address) and nothing is to be done.
 * With a NULL checker or quiet device: copies *asked to *found and returns true.
 */
bool dk_check_unmap(struct device *dev, const char *call, const struct dk_mapping *asked,
                    struct dk_mapping *found);

/* ---- The ordinary case of dma_map_single() and dma_unmap_single() ---- */

/*
 * As dk_check_mapped(), of @size bytes of RAM at @cpu, whose DMA address is @phys too, where nothing is to be
 * reported. False: it may be otherwise, nothing was done, and dk_check_mapped() is to be asked.
 */
bool dk_check_mapped_single(struct device *dev, const void *cpu, phys_addr_t phys, u64 size,
                            enum dma_data_direction direction, unsigned long attrs);
/*
 * As dk_check_unmap(), where the arguments are those of one live mapping, and of it alone, whose error was
 * asked for. False: nothing was done, and dk_check_unmap() is to be asked.
 */
bool dk_check_unmap_right(struct device *dev, dma_addr_t dma, u64 size, enum dma_data_direction direction,
                          unsigned long attrs);

/*
 * As dk_check_access() and then dk_handover_access(), where the device's own mappings hold all of it, and
 * nothing is to be reported: what the latter returns. DK_ACCESS_UNSURE: nothing was done, and those are to be
 * asked.
 */
u64 dk_check_access_right(const struct dk_master_move *move);
#define DK_ACCESS_UNSURE (~0ull)

/* ---- */

/* The unmapping is done: of the memory, some is mapped by others too. */
void dk_check_unmapped(struct device *dev, phys_addr_t phys, u64 size);

/*
 * Before a sync of [dma, dma + size): reports the sync-* classes, and what the CPU did to the bytes. False:
 * not mapped or out of range, and nothing is to be done.
 * @sg_nents: the caller's nents for sync_sg, else 0. *found is the mapping, when true.
 */
bool dk_check_sync(struct device *dev, const char *call, dma_addr_t dma, u64 size,
                   enum dma_data_direction direction, bool for_cpu, int sg_nents, struct dk_mapping *found);
/* After a sync that dk_check_sync() let pass: the bytes have changed hands. */
void dk_check_synced(struct device *dev, dma_addr_t dma, u64 size, enum dma_data_direction direction,
                     bool for_cpu, int sg_nents);

/*
 * Between mapping and unmapping: @entry of a list, whose memory starts at @phys with @length bytes, was
 * synced as *found, which dk_check_sync() found. Reports sg-changed-while-mapped; returns whether it did.
 */
bool dk_check_sg_entry(struct device *dev, const char *call, const struct dk_mapping *found,
                       const void *entry, phys_addr_t phys, u64 length);

/* Whether [dma, dma + size) and @cpu are of one live coherent allocation of @dev. True without a checker, and
 * for a quiet device. Any context. */
bool dk_check_is_allocated(struct device *dev, const void *cpu, dma_addr_t dma, u64 size);
/*
 * @owner frees @size bytes of coherent memory at its @dma by @call: reports that @importer reaches some of
 * them by @remap, the way it was given to dk_check_mapped() (freed-while-remapped).
 */
void dk_check_freed_remapped(struct device *owner, const char *call, dma_addr_t dma, u64 size,
                             struct device *importer, const struct dk_mapping *remap);

/*
 * Depth 2: [phys, phys + size) is about to be freed by @call: reports that a device has some of it mapped
 * (freed-while-mapped), and returns whether it has. @stack, if not NULL: where the number of the call's stack
 * goes, for dk_finding.stack.
 */
bool dk_check_freed(struct dk_machine *machine, phys_addr_t phys, u64 size, const char *call, u32 *stack);

/*
 * @call is about to free @freed, which is still in the way of something: reports it (freed-while-mapped).
 * @still: "in which memory is still linked", with what the caller does about it.
 */
void dk_check_freed_mapped(struct device *dev, const char *call, const struct dk_mapping *freed,
                           const char *still, const char *advice);

/* @dev was asked by @call to undo a mapping that is @other's: reports it (free-not-allocated). */
void dk_check_unmap_elsewhere(struct device *dev, const char *call, struct device *other,
                              const struct dk_mapping *its);

/* The device goes: report each mapping and allocation left (leak-at-remove), with its creator's stack, and
 * forget it. */
void dk_check_device_removed(struct device *dev);

/* Calls @visit for each live mapping of @dev, in no order, under the checker's lock. */
void dk_check_each_mapping(struct device *dev, void (*visit)(const struct dk_mapping *mapping, void *data),
                           void *data);

/* A finding of a lower room: made into a report, with the stack of the present call. */
void dk_check_finding(struct dk_machine *machine, const struct dk_finding *finding);

/*
 * A bus master accessed [dma, dma + length) through a mapping that is gone, in the window of a lazy IOMMU:
 * device-access-after-unmap.
 */
void dk_check_stale(struct device *dev, dma_addr_t dma, u64 length, bool write);
/* The device's access met memory at @phys that is not refreshed; it is over. */
void dk_check_asleep(struct device *dev, dma_addr_t dma, phys_addr_t phys, u64 length, bool write);

/*
 * Depth 2: a bus master is about to access [dma, dma + length), which it can reach. Whether the device's own
 * live mappings hold all of it, and let it do that; else *held is how many of the first bytes they do.
 */
bool dk_check_access(const struct dk_master_move *move, u64 *held);
/*
 * That is not all, and byte @held, of @length at @phys, is no pool's: looks at other devices that see the
 * same memory there, and reports what is left (device-access-*, address-truncated).
 */
void dk_check_stray(const struct dk_master_move *move, u64 held);

/*
 * A bus master was refused at @fault->dma. By its IOMMU: iommu-unmapped or iommu-permission, with the
 * access's stack and that of the mapping it has to do with. By the bus, which knows no mappings: the log says
 * what that probably means.
 */
void dk_check_fault(struct device *dev, const struct dk_master_fault *fault);

/* ---- Limits ---- */

enum dk_limit { DK_LIMIT_MASK, DK_LIMIT_COHERENT_MASK, DK_LIMIT_SEGMENT_SIZE, DK_LIMIT_SEGMENT_BOUNDARY };

/* @value is now @dev's @limit: reports live mappings and allocations that do not fit it (mask-set-too-late).
 */
void dk_check_limit_set(struct device *dev, const char *call, enum dk_limit limit, u64 value);
/* @call could not map [phys, phys + size), which is beyond 32 bits for @dev's bus: reports mask-not-set where
 * the driver never set one. */
void dk_check_mask_needed(struct device *dev, const char *call, phys_addr_t phys, u64 size);
/* The same of @call, which allocates: none of the machine's memory is where @dev reaches with its mask. */
void dk_check_mask_needed_to_allocate(struct device *dev, const char *call, u64 size);
/* @call is for @size bytes where @most is dma_max_mapping_size(): reports exceeds-max-mapping. */
void dk_check_exceeds(struct device *dev, const char *call, u64 size, u64 most);
/* @call undoes or syncs something for @dev, which was removed: reports free-after-remove. */
void dk_check_after_remove(struct device *dev, const char *call);

/* Mappings of one line that are live when another finds no room, and that no honest driver comes to: so many
 * that were never unmapped are a leak. */
#define DK_GROWTH_AT_FAILURE ((u64)16384)
#define DK_GROWTH_AT_ALL ((u64)1 << 20)
/* Reports leak-while-bound when one stack made @least or more of @dev's live mappings, and none of them was
 * unmapped lately. A search of all. */
void dk_check_growth(struct device *dev, const char *call, u64 least);

/*
 * @dev's coherent memory at @cpu and @dma is about to be shown by @call with @attrs: reports that they are
 * not the allocation's (alias-different-attributes).
 */
void dk_check_shown(struct device *dev, const char *call, const void *cpu, dma_addr_t dma,
                    unsigned long attrs);

/*
 * @call has shown [phys, phys + size) to a program through the cache: reports that some of it is coherent
 * memory of a device that does not snoop, which the kernel uses uncached (alias-different-attributes). May
 * search all mappings.
 */
void dk_check_shown_cached(struct dk_machine *machine, const char *call, phys_addr_t phys, u64 size);

/* ---- Pools: src/pool finds what is wrong, and has it reported ---- */

/* The present stack, for a later report's @stack. 0: out of memory, or no checker. */
u32 dk_check_stack(struct device *dev);
/* Takes the record of exactly @mapping out, if there still is one. */
void dk_check_forget(struct device *dev, const struct dk_mapping *mapping);

/*
 * Depth 3: [phys, phys + size), of a pool, is in no block in use from here on, or (not @vacant) no longer so.
 * Who stores there is told by the hook vacant_stored.
 */
void dk_check_vacant(struct device *dev, phys_addr_t phys, u64 size, bool vacant);

/* What is wrong with a pool or a block. */
struct dk_pool_bug {
    const char *class_name;
    const char *call;                /* the name of the function that was called */
    const char *access_kind;         /* as in struct dk_report */
    const struct dk_mapping *memory; /* the block or pool; NULL: none is known */
    u32 stack;                       /* of the call that made it */
    u32 freed;                       /* of the call that freed it, for the end of the sentence; 0: none */
    const void *cpu;                 /* the bytes concerned; NULL: none */
    dma_addr_t dma;                  /* DMA_MAPPING_ERROR: none */
    u64 offset;                      /* of the first of them in @memory; 0 where it is in front of that */
    u64 length;
    const char *advice; /* NULL: the class's */
    char what[256];     /* what happened, without a full stop */
};
/* Reports it. No lock of a pool is held. */
void dk_check_pool(struct device *dev, const struct dk_pool_bug *bug);

/* The names that reports use. */
const char *dk_mapping_kind_name(enum dk_mapping_kind kind);
const char *dk_direction_name(enum dma_data_direction direction);

#endif
