/* SPDX-License-Identifier: MIT */
/*
 * Addresses that were unmapped of late: nobody gets them while there are others, the oldest come back first,
 * and all of them when there are no others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "mapping/iova-quarantine.h"
#include <cmocka.h>
#include <dmakit/error.h>
#include <dmakit/fail.h>
#include <dmakit/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((u64)1 << 20)
#define EVERYWHERE (~(dma_addr_t)0)
#define RANGES DK_IOVA_QUARANTINE_RANGES

static unsigned log_lines;

static void count_line(int level, const char *line, void *data)
{
    (void)level;
    (void)data;
    print_error("%s\n", line);
    log_lines++;
}

static u64 word;

static u64 draw(u64 below)
{
    word ^= word << 13;
    word ^= word >> 7;
    word ^= word << 17;
    return word % below;
}

struct place {
    struct dk_iova *iova;
    struct dk_iova_quarantine *quarantine;
};

static struct place make(u64 bytes)
{
    struct place place;

    dk_log_set_sink(count_line, NULL);
    log_lines = 0;
    place.iova = dk_iova_create(0, bytes - 1);
    assert_false(IS_ERR(place.iova));
    place.quarantine = dk_iova_quarantine_create(place.iova);
    assert_non_null(place.quarantine);
    return place;
}

static void unmake(struct place place)
{
    dk_iova_quarantine_destroy(place.quarantine);
    dk_iova_destroy(place.iova);
    assert_int_equal(log_lines, 0);
    dk_log_set_sink(NULL, NULL);
}

/* One address after the other, each given back at once: without the quarantine it is always the same. */
static void an_address_comes_back_after_256_others(void **state)
{
    struct place place = make(4096 * MIB);
    dma_addr_t first = dk_iova_take(place.iova, 1, EVERYWHERE), next;
    unsigned i;

    (void)state;
    dk_iova_give(place.iova, first, 1);
    assert_true(dk_iova_take(place.iova, 1, EVERYWHERE) == first);
    dk_iova_quarantine_add(place.quarantine, first, 1);
    for (i = 0; i < RANGES; i++) {
        next = dk_iova_take(place.iova, 1, EVERYWHERE);
        assert_true(next != first);
        dk_iova_quarantine_add(place.quarantine, next, 1);
    }
    assert_true(dk_iova_take(place.iova, 1, EVERYWHERE) == first);
    unmake(place);
}

struct range {
    dma_addr_t start;
    u64 pages;
};

static struct range queue[RANGES + 1];
static unsigned queued;
static u64 queued_pages;

static void model_add(struct range range)
{
    if (range.pages > DK_IOVA_QUARANTINE_PAGES)
        return;
    queue[queued++] = range;
    queued_pages += range.pages;
    while (queued > RANGES || queued_pages > DK_IOVA_QUARANTINE_PAGES) {
        queued_pages -= queue[0].pages;
        memmove(queue, queue + 1, --queued * sizeof(queue[0]));
    }
}

#define LIVE 200

static void random_ranges_are_as_in_a_list(void **state)
{
    static const u64 sizes[] = { 1, 1, 1, 2, 3, 16, 100, 1024, 1025, 5000, 70000 };
    const char *text = getenv("DMAKIT_TEST_SEED");
    unsigned rounds = getenv("DMAKIT_TEST_FAST") ? 20000 : 300000, i, j, live = 0;
    struct place place = make(64 * 1024 * MIB);
    u64 all = dk_iova_free_pages(place.iova), taken = 0, held = 0;
    struct range ranges[LIVE];

    (void)state;
    word = text ? strtoull(text, NULL, 0) : 0x51ce;
    word += !word;
    printf("seed 0x%llx (DMAKIT_TEST_SEED)\n", word);
    queued = 0;
    queued_pages = 0;
    for (i = 0; i < rounds; i++) {
        if (draw(2) && live < LIVE) {
            struct range *range = &ranges[live++];

            range->pages = sizes[draw(11)];
            range->start = dk_iova_take(place.iova, range->pages, EVERYWHERE);
            assert_true(range->start != DMA_MAPPING_ERROR);
            for (j = 0; j < queued; j++) {
                if (range->start < queue[j].start + (queue[j].pages << PAGE_SHIFT) &&
                    queue[j].start < range->start + (range->pages << PAGE_SHIFT))
                    fail_msg("round %u: 0x%llx is in quarantine", i, range->start);
            }
        } else if (live) {
            j = (unsigned)draw(live);
            model_add(ranges[j]);
            dk_iova_quarantine_add(place.quarantine, ranges[j].start, ranges[j].pages);
            ranges[j] = ranges[--live];
        }
        if (draw(5000) == 0) {
            assert_true(dk_iova_quarantine_end(place.quarantine) == (queued > 0));
            assert_false(dk_iova_quarantine_end(place.quarantine));
            queued = 0;
            queued_pages = 0;
        }
        if (i % 1000 == 0) {
            /* Sizes up to 1024 pages take their power of two. */
            for (taken = 0, j = 0; j < live; j++)
                taken += ranges[j].pages > 1024 ? ranges[j].pages : 1ull << dk_iova_order(ranges[j].pages);
            for (held = 0, j = 0; j < queued; j++)
                held += queue[j].pages > 1024 ? queue[j].pages : 1ull << dk_iova_order(queue[j].pages);
            assert_true(dk_iova_free_pages(place.iova) == all - taken - held);
        }
    }
    while (live--)
        dk_iova_give(place.iova, ranges[live].start, ranges[live].pages);
    dk_iova_quarantine_end(place.quarantine);
    assert_true(dk_iova_free_pages(place.iova) == all);
    unmake(place);
}

static void no_memory_is_an_error(void **state)
{
    struct place place = make(64 * MIB);

    (void)state;
    dk_fail_nth(1);
    assert_null(dk_iova_quarantine_create(place.iova));
    assert_int_equal(dk_fail_hits(), 1);
    dk_fail_nth(0);
    dk_iova_quarantine_destroy(NULL);
    unmake(place);
}

struct churner {
    struct place place;
    unsigned failed;
};

static void *churn(void *data)
{
    struct churner *churner = data;
    unsigned i;

    for (i = 0; i < 20000; i++) {
        u64 pages = 1 + i % 7;
        dma_addr_t start = dk_iova_take(churner->place.iova, pages, EVERYWHERE);

        if (start == DMA_MAPPING_ERROR)
            churner->failed++;
        else
            dk_iova_quarantine_add(churner->place.quarantine, start, pages);
        if (i % 300 == 0)
            dk_iova_quarantine_end(churner->place.quarantine);
    }
    return NULL;
}

static void threads_meet(void **state)
{
    struct place place = make(1024 * MIB);
    struct churner churners[2] = { { place, 0 }, { place, 0 } };
    u64 all = dk_iova_free_pages(place.iova);
    pthread_t threads[2];
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &churners[i]), 0);
    for (i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(churners[0].failed + churners[1].failed, 0);
    dk_iova_quarantine_end(place.quarantine);
    assert_true(dk_iova_free_pages(place.iova) == all);
    unmake(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_comes_back_after_256_others),
        cmocka_unit_test(random_ranges_are_as_in_a_list),
        cmocka_unit_test(no_memory_is_an_error),
        cmocka_unit_test(threads_meet),
    };

    return cmocka_run_group_tests_name("iova-quarantine", tests, NULL, NULL);
}
