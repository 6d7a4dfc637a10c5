/* SPDX-License-Identifier: MIT */
/*
 * What lower rooms tell higher ones. src/start fills the table when it composes a machine; until then,
 * and in a room's own tests, every entry may be NULL.
 */
#ifndef DK_BASE_HOOKS_H
#define DK_BASE_HOOKS_H

#include <dmakit/types.h>

struct device;
struct dk_master_fault;

/* A bug of the program, seen by a room below the checker. Strings live as long as the call. */
struct dk_finding {
    const char *class_name; /* as in `dmakit check --list-classes` */
    struct device *dev;     /* NULL when no device is concerned */
    const char *call;       /* the name of the function the program called */
    const void *cpu;        /* the CPU address concerned, or NULL */
    dma_addr_t dma;         /* the DMA address concerned, or DMA_MAPPING_ERROR */
    u64 length;             /* bytes concerned, 0 when none */
    u32 stack;              /* of @call, as memory_freed gave it; 0: it is being made now */
    const char *what;       /* one sentence: what happened */
    const char *advice;     /* one sentence: what to do */
};

/* What a bus master is about to move. */
struct dk_master_move {
    struct device *dev;
    dma_addr_t dma;
    phys_addr_t phys; /* where the bus or the IOMMU leads: RAM or registers */
    u64 length;
    const void *from; /* what is going to be written; NULL: it reads */
};

struct dk_hooks {
    void *data; /* the machine, handed to each call */

    /* A bug was seen. May be called in any context, also with a lock of the calling room held. */
    void (*finding)(void *data, const struct dk_finding *finding);

    /* A device was made: choose its DMA operations. 0 or -errno, which undoes the device. */
    int (*device_added)(void *data, struct device *dev);
    /* A device goes away, its managed resources already released: report what is left, free what is ours. */
    void (*device_removed)(void *data, struct device *dev);

    /* A driver was unbound from a device, its managed resources already released: report what it left. May be
     * NULL. */
    void (*driver_unbound)(void *data, struct device *dev);

    /*
     * [phys, phys + size) of memory has a new user, who knows nothing of what a device may have written there
     * and nobody read: on a machine with two views. Called before the memory is cleared, in any context, with
     * no lock of src/mm held. May be NULL.
     */
    void (*memory_taken)(void *data, phys_addr_t phys, u64 size);

    /* The driver's thread is about to write a register, or (not @before) the device's model has taken it. May
     * be NULL.
     */
    void (*register_write)(void *data, bool before);

    /* The program stores @length bytes at @phys, within a page, that a pool has in no block in use. @call:
     * the C library's function that does, or NULL. May be NULL. */
    void (*vacant_stored)(void *data, phys_addr_t phys, u64 length, const char *call);

    /*
     * [phys, phys + size) of memory, allocated, is about to be freed by the program's @call: for good, not a
     * reference less. Called with no lock of src/mm held, in any context. Returns whether a device still has
     * it mapped. @stack, if not NULL: where the number of the call's stack goes. May be NULL.
     */
    bool (*memory_freed)(void *data, phys_addr_t phys, u64 size, const char *call, u32 *stack);

    /*
     * A bus master is about to move bytes. Called before they move, once for each contiguous run; when the
     * IOMMU is changed before they do, again. May map and unmap. When it returns other than 0, bytes_moved
     * follows with that, once the bytes are moved or will not be (@moved).
     */
    u64 (*master_access)(void *data, const struct dk_master_move *move);
    /* So far nobody wants to hear of accesses: master_access is not called. Atomic; who wants to clears it.
     */
    bool master_access_idle;
    /* May not map or unmap. May be NULL where master_access returns 0. */
    void (*bytes_moved)(void *data, phys_addr_t phys, u64 length, u64 ticket, bool moved);
    /* A bus master was refused at @fault->dma: nothing was moved from there on. May map and unmap. */
    void (*master_fault)(void *data, struct device *dev, const struct dk_master_fault *fault);
    /* A bus master moved @length bytes at @dma through a mapping that is gone, and that a lazy IOMMU has not
     * forgotten yet. Called once for each contiguous run. May map and unmap; may be NULL. */
    void (*master_stale)(void *data, struct device *dev, dma_addr_t dma, u64 length, bool write);
    /* A bus master moved @length bytes at @dma to or from memory at @phys whose refresh is off: it read a
     * pattern, or what it wrote is lost. Called once for each run of sections that sleep. May map and unmap;
     * may be NULL. */
    void (*master_asleep)(void *data, struct device *dev, dma_addr_t dma, phys_addr_t phys, u64 length,
                          bool write);
};

/*
 * Hands @finding to @hooks, if there is anybody to take it. Not inline: a stack's frames are recognised as
 * the library's by their source file, and an inline function's may be written in another way.
 */
void dk_hooks_finding(const struct dk_hooks *hooks, const struct dk_finding *finding);

#endif
