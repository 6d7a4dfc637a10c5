/* SPDX-License-Identifier: MIT */
/*
 * Scatterlists.
 */
#include <dmakit/scatterlist.h>

#include "base/alloc.h"
#include "mm/memory.h"
#include <dmakit/error.h>
#include <string.h>

void sg_set_buf(struct scatterlist *sg, const void *buffer, unsigned int length)
{
    struct page *page = virt_to_page(buffer);

    sg_set_page(sg, page, length, page ? (unsigned int)offset_in_page(buffer) : 0);
    /* An address without a page is kept where mapping finds it, so that the report can name it. */
    if (!page)
        sg->dma_address = (dma_addr_t)(uintptr_t)buffer;
}

void sg_init_table(struct scatterlist *sgl, unsigned int nents)
{
    if (!sgl || !nents)
        return;
    memset(sgl, 0, nents * sizeof(*sgl));
    sg_mark_end(&sgl[nents - 1]);
}

void sg_init_one(struct scatterlist *sg, const void *buffer, unsigned int length)
{
    sg_init_table(sg, 1);
    sg_set_buf(sg, buffer, length);
}

void sg_chain(struct scatterlist *prv, unsigned int prv_nents, struct scatterlist *sgl)
{
    struct scatterlist *link = &prv[prv_nents - 1];

    link->offset = 0;
    link->length = 0;
    link->page_link = ((unsigned long)(uintptr_t)sgl | SG_CHAIN) & ~SG_END;
}

int sg_nents(struct scatterlist *sg)
{
    int nents = 0;

    for (; sg; sg = sg_next(sg))
        nents++;
    return nents;
}

int sg_nents_for_len(struct scatterlist *sg, u64 length)
{
    u64 total = 0;
    int nents = 0;

    if (!length)
        return 0;
    for (; sg; sg = sg_next(sg)) {
        nents++;
        total += sg->length;
        if (total >= length)
            return nents;
    }
    return -EINVAL;
}

struct scatterlist *sg_last(struct scatterlist *sgl, unsigned int nents)
{
    struct scatterlist *last = NULL;
    unsigned int i;

    for (i = 0; i < nents && sgl; i++, sgl = sg_next(sgl))
        last = sgl;
    return last;
}

void *sg_virt(struct scatterlist *sg)
{
    char *start = page_address(sg_page(sg));

    return start ? start + sg->offset : NULL;
}

int sg_alloc_table(struct sg_table *table, unsigned int nents, gfp_t gfp)
{
    memset(table, 0, sizeof(*table));
    if (!nents)
        return -EINVAL;
    dk_might_sleep_gfp(dk_memory_current(), gfp, "sg_alloc_table");
    table->sgl = dk_allocate(nents, sizeof(*table->sgl));
    if (!table->sgl)
        return -ENOMEM;
    sg_init_table(table->sgl, nents);
    table->nents = nents;
    table->orig_nents = nents;
    return 0;
}

void sg_free_table(struct sg_table *table)
{
    dk_release(table->sgl);
    memset(table, 0, sizeof(*table));
}

/* Whether @after follows @before in memory and a segment of @bytes may still grow by a page. */
static bool joins(const struct page *before, const struct page *after, u64 bytes, unsigned int max_segment)
{
    return page_to_phys(before) + PAGE_SIZE == page_to_phys(after) && bytes + PAGE_SIZE <= max_segment;
}

/*
 * Walks the pages and writes the segments into @sgl, or only counts them when it is NULL. A segment ends
 * where the next page is not its neighbour or @max_segment would be exceeded.
 */
static unsigned int fill_segments(struct scatterlist *sgl, struct page **pages, unsigned int n_pages,
                                  unsigned int offset, unsigned long size, unsigned int max_segment)
{
    unsigned int segments = 0;
    unsigned int first = 0;

    while (first < n_pages && size) {
        u64 bytes = PAGE_SIZE - offset;
        unsigned int next = first + 1;

        while (next < n_pages && bytes < size && joins(pages[next - 1], pages[next], bytes, max_segment)) {
            bytes += PAGE_SIZE;
            next++;
        }
        if (bytes > size)
            bytes = size;
        if (sgl) {
            sg_set_page(sgl, pages[first], (unsigned int)bytes, offset);
            sgl = sg_next(sgl);
        }
        size -= (unsigned long)bytes;
        offset = 0;
        first = next;
        segments++;
    }
    return segments;
}

int sg_alloc_table_from_pages_segment(struct sg_table *table, struct page **pages, unsigned int n_pages,
                                      unsigned int offset, unsigned long size, unsigned int max_segment,
                                      gfp_t gfp)
{
    unsigned int segments;
    int error;

    memset(table, 0, sizeof(*table));
    max_segment &= (unsigned int)PAGE_MASK;
    if (!n_pages || !size || !max_segment || offset >= PAGE_SIZE ||
        size > ((u64)n_pages << PAGE_SHIFT) - offset)
        return -EINVAL;
    segments = fill_segments(NULL, pages, n_pages, offset, size, max_segment);
    error = sg_alloc_table(table, segments, gfp);
    if (error)
        return error;
    fill_segments(table->sgl, pages, n_pages, offset, size, max_segment);
    return 0;
}

enum copy_way { COPY_TO_LIST, COPY_FROM_LIST, COPY_ZERO };

/* Copies one piece between the CPU's view of [phys, phys + length) and @buffer; false when it is not memory.
 */
static bool copy_piece(struct dk_memory *memory, phys_addr_t phys, char *buffer, size_t length,
                       enum copy_way way)
{
    while (length) {
        size_t run = PAGE_SIZE - (phys & (PAGE_SIZE - 1));
        char *cpu = dk_memory_is_ram(memory, phys, 1) ? dk_memory_cached(memory, phys) : NULL;

        if (!cpu)
            return false;
        if (run > length)
            run = length;
        if (way == COPY_TO_LIST)
            memcpy(cpu, buffer, run);
        else if (way == COPY_FROM_LIST)
            memcpy(buffer, cpu, run);
        else
            memset(cpu, 0, run);
        phys += run;
        length -= run;
        if (buffer)
            buffer += run;
    }
    return true;
}

static size_t copy(struct scatterlist *sg, unsigned int nents, char *buffer, size_t length, off_t skip,
                   enum copy_way way)
{
    size_t done = 0;
    u64 skipped = skip > 0 ? (u64)skip : 0;

    for (; nents && sg && done < length; nents--, sg = sg_next(sg)) {
        const struct dk_slot *slot;
        size_t piece;

        if (skipped >= sg->length) {
            skipped -= sg->length;
            continue;
        }
        piece = sg->length - (size_t)skipped;
        if (piece > length - done)
            piece = length - done;
        slot = dk_slot_find(sg_page(sg));
        if (!slot ||
            !copy_piece(slot->memory, sg_phys(sg) + skipped, buffer ? buffer + done : NULL, piece, way))
            break;
        skipped = 0;
        done += piece;
    }
    return done;
}

size_t sg_pcopy_from_buffer(struct scatterlist *sgl, unsigned int nents, const void *buffer, size_t length,
                            off_t skip)
{
    return copy(sgl, nents, (char *)(uintptr_t)buffer, length, skip, COPY_TO_LIST);
}

size_t sg_pcopy_to_buffer(struct scatterlist *sgl, unsigned int nents, void *buffer, size_t length,
                          off_t skip)
{
    return copy(sgl, nents, buffer, length, skip, COPY_FROM_LIST);
}

size_t sg_copy_from_buffer(struct scatterlist *sgl, unsigned int nents, const void *buffer, size_t length)
{
    return sg_pcopy_from_buffer(sgl, nents, buffer, length, 0);
}

size_t sg_copy_to_buffer(struct scatterlist *sgl, unsigned int nents, void *buffer, size_t length)
{
    return sg_pcopy_to_buffer(sgl, nents, buffer, length, 0);
}

size_t sg_zero_buffer(struct scatterlist *sgl, unsigned int nents, size_t length, off_t skip)
{
    return copy(sgl, nents, NULL, length, skip, COPY_ZERO);
}
