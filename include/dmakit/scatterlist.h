/* SPDX-License-Identifier: MIT */
/*
 * Scatterlists: memory in pieces, with Linux's names (Documentation/core-api/dma-api.rst).
 */
#ifndef DMAKIT_SCATTERLIST_H
#define DMAKIT_SCATTERLIST_H

#include <dmakit/page.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

/*
 * One piece. Fields are reached through the functions below. @page_link holds the page's address, and in its
 * two low bits whether the entry is a link to another array (SG_CHAIN) or the last one (SG_END).
 */
struct scatterlist {
    unsigned long page_link;
    unsigned int offset;    /* of the first byte in the page; may exceed a page for a compound one */
    unsigned int length;    /* bytes */
    dma_addr_t dma_address; /* after mapping: of the mapped segment at this place in the list */
    unsigned int dma_length;
    unsigned int dma_flags;
};

#define SG_CHAIN 0x01UL
#define SG_END 0x02UL

/* A list with its two counts: @orig_nents entries in memory, @nents mapped segments. */
struct sg_table {
    struct scatterlist *sgl;
    unsigned int nents;
    unsigned int orig_nents;
};

#define sg_dma_address(sg) ((sg)->dma_address)
#define sg_dma_len(sg) ((sg)->dma_length)

static inline bool sg_is_chain(const struct scatterlist *sg)
{
    return sg->page_link & SG_CHAIN;
}

static inline bool sg_is_last(const struct scatterlist *sg)
{
    return sg->page_link & SG_END;
}

static inline struct scatterlist *sg_chain_ptr(const struct scatterlist *sg)
{
    return (struct scatterlist *)(uintptr_t)(sg->page_link & ~(SG_CHAIN | SG_END));
}

/* The page of @sg, or NULL. */
static inline struct page *sg_page(const struct scatterlist *sg)
{
    return (struct page *)(uintptr_t)(sg->page_link & ~(SG_CHAIN | SG_END));
}

/* The entry after @sg, through chains; NULL after the last. */
static inline struct scatterlist *sg_next(struct scatterlist *sg)
{
    if (sg_is_last(sg))
        return NULL;
    sg++;
    return sg_is_chain(sg) ? sg_chain_ptr(sg) : sg;
}

static inline void sg_assign_page(struct scatterlist *sg, struct page *page)
{
    sg->page_link = (sg->page_link & (SG_CHAIN | SG_END)) | (unsigned long)(uintptr_t)page;
}

/* Points @sg at @length bytes from byte @offset of @page. Its end mark stays. */
static inline void sg_set_page(struct scatterlist *sg, struct page *page, unsigned int length,
                               unsigned int offset)
{
    sg_assign_page(sg, page);
    sg->offset = offset;
    sg->length = length;
}

/*
 * Points @sg at @length bytes at @buffer, a linear map address. Any other address leaves the entry without a
 * page, and mapping the list is then reported.
 */
DK_PUBLIC void sg_set_buf(struct scatterlist *sg, const void *buffer, unsigned int length);

static inline void sg_mark_end(struct scatterlist *sg)
{
    sg->page_link = (sg->page_link | SG_END) & ~SG_CHAIN;
}

static inline void sg_unmark_end(struct scatterlist *sg)
{
    sg->page_link &= ~SG_END;
}

/* Clears @nents entries and marks the last one. */
DK_PUBLIC void sg_init_table(struct scatterlist *sgl, unsigned int nents);
/* A list of one entry: @buffer. */
DK_PUBLIC void sg_init_one(struct scatterlist *sg, const void *buffer, unsigned int length);
/* Turns the last of @prv_nents entries at @prv into a link to @sgl. */
DK_PUBLIC void sg_chain(struct scatterlist *prv, unsigned int prv_nents, struct scatterlist *sgl);
/* The number of entries from @sg to the end mark. */
DK_PUBLIC int sg_nents(struct scatterlist *sg);
/* How many entries hold the first @length bytes; -EINVAL when all of them hold less. */
DK_PUBLIC int sg_nents_for_len(struct scatterlist *sg, u64 length);
/* The last of @nents entries. */
DK_PUBLIC struct scatterlist *sg_last(struct scatterlist *sgl, unsigned int nents);

/* The physical address, and the kernel address (NULL for highmem), of the first byte. */
static inline phys_addr_t sg_phys(struct scatterlist *sg)
{
    return page_to_phys(sg_page(sg)) + sg->offset;
}
DK_PUBLIC void *sg_virt(struct scatterlist *sg);

/* An array of @nents entries in one piece, with counts set. 0, -EINVAL for none, -ENOMEM. Freed with
 * sg_free_table(). May sleep with @gfp. */
DK_PUBLIC int sg_alloc_table(struct sg_table *table, unsigned int nents, gfp_t gfp);
/* Frees the entries, not the pages. */
DK_PUBLIC void sg_free_table(struct sg_table *table);
/*
 * A table of the @n_pages pages at @pages, contiguous neighbours merged up to @max_segment bytes (the form
 * without it: no bound): @size bytes from byte @offset of the first page. 0, -EINVAL, -ENOMEM.
 */
DK_PUBLIC int sg_alloc_table_from_pages_segment(struct sg_table *table, struct page **pages,
                                                unsigned int n_pages, unsigned int offset, unsigned long size,
                                                unsigned int max_segment, gfp_t gfp);
static inline int sg_alloc_table_from_pages(struct sg_table *table, struct page **pages, unsigned int n_pages,
                                            unsigned int offset, unsigned long size, gfp_t gfp)
{
    return sg_alloc_table_from_pages_segment(table, pages, n_pages, offset, size, UINT_MAX, gfp);
}

/* Copies between a list and a buffer, as the CPU sees them; from byte @skip of the list in the p forms.
 * Returns the number of bytes copied. */
DK_PUBLIC size_t sg_copy_from_buffer(struct scatterlist *sgl, unsigned int nents, const void *buffer,
                                     size_t length);
DK_PUBLIC size_t sg_copy_to_buffer(struct scatterlist *sgl, unsigned int nents, void *buffer, size_t length);
DK_PUBLIC size_t sg_pcopy_from_buffer(struct scatterlist *sgl, unsigned int nents, const void *buffer,
                                      size_t length, off_t skip);
DK_PUBLIC size_t sg_pcopy_to_buffer(struct scatterlist *sgl, unsigned int nents, void *buffer, size_t length,
                                    off_t skip);
DK_PUBLIC size_t sg_zero_buffer(struct scatterlist *sgl, unsigned int nents, size_t length, off_t skip);

#define for_each_sg(sglist, sg, nr, i) for (i = 0, sg = (sglist); i < (nr); i++, sg = sg_next(sg))
#define for_each_sgtable_sg(sgt, sg, i) for_each_sg ((sgt)->sgl, sg, (sgt)->orig_nents, i)
#define for_each_sgtable_dma_sg(sgt, sg, i) for_each_sg ((sgt)->sgl, sg, (sgt)->nents, i)

DK_END_DECLS

#endif
