/* SPDX-License-Identifier: MIT */
/*
 * A machine: a board brought to life, with RAM, devices and a seed. Many can live in one process.
 */
#ifndef DMAKIT_MACHINE_H
#define DMAKIT_MACHINE_H

#include <dmakit/board.h>

DK_BEGIN_DECLS

struct dk_machine;
struct device;

struct dk_machine_options {
    size_t size;        /* sizeof(struct dk_machine_options): lets the structure grow */
    const char *memory; /* "1G@0x0,3G@0x40000000": instead of the board's memory nodes; NULL: the board's */
    const char
        *arguments; /* as on a kernel command line: "cma=64M highmem=16M …"; NULL: the board's bootargs */
    uint64_t seed;  /* 0: no random eviction or fragmentation */
    int depth;      /* checker: 0 off, 1 calls, 2 and 3 also what changes hands (docs/checker.md);
                       -1: from DMAKIT_OPTIONS, else 2 */
};

/*
 * Brings @board up: its memory, reserved regions and devices.
 *
 * @board NULL: the file that the environment's DMAKIT_BOARD names, else the built-in hostile board.
 * @options NULL: DMAKIT_OPTIONS (seed=N:depth=N:memory=SPEC:arguments=…), else defaults.
 *
 * Returns the machine, or an error pointer: -EINVAL malformed board, options or memory specification (the log
 * line says which), -ENOENT DMAKIT_BOARD's file is missing, -ENOMEM, -EMFILE, -EFBIG the process's limit on
 * file sizes (ulimit -f). May sleep. @board may be freed afterwards.
 */
DK_PUBLIC struct dk_machine *dk_machine_create(const struct dk_board *board,
                                               const struct dk_machine_options *options);

/*
 * Removes all devices, reporting what they left mapped or allocated, and frees the machine and its memory.
 * Returns the number of reports ever made on it. NULL is fine (0). May be called while entered; no other
 * thread may be inside a call on this machine.
 */
DK_PUBLIC unsigned long dk_machine_destroy(struct dk_machine *machine);

/*
 * Makes @machine this thread's machine for calls without a device (kmalloc, alloc_pages, cma_alloc, …);
 * NULL: none. Returns the one before. A thread that entered none uses the only live machine; with several
 * live, such calls fail. Any context.
 */
DK_PUBLIC struct dk_machine *dk_machine_enter(struct dk_machine *machine);

/* This thread's machine as dk_machine_enter() describes it, or NULL. Any context. */
DK_PUBLIC struct dk_machine *dk_machine_current(void);

/*
 * The device of the board's node at @path ("/soc/ethernet@7d580000"), or of the alias @path ("ethernet0"), or
 * one that was added, by its full path. NULL when there is none or it is disabled. The device stays the
 * machine's.
 */
DK_PUBLIC struct device *dk_device_find(struct dk_machine *machine, const char *path);

/*
 * Adds a device below @parent, whose DMA operations, windows and coherency it inherits. @parent NULL: on the
 * default bus of the current machine: /chosen's dmakit,default-bus, else the root. The new device has a
 * 32-bit mask and 64 KiB segments.
 *
 * Returns it, or an error pointer: -EINVAL a name that is empty or holds '/', or a removed parent, -EEXIST
 * the name is taken there, -ENODEV no current machine, -ENOMEM. May sleep. The device stays the machine's:
 * dk_device_remove().
 */
DK_PUBLIC struct device *dk_device_add(struct device *parent, const char *name);

/*
 * Removes @dev and everything below it: managed resources go first, then what is still mapped or allocated is
 * reported (leak-at-remove). @dev is dead afterwards; its memory stays until the machine goes, so that a late
 * use is reported and not a crash. NULL is fine. May sleep.
 */
DK_PUBLIC void dk_device_remove(struct device *dev);

/* The full path of @dev. Lives as long as the machine. */
DK_PUBLIC const char *dk_device_path(const struct device *dev);

/* The machine @dev belongs to. */
DK_PUBLIC struct dk_machine *dk_device_machine_of(const struct device *dev);

DK_END_DECLS

#endif
