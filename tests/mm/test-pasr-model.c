/* SPDX-License-Identifier: MIT */
/*
 * Random calls beside a plain model: one byte a page that says whether it is unused. Two dies that are
 * interleaved, one that masks from both ends, a hole, and memory of no die.
 */
#include "draw.h"
#include "fixture.h"

#include <dmakit/pasr.h>
#include <stdio.h>
#include <stdlib.h>

#define BASE (8 * GIB)
#define SECTION ((u64)2 << 20)
#define SECTION_PAGES (SECTION / PAGE_SIZE)
/* In sections: the interleaved dies' 16, a hole of 3, 8 of the third die, and 2 of nobody. */
#define SPAN 29
#define PAGES (SPAN * SECTION_PAGES)

static unsigned char unused[PAGES];
static struct pasr_die *dies[3];
static u32 told[3];
static u64 changes[3];

static void apply(struct pasr_die *die, u32 mask, void *data)
{
    u64 which = (u64)((u32 *)data - told);

    (void)die;
    assert_int_not_equal(mask, told[which]);
    told[which] = mask;
    changes[which]++;
}

/* The section's first page in the model. */
static u64 place(unsigned die, unsigned section)
{
    return (die == 2 ? 19 + section : 2 * section + die) * SECTION_PAGES;
}

static bool in_die(u64 page)
{
    return page < 16 * SECTION_PAGES || (page >= 19 * SECTION_PAGES && page < 27 * SECTION_PAGES);
}

static bool all_unused(unsigned die, unsigned section, u64 *count)
{
    u64 i;

    *count = 0;
    for (i = 0; i < SECTION_PAGES; i++)
        *count += unused[place(die, section) + i];
    return *count == SECTION_PAGES;
}

/* By the definition, one share at a time. */
static u32 expected_mask(unsigned die)
{
    u32 may = 0;
    unsigned i, share;
    u64 count;

    for (i = 0; i < 8; i++) {
        if (all_unused(die, i, &count) && (die == 2 || all_unused(1 - die, i, &count)))
            may |= 1u << i;
    }
    if (die < 2)
        return may;
    for (share = 1; share < 8; share *= 2) {
        u32 start = (1u << share) - 1, end = start << (8 - share);

        if ((may | start) == 0xff)
            return 0xff & ~start;
        if ((may | end) == 0xff)
            return 0xff & ~end;
    }
    return 0;
}

static void check(void)
{
    unsigned die, i;
    u64 count, sum = 0;
    struct dk_pasr_statistics statistics;

    for (die = 0; die < 3; die++) {
        assert_int_equal(told[die], expected_mask(die));
        for (i = 0; i < 8; i++) {
            struct dk_pasr_section section;

            assert_int_equal(dk_pasr_section_read(dies[die], i, &section), 0);
            all_unused(die, i, &count);
            assert_int_equal(section.unused, count * PAGE_SIZE);
            assert_int_equal(section.asleep, told[die] >> i & 1);
            sum += count;
        }
    }
    assert_int_equal(dk_pasr_read(NULL, &statistics), 0);
    assert_int_equal(statistics.bytes_unused, sum * PAGE_SIZE);
    assert_int_equal(statistics.mask_changes, changes[0] + changes[1] + changes[2]);
}

/* One call; the model says whether it is refused. */
static void operate(void)
{
    bool put = draw(2);
    u64 first = draw(PAGES), count = 1 + draw(draw(4) ? 64 : draw(4) ? 2 * SECTION_PAGES : PAGES), i;
    int expected = 0, error;

    if (!draw(3))
        first = first / SECTION_PAGES * SECTION_PAGES;
    if (!draw(3)) {
        /* A maximal run in one state, so that large changes succeed too. */
        bool is = put ? false : true;

        for (; first < PAGES && (unused[first] != is || !in_die(first)); first++)
            ;
        if (first == PAGES)
            return;
        for (count = 1; first + count < PAGES && (!in_die(first + count) || unused[first + count] == is);
             count++)
            ;
    }
    if (count > PAGES - first)
        count = PAGES - first;
    for (i = first; i < first + count; i++) {
        if (in_die(i) && unused[i] == put)
            expected = -EALREADY;
    }
    error = put ? pasr_put(BASE + first * PAGE_SIZE, count * PAGE_SIZE)
                : pasr_get(BASE + first * PAGE_SIZE, count * PAGE_SIZE);
    if (error != expected)
        fail_msg("%s of %llu pages from %llu: %d, not %d", put ? "put" : "get", count, first, error,
                 expected);
    for (i = first; !error && i < first + count; i++)
        unused[i] = in_die(i) && put;
}

static void test_counters(void **state)
{
    const struct dk_memory_range ram = { GIB, 64 * MIB };
    struct dk_memory_config config = small_config(&ram);
    struct dk_memory *memory = make(&config);
    unsigned operations = getenv("DMAKIT_TEST_FAST") ? 20000 : 1000000, i;

    (void)state;
    state_word = draw_seed(0x9a5bfeed1234);
    for (i = 0; i < 3; i++) {
        const struct dk_pasr_layout layout = {
            .name = i == 0   ? "a"
                    : i == 1 ? "b"
                             : "c",
            .base = BASE + (i == 2 ? 19 : i) * SECTION,
            .section_size = SECTION,
            .stride = i == 2 ? 0 : 2 * SECTION,
            .sections = 8,
            .mode = i == 2 ? PASR_DOUBLE_ENDED : PASR_BANK_SELECTIVE,
            .apply_mask = apply,
            .data = &told[i],
        };

        dies[i] = dk_pasr_die_add(&layout);
        assert_false(IS_ERR(dies[i]));
    }
    for (i = 0; i < 8; i++)
        assert_int_equal(dk_pasr_pair(dies[0], i, dies[1], i), 0);
    for (i = 0; i < operations; i++) {
        operate();
        if (i % 1024 == 0)
            check();
    }
    check();
    assert_true(changes[0] > 5 && changes[1] > 5 && changes[2] > 5);
    unmake(memory, 64 * MIB / PAGE_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_counters) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
