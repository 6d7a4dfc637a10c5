/* SPDX-License-Identifier: MIT */
/*
 * Making contiguous memory areas.
 */
#ifndef DK_MM_CMA_H
#define DK_MM_CMA_H

#include "mm/memory.h"
#include <dmakit/cma.h>

/*
 * An area of the RAM [base, base + size), which the caller took through dk_memory_reserve() or
 * dk_pages_take() and which is the area's until dk_cma_destroy(). It is given out in units of 1 <<
 * @order_per_bit pages. Error pointers: -EINVAL @size 0, @base or @size no multiple of a unit, no RAM, or
 * @order_per_bit above MAX_PAGE_ORDER, or 1 << 32 units or more; -ENOMEM. @name is copied.
 */
struct cma *dk_cma_create(struct dk_memory *memory, phys_addr_t base, u64 size, unsigned order_per_bit,
                          const char *name);
/* Before the memory goes. NULL is fine. Runs that are still allocated become ordinary pages of nobody. */
void dk_cma_destroy(struct cma *cma);
/* Pages of @cma that are free, those that threads keep too. Takes the area's lock. */
u64 dk_cma_free_pages(struct cma *cma);

#endif
