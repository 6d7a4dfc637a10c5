/* SPDX-License-Identifier: MIT */
#include "base/address-index.h"

#include "base/alloc.h"

#define LEAST_BUCKETS ((size_t)16)

static struct dk_address_entry **bucket_of(const struct dk_address_index *index, const void *address)
{
    /* Addresses differ in their middle bits; the multiplication carries those to the top. */
    u64 hash = (u64)(uintptr_t)address * 0x9e3779b97f4a7c15ull;

    return &index->buckets[(size_t)(hash >> 32) & (index->bucket_count - 1)];
}

static void link_entry(struct dk_address_index *index, struct dk_address_entry *entry)
{
    struct dk_address_entry **bucket = bucket_of(index, entry->address);

    entry->next = *bucket;
    *bucket = entry;
}

bool dk_address_index_grow(struct dk_address_index *index, size_t extra)
{
    struct dk_address_index larger = { .count = index->count, .bucket_count = LEAST_BUCKETS };
    struct dk_address_entry *entry, *following;
    size_t i;

    if (extra > SIZE_MAX / 4 - index->count)
        return false;
    while (larger.bucket_count < index->count + extra)
        larger.bucket_count *= 2;
    if (index->buckets && larger.bucket_count <= index->bucket_count)
        return true;
    larger.buckets = dk_allocate(larger.bucket_count, sizeof(struct dk_address_entry *));
    if (!larger.buckets)
        return false;
    for (i = 0; index->buckets && i < index->bucket_count; i++) {
        for (entry = index->buckets[i]; entry; entry = following) {
            following = entry->next;
            link_entry(&larger, entry);
        }
    }
    dk_release(index->buckets);
    *index = larger;
    return true;
}

void dk_address_index_add(struct dk_address_index *index, struct dk_address_entry *entry)
{
    link_entry(index, entry);
    index->count++;
}

void *dk_address_index_find(const struct dk_address_index *index, const void *address)
{
    const struct dk_address_entry *entry;

    if (!index->count)
        return NULL;
    for (entry = *bucket_of(index, address); entry; entry = entry->next) {
        if (entry->address == address)
            return entry->value;
    }
    return NULL;
}

void dk_address_index_remove(struct dk_address_index *index, struct dk_address_entry *entry)
{
    struct dk_address_entry **at = bucket_of(index, entry->address);

    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    index->count--;
}

void dk_address_index_each(struct dk_address_index *index, void (*visit)(void *value, void *data), void *data)
{
    struct dk_address_entry *entry, *following;
    size_t i;

    for (i = 0; index->buckets && i < index->bucket_count; i++) {
        for (entry = index->buckets[i]; entry; entry = following) {
            following = entry->next;
            visit(entry->value, data);
        }
    }
}

void dk_address_index_finish(struct dk_address_index *index)
{
    dk_release(index->buckets);
    *index = (struct dk_address_index){ 0 };
}
