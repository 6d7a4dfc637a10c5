/* SPDX-License-Identifier: MIT */
/* <linux/list.h> for driver source. */
#ifndef DMAKIT_LINUX_LIST_H
#define DMAKIT_LINUX_LIST_H

#include <dmakit/list.h>

static inline bool list_is_last(const struct list_head *entry, const struct list_head *head)
{
    return entry->next == head;
}

static inline bool list_is_singular(const struct list_head *head)
{
    return !list_empty(head) && head->next == head->prev;
}

/* Takes @entry from its list to the start, or to the end, of @head. */
static inline void list_move(struct list_head *entry, struct list_head *head)
{
    list_del(entry);
    list_add(entry, head);
}
static inline void list_move_tail(struct list_head *entry, struct list_head *head)
{
    list_del(entry);
    list_add_tail(entry, head);
}

/* Puts all entries of @list at the end of @head; @list is empty then. */
static inline void list_splice_tail_init(struct list_head *list, struct list_head *head)
{
    if (list_empty(list))
        return;
    list->next->prev = head->prev;
    head->prev->next = list->next;
    list->prev->next = head;
    head->prev = list->prev;
    INIT_LIST_HEAD(list);
}

#define list_for_each(position, head) \
    for (position = (head)->next; position != (head); position = position->next)
#define list_for_each_safe(position, following, head)                             \
    for (position = (head)->next, following = position->next; position != (head); \
         position = following, following = position->next)
#define list_first_entry_or_null(head, type, member) \
    (list_empty(head) ? (type *)NULL : list_first_entry(head, type, member))
#define list_prev_entry(position, member) list_entry((position)->member.prev, __typeof__(*(position)), member)
#define list_for_each_entry_reverse(position, head, member)                                            \
    for (position = list_last_entry(head, __typeof__(*position), member); &position->member != (head); \
         position = list_prev_entry(position, member))

#endif
