/* SPDX-License-Identifier: MIT */
/*
 * The two views, against a model that is obvious: three arrays of bytes and two flags a line.
 */
#include "compose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define LINES 32
#define LARGEST 4096

struct model {
    unsigned line;
    phys_addr_t base;
    unsigned char cached[LINES * LARGEST], dram[LINES * LARGEST], fill[LINES * LARGEST];
    bool filled[LINES];
};

static bool model_dirty(const struct model *m, unsigned l)
{
    const unsigned char *reference = m->filled[l] ? m->fill : m->dram;

    return memcmp(m->cached + l * m->line, reference + l * m->line, m->line) != 0;
}

static void model_write_back(struct model *m, unsigned l)
{
    memcpy(m->dram + l * m->line, m->cached + l * m->line, m->line);
    m->filled[l] = false;
}

static void model_refill(struct model *m, unsigned l)
{
    memcpy(m->cached + l * m->line, m->dram + l * m->line, m->line);
    m->filled[l] = false;
}

static void model_device_write(struct model *m, unsigned at, unsigned size, unsigned char value)
{
    unsigned i;

    for (i = at; i < at + size; i++) {
        unsigned l = i / m->line;

        if (!m->filled[l])
            memcpy(m->fill + l * m->line, m->dram + l * m->line, m->line);
        m->filled[l] = true;
        m->dram[i] = (unsigned char)(value + i);
    }
}

static void model_clean(struct model *m, unsigned at, unsigned size)
{
    unsigned l;

    for (l = at / m->line; l <= (at + size - 1) / m->line; l++)
        if (model_dirty(m, l))
            model_write_back(m, l);
}

static void model_invalidate(struct model *m, unsigned at, unsigned size)
{
    unsigned l;

    for (l = at / m->line; l <= (at + size - 1) / m->line; l++) {
        bool partial = l * m->line < at || (l + 1) * m->line > at + size;

        if (partial && model_dirty(m, l))
            model_write_back(m, l);
        model_refill(m, l);
    }
}

/* Only lines wholly inside, and of those only what a device has overwritten. */
static void model_renew(struct model *m, unsigned at, unsigned size)
{
    unsigned l;

    for (l = (at + m->line - 1) / m->line; (l + 1) * m->line <= at + size; l++) {
        if (!m->filled[l])
            continue;
        if (model_dirty(m, l))
            model_write_back(m, l);
        else
            model_refill(m, l);
    }
}

static struct dk_section *section_of(struct composed *c, phys_addr_t phys)
{
    struct dk_section *section = dk_memory_section(c->machine.memory, phys);

    assert_non_null(section);
    return section;
}

static bool line_filled(struct composed *c, const struct model *m, unsigned l)
{
    struct dk_section *section = section_of(c, m->base);
    u64 index = (m->base - section->base) / m->line + l;

    return section->filled[index / 64] >> index % 64 & 1;
}

static bool same_line(struct composed *c, const struct model *m, unsigned l)
{
    struct dk_section *section = section_of(c, m->base);
    u64 offset = m->base - section->base + (u64)l * m->line;
    unsigned at = l * m->line;

    return !memcmp(section->cached + offset, m->cached + at, m->line) &&
           !memcmp(section->dram + offset, m->dram + at, m->line) && line_filled(c, m, l) == m->filled[l] &&
           (!m->filled[l] || !memcmp(section->fill + offset, m->fill + at, m->line));
}

/* Which lines were evicted is hash's choice: each must be as before or as the model evicts it. Returns how
 * many were. */
static unsigned follow_eviction(struct composed *c, struct model *m, unsigned at, unsigned size,
                                unsigned *seen)
{
    unsigned first = at / m->line, last = (at + size - 1) / m->line;
    unsigned per_page = PAGE_SIZE / m->line;
    unsigned evicted = 0;
    unsigned l;

    if (first % per_page)
        first--;
    if ((last + 1) % per_page)
        last++;
    for (l = first; l <= last; l++) {
        bool was_filled = m->filled[l];
        bool dirty = model_dirty(m, l);

        if (!dirty && !was_filled)
            continue;
        ++*seen;
        if (same_line(c, m, l))
            continue;
        if (dirty)
            model_write_back(m, l);
        else
            model_refill(m, l);
        evicted++;
    }
    return evicted;
}

static void play(unsigned line, unsigned long rounds, u64 seed)
{
    struct composed *c = compose(&(struct shape){ .line = line, .seed = 5 });
    struct model *m = calloc(1, sizeof(*m));
    unsigned area = LINES * line;
    unsigned long round;
    unsigned evicted = 0, seen = 0;
    struct dk_section *section;
    u64 state = seed;

    assert_non_null(c);
    assert_non_null(m);
    m->line = line;
    /* Half of the lines on either side of a page's end, where they are smaller than a page. */
    m->base = 0x100000 + (area < 2 * PAGE_SIZE ? PAGE_SIZE - area / 2 : 0);
    section = section_of(c, m->base);
    for (round = 0; round < rounds; round++) {
        u64 random = test_random(&state);
        unsigned size = 1 + random / 8 % (random & 1 ? 16 : 3 * line);
        unsigned at = test_random(&state) % area;
        unsigned char value = (unsigned char)(random >> 40);
        unsigned char bytes[3 * LARGEST];
        unsigned i, l;

        if (size > area - at)
            size = area - at;
        for (i = 0; i < size; i++)
            bytes[i] = (unsigned char)(value + at + i);
        switch ((random >> 32) % 9) {
        case 0:
        case 1:
            memcpy(section->cached + (m->base - section->base) + at, bytes, size);
            memcpy(m->cached + at, bytes, size);
            break;
        case 2:
        case 3:
            assert_int_equal(dk_cache_device_write(&c->machine, m->base + at, bytes, size), 0);
            model_device_write(m, at, size, value);
            break;
        case 4:
            assert_int_equal(dk_cache_device_read(&c->machine, m->base + at, bytes, size), 0);
            assert_memory_equal(bytes, m->dram + at, size);
            break;
        case 5:
            dk_cache_clean(c->machine.cache, m->base + at, size);
            model_clean(m, at, size);
            break;
        case 6:
            dk_cache_invalidate(c->machine.cache, m->base + at, size);
            model_invalidate(m, at, size);
            break;
        case 7:
            dk_cache_renew(c->machine.cache, m->base + at, size);
            model_renew(m, at, size);
            break;
        default:
            /* Neighbours of the area are not modelled. */
            if (at / line == 0 || (at + size - 1) / line == LINES - 1)
                break;
            dk_cache_evict(c->machine.cache, round, m->base + at, size);
            evicted += follow_eviction(c, m, at, size, &seen);
        }
        for (l = 0; l < LINES; l++) {
            if (!same_line(c, m, l))
                fail_msg("seed %llu, line size %u, round %lu: line %u differs from the model", seed, line,
                         round, l);
        }
    }
    if (seen > 1000) {
        assert_in_range(evicted * 100 / seen, 18, 32);
    }
    free(m);
    dispose(c);
}

static void test_agrees_with_model(void **state)
{
    static const struct {
        unsigned line;
        unsigned long rounds;
    } cases[] = { { 64, 1000000 }, { 16, 200000 }, { 32, 100000 }, { 128, 100000 }, { 4096, 2000 } };
    u64 seed = test_seed(20240229);
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        play(cases[i].line, test_rounds(cases[i].rounds), seed + i);
}

/* A pattern of evictions over dirty lines, as bits. */
static void eviction_pattern(u64 seed, u64 number, unsigned char *pattern)
{
    struct composed *c = compose(&(struct shape){ .seed = seed });
    const phys_addr_t base = 0x200000;
    struct dk_section *section = section_of(c, base);
    unsigned l;

    for (l = 0; l < 64; l++)
        section->cached[base - section->base + l * 64] = 1;
    dk_cache_evict(c->machine.cache, number, base, 4096);
    for (l = 0; l < 64; l++)
        pattern[l] = (unsigned char)section->dram[base - section->base + l * 64];
    dispose(c);
}

static void test_eviction_is_the_seeds(void **state)
{
    unsigned char first[64], again[64], other_number[64], other_seed[64], none[64];
    const unsigned char zeros[64] = { 0 };

    (void)state;
    eviction_pattern(1, 1, first);
    eviction_pattern(1, 1, again);
    eviction_pattern(1, 2, other_number);
    eviction_pattern(2, 1, other_seed);
    eviction_pattern(0, 1, none);
    assert_memory_equal(first, again, 64);
    assert_memory_not_equal(first, zeros, 64);
    assert_memory_not_equal(first, other_number, 64);
    assert_memory_not_equal(first, other_seed, 64);
    assert_memory_equal(none, zeros, 64);
}

/* Two owners in one line, without any seed: the CPU's byte overwrites the device's, or the device's is lost.
 */
static void test_partial_lines_do_damage(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct dk_section *section = section_of(c, 0);
    char *cached = section->cached + 0x1000, *dram = section->dram + 0x1000;
    const char device[32] = "the device wrote this";

    (void)state;
    /* The CPU owns the line's second half and dirties it, the device wrote the first: invalidating that
     * cleans the line. */
    cached[32] = 'c';
    assert_int_equal(dk_cache_device_write(&c->machine, 0x1000, device, 32), 0);
    assert_int_equal(dram[0], 't');
    dk_cache_invalidate(c->machine.cache, 0x1000, 32);
    assert_int_equal(dram[0], 0);
    assert_int_equal(cached[0], 0);
    assert_int_equal(dram[32], 'c');
    assert_int_equal(cached[32], 'c');

    /* A whole line that is the device's alone arrives, and what the CPU stored there is gone. */
    cached[64] = 'c';
    assert_int_equal(dk_cache_device_write(&c->machine, 0x1040, device, 32), 0);
    dk_cache_invalidate(c->machine.cache, 0x1040, 64);
    assert_memory_equal(cached + 64, device, 32);

    /* Without invalidation the CPU sees what it saw before. */
    assert_int_equal(dk_cache_device_write(&c->machine, 0x1080, device, 32), 0);
    assert_int_equal(cached[128], 0);
    dispose(c);
}

static void test_ranges_that_are_no_ram(void **state)
{
    struct composed *c = compose(&(struct shape){ .seed = 1 });
    struct dk_cache *cache = c->machine.cache;
    char *cached = dk_memory_cached(c->machine.memory, RAM_SIZE - 64);
    char *dram = dk_memory_dram(c->machine.memory, RAM_SIZE - 64);

    (void)state;
    cached[63] = 1;
    dk_cache_clean(cache, RAM_SIZE - 1, 0);
    assert_int_equal(dram[63], 0);
    dk_cache_clean(cache, RAM_SIZE - 1, 0x1000000);
    assert_int_equal(dram[63], 1);
    dk_cache_clean(cache, ~0ull - 64, 65);
    dk_cache_invalidate(cache, 1ull << DK_PHYS_BITS, 64);
    dk_cache_evict(cache, 1, (1ull << DK_PHYS_BITS) - 64, 65);
    dk_cache_clean(NULL, 0, 64);
    dk_cache_invalidate(NULL, 0, 64);
    dk_cache_evict(NULL, 1, 0, 64);
    dk_cache_destroy(NULL);
    /* Across the hole: both ends are reached. */
    cached[0] = 2;
    *dk_memory_cached(c->machine.memory, SECOND_RAM) = 3;
    dk_cache_clean(cache, RAM_SIZE - 64, SECOND_RAM - RAM_SIZE + 65);
    assert_int_equal(dram[0], 2);
    assert_int_equal(*dk_memory_dram(c->machine.memory, SECOND_RAM), 3);
    dispose(c);
}

/* Lines either side of a section's end, and the last one that an address reaches. */
static void test_borders_of_sections_and_of_all_memory(void **state)
{
    static const struct {
        struct dk_memory_range range;
        phys_addr_t at, size;
    } cases[] = {
        { { 0, 2 * (u64)DK_SLOT_SIZE }, DK_SLOT_SIZE - 64, 128 },
        { { (1ull << DK_PHYS_BITS) - RAM_SIZE, RAM_SIZE }, (1ull << DK_PHYS_BITS) - 64, 64 },
    };
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_memory *memory = dk_memory_create(&(struct dk_memory_config){
            .ranges = &cases[i].range, .range_count = 1, .two_views = true, .line = 64 });
        const phys_addr_t end = cases[i].at + cases[i].size;
        struct dk_cache *cache;
        phys_addr_t phys;

        assert_false(IS_ERR(memory));
        cache = dk_cache_create(memory, 0);
        assert_non_null(cache);
        for (phys = cases[i].at; phys < end; phys += 64)
            *dk_memory_cached(memory, phys) = 1;
        dk_cache_clean(cache, cases[i].at, cases[i].size);
        for (phys = cases[i].at; phys < end; phys += 64) {
            assert_int_equal(*dk_memory_dram(memory, phys), 1);
            *dk_memory_dram(memory, phys) = 2;
        }
        dk_cache_invalidate(cache, cases[i].at, cases[i].size);
        for (phys = cases[i].at; phys < end; phys += 64)
            assert_int_equal(*dk_memory_cached(memory, phys), 2);
        dk_cache_destroy(cache);
        dk_memory_destroy(memory);
    }
}

/* Dirty is what the CPU stored and no line has taken down yet, to the byte. */
static void test_dirty_bytes(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct dk_cache *cache = c->machine.cache;

    (void)state;
    assert_false(dk_cache_is_dirty(cache, 0x6000, 256));
    section_of(c, 0)->cached[0x6000 + 100] = 1;
    assert_true(dk_cache_is_dirty(cache, 0x6000, 256));
    assert_true(dk_cache_is_dirty(cache, 0x6000 + 100, 1));
    assert_false(dk_cache_is_dirty(cache, 0x6000, 100));
    assert_false(dk_cache_is_dirty(cache, 0x6000 + 101, 155));
    dk_cache_clean(cache, 0x6000, 256);
    assert_false(dk_cache_is_dirty(cache, 0x6000, 256));
    dispose(c);
}

/* The lines either side are evicted, but not those of the pages next door. */
static void test_eviction_stays_in_the_pages(void **state)
{
    struct composed *c = compose(&(struct shape){ .seed = 9 });
    struct dk_section *section = section_of(c, 0);
    static const struct {
        phys_addr_t line, next_door, beside;
    } edges[] = { { 0x2000, 0x1fc0, 0x2040 }, { 0x2fc0, 0x3000, 0x2f80 } };

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        unsigned beside = 0;

        for (u64 number = 0; number < 200; number++) {
            section->cached[edges[i].next_door] = 1;
            section->dram[edges[i].next_door] = 0;
            section->cached[edges[i].beside] = 1;
            section->dram[edges[i].beside] = 0;
            dk_cache_evict(c->machine.cache, number, edges[i].line, 64);
            assert_int_equal(section->dram[edges[i].next_door], 0);
            beside += (unsigned)section->dram[edges[i].beside];
        }
        assert_in_range(beside, 25, 80);
    }
    dispose(c);
}

/* A snooping device sees dirty lines, and what it writes is in both views without harm to its neighbours. */
static void test_snooping(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct dk_section *section = section_of(c, 0);
    char *cached = section->cached + 0x3000, *dram = section->dram + 0x3000;
    char bytes[100];

    (void)state;
    memset(cached, 'c', 256);
    assert_int_equal(dk_cache_snoop_read(&c->machine, 0x3000 + 10, bytes, 100), 0);
    assert_int_equal(bytes[0], 'c');
    assert_int_equal(bytes[99], 'c');
    cached[0] = 'x';
    memset(bytes, 'd', 100);
    assert_int_equal(dk_cache_snoop_write(&c->machine, 0x3000 + 10, bytes, 100), 0);
    assert_int_equal(cached[0], 'x');
    assert_int_equal(dram[0], 'x');
    assert_memory_equal(cached, dram, 128);
    assert_int_equal(cached[9], 'c');
    assert_memory_equal(cached + 10, bytes, 100);
    assert_int_equal(cached[110], 'c');
    dispose(c);
}

/* A page that the CPU uses past its cache, and behind it one that it does not: each gets its bytes its own
 * way. */
static void test_snooping_across_kinds_of_pages(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct dk_section *section = section_of(c, 0);
    char *cached = section->cached + 0x5000, *dram = section->dram + 0x5000;
    char bytes[200];

    (void)state;
    assert_int_equal(dk_memory_set_uncached(c->machine.memory, 0x4000, PAGE_SIZE), 0);
    memset(cached, 'c', 256);
    memset(bytes, 'd', sizeof(bytes));
    assert_int_equal(dk_cache_snoop_write(&c->machine, 0x5000 - 100, bytes, 200), 0);
    assert_memory_equal(dram - 100, bytes, 200);
    assert_memory_equal(cached, bytes, 100);
    /* The rest of the line that the last byte is in. */
    assert_int_equal(cached[100], 'c');
    assert_int_equal(dram[100], 'c');
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(dk_cache_snoop_read(&c->machine, 0x5000 - 100, bytes, 200), 0);
    assert_int_equal(bytes[0], 'd');
    assert_int_equal(bytes[199], 'd');
    dispose(c);
}

#define PAIRS 32

struct sharing {
    struct composed *c;
    unsigned long rounds;
};

static void *device_side(void *data)
{
    const struct sharing *sharing = data;
    unsigned long round;
    unsigned l;

    for (round = 1; round <= sharing->rounds; round++) {
        for (l = 0; l < PAIRS; l++) {
            uint64_t value = round;

            dk_cache_device_write(&sharing->c->machine, 0x4000 + l * 128, &value, 8);
        }
    }
    return NULL;
}

/* The device's lines and the CPU's alternate in one page: neither loses a word to the other. */
static void test_device_and_maintenance_at_once(void **state)
{
    struct composed *c = compose(&(struct shape){ .seed = 3 });
    struct sharing sharing = { c, test_rounds(20000) };
    struct dk_section *section = section_of(c, 0);
    unsigned long round;
    pthread_t thread;
    unsigned l;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, device_side, &sharing), 0);
    for (round = 1; round <= sharing.rounds / 10; round++) {
        for (l = 0; l < PAIRS; l++) {
            *(uint64_t *)(void *)(section->cached + 0x4040 + l * 128) = round;
            dk_cache_clean(c->machine.cache, 0x4040 + l * 128, 64);
            dk_cache_invalidate(c->machine.cache, 0x4000 + l * 128, 64);
            dk_cache_evict(c->machine.cache, round, 0x4000 + l * 128, 128);
        }
    }
    pthread_join(thread, NULL);
    for (l = 0; l < PAIRS; l++) {
        uint64_t value;

        dk_cache_device_read(&c->machine, 0x4000 + l * 128, &value, 8);
        assert_int_equal(value, sharing.rounds);
        dk_cache_device_read(&c->machine, 0x4040 + l * 128, &value, 8);
        assert_int_equal(value, round - 1);
    }
    dispose(c);
}

static void *maintain_edges(void *data)
{
    const struct sharing *sharing = data;
    unsigned long round;

    for (round = 1; round <= sharing->rounds; round++) {
        dk_cache_device_write(&sharing->c->machine, 0x6000, &round, 8);
        dk_cache_invalidate(sharing->c->machine.cache, 0x6000, 32);
        dk_cache_evict(sharing->c->machine.cache, round, 0x6000, 32);
    }
    return NULL;
}

/* A store that races with a refill of its line stays: only whole invalidated lines lose what the CPU wrote.
 */
static void test_racing_stores_stay(void **state)
{
    struct composed *c = compose(&(struct shape){ .seed = 3 });
    struct sharing sharing = { c, test_rounds(200000) };
    volatile uint64_t *word = (volatile uint64_t *)(void *)(section_of(c, 0)->cached + 0x6020);
    unsigned long lost = 0;
    unsigned long round;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, maintain_edges, &sharing), 0);
    for (round = 1; round <= sharing.rounds * 4; round++) {
        *word = round;
        lost += *word != round;
    }
    pthread_join(thread, NULL);
    assert_int_equal(lost, 0);
    assert_int_equal(*word, round - 1);
    dispose(c);
}

/* Unaligned beginnings and ends, across lines, sections' memory and views: what goes in comes out. */
static void test_transfers_of_every_shape(void **state)
{
    unsigned coherent, at, size;

    (void)state;
    for (coherent = 0; coherent < 2; coherent++) {
        struct composed *c = compose(&(struct shape){ .coherent = coherent });
        unsigned char out[80], in[80];

        assert_int_equal(c->machine.cache == NULL, coherent);
        for (at = 0; at < 16; at++) {
            for (size = 0; size <= sizeof(out); size++) {
                unsigned char *view = (unsigned char *)dk_memory_dram(c->machine.memory, 0x7000);
                unsigned i;

                memset(view, 0xee, 128);
                for (i = 0; i < size; i++)
                    out[i] = (unsigned char)(at * 16 + size + i);
                assert_int_equal(dk_cache_device_write(&c->machine, 0x7010 + at, out, size), 0);
                assert_int_equal(view[0x10 + at - 1], 0xee);
                assert_int_equal(view[0x10 + at + size], 0xee);
                assert_memory_equal(view + 0x10 + at, out, size);
                memset(in, 0xdd, sizeof(in));
                assert_int_equal(dk_cache_device_read(&c->machine, 0x7010 + at, in, size), 0);
                assert_memory_equal(in, out, size);
                if (size < sizeof(in))
                    assert_int_equal(in[size], 0xdd);
            }
        }
        dispose(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_model),
        cmocka_unit_test(test_eviction_is_the_seeds),
        cmocka_unit_test(test_partial_lines_do_damage),
        cmocka_unit_test(test_ranges_that_are_no_ram),
        cmocka_unit_test(test_eviction_stays_in_the_pages),
        cmocka_unit_test(test_borders_of_sections_and_of_all_memory),
        cmocka_unit_test(test_dirty_bytes),
        cmocka_unit_test(test_snooping),
        cmocka_unit_test(test_snooping_across_kinds_of_pages),
        cmocka_unit_test(test_device_and_maintenance_at_once),
        cmocka_unit_test(test_racing_stores_stay),
        cmocka_unit_test(test_transfers_of_every_shape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
