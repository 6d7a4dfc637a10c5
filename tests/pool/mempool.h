/* SPDX-License-Identifier: MIT */
/*
 * What the tests of this room share: a machine, its reports and its log lines, and a pair of functions that
 * give and take back numbered elements.
 */
#ifndef TESTS_POOL_MEMPOOL_H
#define TESTS_POOL_MEMPOOL_H

/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dmakit/dmakit.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES_MOST 100

static struct dk_machine *watched;
static unsigned long counts[CLASSES_MOST]; /* of each class, when they were looked at last */
static unsigned lines;
static char last_line[512];

static inline void take_report(const struct dk_report *report, void *data)
{
    (void)report;
    (void)data;
}

static inline void take_line(int level, const char *line, void *data)
{
    (void)level;
    (void)data;
    lines++;
    snprintf(last_line, sizeof(last_line), "%s", line);
}

/* How many bugs were found since the last call, repeated ones too; in *@wanted, how many of @class_name. */
static inline unsigned long found(const char *class_name, unsigned long *wanted)
{
    const char *const *names = dk_check_classes();
    unsigned long all = 0;
    size_t i;

    *wanted = 0;
    for (i = 0; names[i]; i++) {
        unsigned long count = dk_check_count(watched, names[i]);

        assert_true(i < CLASSES_MOST);
        if (count != counts[i] && class_name && strcmp(names[i], class_name))
            print_error("%lu of %s\n", count - counts[i], names[i]);
        all += count - counts[i];
        if (class_name && !strcmp(names[i], class_name))
            *wanted = count - counts[i];
        counts[i] = count;
    }
    return all;
}

/* The built-in board, entered. */
static inline struct dk_machine *machine_at(int depth)
{
    const struct dk_machine_options options = { .size = sizeof(options), .depth = depth };
    struct dk_machine *machine = dk_machine_create(NULL, &options);

    assert_false(IS_ERR(machine));
    dk_machine_enter(machine);
    dk_check_set_sink(machine, take_report, NULL);
    dk_log_set_sink(take_line, NULL);
    watched = machine;
    memset(counts, 0, sizeof(counts));
    lines = 0;
    return machine;
}

static inline struct dk_machine *make_machine(void)
{
    return machine_at(1);
}

/* True when exactly one bug was found since the last call, of @class_name. */
static inline bool reported(const char *class_name)
{
    unsigned long wanted, all = found(class_name, &wanted);

    lines = 0;
    return all == 1 && wanted == 1;
}

static inline bool nothing_reported(void)
{
    unsigned long wanted;

    return !found("nothing", &wanted);
}

/* Nothing was reported that was not asked for. */
static inline void unmake_machine(struct dk_machine *machine)
{
    assert_true(nothing_reported());
    dk_machine_destroy(machine);
    dk_log_set_sink(NULL, NULL);
}

/* True when exactly one line was logged since the last call, and it holds @part. */
static inline bool logged(const char *part)
{
    bool one = lines == 1 && strstr(last_line, part);

    if (!one)
        print_error("%u lines, the last: %s\n", lines, last_line);
    lines = 0;
    return one;
}

#define STOCK 256

/* At most @limit of its elements are out at a time. */
struct stock {
    pthread_mutex_t lock;
    unsigned limit, out, asked;
    bool taken[STOCK];
    int elements[STOCK];
    gfp_t gfp; /* of the last time it was asked */
};

static inline void stock_init(struct stock *stock, unsigned limit)
{
    memset(stock, 0, sizeof(*stock));
    pthread_mutex_init(&stock->lock, NULL);
    stock->limit = limit;
}

static inline void stock_limit(struct stock *stock, unsigned limit)
{
    pthread_mutex_lock(&stock->lock);
    stock->limit = limit;
    pthread_mutex_unlock(&stock->lock);
}

static inline void *stock_alloc(gfp_t gfp, void *data)
{
    struct stock *stock = data;
    void *element = NULL;
    unsigned i;

    pthread_mutex_lock(&stock->lock);
    stock->gfp = gfp;
    stock->asked++;
    if (stock->out < stock->limit) {
        for (i = 0; stock->taken[i]; i++)
            ;
        stock->taken[i] = true;
        stock->out++;
        element = &stock->elements[i];
    }
    pthread_mutex_unlock(&stock->lock);
    return element;
}

static inline void stock_free(void *element, void *data)
{
    struct stock *stock = data;
    size_t i = (size_t)((int *)element - stock->elements);

    pthread_mutex_lock(&stock->lock);
    if (i >= STOCK || !stock->taken[i])
        abort();
    stock->taken[i] = false;
    stock->out--;
    pthread_mutex_unlock(&stock->lock);
}

/* The same with DMA addresses, which tell the element. */
#define STOCK_DMA 0x1000000ull

static inline void *stock_alloc_dma(gfp_t gfp, void *data, dma_addr_t *dma)
{
    struct stock *stock = data;
    int *element = stock_alloc(gfp, data);

    if (element)
        *dma = STOCK_DMA + (dma_addr_t)(element - stock->elements);
    return element;
}

static inline void stock_free_dma(void *element, void *data, dma_addr_t dma)
{
    const struct stock *stock = data;

    if (dma != STOCK_DMA + (dma_addr_t)((int *)element - stock->elements))
        abort();
    stock_free(element, data);
}

#endif
