/* SPDX-License-Identifier: MIT */
/*
 * Lists, against an array that holds the same members in the same order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dmakit/list.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS 24

struct member {
    int number;
    struct list_head link;
};

struct model {
    struct list_head head;
    struct member members[MEMBERS];
    int order[MEMBERS]; /* numbers of what is in the list, first to last */
    int count;
};

static void make_model(struct model *model)
{
    int i;

    INIT_LIST_HEAD(&model->head);
    model->count = 0;
    for (i = 0; i < MEMBERS; i++) {
        model->members[i].number = i;
        INIT_LIST_HEAD(&model->members[i].link);
    }
}

/* The list forwards, backwards, and at its ends is what the array says. */
static void compare(struct model *model)
{
    const struct list_head *link;
    struct member *member;
    int at = 0;

    assert_int_equal(list_empty(&model->head), model->count == 0);
    list_for_each_entry (member, &model->head, link) {
        assert_true(at < model->count);
        assert_int_equal(member->number, model->order[at]);
        at++;
    }
    assert_int_equal(at, model->count);
    for (link = model->head.prev; link != &model->head; link = link->prev)
        assert_int_equal(list_entry(link, struct member, link)->number, model->order[--at]);
    assert_int_equal(at, 0);
    if (model->count) {
        assert_int_equal(list_first_entry(&model->head, struct member, link)->number, model->order[0]);
        assert_int_equal(list_last_entry(&model->head, struct member, link)->number,
                         model->order[model->count - 1]);
    }
}

static int place_of(const struct model *model, int number)
{
    int i;

    for (i = 0; i < model->count && model->order[i] != number; i++)
        ;
    return i;
}

static void put(struct model *model, int place, int number)
{
    memmove(&model->order[place + 1], &model->order[place], (size_t)(model->count - place) * sizeof(int));
    model->order[place] = number;
    model->count++;
}

static void take(struct model *model, int place)
{
    model->count--;
    memmove(&model->order[place], &model->order[place + 1], (size_t)(model->count - place) * sizeof(int));
}

static void a_list_is_its_array(void **state)
{
    unsigned seed;

    (void)state;
    for (seed = 1; seed <= 20; seed++) {
        unsigned random = seed;
        struct model model;
        int step;

        make_model(&model);
        for (step = 0; step < 500; step++) {
            int number = rand_r(&random) % MEMBERS;
            struct list_head *link = &model.members[number].link;
            int place = place_of(&model, number);
            int choice = rand_r(&random) % 3;

            if (place < model.count) {
                (choice ? list_del_init : list_del)(link);
                /* Taken out it is an empty list, and taking it out again does no harm. */
                assert_true(list_empty(link));
                list_del_init(link);
                take(&model, place);
            } else if (choice == 0) {
                list_add(link, &model.head);
                put(&model, 0, number);
            } else if (choice == 1) {
                list_add_tail(link, &model.head);
                put(&model, model.count, number);
            } else if (model.count) {
                int after = rand_r(&random) % model.count;

                list_add(link, &model.members[model.order[after]].link);
                put(&model, after + 1, number);
            }
            compare(&model);
        }
    }
}

/* Every subset of a short list is taken out while the list is walked. */
static void members_may_leave_while_the_list_is_walked(void **state)
{
    enum { SHORT = 6 };
    unsigned chosen;

    (void)state;
    for (chosen = 0; chosen < 1u << SHORT; chosen++) {
        struct member *member, *following;
        struct model model;
        int i, visited = 0;

        make_model(&model);
        for (i = 0; i < SHORT; i++) {
            list_add_tail(&model.members[i].link, &model.head);
            if (!(chosen & 1u << i))
                put(&model, model.count, i);
        }
        list_for_each_entry_safe (member, following, &model.head, link) {
            assert_int_equal(member->number, visited);
            visited++;
            if (chosen & 1u << member->number) {
                list_del(&member->link);
                memset(member, 0xa5, sizeof(*member));
            }
        }
        assert_int_equal(visited, SHORT);
        compare(&model);
    }
}

static void a_list_declared_in_place_is_empty(void **state)
{
    LIST_HEAD(head);
    struct member member = { 7, LIST_HEAD_INIT(member.link) };
    struct member *each;
    int count = 0;

    (void)state;
    assert_true(list_empty(&head));
    assert_true(list_empty(&member.link));
    list_for_each_entry (each, &head, link)
        count++;
    assert_int_equal(count, 0);
    list_add(&member.link, &head);
    assert_false(list_empty(&head));
    assert_ptr_equal(container_of(head.next, struct member, link), &member);
    assert_ptr_equal(member.link.next, &head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_its_array),
        cmocka_unit_test(members_may_leave_while_the_list_is_walked),
        cmocka_unit_test(a_list_declared_in_place_is_empty),
    };

    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
