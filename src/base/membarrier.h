/* SPDX-License-Identifier: MIT */
/*
 * A full barrier in all threads of the process, which one thread asks the kernel for (membarrier(2), private
 * and expedited), so that the others need none. Where the kernel has none, or forbids it (seccomp), both
 * sides use full fences.
 */
#ifndef DK_BASE_MEMBARRIER_H
#define DK_BASE_MEMBARRIER_H

#include <dmakit/types.h>

/* Registers the process for the barrier; whoever will ask for it does so first. Returns whether the process
 * has it from now on. Doing it again changes nothing. Nothing here remembers the answer: what the kernel
 * allows may change, and each user decides once which way both its sides go. */
bool dk_membarrier_register(void);

/* A full barrier in each other thread of the process, between this call's beginning and its end; the call
 * itself is one in this thread. False: there was none to rely on, for the process is not registered, the
 * kernel refuses what it promised, or it has no memory for it. Any context. */
bool dk_membarrier(void);

#endif
