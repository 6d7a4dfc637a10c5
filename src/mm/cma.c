/* SPDX-License-Identifier: MIT */
#include "mm/cma.h"

#include "base/alloc.h"
#include "base/log.h"
#include "mm/private.h"

/* Everything that changes is guarded by the memory's pages_lock, which the struct pages need anyway. */
struct cma {
    struct dk_memory *memory;
    struct list_head link; /* in the memory's list */
    u64 start, end;        /* pfns */
    unsigned order_per_bit;
    char *name;
    u64 bits, free; /* units */
    u64 *busy;      /* one bit a unit */
    u32 whole_run;  /* of the dk_pages_take() behind it, which its pages forget meanwhile; 0: it was reserved
                     */
};

struct cma *dk_cma_create(struct dk_memory *memory, phys_addr_t base, u64 size, unsigned order_per_bit,
                          const char *name)
{
    struct page *first;
    struct cma *cma;
    u64 unit;

    if (order_per_bit > MAX_PAGE_ORDER)
        return ERR_PTR(-EINVAL);
    unit = (u64)PAGE_SIZE << order_per_bit;
    if (!size || ((base | size) & (unit - 1)) || !dk_memory_is_ram(memory, base, size))
        return ERR_PTR(-EINVAL);
    first = dk_page_get(memory, base >> PAGE_SHIFT);
    cma = dk_allocate(1, sizeof(*cma));
    if (!first || !cma)
        goto release;
    cma->memory = memory;
    cma->start = base >> PAGE_SHIFT;
    cma->end = (base + size) >> PAGE_SHIFT;
    cma->order_per_bit = order_per_bit;
    cma->bits = size / unit;
    cma->free = cma->bits;
    cma->name = dk_copy_string(name ? name : "");
    cma->busy = dk_allocate((size_t)(cma->bits + 63) / 64, sizeof(*cma->busy));
    if (!cma->name || !cma->busy)
        goto release;
    pthread_mutex_lock(&memory->pages_lock);
    if (first->flags == DK_PAGE_USED) {
        cma->whole_run = first->run;
        first->flags = 0;
        first->run = 0;
    }
    list_add_tail(&cma->link, &memory->areas);
    dk_block_freed(memory, cma->start, cma->end);
    pthread_mutex_unlock(&memory->pages_lock);
    return cma;

release:
    if (cma) {
        dk_release(cma->busy);
        dk_release(cma->name);
    }
    dk_release(cma);
    return ERR_PTR(-ENOMEM);
}

static bool is_busy(const struct cma *cma, u64 bit)
{
    return cma->busy[bit / 64] >> (bit % 64) & 1;
}

static void set_busy(struct cma *cma, u64 bit, u64 count, bool busy)
{
    for (; count; bit++, count--) {
        if (busy)
            cma->busy[bit / 64] |= 1ull << (bit % 64);
        else
            cma->busy[bit / 64] &= ~(1ull << (bit % 64));
    }
}

/* The first unit from @bit up to @end whose state is @busy; @end when none is. Whole words at once where they
 * are uniform. */
static u64 next_in_state(const struct cma *cma, u64 bit, u64 end, bool busy)
{
    const u64 uniform = busy ? 0 : ~0ull;

    while (bit < end) {
        if (!(bit % 64) && cma->busy[bit / 64] == uniform)
            bit += 64;
        else if (is_busy(cma, bit) == busy)
            return bit;
        else
            bit++;
    }
    return end;
}

/* The unit that starts the first fit of @bits units from unit @from on; cma->bits when there is none. */
static u64 find_run(const struct cma *cma, u64 from, u64 bits, u64 align)
{
    u64 at = from;

    while (at < cma->bits && bits <= cma->bits - at) {
        u64 pfn = cma->start + (at << cma->order_per_bit);
        u64 aligned = (pfn + align - 1) & ~(align - 1);
        u64 busy;

        at = (aligned - cma->start) >> cma->order_per_bit;
        if (at >= cma->bits || bits > cma->bits - at)
            break;
        busy = next_in_state(cma, at, at + bits, true);
        if (busy == at + bits)
            return at;
        at = next_in_state(cma, busy, cma->bits, false);
    }
    return cma->bits;
}

static struct page *take(struct cma *cma, u64 count, u64 align)
{
    struct dk_memory *memory = cma->memory;
    u64 unit = (u64)1 << cma->order_per_bit;
    u64 bits = (count + unit - 1) >> cma->order_per_bit, from = 0, at;
    struct page *page;

    if (align < unit)
        align = unit;
    if (memory->seed)
        from = dk_mix(memory->seed, ++memory->allocations) % cma->bits;
    at = find_run(cma, from, bits, align);
    if (at == cma->bits && from)
        at = find_run(cma, 0, bits, align);
    if (at == cma->bits)
        return NULL;
    page = dk_page_get(memory, cma->start + (at << cma->order_per_bit));
    if (!page)
        return NULL;
    set_busy(cma, at, bits, true);
    cma->free -= bits;
    dk_block_taken(memory, page_to_pfn(page), page_to_pfn(page) + (bits << cma->order_per_bit));
    page->flags = DK_PAGE_USED | DK_PAGE_CMA;
    page->run = (u32)count;
    page->order = 0;
    page->count = 1;
    page->private_data = 0;
    return page;
}

struct page *cma_alloc(struct cma *cma, unsigned long count, unsigned int align, bool no_warn)
{
    struct page *page = NULL;

    if (!cma || dk_memory_forked(cma->memory))
        return NULL;
    dk_might_sleep_gfp(cma->memory, GFP_KERNEL, "cma_alloc");
    if (!count)
        return NULL;
    if (align < DK_PHYS_BITS - PAGE_SHIFT && count <= cma->end - cma->start && !dk_fault_point()) {
        pthread_mutex_lock(&cma->memory->pages_lock);
        page = take(cma, count, (u64)1 << align);
        pthread_mutex_unlock(&cma->memory->pages_lock);
    }
    if (page)
        dk_memory_taken(cma->memory, page_to_phys(page), (u64)count << PAGE_SHIFT);
    else if (!no_warn)
        dk_log(DK_LOG_WARNING, "cma_alloc: %s has no %lu contiguous pages of alignment order %u", cma->name,
               count, align);
    return page;
}

void dk_cma_idle(struct dk_memory *memory, struct page *page, u64 pfn)
{
    struct cma *cma;

    list_for_each_entry (cma, &memory->areas, link) {
        u64 unit = (u64)1 << cma->order_per_bit, bits = (page->run + unit - 1) >> cma->order_per_bit;

        if (pfn < cma->start || pfn >= cma->end)
            continue;
        set_busy(cma, (pfn - cma->start) >> cma->order_per_bit, bits, false);
        cma->free += bits;
        dk_block_freed(memory, pfn, pfn + (bits << cma->order_per_bit));
        break;
    }
    page->flags = 0;
    page->run = 0;
}

bool cma_release(struct cma *cma, const struct page *pages, unsigned long count)
{
    struct dk_memory *memory;
    struct page *page;
    bool good;
    u64 pfn;

    if (!cma || !pages || !dk_page_find(pages, &memory, &pfn) || memory != cma->memory || pfn < cma->start ||
        pfn >= cma->end || count > cma->end - pfn)
        return false;
    page = dk_page_mapped(memory, pfn);
    if (!page)
        return false;
    pthread_mutex_lock(&memory->pages_lock);
    good = page->flags == (DK_PAGE_USED | DK_PAGE_CMA) && page->run == count;
    if (good && --page->count)
        page->flags |= DK_PAGE_GIVEN;
    else if (good)
        dk_cma_idle(memory, page, pfn);
    pthread_mutex_unlock(&memory->pages_lock);
    if (!good)
        dk_log(DK_LOG_WARNING, "cma_release: %lu pages at 0x%llx are not an allocation of %s", count,
               (phys_addr_t)pfn << PAGE_SHIFT, cma->name);
    return true;
}

phys_addr_t cma_get_base(const struct cma *cma)
{
    return (phys_addr_t)cma->start << PAGE_SHIFT;
}

unsigned long cma_get_size(const struct cma *cma)
{
    return (unsigned long)((cma->end - cma->start) << PAGE_SHIFT);
}

const char *cma_get_name(const struct cma *cma)
{
    return cma->name;
}

u64 dk_cma_free_pages(struct cma *cma)
{
    u64 units;

    pthread_mutex_lock(&cma->memory->pages_lock);
    units = cma->free;
    pthread_mutex_unlock(&cma->memory->pages_lock);
    return units << cma->order_per_bit;
}

/* Marks all that is still allocated as nobody's, so that a late put_page() does not look for the area. */
static void disown(struct cma *cma)
{
    u64 bit = 0;

    while (bit < cma->bits) {
        u64 pfn = cma->start + (bit << cma->order_per_bit);
        struct page *page = is_busy(cma, bit) ? dk_page_mapped(cma->memory, pfn) : NULL;

        if (page && (page->flags & DK_PAGE_CMA)) {
            page->flags = 0;
            page->run = 0;
        }
        bit = next_in_state(cma, bit + 1, cma->bits, true);
    }
}

void dk_cma_destroy(struct cma *cma)
{
    struct dk_memory *memory;
    struct page *first;

    if (!cma)
        return;
    memory = cma->memory;
    if (!dk_memory_forked(memory)) {
        pthread_mutex_lock(&memory->pages_lock);
        disown(cma);
        list_del(&cma->link);
        dk_block_taken(memory, cma->start, cma->end);
        first = dk_page_mapped(memory, cma->start);
        if (first && cma->whole_run) {
            first->flags = DK_PAGE_USED;
            first->run = cma->whole_run;
            first->count = 1;
        }
        pthread_mutex_unlock(&memory->pages_lock);
    }
    dk_release(cma->busy);
    dk_release(cma->name);
    dk_release(cma);
}
