/* SPDX-License-Identifier: MIT */
/*
 * From one address to the calls that stand there, by DWARF: inlined ones, and those that ended in a jump.
 */
#ifndef DK_CHECK_DWARF_FRAMES_H
#define DK_CHECK_DWARF_FRAMES_H

#include <dmakit/types.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>

/* More calls in one place than this are left out, outermost first. */
#define DK_PLACE_DEPTH 12

/* Strings belong to the debug information. */
struct dk_place {
    const char *function;
    const char *file;
    int line;
};

/*
 * The calls at @pc, innermost first, into @places; returns their number, 0 without debug information.
 */
unsigned dk_dwarf_places(Dwfl *dwfl, uintptr_t pc, struct dk_place places[DK_PLACE_DEPTH]);

/*
 * Calls that left no frame because they ended in a jump: what lies between the call that returns to
 * @return_address and the function at @callee_pc, which is running in its place. Innermost first; 0 when
 * there are none, or the debug information does not say.
 */
unsigned dk_dwarf_jumps(Dwfl *dwfl, uintptr_t return_address, uintptr_t callee_pc,
                        struct dk_place places[DK_PLACE_DEPTH]);

#endif
