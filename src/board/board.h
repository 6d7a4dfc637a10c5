/* SPDX-License-Identifier: MIT */
/*
 * What a device tree says about memory and DMA, as plain data. No memory stands behind it.
 */
#ifndef DK_BOARD_BOARD_H
#define DK_BOARD_BOARD_H

#include <dmakit/board.h>
#include <dmakit/pasr.h>

struct dk_range {
    u64 base;
    u64 size; /* bytes; base + size does not wrap (base + size - 1 fits) */
};

/* A device's window: bus address @dma is physical address @cpu, for @size bytes. */
struct dk_window {
    u64 dma;
    u64 cpu;
    u64 size;
};

/* A row of iommu-map: requester ids @rid … @rid + @count - 1 are ids @id … at the IOMMU @iommu. */
struct dk_iommu_row {
    u32 rid;
    u32 id;
    u32 count;
    unsigned iommu; /* index into dk_board.nodes */
};

enum dk_reserved_kind {
    DK_RESERVED_CMA,        /* shared-dma-pool, reusable */
    DK_RESERVED_COHERENT,   /* shared-dma-pool, not reusable */
    DK_RESERVED_RESTRICTED, /* restricted-dma-pool */
    DK_RESERVED_NO_MAP,     /* anything else with no-map */
    DK_RESERVED_PLAIN,      /* anything else; /memreserve/ too */
};

struct dk_reserved {
    const char *node; /* full path; "/memreserve/@<hex base>" for an entry of the reservation block */
    u32 phandle;      /* 0: none */
    enum dk_reserved_kind kind;
    struct dk_range range; /* after placement when @dynamic */
    bool is_default;       /* linux,cma-default or linux,dma-default, and the one that won */
    bool dynamic;          /* had `size` and no `reg` */
    bool no_map;
    bool disabled;      /* its own status: not placed, and not listed by `machine --json` */
    const char *reason; /* NULL: ok; else why the region failed */
};

struct dk_node {
    const char *path; /* full path */
    const char *name; /* last component */
    int parent;       /* index into nodes; -1 for the root */
    u32 phandle;
    bool enabled;            /* itself and all above it */
    bool coherent;           /* effective: nearest property, else the architecture's default */
    const char **compatible; /* NULL-terminated; NULL when it has none */
    int iommu;               /* index into nodes of its first enabled IOMMU; -1: none or disabled */
    u32 iommu_id;            /* first cell of its specifier; 0 when it has none */
    int requester;           /* a PCI function's requester id: bus, device, function; -1: no function */
    bool pci_host;
    struct dk_window *windows; /* empty: no restriction, identity */
    unsigned window_count;
    struct dk_window *below_windows; /* what its children see, or the functions below a PCI host */
    unsigned below_window_count;
    struct dk_iommu_row *below_iommu;
    unsigned below_iommu_count;
    u32 below_iommu_mask; /* iommu-map-mask: applied to a requester id before the rows; all ones when absent
                           */
    int *regions; /* memory-region by index: index into reserved; -1 for a node that is no reserved region */
    const char **region_paths; /* the same nodes' full paths, same length; NULL for an entry that is 0 */
    const char **region_names; /* memory-region-names, same length; an entry is NULL when missing */
    unsigned region_count;
};

struct dk_alias {
    char name[32];
    unsigned node;
};

/* The CPU reaches [target, target + size) uncached at [base, base + size): dmakit,uncached-alias. */
struct dk_uncached_alias {
    u64 base;
    u64 target;
    u64 size; /* 0: the board has none */
};

/* Physical addresses of a die's memory stay below 2^this. */
#define DK_DIE_BITS 52u

/* DRAM with one refresh mask (pasr.h): section i is [base + i * stride, base + i * stride + section_size). */
struct dk_die {
    const char *node; /* full path */
    enum pasr_mode mode;
    unsigned sections;
    int partner; /* index into dies: section i of it is the partner of section i; -1: not interleaved */
    u64 base, section_size, stride; /* bytes */
};

struct dk_board {
    const char *model;       /* "" when the tree has none */
    const char **compatible; /* NULL-terminated */
    struct dk_range *memory; /* sorted by base; overlapping ones are refused */
    unsigned memory_count;
    bool memory_assumed;          /* the tree has none and @memory is the stated default */
    struct dk_reserved *reserved; /* in tree order, /memreserve/ entries first */
    unsigned reserved_count;
    struct dk_die *dies; /* in tree order */
    unsigned die_count;
    struct dk_node *nodes; /* all nodes, in tree order; [0] is the root */
    unsigned node_count;
    struct dk_alias *aliases;
    unsigned alias_count;
    int default_bus; /* index into nodes: /chosen's dmakit,default-bus, else 0 */
    unsigned line;   /* the cache line that DMA must respect, in bytes; 64 where the tree is silent */
    bool no_mmu;     /* /chosen's dmakit,no-mmu */
    struct dk_uncached_alias alias;
    const char *arguments;  /* /chosen's bootargs; "" when absent */
    int holders;            /* besides the first: each frees it once; atomic */
    struct dk_arena *arena; /* owns every string and array here, and the board itself */
    const void *blob;       /* the tree it was read from, for dk_board_with_memory() */
    size_t blob_size;
    const unsigned *by_path; /* indices into nodes, sorted by path, for dk_board_find() */
};

/*
 * @board with the memory @spec ("1G@0x0,3G@0x40000000") instead of its own, its dynamic regions placed anew;
 * with NULL the board as it is. Freed by the caller, whatever becomes of @board. -EINVAL for a bad
 * specification, -ENOMEM.
 */
struct dk_board *dk_board_with_memory(const struct dk_board *board, const char *spec);

/* The index of the node at @path, or of the alias @path, or -1. A path may be given without unit addresses
 * where that names one node only. */
int dk_board_find(const struct dk_board *board, const char *path);

/* The board built into the library. Static data's twin of dk_board_load(); the caller frees it. */
struct dk_board *dk_board_hostile(void);

/*
 * Reads a size as on a kernel command line: "64M", "0x1000", "2g". Returns the first character after it,
 * or NULL when there is none or it overflows.
 */
const char *dk_board_read_size(const char *text, u64 *value);

/* The name of the die's mode: "bank-selective" and so on. */
const char *dk_die_mode(const struct dk_die *die);

/*
 * The `machine --json` document of @board (the format is in docs/formats.md) in new memory for free(), or
 * NULL.
 */
char *dk_board_json(const struct dk_board *board);

#endif
