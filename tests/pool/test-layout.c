/* SPDX-License-Identifier: MIT */
/*
 * Where the blocks of a pool's chunks lie, against a plain count: one block after the other, and whether each
 * keeps what it was promised.
 */
#include "pool/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Before the first block and behind the last lies as much of the block's own as between two. */
static bool fits(const struct dk_pool_layout *layout, size_t index, size_t bytes)
{
    size_t offset = dk_pool_layout_offset(layout, index);

    return offset >= layout->zone && offset + layout->size + layout->zone <= bytes;
}

static void check_block(const struct dk_pool_layout *layout, size_t index)
{
    size_t offset = dk_pool_layout_offset(layout, index), found, within;

    assert_int_equal(offset % layout->align, 0);
    if (layout->boundary && layout->boundary >= layout->size)
        assert_true(offset / layout->boundary == (offset + layout->size - 1) / layout->boundary);
    if (index)
        assert_true(offset >= dk_pool_layout_offset(layout, index - 1) + layout->size + layout->zone);
    assert_true(dk_pool_layout_find(layout, offset + layout->size - 1, &found, &within));
    assert_int_equal(found, index);
    assert_int_equal(within, layout->size - 1);
}

/* No more than alignment needs lies between two blocks, and two never share eight bytes. */
static void check_room(const struct dk_pool_layout *layout, size_t zone)
{
    size_t step = dk_pool_layout_offset(layout, 1) - dk_pool_layout_offset(layout, 0);

    assert_in_range(layout->zone, zone, zone ? 64 : 0);
    assert_true(layout->stride >= 8);
    assert_true(layout->stride < (layout->size < 8 ? 8 : layout->size) + 2 * zone + layout->align);
    assert_true(step >= layout->stride);
    if (!layout->segment)
        assert_int_equal(step, layout->stride);
}

static void a_chunk_has_all_the_blocks_that_fit(void **state)
{
    static const size_t sizes[] = { 1, 7, 8, 20, 64, 100, 256, 1000, 1024, 2049, 4096, 5000, 65536, 70000 };
    static const size_t aligns[] = { 0, 4, 16, 64, 512, 4096 };
    static const size_t boundaries[] = { 0, 64, 256, 4096, 8192, 65536, 1 << 20 };
    unsigned laid_out = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        for (size_t j = 0; j < sizeof(aligns) / sizeof(*aligns); j++) {
            for (size_t k = 0; k < sizeof(boundaries) / sizeof(*boundaries); k++) {
                for (size_t zone = 0; zone <= 16; zone += 16) {
                    struct dk_pool_layout layout;
                    size_t align = aligns[j] ? aligns[j] : 1;
                    size_t padded = (sizes[i] + align - 1) / align * align;

                    if (boundaries[k] && boundaries[k] < padded)
                        continue;
                    assert_true(dk_pool_layout_make(&layout, NULL, sizes[i], aligns[j], boundaries[k], zone));
                    laid_out++;
                    check_room(&layout, zone);
                    assert_int_equal(layout.base % PAGE_SIZE, 0);
                    for (size_t bytes = layout.base; bytes <= 4 * layout.base; bytes += PAGE_SIZE) {
                        size_t count = dk_pool_layout_count(&layout, bytes);

                        assert_true(count > 0);
                        for (size_t block = 0; block < count; block++)
                            assert_true(fits(&layout, block, bytes));
                        assert_false(fits(&layout, count, bytes));
                        check_block(&layout, 0);
                        check_block(&layout, count - 1);
                        check_block(&layout, count / 2);
                    }
                }
            }
        }
    }
    assert_true(laid_out > 200);
}

/* How far @offset is from the block: 0 for a byte of it and for the one behind it. */
static size_t distance(const struct dk_pool_layout *layout, size_t index, size_t offset)
{
    size_t start = dk_pool_layout_offset(layout, index);

    if (offset < start)
        return start - offset;
    return offset < start + layout->size ? 0 : offset - (start + layout->size);
}

/* A byte between two blocks is of the nearer, in the middle of the later; behind the last block of the last.
 */
static void a_byte_beside_the_blocks_is_of_the_nearest(void **state)
{
    static const struct {
        size_t size, align, boundary, zone;
    } cases[] = {
        { 20, 16, 0, 0 }, { 20, 16, 0, 16 }, { 100, 64, 0, 16 }, { 1000, 4, 0, 16 }, { 24, 8, 4096, 16 }
    };
    const size_t blocks = 5;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_pool_layout layout;

        assert_true(dk_pool_layout_make(&layout, NULL, cases[i].size, cases[i].align, cases[i].boundary,
                                        cases[i].zone));
        for (size_t offset = 0; offset < dk_pool_layout_offset(&layout, blocks + 2); offset++) {
            size_t nearest = 0, found;
            ssize_t within;

            for (size_t block = 1; block < blocks; block++)
                if (distance(&layout, block, offset) <= distance(&layout, nearest, offset))
                    nearest = block;
            found = dk_pool_layout_nearest(&layout, offset, blocks, &within);
            if (found != nearest)
                fail_msg("blocks of %zu bytes: byte %zu is of block %zu, not %zu", cases[i].size, offset,
                         nearest, found);
            assert_int_equal(within, (ssize_t)offset - (ssize_t)dk_pool_layout_offset(&layout, nearest));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_has_all_the_blocks_that_fit),
        cmocka_unit_test(a_byte_beside_the_blocks_is_of_the_nearest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
