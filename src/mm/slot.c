/* SPDX-License-Identifier: MIT */
/*
 * The table that says whose an address is, and the address space it hands out.
 */
#include "base/alloc.h"
#include "mm/private.h"

#include <sys/mman.h>

/* Process-wide because the address space is. */
struct dk_slot *dk_slots[DK_SLOT_COUNT];
uintptr_t dk_slot_shadows[DK_SLOT_COUNT];

/* A slot that dk_memory_take_slot() gave; the memory frees it. */
struct dk_taken_slot {
    struct list_head link;
    struct dk_slot slot;
};

char *dk_slots_reserve(size_t count)
{
    size_t size = count << DK_SLOT_SHIFT, before;
    char *start;

    if (!count || count >= DK_SLOT_COUNT / 2 || dk_fault_point())
        return NULL;
    /* Alignment costs one slot more, which goes back at once. */
    start = mmap(NULL, size + DK_SLOT_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    before = -(uintptr_t)start & (DK_SLOT_SIZE - 1);
    if (before)
        munmap(start, before);
    munmap(start + before + size, DK_SLOT_SIZE - before);
    start += before;
    /* Above what the table covers: no host of ours has user space there unless asked for it. */
    if (((uintptr_t)start >> DK_SLOT_SHIFT) + count > DK_SLOT_COUNT) {
        munmap(start, size);
        return NULL;
    }
    return start;
}

void dk_slots_release(char *start, size_t count)
{
    munmap(start, count << DK_SLOT_SHIFT);
}

void dk_slot_enter(struct dk_slot *slot)
{
    uintptr_t index = (uintptr_t)slot->start >> DK_SLOT_SHIFT;

    __atomic_store_n(&dk_slots[index], slot, __ATOMIC_RELEASE);
    /* Where its pages are is not known by the address alone. */
    if (slot->kind == DK_SLOT_VMALLOC)
        __atomic_store_n(&dk_slot_shadows[index], DK_SLOT_ASKS, __ATOMIC_RELEASE);
}

void dk_slot_leave(const struct dk_slot *slot)
{
    uintptr_t index = (uintptr_t)slot->start >> DK_SLOT_SHIFT;

    __atomic_store_n(&dk_slot_shadows[index], 0, __ATOMIC_RELEASE);
    __atomic_store_n(&dk_slots[index], NULL, __ATOMIC_RELEASE);
}

/* A slot's bookkeeping, not entered yet. */
static struct dk_taken_slot *describe(struct dk_memory *memory, enum dk_slot_kind kind, char *start)
{
    struct dk_taken_slot *taken = dk_allocate(1, sizeof(*taken));

    if (taken) {
        taken->slot.start = start;
        taken->slot.memory = memory;
        taken->slot.kind = kind;
    }
    return taken;
}

char *dk_memory_take_slots(struct dk_memory *memory, enum dk_slot_kind kind, size_t count)
{
    struct dk_taken_slot *taken, *following;
    char *start = dk_slots_reserve(count);
    struct list_head made;
    size_t i;

    if (!start)
        return NULL;
    INIT_LIST_HEAD(&made);
    for (i = 0; i < count; i++) {
        taken = describe(memory, kind, start + (i << DK_SLOT_SHIFT));
        if (!taken)
            goto release;
        list_add_tail(&taken->link, &made);
    }
    pthread_mutex_lock(&memory->section_lock);
    list_for_each_entry_safe (taken, following, &made, link) {
        list_del(&taken->link);
        list_add_tail(&taken->link, &memory->slots);
        dk_slot_enter(&taken->slot);
    }
    pthread_mutex_unlock(&memory->section_lock);
    return start;

release:
    list_for_each_entry_safe (taken, following, &made, link)
        dk_release(taken);
    dk_slots_release(start, count);
    return NULL;
}

struct dk_slot *dk_memory_take_slot(struct dk_memory *memory, enum dk_slot_kind kind)
{
    char *start = dk_memory_take_slots(memory, kind, 1);

    return start ? dk_slot_find(start) : NULL;
}

void dk_memory_finish_slots(struct dk_memory *memory)
{
    struct dk_taken_slot *taken, *following;

    list_for_each_entry_safe (taken, following, &memory->slots, link) {
        dk_slot_leave(&taken->slot);
        dk_slots_release(taken->slot.start, 1);
        dk_release(taken);
    }
    INIT_LIST_HEAD(&memory->slots);
}
