/* SPDX-License-Identifier: MIT */
/*
 * A small memory with an area that lends, for the tests of what becomes of the area.
 */
#ifndef TEST_MM_LENDING_H
#define TEST_MM_LENDING_H

#include "fixture.h"

#include "mm/cma.h"
#include "mm/private.h"
#include <dmakit/pasr.h>

static const struct dk_memory_range range = { GIB, 64 * MIB };

/* A memory with an area of @pages at its start, whose die has sections of 2 MiB. */
static inline struct dk_memory *make_area(u64 seed, u64 pages, struct cma **cma)
{
    const struct dk_pasr_layout die = { .name = "frames",
                                        .mode = PASR_BANK_SELECTIVE,
                                        .base = GIB,
                                        .section_size = 2 * MIB,
                                        .sections = (unsigned)(pages * PAGE_SIZE / (2 * MIB)) };
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;

    config.seed = seed;
    memory = make(&config);
    assert_false(IS_ERR(dk_memory_add_die(memory, &die)));
    assert_int_equal(dk_memory_reserve(memory, GIB, pages << PAGE_SHIFT, true), 0);
    *cma = dk_cma_create(memory, GIB, pages << PAGE_SHIFT, 0, "frames");
    assert_false(IS_ERR_OR_NULL(*cma));
    return memory;
}

/* What is free in @cma, and nothing else of it, may go without refresh. */
static inline void assert_unused_is_free(struct cma *cma)
{
    struct dk_pasr_statistics statistics;

    assert_int_equal(dk_pasr_read(NULL, &statistics), 0);
    assert_int_equal(statistics.bytes_unused, dk_cma_free_pages(cma) * PAGE_SIZE);
}

#define AREA 512

#endif
