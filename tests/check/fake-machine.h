/* SPDX-License-Identifier: MIT */
/*
 * A machine with just enough behind it for the checker: devices without operations, and an address map that
 * the test writes. It stands in for src/mm and src/machine.
 */
#ifndef FAKE_MACHINE_H
#define FAKE_MACHINE_H

#include "check/checker.h"

#define FAKE_DEVICES 4
#define FAKE_RAM (4ull << 30) /* physical addresses 0 up to this are RAM */

struct fake_range {
    const void *start;
    size_t size;
    enum dk_address_kind kind;
    struct dk_memory *memory;
    phys_addr_t phys;
};

struct dk_memory {
    unsigned line;
    struct fake_range ranges[8];
    unsigned range_count;
    bool asleep;           /* all of it is not refreshed */
    ptrdiff_t dram_offset; /* from the CPU's view of a byte to the DRAM's; 0: one view */
};

struct fake_machine {
    struct dk_memory memory;
    struct dk_machine machine;
    struct dk_device dk[FAKE_DEVICES];
    struct device devices[FAKE_DEVICES];
    struct device_dma_parameters limits[FAKE_DEVICES];
};

/* 64-byte lines, devices "/fake/0" to "/fake/3", not coherent, no checker. */
void fake_start(struct fake_machine *fake);
/* As fake_start(), with a checker whose sink counts and keeps silent. 0 or -errno. */
int fake_start_checked(struct fake_machine *fake);
/* Ends the checker as well. */
void fake_finish(struct fake_machine *fake);

/* Adds to what dk_address_find() knows. */
void fake_range(struct dk_memory *memory, const void *start, size_t size, enum dk_address_kind kind,
                phys_addr_t phys);

static inline struct dk_checker *fake_checker(struct fake_machine *fake)
{
    return fake->machine.checker;
}

/* A sink that does nothing. */
void fake_silence(const struct dk_report *report, void *data);

#endif
