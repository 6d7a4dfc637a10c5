/* SPDX-License-Identifier: MIT */
/*
 * An IOMMU's page tables, against an array with one element a page.
 */
#include "compose.h"
#include "machine/iommu.h"

#include <dmakit/fail.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define RW (DK_IOMMU_READ | DK_IOMMU_WRITE)

static struct dk_iommu_domain *make_domain(void)
{
    struct dk_iommu_domain *domain = dk_iommu_domain_create(NULL);

    assert_non_null(domain);
    return domain;
}

/* Fails unless [iova, iova + size) leads to @phys, contiguously, with @prot. */
static void expect(struct dk_iommu_domain *domain, dma_addr_t iova, phys_addr_t phys, u64 size, unsigned prot)
{
    phys_addr_t found = 0;
    unsigned rights = 99;
    u64 run = 0;

    if (!dk_iommu_find(domain, iova, size, &found, &run, &rights))
        fail_msg("nothing at %#llx", iova);
    if (found != phys || run != size || rights != prot)
        fail_msg("%#llx leads to %#llx, run %#llx, rights %u", iova, found, run, rights);
}

static void expect_hole(struct dk_iommu_domain *domain, dma_addr_t iova, u64 size)
{
    if (dk_iommu_tables_any(&domain->tables, iova, size))
        fail_msg("something in %#llx, %#llx bytes", iova, size);
    assert_false(dk_iommu_find(domain, iova, 1, NULL, NULL, NULL));
    assert_false(dk_iommu_find(domain, iova + size - 1, 1, NULL, NULL, NULL));
}

static void test_refusals(void **state)
{
    static const struct {
        dma_addr_t iova;
        phys_addr_t phys;
        u64 size;
        unsigned prot;
        int error;
    } cases[] = {
        { 0x1000, 0x2000, 0x1000, RW, 0 },
        { 0x1800, 0x2000, 0x1000, RW, -EINVAL },
        { 0x8000, 0x2800, 0x1000, RW, -EINVAL },
        { 0x8000, 0x2000, 0x1800, RW, -EINVAL },
        { 0x8000, 0x2000, 0, RW, -EINVAL },
        { 0x8000, 0x2000, 0x1000, 8, -EINVAL },
        { 0x8000, ~0ull - 0xfff, 0x2000, RW, -EINVAL },
        { 0x8000, ~0ull - 0xfff, 0x1000, RW, 0 },
        { 0x8000, 0x2000, 0x1000, RW, -EEXIST },
        { 0x0000, 0x2000, 0x2000, RW, -EEXIST },
        { 0x7000, 0x2000, 0x2000, 0, -EEXIST },
        { 0xfffffffff000, 0x5000, 0x1000, 0, 0 },
        { 0xfffffffff000, 0x5000, 0x2000, 0, -EINVAL },
        { 0x1000000000000, 0x5000, 0x1000, RW, -EINVAL },
        { 0x1000, 0x5000, ~0xfffull, RW, -EINVAL },
        { 0x40000000, 0x40000000, 0x40000000, RW, 0 },
        { 0x7fffe000, 0x5000, 0x1000, RW, -EEXIST },
        { 0x3fe00000, 0x3fe00000, 0x400000, RW, -EEXIST },
    };
    struct dk_iommu_domain *domain = make_domain();
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int error = dk_iommu_map(domain, cases[i].iova, cases[i].phys, cases[i].size, cases[i].prot);

        if (error != cases[i].error)
            fail_msg("case %u: %d", i, error);
    }
    expect_hole(domain, 0, 0x1000);
    expect_hole(domain, 0x2000, 0x6000);
    expect_hole(domain, 0x9000, 0x40000000 - 0x9000);
    expect(domain, 0x1fff, 0x2fff, 1, RW);
    expect(domain, 0xffffffffffff, 0x5fff, 1, 0);
    assert_false(dk_iommu_find(domain, 1ull << 48, 1, NULL, NULL, NULL));
    assert_false(dk_iommu_find(domain, ~0ull, ~0ull, NULL, NULL, NULL));
    assert_int_equal(dk_iommu_unmap(domain, 0x1800, 0x1000), 0);
    assert_int_equal(dk_iommu_unmap(domain, 1ull << 48, 0x1000), 0);
    assert_int_equal(dk_iommu_unmap(domain, 0x1000, 0), 0);
    /* The whole space at once. */
    assert_int_equal(dk_iommu_unmap(domain, 0, 1ull << 48), 0x3000 + 0x40000000);
    expect_hole(domain, 0, 1ull << 48);
    dk_iommu_domain_destroy(domain);
    dk_iommu_domain_destroy(NULL);
}

/* Large leaves are used where both sides are aligned, and taken apart where only a part goes. */
static void test_large_leaves(void **state)
{
    struct dk_iommu_domain *domain = make_domain();
    const dma_addr_t base = 5 * GIB - 3 * PAGE_SIZE;
    const u64 size = 2 * GIB + 4 * MIB;

    (void)state;
    dk_fail_nth(6);
    /* A branch for each of two levels, and two tables of small leaves: four allocations, not a thousand. */
    assert_int_equal(dk_iommu_map(domain, base, GIB - 3 * PAGE_SIZE, size, RW), 0);
    assert_int_equal(dk_fail_hits(), 0);
    dk_fail_nth(0);
    expect(domain, base, GIB - 3 * PAGE_SIZE, size, RW);
    expect(domain, base + GIB + 5, 2 * GIB - 3 * PAGE_SIZE + 5, size - GIB - 5, RW);

    /* One page out of 1 GiB. */
    assert_int_equal(dk_iommu_unmap(domain, 5 * GIB + 7 * MIB, PAGE_SIZE), PAGE_SIZE);
    expect(domain, base, GIB - 3 * PAGE_SIZE, 7 * MIB + 3 * PAGE_SIZE, RW);
    expect_hole(domain, 5 * GIB + 7 * MIB, PAGE_SIZE);
    expect(domain, 5 * GIB + 7 * MIB + PAGE_SIZE, GIB + 7 * MIB + PAGE_SIZE,
           base + size - 5 * GIB - 7 * MIB - PAGE_SIZE, RW);
    /* From the middle of a leaf of 2 MiB to the middle of one of 1 GiB. */
    assert_int_equal(dk_iommu_unmap(domain, 6 * GIB - MIB, GIB), GIB);
    expect_hole(domain, 6 * GIB - MIB, GIB);
    expect(domain, 6 * GIB - MIB - 1, 2 * GIB - MIB - 1, 1, RW);
    expect(domain, 7 * GIB - MIB, 3 * GIB - MIB, base + size - (7 * GIB - MIB), RW);
    /* Its place takes a large leaf again, and what was there does not shine through. */
    assert_int_equal(dk_iommu_unmap(domain, 5 * GIB, GIB), GIB - MIB - PAGE_SIZE);
    assert_int_equal(dk_iommu_map_fresh(domain, 5 * GIB, 32 * GIB, GIB, DK_IOMMU_READ), 0);
    expect(domain, 5 * GIB, 32 * GIB, GIB, DK_IOMMU_READ);
    dk_iommu_unmap_whole(domain, 5 * GIB, GIB);
    expect_hole(domain, 5 * GIB, 2 * GIB - MIB);
    dk_iommu_domain_destroy(domain);
}

static void test_stale_marks(void **state)
{
    struct dk_iommu_domain *domain = make_domain();

    (void)state;
    assert_int_equal(dk_iommu_map_fresh(domain, 2 * MIB - 2 * PAGE_SIZE, 0, 4 * MIB, RW), 0);
    assert_int_equal(dk_iommu_map_fresh(domain, GIB, 2 * GIB, GIB, DK_IOMMU_READ), 0);
    dk_iommu_mark_stale(domain, 2 * MIB - PAGE_SIZE, 2 * PAGE_SIZE);
    expect(domain, 2 * MIB - 2 * PAGE_SIZE, 0, PAGE_SIZE, RW);
    expect(domain, 2 * MIB - PAGE_SIZE, PAGE_SIZE, 2 * PAGE_SIZE, RW | DK_IOMMU_STALE);
    expect(domain, 2 * MIB + PAGE_SIZE, 3 * PAGE_SIZE, 4 * MIB - 3 * PAGE_SIZE, RW);
    dk_iommu_mark_stale(domain, 0, 2 * GIB);
    expect_hole(domain, 0, 2 * MIB - 2 * PAGE_SIZE);
    expect(domain, 2 * MIB - 2 * PAGE_SIZE, 0, 4 * MIB, RW | DK_IOMMU_STALE);
    expect(domain, GIB, 2 * GIB, GIB, DK_IOMMU_READ | DK_IOMMU_STALE);
    assert_int_equal(dk_iommu_map(domain, 2 * MIB, 0, PAGE_SIZE, RW), -EEXIST);
    dk_iommu_unmap_whole(domain, 2 * MIB - 2 * PAGE_SIZE, 4 * MIB);
    expect_hole(domain, 0, GIB);
    dk_iommu_domain_destroy(domain);
}

/* Not even where memory goes on: what comes next is the first page, which no access wraps to. */
static void test_nothing_follows_the_last_page(void **state)
{
    const dma_addr_t last = (1ull << DK_IOMMU_BITS) - PAGE_SIZE;
    struct dk_iommu_domain *domain = make_domain();
    phys_addr_t phys;
    unsigned prot;
    u64 run;

    (void)state;
    assert_int_equal(dk_iommu_map(domain, last, 0x5000, PAGE_SIZE, RW), 0);
    assert_int_equal(dk_iommu_map(domain, 0, 0x6000, PAGE_SIZE, RW), 0);
    assert_true(dk_iommu_find(domain, last, 2 * PAGE_SIZE, &phys, &run, &prot));
    assert_int_equal(phys, 0x5000);
    assert_int_equal(run, PAGE_SIZE);
    dk_iommu_domain_destroy(domain);
}

/* ---- The model ---- */

#define MODEL_PAGES (4 * GIB / PAGE_SIZE)
/* Across a border of the root's entries. */
#define MODEL_BASE (512 * GIB - 2 * GIB)

/* What each page leads to: its physical address, the rights, PRESENT; 0 for nothing. EDGE: a mapping, or what
 * was left of one, starts here. */
#define PRESENT 8u
#define EDGE 16u

struct model {
    struct dk_iommu_domain *domain;
    u64 *pages;
    u64 random;
    unsigned long refused, found, whole, large;
};

/* A range: mostly small, now and then one that large leaves fit in. */
static void choose(struct model *model, u64 *page, u64 *count)
{
    u64 kind = test_random(&model->random) % 4096;

    *page = test_random(&model->random) % MODEL_PAGES;
    if (kind < 3000) {
        *count = 1 + test_random(&model->random) % 16;
    } else if (kind < 3800) {
        *count = 1 + test_random(&model->random) % 1500;
    } else if (kind < 4092) {
        *page &= ~511ull;
        *count = 512 + test_random(&model->random) % 2 * (test_random(&model->random) % 1024);
    } else {
        *page &= ~0x3ffffull;
        *count = 0x40000 + test_random(&model->random) % 2 * (test_random(&model->random) % 1024);
    }
    /* Most of what happens is near the beginning, where ranges meet. */
    if (test_random(&model->random) % 4 && *count < 0x40000)
        *page = *page % 8192;
    if (*count > MODEL_PAGES - *page)
        *count = MODEL_PAGES - *page;
}

static void model_map(struct model *model, u64 page, u64 count)
{
    unsigned prot = test_random(&model->random) % 4;
    u64 phys = test_random(&model->random) % (1ull << 28) * PAGE_SIZE;
    dma_addr_t iova = MODEL_BASE + page * PAGE_SIZE;
    bool free = true;
    int error;
    u64 i;

    if (test_random(&model->random) % 2)
        phys = (phys & ~(GIB - 1)) | (iova & (GIB - 1));
    for (i = 0; i < count && free; i++)
        free = !model->pages[page + i];
    if (free && test_random(&model->random) % 2)
        error = dk_iommu_map_fresh(model->domain, iova, phys, count * PAGE_SIZE, prot);
    else
        error = dk_iommu_map(model->domain, iova, phys, count * PAGE_SIZE, prot);
    if (error != (free ? 0 : -EEXIST))
        fail_msg("map of %llu pages at %llu: %d", count, page, error);
    model->refused += !free;
    model->large += free && count >= GIB / PAGE_SIZE && !((iova | phys) % GIB);
    for (i = 0; i < count && free; i++)
        model->pages[page + i] = (phys + i * PAGE_SIZE) | prot | PRESENT | (i ? 0 : EDGE);
}

static void model_unmap(struct model *model, u64 page, u64 count)
{
    dma_addr_t iova = MODEL_BASE + page * PAGE_SIZE;
    u64 mapped = 0;
    u64 unmapped, i;
    bool whole;

    for (i = 0; i < count; i++)
        mapped += model->pages[page + i] != 0;
    whole =
        mapped == count && (model->pages[page] & EDGE) &&
        (page + count == MODEL_PAGES || !model->pages[page + count] || (model->pages[page + count] & EDGE));
    model->whole += whole;
    unmapped = mapped * PAGE_SIZE;
    if (whole)
        dk_iommu_unmap_whole(model->domain, iova, count * PAGE_SIZE);
    else
        unmapped = dk_iommu_unmap(model->domain, iova, count * PAGE_SIZE);
    if (unmapped != mapped * PAGE_SIZE)
        fail_msg("unmap of %llu pages at %llu: %#llx bytes, not %llu pages", count, page, unmapped, mapped);
    memset(model->pages + page, 0, count * sizeof(u64));
    if (page + count < MODEL_PAGES && model->pages[page + count])
        model->pages[page + count] |= EDGE;
}

/* From the mapping that @page is in: what one map call made of it that is left. */
static void model_unmap_one(struct model *model, u64 page)
{
    u64 count = 1;

    while (page && model->pages[page] && !(model->pages[page] & EDGE))
        page--;
    while (page + count < MODEL_PAGES && model->pages[page + count] && !(model->pages[page + count] & EDGE))
        count++;
    model_unmap(model, page, count);
}

static void model_find(struct model *model, u64 page, u64 count)
{
    u64 offset = test_random(&model->random) % PAGE_SIZE;
    u64 length = count * PAGE_SIZE - offset;
    u64 first = model->pages[page] & ~(u64)EDGE;
    phys_addr_t phys = 0;
    unsigned prot = 99;
    u64 run = 0;
    u64 i = 1;
    bool found =
        dk_iommu_find(model->domain, MODEL_BASE + page * PAGE_SIZE + offset, length, &phys, &run, &prot);

    if (found != (first != 0))
        fail_msg("find at page %llu: %d", page, found);
    if (!found)
        return;
    model->found++;
    while (i < count && (model->pages[page + i] & ~(u64)EDGE) == first + i * PAGE_SIZE)
        i++;
    if (phys != (first & ~0xfffull) + offset || run != i * PAGE_SIZE - offset || prot != (first & 7))
        fail_msg("find at page %llu: %#llx, run %#llx, rights %u", page, phys, run, prot);
}

static void test_against_a_model(void **state)
{
    struct model model = { make_domain(), calloc(MODEL_PAGES, sizeof(u64)), test_seed(20250101), 0, 0, 0, 0 };
    unsigned long i, rounds = test_rounds(1000000);

    (void)state;
    for (i = 0; i < rounds; i++) {
        u64 page, count;

        /* Room for leaves of 1 GiB, and one at once. */
        if (i % 5000 == 0) {
            model_unmap(&model, test_random(&model.random) % 2 * 8192, MODEL_PAGES - 8192);
            model_map(&model, 0x40000, 0x40000 + test_random(&model.random) % 600);
        }
        choose(&model, &page, &count);
        switch (test_random(&model.random) % 8) {
        case 0:
        case 1:
        case 2:
            model_map(&model, page, count);
            break;
        case 3:
            model_unmap(&model, page, count);
            break;
        case 4:
        case 5:
            model_unmap_one(&model, page);
            break;
        default:
            model_find(&model, page, count);
        }
    }
    assert_true(model.refused && model.found && model.whole && model.large);
    model_unmap(&model, 0, MODEL_PAGES);
    expect_hole(model.domain, MODEL_BASE, 4 * GIB);
    dk_iommu_domain_destroy(model.domain);
    free(model.pages);
}

/* ---- Out of memory ---- */

/* Each step's allocations fail in turn: what failed left nothing changed, and the same call then succeeds. */
static void test_exhaustion(void **state)
{
    const struct step {
        bool map;
        dma_addr_t iova;
        u64 size;
        u64 unmapped; /* for one that found no memory */
    } steps[] = {
        { true, 512 * GIB - 8 * PAGE_SIZE, 16 * PAGE_SIZE, 0 },
        { true, 2 * GIB, GIB, 0 },
        { true, 6 * MIB, 2 * MIB, 0 },
        { true, GIB - 4 * MIB - 2 * PAGE_SIZE, 5 * MIB, 0 },
        { false, 7 * MIB, PAGE_SIZE, 0 },
        { false, 2 * GIB + PAGE_SIZE, GIB - 2 * PAGE_SIZE, 0 },
        { false, GIB - 4 * MIB - 2 * PAGE_SIZE, 3 * MIB, 2 * MIB + 2 * PAGE_SIZE },
    };
    unsigned long n = 0, failures = 0;
    struct dk_iommu_domain *domain;
    unsigned i;

    (void)state;
    dk_fail_nth(1);
    assert_null(dk_iommu_domain_create(NULL));
    dk_fail_nth(0);
    domain = make_domain();
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        const struct step *step = &steps[i];
        u64 missing = 0;
        bool failed = true;

        /* Tables that were made stay: from the second time on, the first of those still missing is made. */
        for (n = 1; failed; n = 2) {
            u64 unmapped = 0;
            int error = 0;

            dk_fail_nth(n);
            if (step->map)
                error = dk_iommu_map(domain, step->iova, step->iova, step->size, RW);
            else
                unmapped = dk_iommu_unmap(domain, step->iova, step->size);
            failed = dk_fail_hits();
            dk_fail_nth(0);
            failures += failed;
            if (step->map) {
                assert_int_equal(error, failed ? -ENOMEM : 0);
                if (failed)
                    expect_hole(domain, step->iova, step->size);
                else
                    expect(domain, step->iova, step->iova, step->size, RW);
                continue;
            }
            /* What needs no split goes the first time. */
            assert_int_equal(unmapped, failed ? (n > 1 ? 0 : step->unmapped) : step->size - missing);
            if (failed && n == 1)
                missing = step->unmapped;
            if (failed)
                expect(domain, step->iova + missing, step->iova + missing, step->size - missing, RW);
            else
                expect_hole(domain, step->iova, step->size);
            expect(domain, step->iova + step->size, step->iova + step->size, PAGE_SIZE, RW);
        }
    }
    assert_int_equal(failures, 15);
    dk_iommu_domain_destroy(domain);
}

/* ---- Threads ---- */

struct worker {
    struct dk_iommu_domain *domain;
    unsigned number;
    unsigned long rounds, wrong;
};

#define WORKERS 3

/* Every third page from @number on: tables are made, and large leaves split, by all threads at once. */
static void *change(void *data)
{
    struct worker *worker = data;
    unsigned long i;
    u64 page;

    for (i = 0; i < worker->rounds; i++) {
        dma_addr_t base = (i + 1) * GIB;

        for (page = worker->number; page < 1500; page += WORKERS) {
            phys_addr_t phys = 0;
            dma_addr_t iova = base + page * PAGE_SIZE;

            worker->wrong += !dk_iommu_find(worker->domain, iova, 1, &phys, NULL, NULL) || phys != iova;
            worker->wrong += dk_iommu_unmap(worker->domain, iova, PAGE_SIZE) != PAGE_SIZE;
            worker->wrong += dk_iommu_find(worker->domain, iova, 1, NULL, NULL, NULL);
            worker->wrong += dk_iommu_map(worker->domain, iova, iova, PAGE_SIZE, worker->number);
        }
        base += 512 * GIB;
        for (page = worker->number; page < 1500; page += WORKERS)
            worker->wrong +=
                dk_iommu_map(worker->domain, base + page * PAGE_SIZE, page * PAGE_SIZE, PAGE_SIZE, RW) != 0;
    }
    return NULL;
}

static void test_threads_change_different_ranges(void **state)
{
    unsigned long rounds = test_rounds(100);
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    struct dk_iommu_domain *domain = make_domain();
    unsigned i;

    (void)state;
    assert_int_equal(dk_iommu_map(domain, GIB, GIB, rounds * GIB, RW), 0);
    for (i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){ domain, i, rounds, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, change, &workers[i]), 0);
    }
    for (i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].wrong, 0);
    }
    for (i = 0; i < rounds; i++) {
        expect(domain, (i + 1) * GIB + PAGE_SIZE, (i + 1) * GIB + PAGE_SIZE, PAGE_SIZE, 1);
        expect(domain, (i + 1) * GIB + 1500 * PAGE_SIZE, (i + 1) * GIB + 1500 * PAGE_SIZE,
               GIB - 1500 * PAGE_SIZE, RW);
        expect(domain, (i + 513) * GIB, 0, 1500 * PAGE_SIZE, RW);
    }
    dk_iommu_domain_destroy(domain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_large_leaves),
        cmocka_unit_test(test_stale_marks),
        cmocka_unit_test(test_nothing_follows_the_last_page),
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_exhaustion),
        cmocka_unit_test(test_threads_change_different_ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
