/* SPDX-License-Identifier: MIT */
/*
 * Doubly linked lists that thread through their members, with Linux's names.
 */
#ifndef DMAKIT_LIST_H
#define DMAKIT_LIST_H

#include <dmakit/types.h>

struct list_head {
    struct list_head *next, *prev;
};

#ifndef container_of
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#endif

#define LIST_HEAD_INIT(name) \
    {                        \
        &(name), &(name)     \
    }
#define LIST_HEAD(name) struct list_head name = LIST_HEAD_INIT(name)

static inline void INIT_LIST_HEAD(struct list_head *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool list_empty(const struct list_head *head)
{
    return head->next == head;
}

/* Puts @entry right after @head. */
static inline void list_add(struct list_head *entry, struct list_head *head)
{
    entry->next = head->next;
    entry->prev = head;
    head->next->prev = entry;
    head->next = entry;
}

/* Puts @entry at the end of the list @head. */
static inline void list_add_tail(struct list_head *entry, struct list_head *head)
{
    list_add(entry, head->prev);
}

/* Takes @entry out; afterwards it is an empty list, so that a second call does no harm. */
static inline void list_del_init(struct list_head *entry)
{
    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;
    INIT_LIST_HEAD(entry);
}

static inline void list_del(struct list_head *entry)
{
    list_del_init(entry);
}

#define list_entry(pointer, type, member) container_of(pointer, type, member)
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
#define list_last_entry(head, type, member) list_entry((head)->prev, type, member)
#define list_next_entry(position, member) list_entry((position)->member.next, __typeof__(*(position)), member)

#define list_for_each_entry(position, head, member)                                                     \
    for (position = list_first_entry(head, __typeof__(*position), member); &position->member != (head); \
         position = list_next_entry(position, member))

/* As list_for_each_entry(), and @position may be taken out in the body. */
#define list_for_each_entry_safe(position, following, head, member)        \
    for (position = list_first_entry(head, __typeof__(*position), member), \
        following = list_next_entry(position, member);                     \
         &position->member != (head); position = following, following = list_next_entry(following, member))

#endif
