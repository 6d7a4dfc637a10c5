/* SPDX-License-Identifier: MIT */
/*
 * Freed objects and large kmalloc()s that stay out of use for a while, filled with a pattern: what is stored
 * after the free is found when they leave, and an address that is used after the free is not somebody else's
 * yet.
 *
 * First in, first out, and bounded in bytes and number. It is memory that nobody needs at the moment: who
 * finds none empties it (dk_memory_end_quarantine()) before anything else is tried, and before free memory is
 * counted. For everybody but the slabs' own counts, what is in it is free.
 */
#ifndef DK_MM_SLAB_QUARANTINE_H
#define DK_MM_SLAB_QUARANTINE_H

#include "mm/slab.h"

/* On a state that has none: up to @bytes of freed memory are kept; 0: nothing is done. 0 or -ENOMEM. */
int dk_quarantine_start(struct dk_slab_state *state, size_t bytes);
/* Forgets what is in it, with the memory. NULL in the state is fine. */
void dk_quarantine_finish(struct dk_slab_state *state);

/* Whether freed objects of such a cache go into it; sets its fields that say so. */
void dk_quarantine_init_cache(struct kmem_cache *cache);

/* Before [phys, phys + size), whole lines where devices see past the caches, is filled with the pattern: what
 * they wrote there and nobody read must not show through it. With no lock held. */
void dk_quarantine_prepare(const struct dk_memory *memory, phys_addr_t phys, u64 size);
/*
 * Puts object @index of @slab, which its user gave back, into quarantine. False: it does not take it. Under
 * the lock; dk_quarantine_trim() is to follow, without it.
 */
bool dk_quarantine_hold(struct dk_slab *slab, size_t index, const struct dk_freed *freed);
/* The same for a large kmalloc() of @count pages at @page. False as well when it has more references, or is
 * none. Takes the locks, and trims itself. */
bool dk_quarantine_hold_pages(struct dk_memory *memory, struct page *page, size_t count,
                              const struct dk_freed *freed);
/* Frees for good what is too much, the oldest first, for @call. Takes the lock. */
void dk_quarantine_trim(struct dk_slab_state *state, const char *call);
/* Frees for good what is of @cache, for @call: afterwards no thread has any of it. Takes the lock. */
void dk_quarantine_end_cache(struct kmem_cache *cache, const char *call);

/* What is in it now. Takes the lock. */
void dk_quarantine_usage(struct dk_memory *memory, size_t *bytes, size_t *count);

#endif
