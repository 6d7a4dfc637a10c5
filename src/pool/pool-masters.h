/* SPDX-License-Identifier: MIT */
/*
 * Checked pools and who writes into them: by the physical pages of their chunks a bus master's write, or an
 * instrumented program's store, is found that strikes what is not in a block in use.
 */
#ifndef DK_POOL_POOL_MASTERS_H
#define DK_POOL_POOL_MASTERS_H

#include "pool/pool.h"

/* From here on, until it leaves, what bus masters write into @chunk's pages is looked at; its records are
 * there. False: out of memory. */
bool dk_pool_places_enter(struct dk_pool_state *state, struct dk_pool_chunk *chunk);
/* Undoes it, done or not. */
void dk_pool_places_leave(struct dk_pool_state *state, struct dk_pool_chunk *chunk);
/* Frees what the checked pools of a machine were found by. */
void dk_pool_places_free(struct dk_pools *pools);

/* Hook of a machine: a bus master is about to move bytes. */
void dk_pools_master_access(struct dk_machine *machine, const struct dk_master_move *move);
/* Hook of a machine, depth 3: the program's @call (NULL: a plain store) writes @length bytes at @phys, within
 * a page. */
void dk_pools_stored(struct dk_machine *machine, phys_addr_t phys, u64 length, const char *call);
/* Whether @phys is in a chunk of a checked pool. Any context. */
bool dk_pools_hold(const struct dk_machine *machine, phys_addr_t phys);

#endif
