/* SPDX-License-Identifier: MIT */
#include <dmakit/movable.h>

#include "base/alloc.h"
#include "base/log.h"
#include "mm/cma-lend.h"
#include "mm/vmalloc.h"
#include "mm/write-stop.h"
#include <dmakit/migrate.h>
#include <string.h>

/* Where a page stands in a mapping: what its private_data leads to. */
struct dk_place {
    struct dk_movable *movable;
    struct page *page;
};

struct dk_movable {
    struct dk_memory *memory;
    struct list_head link; /* in the memory's list */
    gfp_t gfp;
    char *start;
    size_t count; /* pages */
    struct dk_place places[];
};

struct dk_movable_state {
    pthread_mutex_t lock; /* pages are where they are while it is held */
    struct list_head all;
    struct dk_write_stop stop;
};

struct dk_write_stop *dk_memory_write_stop(struct dk_memory *memory)
{
    return &memory->movable->stop;
}

struct dk_movable_state *dk_movable_start(bool by_signal)
{
    struct dk_movable_state *state = dk_allocate(1, sizeof(*state));

    if (!state)
        return NULL;
    pthread_mutex_init(&state->lock, NULL);
    INIT_LIST_HEAD(&state->all);
    dk_write_stop_init(&state->stop, by_signal);
    return state;
}

void dk_movable_finish(struct dk_movable_state *state)
{
    struct dk_movable *movable, *following;

    if (!state)
        return;
    list_for_each_entry_safe (movable, following, &state->all, link)
        dk_release(movable);
    dk_write_stop_finish(&state->stop);
    pthread_mutex_destroy(&state->lock);
    dk_release(state);
}

/* ---- Pages ---- */

static const struct movable_operations operations;

/* Makes @page, which is ours and locked, the one at @place. */
static void enter(struct dk_memory *memory, struct dk_place *place, struct page *page)
{
    __SetPageMovable(page, &operations);
    pthread_mutex_lock(&memory->pages_lock);
    page->private_data = (unsigned long)(uintptr_t)place;
    __atomic_fetch_or(&page->flags, DK_PAGE_SHOWN, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&memory->pages_lock);
    place->page = page;
}

/* @page is an ordinary one again. */
static void leave(struct dk_memory *memory, struct page *page)
{
    pthread_mutex_lock(&memory->pages_lock);
    __atomic_fetch_and(&page->flags, ~DK_PAGE_SHOWN, __ATOMIC_RELEASE);
    page->private_data = 0;
    pthread_mutex_unlock(&memory->pages_lock);
    __ClearPageMovable(page);
}

/* Where @page stands; NULL: nowhere, or no more. Under the lock. */
static struct dk_place *place_of(struct dk_memory *memory, const struct page *page)
{
    struct dk_place *place = NULL;

    pthread_mutex_lock(&memory->pages_lock);
    if (dk_page_flags(page) & DK_PAGE_SHOWN)
        place = (struct dk_place *)(uintptr_t)page->private_data;
    pthread_mutex_unlock(&memory->pages_lock);
    return place;
}

bool dk_movable_zones(struct dk_memory *memory, const struct page *page, gfp_t *zones)
{
    const struct dk_place *place;

    pthread_mutex_lock(&memory->movable->lock);
    place = place_of(memory, page);
    if (place)
        *zones = place->movable->gfp & (__GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM);
    pthread_mutex_unlock(&memory->movable->lock);
    return place;
}

/* The references of a page that only its owner and the mover have. */
#define OWNER_AND_MOVER 2

static int move(struct dk_memory *memory, struct page *from, struct page *to)
{
    struct dk_write_stop *stop = &memory->movable->stop;
    const char *contents = dk_memory_cached(memory, page_to_phys(from));
    char *copy = dk_memory_cached(memory, page_to_phys(to)), *address;
    struct dk_place *place = place_of(memory, from);
    int error;

    if (!contents || !copy)
        return -ENOMEM;
    /* Between two owners; or pinned since the mover looked, for which its owner has the lock. */
    if (!place || page_count(from) != OWNER_AND_MOVER)
        return -EAGAIN;
    address = place->movable->start + ((size_t)(place - place->movable->places) << PAGE_SHIFT);
    error = dk_writes_stop(stop, address);
    if (error)
        return error;
    memcpy(copy, contents, PAGE_SIZE);
    error = dk_vmalloc_replace(memory, address, to);
    dk_writes_resume(stop, address, !error);
    if (error)
        return error;
    get_page(to);
    enter(memory, place, to);
    leave(memory, from);
    put_page(from);
    return 0;
}

static bool isolate_page(struct page *page, isolate_mode_t mode)
{
    (void)mode;
    return dk_page_flags(page) & DK_PAGE_SHOWN;
}

static int migrate_page(struct page *to, struct page *from, enum migrate_mode mode)
{
    struct dk_memory *memory = dk_slot_find(from)->memory;
    int error;

    (void)mode;
    pthread_mutex_lock(&memory->movable->lock);
    error = move(memory, from, to);
    pthread_mutex_unlock(&memory->movable->lock);
    return error;
}

static void putback_page(struct page *page)
{
    (void)page;
}

static const struct movable_operations operations = { isolate_page, migrate_page, putback_page };

/* A page for @place: one that an idle area lends, or of the zones. False: there is none. */
static bool fill_place(struct dk_memory *memory, struct dk_place *place, gfp_t gfp)
{
    struct page *page = dk_fault_point() ? NULL : dk_cma_lend(memory, gfp);

    if (!page)
        page = dk_pages_take_marked(memory, gfp, 1, 1, 0, (phys_addr_t)-1, 0);
    place->page = page;
    return page;
}

/* ---- Mappings ---- */

/* Gives the first @count pages of @movable back. Under the lock. */
static void give_pages(struct dk_movable *movable, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (movable->start)
            leave(movable->memory, movable->places[i].page);
        put_page(movable->places[i].page);
    }
}

/* From now on the pages may move: they have addresses. */
static void enter_pages(struct dk_movable *movable)
{
    for (size_t i = 0; i < movable->count; i++) {
        struct page *page = movable->places[i].page;

        lock_page(page);
        enter(movable->memory, &movable->places[i], page);
        unlock_page(page);
    }
}

/* Shows the pages at new addresses. */
static int show(struct dk_movable *movable)
{
    struct page **pages = dk_allocate(movable->count, sizeof(struct page *));

    if (!pages)
        return -ENOMEM;
    for (size_t i = 0; i < movable->count; i++)
        pages[i] = movable->places[i].page;
    movable->start = dk_vmalloc_map(movable->memory, pages, movable->count, DK_AREA_MOVABLE, false);
    dk_release(pages);
    return movable->start ? 0 : -ENOMEM;
}

struct dk_movable *dk_movable_create(size_t size, gfp_t gfp)
{
    struct dk_memory *memory = dk_current_for("dk_movable_create");
    size_t count = size / PAGE_SIZE + (size % PAGE_SIZE != 0), done = 0;
    enum dk_zone_kind kinds[DK_ZONE_COUNT];
    struct dk_movable *movable;
    u64 lendable;

    dk_might_sleep_gfp(memory, GFP_KERNEL, "dk_movable_create");
    if (!memory)
        return ERR_PTR(-ENODEV);
    if (!(gfp & (__GFP_DMA | __GFP_DMA32)))
        gfp |= __GFP_HIGHMEM;
    if (!size || !dk_zone_list(memory, gfp, kinds))
        return ERR_PTR(-EINVAL);
    lendable = dk_cma_lendable_pages(memory, gfp);
    if (count > lendable && !dk_memory_has_free(memory, count - lendable)) {
        if (!(gfp & __GFP_NOWARN))
            dk_log(DK_LOG_WARNING, "dk_movable_create: %zu pages are more than are free", count);
        return ERR_PTR(-ENOMEM);
    }
    movable = dk_allocate(1, sizeof(*movable) + count * sizeof(struct dk_place));
    if (!movable)
        return ERR_PTR(-ENOMEM);
    movable->memory = memory;
    movable->gfp = gfp | __GFP_MOVABLE;
    movable->count = count;
    for (; done < count; done++) {
        movable->places[done].movable = movable;
        if (!fill_place(memory, &movable->places[done], movable->gfp))
            goto release;
    }
    pthread_mutex_lock(&memory->movable->lock);
    if (!show(movable))
        list_add_tail(&movable->link, &memory->movable->all);
    pthread_mutex_unlock(&memory->movable->lock);
    if (movable->start) {
        enter_pages(movable);
        return movable;
    }

release:
    give_pages(movable, done);
    dk_release(movable);
    return ERR_PTR(-ENOMEM);
}

void dk_movable_destroy(struct dk_movable *movable)
{
    struct dk_memory *memory;

    if (IS_ERR_OR_NULL(movable))
        return;
    memory = movable->memory;
    dk_might_sleep_gfp(memory, GFP_KERNEL, "dk_movable_destroy");
    if (dk_memory_forked(memory))
        return;
    pthread_mutex_lock(&memory->movable->lock);
    list_del(&movable->link);
    dk_vmalloc_unmap(movable->start, DK_AREA_MOVABLE);
    give_pages(movable, movable->count);
    pthread_mutex_unlock(&memory->movable->lock);
    dk_release(movable);
}

void *dk_movable_address(const struct dk_movable *movable)
{
    return IS_ERR_OR_NULL(movable) ? NULL : movable->start;
}

size_t dk_movable_size(const struct dk_movable *movable)
{
    return IS_ERR_OR_NULL(movable) ? 0 : movable->count << PAGE_SHIFT;
}

/* The pages that @length bytes at @offset touch: from *first on, so many. 0: the range leaves the memory, or
 * there is none. */
static size_t pages_of(const struct dk_movable *movable, size_t offset, size_t length, size_t *first)
{
    size_t size = dk_movable_size(movable);

    if (!length || offset >= size || length > size - offset)
        return 0;
    *first = offset >> PAGE_SHIFT;
    return ((offset + length - 1) >> PAGE_SHIFT) - *first + 1;
}

int dk_movable_pin(struct dk_movable *movable, size_t offset, size_t length, struct page **pages)
{
    size_t first, count = pages_of(movable, offset, length, &first);
    struct dk_memory *memory;

    if (!count)
        return -EINVAL;
    memory = movable->memory;
    dk_might_sleep_gfp(memory, GFP_KERNEL, "dk_movable_pin");
    if (dk_memory_forked(memory))
        return -ENODEV;
    pthread_mutex_lock(&memory->movable->lock);
    for (size_t i = 0; i < count; i++) {
        pages[i] = movable->places[first + i].page;
        get_page(pages[i]);
    }
    pthread_mutex_unlock(&memory->movable->lock);
    return 0;
}

void dk_movable_unpin(struct dk_movable *movable, size_t offset, size_t length)
{
    size_t first, count = pages_of(movable, offset, length, &first);
    struct dk_memory *memory;

    if (!count) {
        dk_log(DK_LOG_WARNING, "dk_movable_unpin: %zu bytes at offset %zu of %zu", length, offset,
               dk_movable_size(movable));
        return;
    }
    memory = movable->memory;
    dk_might_sleep_gfp(memory, GFP_KERNEL, "dk_movable_unpin");
    if (dk_memory_forked(memory))
        return;
    pthread_mutex_lock(&memory->movable->lock);
    for (size_t i = 0; i < count; i++)
        put_page(movable->places[first + i].page);
    pthread_mutex_unlock(&memory->movable->lock);
}

long dk_movable_migrate(struct dk_movable *movable, size_t offset, size_t length)
{
    size_t first, count = pages_of(movable, offset, length, &first);
    struct dk_memory *memory;
    long moved = 0;
    int error = 0;

    if (!count)
        return -EINVAL;
    memory = movable->memory;
    dk_might_sleep_gfp(memory, GFP_KERNEL, "dk_movable_migrate");
    if (dk_memory_forked(memory))
        return -ENODEV;
    for (size_t i = 0; i < count && error != -ENOMEM; i++) {
        struct page *page;
        u64 pfn;

        pthread_mutex_lock(&memory->movable->lock);
        page = movable->places[first + i].page;
        pthread_mutex_unlock(&memory->movable->lock);
        pfn = page_to_phys(page) >> PAGE_SHIFT;
        error = dk_page_migrate(memory, pfn, GFP_KERNEL);
        moved += !error;
    }
    return error == -ENOMEM || (error == -EBUSY && !moved) ? error : moved;
}
