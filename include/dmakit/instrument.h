/* SPDX-License-Identifier: MIT */
/*
 * What the run time of instrumented programs (libdmakit-check) and the library tell each other. Drivers have
 * no use for it; `pkg-config dmakit-check` has the flags that make a program an instrumented one.
 */
#ifndef DMAKIT_INSTRUMENT_H
#define DMAKIT_INSTRUMENT_H

#include <dmakit/slot.h>
#include <dmakit/types.h>
#include <string.h>

DK_BEGIN_DECLS

/* What an access is. */
#define DK_ACCESS_LOAD 0u
#define DK_ACCESS_STORE 1u
#define DK_ACCESS_VOLATILE 2u /* or atomic: the program knows that the value changes by itself */

/* Bits of an ownership shadow's byte (slot.h) that an access asks for. */
#define DK_OWNER_NO_LOAD 0x01u
#define DK_OWNER_NO_STORE 0x02u
#define DK_OWNER_UNSEEN 0x04u   /* the device wrote it after it became the CPU's */
#define DK_OWNER_COHERENT 0x10u /* coherent memory: the order of accesses counts */
#define DK_OWNER_LOADS (DK_OWNER_NO_LOAD | DK_OWNER_UNSEEN | DK_OWNER_COHERENT)
#define DK_OWNER_STORES (DK_OWNER_NO_STORE | DK_OWNER_COHERENT)

/*
 * The program is about to access @size bytes at @address, at least one of which lies in a slot with a shadow
 * or of the kind VMALLOC. Reports what is wrong with it: the CPU must not touch those bytes now. @call: the C
 * library's function that accesses them, or NULL. Any context; lock-free unless something is wrong or the
 * address is vmalloc()'s.
 */
DK_PUBLIC void dk_instrument_access(const volatile void *address, size_t size, unsigned access,
                                    const char *call);

/* A fence of the memory order @order (__ATOMIC_ACQUIRE, …), which the program made. Any context. */
DK_PUBLIC void dk_instrument_fence(int order);

/* An atomic access of the order @order is about to be made, or was; the access itself is the caller's. Any
 * context. */
DK_PUBLIC void dk_instrument_order(int order);

/* Accesses memory in the ways that have to be seen: @into and @from have 64 bytes each. */
typedef void dk_instrument_probe_function(char *into, const char *from);

/*
 * The run time is there. @probe: a function that was compiled as the program was, or NULL when none was; the
 * library calls it and finds out which of its accesses it hears of. Called by the run time before main().
 */
DK_PUBLIC void dk_instrument_start(dk_instrument_probe_function *probe);

#if defined(DK_INSTRUMENTED) && !defined(DK_INSTRUMENT_NO_PROBE)
/* In each object file of the program, which keeps one of them: no compiler may look into it from outside. */
dk_instrument_probe_function dk_instrument_probe;
__attribute__((weak, noinline)) void dk_instrument_probe(char *into, const char *from)
{
    into[0] = from[8];
    *(volatile unsigned *)(void *)(into + 16) = *(const volatile unsigned *)(const void *)(from + 24);
    memcpy(into + 32, from + 40, 24);
}
#endif

DK_END_DECLS

#endif
