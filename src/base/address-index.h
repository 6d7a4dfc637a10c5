/* SPDX-License-Identifier: MIT */
/*
 * A table from addresses to what is there, for memory that no struct page stands for. Entries are the
 * caller's, so that adding cannot fail once there is room. The caller's lock guards all of it.
 */
#ifndef DK_BASE_ADDRESS_INDEX_H
#define DK_BASE_ADDRESS_INDEX_H

#include <dmakit/types.h>

struct dk_address_entry {
    struct dk_address_entry *next;
    const void *address; /* what it is found by; no two entries have the same */
    void *value;
};

/* All zeros: empty. */
struct dk_address_index {
    struct dk_address_entry **buckets; /* NULL: no room so far */
    size_t bucket_count;               /* a power of two */
    size_t count;
};

/* Room for @extra more entries. False: out of memory, and nothing changed. */
bool dk_address_index_grow(struct dk_address_index *index, size_t extra);
/* Enters @entry, its address and value set. There is room. */
void dk_address_index_add(struct dk_address_index *index, struct dk_address_entry *entry);
/* The value at @address; NULL: there is none. */
void *dk_address_index_find(const struct dk_address_index *index, const void *address);
/* Takes @entry out, which is in it. */
void dk_address_index_remove(struct dk_address_index *index, struct dk_address_entry *entry);
/* Calls @visit for each value, in no order. @visit may free the entry, and changes nothing else. */
void dk_address_index_each(struct dk_address_index *index, void (*visit)(void *value, void *data),
                           void *data);
/* Frees the table, not the entries. */
void dk_address_index_finish(struct dk_address_index *index);

#endif
