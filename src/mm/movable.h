/* SPDX-License-Identifier: MIT */
/*
 * Moving movable memory.
 */
#ifndef DK_MM_MOVABLE_H
#define DK_MM_MOVABLE_H

#include "mm/private.h"
#include <dmakit/movable.h>

/*
 * Moves what @from holds, a page of movable memory, to @to, an ordinary allocated page: @to is the movable
 * memory's afterwards, and @from the caller's, an ordinary allocated page. 0; with nothing changed -EINVAL
 * @from is no such page, -EBUSY it is pinned, or as dk_writes_stop(); -ENOMEM. May sleep; no lock of this
 * room is held.
 */
int dk_movable_move(struct dk_memory *memory, struct page *from, struct page *to);

#endif
