/* SPDX-License-Identifier: MIT */
/*
 * The contiguous areas of a memory: declaring them, finding them, and telling what they have.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "mm/cma.h"
#include "mm/private.h"

#include <stdio.h>
#include <string.h>

/* ---- Declaring ---- */

struct cma_request {
    phys_addr_t base, limit;
    u64 size, alignment; /* bytes */
    bool fixed;
    struct page *pages; /* of dk_pages_take(); NULL: the memory is reserved */
};

/* Fills in what was left to the callee. False: the request contradicts itself. */
static bool complete(const struct dk_memory *memory, struct cma_request *request, unsigned order_per_bit)
{
    phys_addr_t end = memory->last + 1;
    u64 unit;

    if (order_per_bit > MAX_PAGE_ORDER || (request->alignment & (request->alignment - 1)))
        return false;
    unit = (u64)PAGE_SIZE << order_per_bit;
    if (request->alignment < unit)
        request->alignment = unit;
    if (!request->limit || request->limit > end)
        request->limit = end;
    if (!request->size || (request->size & (unit - 1)) || request->base >= request->limit ||
        request->size > request->limit - request->base)
        return false;
    return !request->fixed || !(request->base & (request->alignment - 1));
}

/* Whether some of [base, end) is not the page allocator's to give: reserved, or memory that a driver added.
 */
static bool is_kept_away(const struct dk_memory *memory, phys_addr_t base, phys_addr_t end)
{
    const struct dk_ram_map *map = dk_ram_map(memory);
    const struct dk_ram *range = dk_ram_at_or_above(map, base);

    for (; range && range < map->ranges + map->count && range->base < end; range++) {
        if (range->flags & (DK_RAM_RESERVED | DK_RAM_ADDED))
            return true;
    }
    return false;
}

/* 0 or -errno, and where the memory is. */
static int take_memory(struct dk_memory *memory, struct cma_request *request)
{
    size_t count = (size_t)(request->size >> PAGE_SHIFT);
    gfp_t gfp = GFP_KERNEL | __GFP_NOWARN;

    if (!request->fixed) {
        request->pages = dk_pages_take(memory, gfp, count, (size_t)(request->alignment >> PAGE_SHIFT),
                                       request->base, request->limit - 1);
        if (!request->pages)
            return -ENOMEM;
        request->base = page_to_phys(request->pages);
        return 0;
    }
    if (!dk_memory_is_ram(memory, request->base, request->size))
        return -EINVAL;
    if (is_kept_away(memory, request->base, request->base + request->size))
        return -EBUSY;
    /* The page allocator has no runs over the ends of zones. */
    request->pages =
        dk_pages_take(memory, gfp | __GFP_HIGH, count, 1, request->base, request->base + (request->size - 1));
    return request->pages ? 0 : dk_memory_reserve(memory, request->base, request->size, true);
}

struct cma *dk_cma_declare_in(struct dk_memory *memory, phys_addr_t base, phys_addr_t size, phys_addr_t limit,
                              phys_addr_t alignment, unsigned order_per_bit, bool fixed, const char *name)
{
    struct cma_request request = { base, limit, size, alignment, fixed, NULL };
    size_t areas = dk_cma_list(memory, NULL, 0);
    char own_name[16];
    struct cma *cma;
    int error = -EINVAL;

    if (!complete(memory, &request, order_per_bit))
        goto refuse;
    error = -ENOSPC;
    if (areas >= DK_CMA_AREAS)
        goto refuse;
    error = take_memory(memory, &request);
    if (error)
        goto refuse;
    snprintf(own_name, sizeof(own_name), "cma%zu", areas);
    cma = dk_cma_create(memory, request.base, request.size, order_per_bit, name ? name : own_name);
    if (!IS_ERR(cma))
        return cma;
    error = (int)PTR_ERR(cma);
    if (request.pages)
        dk_pages_give(memory, request.pages, (size_t)(request.size >> PAGE_SHIFT));

refuse:
    dk_log(DK_LOG_ERROR, "contiguous area %s: 0x%llx bytes %s 0x%llx below 0x%llx: %s", name ? name : "",
           (u64)size, fixed ? "at" : "from", base, limit, strerror(-error));
    return ERR_PTR(error);
}

int cma_declare_contiguous(phys_addr_t base, phys_addr_t size, phys_addr_t limit, phys_addr_t alignment,
                           unsigned int order_per_bit, bool fixed, const char *name, struct cma **res_cma)
{
    struct dk_memory *memory = dk_current_for("cma_declare_contiguous");
    struct cma *cma;

    if (!res_cma || !memory)
        return -EINVAL;
    dk_might_sleep_gfp(memory, GFP_KERNEL, "cma_declare_contiguous");
    cma = dk_cma_declare_in(memory, base, size, limit, alignment, order_per_bit, fixed, name);
    if (IS_ERR(cma))
        return (int)PTR_ERR(cma);
    *res_cma = cma;
    return 0;
}

/* ---- Finding ---- */

bool dk_cma_is_called(const struct cma *cma, const char *name, size_t length)
{
    const char *whole = cma_get_name(cma), *last = strrchr(whole, '/');
    size_t bare;

    if (strlen(whole) == length && !memcmp(whole, name, length))
        return true;
    if (!last)
        return false;
    last++;
    bare = strcspn(last, "@");
    return (length == bare || length == strlen(last)) && !memcmp(last, name, length);
}

struct cma *dk_cma_find(struct dk_memory *memory, const char *name, size_t length)
{
    struct cma *areas[DK_CMA_AREAS];
    size_t count = dk_cma_list(memory, areas, DK_CMA_AREAS);

    for (size_t i = 0; i < count && i < DK_CMA_AREAS; i++) {
        if (dk_cma_is_called(areas[i], name, length))
            return areas[i];
    }
    return NULL;
}

struct cma *dk_cma_get(const char *name)
{
    struct dk_memory *memory = dk_current_for("dk_cma_get");

    return memory && name ? dk_cma_find(memory, name, strlen(name)) : NULL;
}

int cma_for_each_area(int (*it)(struct cma *cma, void *data), void *data)
{
    struct dk_memory *memory = dk_current_for("cma_for_each_area");
    struct cma *areas[DK_CMA_AREAS];
    size_t count = memory ? dk_cma_list(memory, areas, DK_CMA_AREAS) : 0;
    int result = 0;

    for (size_t i = 0; i < count && i < DK_CMA_AREAS && !result; i++)
        result = it(areas[i], data);
    return result;
}

/* ---- Telling ---- */

void dk_cma_add_info(struct cma_info *info, struct cma *cma)
{
    struct dk_cma_survey survey;
    phys_addr_t base = cma_get_base(cma), end;

    dk_cma_survey(cma, &survey);
    end = base + (survey.pages << PAGE_SHIFT);
    if (!info->count || base < info->lower_bound)
        info->lower_bound = base;
    if (end > info->upper_bound)
        info->upper_bound = end;
    info->total_size += survey.pages << PAGE_SHIFT;
    info->free_size += survey.free << PAGE_SHIFT;
    if (survey.largest_free << PAGE_SHIFT > info->largest_free)
        info->largest_free = survey.largest_free << PAGE_SHIFT;
    info->count++;
}

static int add_area(struct cma *cma, void *data)
{
    dk_cma_add_info(data, cma);
    return 0;
}

int cma_info_about(struct cma_info *info, const char *areas)
{
    struct dk_memory *memory = dk_current_for("cma_info_about");

    if (!info || !memory)
        return -EINVAL;
    *info = (struct cma_info){ 0 };
    if (!areas)
        return cma_for_each_area(add_area, info);
    for (;;) {
        size_t length = strcspn(areas, ",");
        struct cma *cma = dk_cma_find(memory, areas, length);

        if (!cma)
            return -ENOENT;
        dk_cma_add_info(info, cma);
        if (!areas[length])
            return 0;
        areas += length + 1;
    }
}

/* How piece @i of an area is shown. */
static char piece_of(const struct dk_cma_survey *survey, u64 i)
{
    u64 first = (i * survey->pages + DK_CMA_PICTURE - 1) / DK_CMA_PICTURE;
    u64 past = ((i + 1) * survey->pages + DK_CMA_PICTURE - 1) / DK_CMA_PICTURE;

    if (survey->pinned_in[i])
        return 'P';
    if (!survey->used_in[i])
        return '.';
    if (survey->movable_in[i] == survey->used_in[i])
        return 'm';
    return survey->used_in[i] == past - first ? '#' : '+';
}

int dk_cma_describe(struct cma *cma, char *buffer, size_t size)
{
    char picture[DK_CMA_PICTURE + 1] = "";
    struct dk_cma_survey survey;

    if (!cma)
        return 0;
    dk_cma_survey(cma, &survey);
    for (u64 i = 0; i < DK_CMA_PICTURE; i++)
        picture[i] = piece_of(&survey, i);
    return snprintf(buffer, size,
                    "%s: %llu pages at 0x%llx in units of %u\n"
                    "used: %llu pages, %llu allocations, the largest of %llu\n"
                    "movable: %llu pages, %llu of them pinned; the largest run without them: %llu\n"
                    "free: %llu pages in %llu runs, the largest of %llu; threads kept %llu\n"
                    "[%s]\n",
                    cma_get_name(cma), survey.pages, cma_get_base(cma), 1u << dk_cma_order_per_bit(cma),
                    survey.pages - survey.free - survey.movable, survey.allocations,
                    survey.largest_allocation, survey.movable, survey.pinned, survey.largest_reachable,
                    survey.free, survey.free_runs, survey.largest_free, survey.kept, picture);
}
