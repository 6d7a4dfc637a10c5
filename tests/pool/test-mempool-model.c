/* SPDX-License-Identifier: MIT */
/*
 * A million random operations on a memory pool beside a plain model: a number of elements in the reserve, and
 * a byte for each element that says whose it is.
 */
#include "mempool.h"

enum owner { NOBODY, USER };

struct model {
    struct stock stock;
    mempool_t pool;
    int *held[STOCK];
    unsigned held_count, reserve;
    int min_nr;
    u64 random;
};

static u64 draw(struct model *model, u64 below)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return model->random % below;
}

static void check(struct model *model)
{
    assert_int_equal(model->pool.curr_nr, model->reserve);
    assert_int_equal(model->pool.min_nr, model->min_nr);
    assert_int_equal(model->stock.out, model->held_count + model->reserve);
    assert_int_equal(mempool_is_saturated(&model->pool), (int)model->reserve >= model->min_nr);
}

static void take(struct model *model)
{
    bool from_reserve_only = draw(model, 5) == 0;
    bool stocked = !from_reserve_only && model->stock.out < model->stock.limit;
    bool can = stocked || model->reserve;
    int *element;

    if (from_reserve_only)
        element = mempool_alloc_preallocated(&model->pool);
    else
        element = mempool_alloc(&model->pool, can && draw(model, 2) ? GFP_KERNEL : GFP_ATOMIC);
    assert_int_equal(element != NULL, can);
    if (!element)
        return;
    assert_int_equal(*element, NOBODY);
    *element = USER;
    if (!stocked)
        model->reserve--;
    model->held[model->held_count++] = element;
}

static void give(struct model *model)
{
    unsigned which = (unsigned)draw(model, model->held_count);
    int *element = model->held[which];

    assert_int_equal(*element, USER);
    *element = NOBODY;
    model->held[which] = model->held[--model->held_count];
    if ((int)model->reserve < model->min_nr)
        model->reserve++;
    mempool_free(element, &model->pool);
}

static void resize(struct model *model)
{
    model->min_nr = 1 + (int)draw(model, 12);
    assert_int_equal(mempool_resize(&model->pool, model->min_nr, GFP_KERNEL), 0);
    if ((int)model->reserve > model->min_nr)
        model->reserve = (unsigned)model->min_nr;
    while ((int)model->reserve < model->min_nr && model->held_count + model->reserve < model->stock.limit)
        model->reserve++;
}

static void test_model(void **state)
{
    unsigned operations = getenv("DMAKIT_TEST_FAST") ? 20000 : 1000000, i, bias = 1;
    const char *text = getenv("DMAKIT_TEST_SEED");
    struct model *model = calloc(1, sizeof(*model));

    (void)state;
    assert_non_null(model);
    model->random = text ? strtoull(text, NULL, 0) : 0x4e4b001ull;
    print_message("seed 0x%llx\n", model->random);
    dk_log_set_sink(take_line, NULL);
    stock_init(&model->stock, 40);
    model->min_nr = 4;
    model->reserve = 4;
    assert_int_equal(mempool_init(&model->pool, 4, stock_alloc, stock_free, &model->stock), 0);
    for (i = 0; i < operations; i++) {
        if (i % 1000 == 0) {
            bias = 1 + (unsigned)draw(model, 3);
            stock_limit(&model->stock, 5 + (unsigned)draw(model, 60));
        }
        if (draw(model, 100) == 0)
            resize(model);
        else if (model->held_count && draw(model, 4) < bias)
            give(model);
        else
            take(model);
        check(model);
    }
    while (model->held_count)
        give(model);
    mempool_exit(&model->pool);
    assert_int_equal(model->stock.out, 0);
    free(model);
    dk_log_set_sink(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_model) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
