/* SPDX-License-Identifier: MIT */
/*
 * Moving one page that its owner can move, and the lock bit that its owner and the mover agree by.
 */
#include <dmakit/migrate.h>

#include "base/log.h"
#include "mm/cma-lend.h"
#include "mm/private.h"

#include <sched.h>

/* How often an owner that says -EAGAIN is asked again at once. */
#define ATTEMPTS 3

/* ---- The lock bit ---- */

/* Whether @page is allocated, without which its flags are not the caller's. */
static bool is_allocated(const struct page *page, const char *call)
{
    struct dk_memory *memory;
    u64 pfn;

    if (dk_page_find(page, &memory, &pfn) && dk_page_flags(page) & DK_PAGE_USED)
        return true;
    dk_log(DK_LOG_WARNING, "%s: %p is not an allocated page", call, (const void *)page);
    return false;
}

static bool try_lock(struct page *page)
{
    return !(__atomic_fetch_or(&page->flags, DK_PAGE_LOCKED, __ATOMIC_ACQUIRE) & DK_PAGE_LOCKED);
}

bool trylock_page(struct page *page)
{
    return is_allocated(page, "trylock_page") && try_lock(page);
}

void lock_page(struct page *page)
{
    if (!is_allocated(page, "lock_page"))
        return;
    dk_might_sleep_gfp(dk_slot_find(page)->memory, GFP_KERNEL, "lock_page");
    /* Held for the time of a copy, and hardly ever asked for by two. */
    while (!try_lock(page))
        sched_yield();
}

void unlock_page(struct page *page)
{
    if (is_allocated(page, "unlock_page") &&
        !(__atomic_fetch_and(&page->flags, ~DK_PAGE_LOCKED, __ATOMIC_RELEASE) & DK_PAGE_LOCKED))
        dk_log(DK_LOG_WARNING, "unlock_page: the page at 0x%llx is not locked", page_to_phys(page));
}

bool PageLocked(const struct page *page)
{
    return dk_page_flags(page) & DK_PAGE_LOCKED;
}

/* ---- Movable pages ---- */

void __SetPageMovable(struct page *page, const struct movable_operations *operations)
{
    const char *wrong = NULL;
    struct dk_memory *memory;
    u64 pfn;

    if (!dk_page_find(page, &memory, &pfn)) {
        dk_log(DK_LOG_WARNING, "__SetPageMovable: %p is not a page", (void *)page);
        return;
    }
    pthread_mutex_lock(&memory->pages_lock);
    if (!operations || !operations->isolate_page || !operations->migrate_page || !operations->putback_page)
        wrong = "has no isolate_page, migrate_page and putback_page to go with it";
    else if ((dk_page_flags(page) & ~(DK_PAGE_ISOLATED | DK_PAGE_LENT)) != (DK_PAGE_USED | DK_PAGE_LOCKED) ||
             page->run != 1)
        wrong = "is not a locked allocation of one page";
    if (!wrong) {
        page->movable = operations;
        __atomic_fetch_or(&page->flags, DK_PAGE_MOVABLE, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&memory->pages_lock);
    if (wrong)
        dk_log(DK_LOG_WARNING, "__SetPageMovable: the page at 0x%llx %s", (phys_addr_t)pfn << PAGE_SHIFT,
               wrong);
}

void __ClearPageMovable(struct page *page)
{
    struct dk_memory *memory;
    u64 pfn;
    bool was;

    if (!dk_page_find(page, &memory, &pfn))
        return;
    pthread_mutex_lock(&memory->pages_lock);
    was = __atomic_fetch_and(&page->flags, ~DK_PAGE_MOVABLE, __ATOMIC_RELEASE) & DK_PAGE_MOVABLE;
    pthread_mutex_unlock(&memory->pages_lock);
    if (!was)
        dk_log(DK_LOG_WARNING, "__ClearPageMovable: the page at 0x%llx is not movable",
               (phys_addr_t)pfn << PAGE_SHIFT);
}

bool __PageMovable(const struct page *page)
{
    return dk_page_flags(page) & DK_PAGE_MOVABLE;
}

bool PageIsolated(const struct page *page)
{
    return dk_page_flags(page) & DK_PAGE_ISOLATED;
}

/* ---- Moving one ---- */

/* A reference to the movable page of @pfn, and its operations; NULL: it is not movable, or has others. */
static struct page *hold(struct dk_memory *memory, u64 pfn, const struct movable_operations **operations)
{
    struct page *page = dk_page_mapped(memory, pfn);
    u32 one = 1, flags;

    pthread_mutex_lock(&memory->pages_lock);
    flags = page ? dk_page_flags(page) : 0;
    if (!(flags & DK_PAGE_MOVABLE) || flags & DK_PAGE_ISOLATED ||
        !__atomic_compare_exchange_n(&page->count, &one, 2, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        page = NULL;
    else
        *operations = page->movable;
    pthread_mutex_unlock(&memory->pages_lock);
    return page;
}

/* Flags for a page that does what @page, the one of @pfn, does: of movable memory's zones, which are known;
 * else not above its zone, for its owner asked for that one, perhaps. */
static gfp_t replacement_gfp(struct dk_memory *memory, const struct page *page, u64 pfn, gfp_t gfp)
{
    static const gfp_t zones[DK_ZONE_COUNT] = { [DK_ZONE_DMA] = GFP_DMA,
                                                [DK_ZONE_DMA32] = GFP_DMA32,
                                                [DK_ZONE_NORMAL] = 0,
                                                [DK_ZONE_HIGHMEM] = __GFP_HIGHMEM };
    gfp_t named;

    gfp &= ~(__GFP_ZERO | __GFP_COMP | GFP_DMA | GFP_DMA32 | __GFP_HIGHMEM | __GFP_NOFAIL);
    if (!dk_movable_zones(memory, page, &named))
        named = zones[dk_zone_of(memory, pfn) - memory->zones];
    return gfp | __GFP_MOVABLE | __GFP_NOWARN | named;
}

static void put_locked(struct page *page)
{
    unlock_page(page);
    put_page(page);
}

int dk_page_migrate(struct dk_memory *memory, u64 pfn, gfp_t gfp)
{
    const struct movable_operations *operations;
    struct page *page = hold(memory, pfn, &operations), *target;
    int error = -EAGAIN;
    unsigned i;

    if (!page)
        return -EAGAIN;
    lock_page(page);
    if (!__PageMovable(page) || !operations->isolate_page(page, 0)) {
        put_locked(page);
        return -EAGAIN;
    }
    __atomic_fetch_or(&page->flags, DK_PAGE_ISOLATED, __ATOMIC_RELEASE);
    gfp = replacement_gfp(memory, page, pfn, gfp);
    target = dk_pages_allocate(memory, gfp, 0);
    /* Where the zones are full an area has room, perhaps. */
    if (!target)
        target = dk_cma_lend(memory, gfp);
    if (!target) {
        error = -ENOMEM;
        goto putback;
    }
    lock_page(target);
    for (i = 0; i < ATTEMPTS && error == -EAGAIN; i++)
        error = operations->migrate_page(target, page, MIGRATE_SYNC);
    /* The owner has a reference of its own now, or the page is not needed. */
    put_locked(target);
    if (error)
        goto putback;
    __atomic_fetch_and(&page->flags, ~DK_PAGE_ISOLATED, __ATOMIC_RELEASE);
    put_locked(page);
    return 0;

putback:
    operations->putback_page(page);
    __atomic_fetch_and(&page->flags, ~DK_PAGE_ISOLATED, __ATOMIC_RELEASE);
    put_locked(page);
    return error == -EAGAIN || error == -ENOMEM ? error : -EBUSY;
}
