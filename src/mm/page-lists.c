/* SPDX-License-Identifier: MIT */
#include "mm/page-lists.h"

#include "base/alloc.h"
#include "base/membarrier.h"

#include <sched.h>
#include <time.h>

struct dk_page_lists *dk_page_lists_create(void)
{
    struct dk_page_lists *lists = dk_allocate(1, sizeof(*lists));

    if (lists)
        lists->fenced = !dk_membarrier_register();
    return lists;
}

void dk_page_lists_destroy(struct dk_page_lists *lists)
{
    unsigned i;

    if (!lists)
        return;
    for (i = 0; i < DK_THREAD_NUMBERS; i++)
        dk_release(lists->sets[i]);
    dk_release(lists);
}

void dk_page_lists_prepare(struct dk_page_lists *lists)
{
    unsigned number = dk_thread_number();

    if (number < DK_THREAD_NUMBERS && !lists->sets[number])
        __atomic_store_n(&lists->sets[number], dk_allocate(1, sizeof(*lists->sets[number])),
                         __ATOMIC_RELEASE);
}

static unsigned count_of(const struct dk_page_list *list)
{
    return __atomic_load_n(&list->count, __ATOMIC_RELAXED);
}

static void set_count(struct dk_page_list *list, unsigned count)
{
    __atomic_store_n(&list->count, count, __ATOMIC_RELAXED);
}

/* Gives the last blocks of @list back, down to @left. */
static void shorten(struct dk_memory *memory, struct dk_page_list *list, unsigned left)
{
    unsigned count = count_of(list);

    while (count > left) {
        struct page *page = list->blocks[--count];
        u64 pfn = page_to_phys(page) >> PAGE_SHIFT, run = page->run;

        dk_page_set_flags(page, 0);
        page->run = 0;
        dk_buddy_free(memory, dk_zone_of(memory, pfn), pfn, pfn + run);
    }
    set_count(list, left);
}

void dk_page_lists_refill(struct dk_memory *memory, struct dk_zone *zone, unsigned class_index, u64 keep)
{
    struct dk_page_list_set *set = dk_page_lists_here(memory->lists);
    unsigned order = class_index % DK_LIST_ORDERS, wanted = dk_list_capacity(class_index) / 2, count = 0, i;
    u64 pages = (u64)1 << order;
    struct dk_request request = { .count = pages,
                                  .align = pages,
                                  .highest = ~0ull,
                                  .type = class_index / DK_LIST_ORDERS % 2 ? MIGRATE_MOVABLE
                                                                           : MIGRATE_UNMOVABLE };
    struct page *blocks[DK_LIST_PAGES];
    struct dk_page_list *list;
    u64 pfn;

    if (!set || memory->lists->closed || count_of(&set->lists[class_index]))
        return;
    while (count < wanted && zone->free >= keep + pages && dk_buddy_take(memory, zone, &request, &pfn)) {
        struct page *page = dk_page_mapped(memory, pfn);

        page->order = (u8)order;
        page->type = (u8)request.type;
        page->run = (u32)pages;
        __atomic_store_n(&page->count, 0, __ATOMIC_RELAXED);
        dk_page_set_flags(page, DK_PAGE_LISTED);
        blocks[count++] = page;
    }
    list = &set->lists[class_index];
    (void)dk_page_lists_enter(memory->lists, set);
    /* The thread's own list was empty, and others do not add to it. */
    for (i = 0; i < count; i++)
        list->blocks[i] = blocks[count - 1 - i];
    set_count(list, count);
    dk_page_lists_leave(set);
}

void dk_page_lists_spill(struct dk_memory *memory, unsigned class_index)
{
    struct dk_page_list_set *set = dk_page_lists_here(memory->lists);

    if (!set || !dk_page_lists_enter(memory->lists, set))
        return;
    if (count_of(&set->lists[class_index]) > dk_list_capacity(class_index) / 2)
        shorten(memory, &set->lists[class_index], dk_list_capacity(class_index) / 2);
    dk_page_lists_leave(set);
}

/* Empties @set; nobody else is in it. */
static void drain(struct dk_memory *memory, struct dk_page_list_set *set)
{
    unsigned i;

    for (i = 0; i < DK_LIST_CLASSES; i++) {
        if (count_of(&set->lists[i]))
            shorten(memory, &set->lists[i], 0);
    }
}

void dk_page_lists_drain_here(struct dk_memory *memory)
{
    struct dk_page_list_set *set = dk_page_lists_here(memory->lists);

    if (!set || !dk_page_lists_enter(memory->lists, set))
        return;
    drain(memory, set);
    dk_page_lists_leave(set);
}

/* Returns when each thread that enters its lists from now on sees that they are closed, and each that had
 * entered can be seen to. */
static void fence_all(struct dk_page_lists *lists)
{
    const struct timespec while_stores_drain = { 0, 1000000 };

    if (__atomic_load_n(&lists->fenced, __ATOMIC_RELAXED)) {
        dk_fence(__ATOMIC_SEQ_CST);
        return;
    }
    if (dk_membarrier())
        return;
    /* Forbidden since. A thread that entered without a fence just now has its store seen long before this. */
    __atomic_store_n(&lists->fenced, true, __ATOMIC_SEQ_CST);
    nanosleep(&while_stores_drain, NULL);
    dk_fence(__ATOMIC_SEQ_CST);
}

void dk_page_lists_close(struct dk_memory *memory)
{
    struct dk_page_lists *lists = memory->lists;
    unsigned i;

    __atomic_store_n(&lists->closed, lists->closed + 1, __ATOMIC_SEQ_CST);
    if (lists->closed > 1)
        return;
    fence_all(lists);
    for (i = 0; i < DK_THREAD_NUMBERS; i++) {
        struct dk_page_list_set *set = __atomic_load_n(&lists->sets[i], __ATOMIC_ACQUIRE);

        if (!set)
            continue;
        while (__atomic_load_n(&set->busy, __ATOMIC_ACQUIRE))
            sched_yield();
        drain(memory, set);
    }
}

void dk_page_lists_open(struct dk_memory *memory)
{
    __atomic_store_n(&memory->lists->closed, memory->lists->closed - 1, __ATOMIC_RELEASE);
}

u64 dk_page_lists_held(const struct dk_memory *memory)
{
    u64 pages = 0;
    unsigned i, j;

    for (i = 0; i < DK_THREAD_NUMBERS; i++) {
        struct dk_page_list_set *set = __atomic_load_n(&memory->lists->sets[i], __ATOMIC_ACQUIRE);

        for (j = 0; set && j < DK_LIST_CLASSES; j++)
            pages += (u64)count_of(&set->lists[j]) << (j % DK_LIST_ORDERS);
    }
    return pages;
}
