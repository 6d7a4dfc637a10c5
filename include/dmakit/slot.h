/* SPDX-License-Identifier: MIT */
/*
 * Which machine a CPU address belongs to. The process's address space is divided into aligned slots; a
 * machine's memory takes whole ones, so one load answers. Drivers use virt_to_phys() and its kin (page.h);
 * this header exists so that fast paths can be inline.
 */
#ifndef DMAKIT_SLOT_H
#define DMAKIT_SLOT_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

#if UINTPTR_MAX > 0xffffffffu
#define DK_SLOT_SHIFT 30 /* 1 GiB: also the size of a section of physical memory */
#define DK_SLOT_BITS 47  /* user space's part of the address space */
#else
#define DK_SLOT_SHIFT 24
#define DK_SLOT_BITS 32
#endif
#define DK_SLOT_SIZE ((size_t)1 << DK_SLOT_SHIFT)
#define DK_SLOT_COUNT ((size_t)1 << (DK_SLOT_BITS - DK_SLOT_SHIFT))

enum dk_slot_kind {
    DK_SLOT_CACHED,    /* the CPU's cached view of a section: the linear map */
    DK_SLOT_UNCACHED,  /* the DRAM view of a section on a machine with two views */
    DK_SLOT_PAGES,     /* the struct page array of a section */
    DK_SLOT_VMALLOC,   /* vmalloc and vmap addresses */
    DK_SLOT_REGISTERS, /* what ioremap() returns */
};

struct dk_memory;
struct dk_section;

struct dk_slot {
    char *start;                /* first byte; aligned to DK_SLOT_SIZE */
    phys_addr_t phys;           /* physical address of @start: CACHED and UNCACHED */
    size_t linear;              /* bytes from @linear_start that are RAM without a hole: CACHED only */
    size_t linear_start;        /* offset of the first of them */
    struct dk_memory *memory;   /* whose it is */
    struct dk_section *section; /* NULL for VMALLOC and REGISTERS */
    enum dk_slot_kind kind;
};

/*
 * The table, indexed by address >> DK_SLOT_SHIFT; NULL: not a machine's. Process-wide because the address
 * space is. Entries are written before the memory is handed out and read with a plain load.
 */
extern DK_PUBLIC struct dk_slot *dk_slots[DK_SLOT_COUNT];

/*
 * What an instrumented program asks before each access, indexed as dk_slots: the address of the ownership
 * shadow (instrument.h) less that of the slot, so that the byte for an address is as far from it as from 0.
 * 0: nothing there is checked; DK_SLOT_ASKS: it may be, and takes the long way. Atomic.
 */
extern DK_PUBLIC uintptr_t dk_slot_shadows[DK_SLOT_COUNT];

#define DK_SLOT_ASKS ((uintptr_t)1)

/* The slot that @address lies in, or NULL when it is not machine memory. Any context; lock-free. */
static inline struct dk_slot *dk_slot_find(const void *address)
{
    uintptr_t index = (uintptr_t)address >> DK_SLOT_SHIFT;

    return index < DK_SLOT_COUNT ? __atomic_load_n(&dk_slots[index], __ATOMIC_ACQUIRE) : NULL;
}

/* The entry of dk_slot_shadows for @address. Any context; lock-free. */
static inline uintptr_t dk_slot_shadow(const void *address)
{
    uintptr_t index = (uintptr_t)address >> DK_SLOT_SHIFT;

    return __builtin_expect(index < DK_SLOT_COUNT, 1)
               ? __atomic_load_n(&dk_slot_shadows[index], __ATOMIC_ACQUIRE)
               : 0;
}

/* The ownership shadow's byte for @address; NULL: nothing is checked there, or its page tells. */
static inline u8 *dk_slot_owner(const void *address)
{
    uintptr_t shadow = dk_slot_shadow(address);

    return shadow > DK_SLOT_ASKS ? (u8 *)(shadow + (uintptr_t)address) : NULL;
}

DK_END_DECLS

#endif
