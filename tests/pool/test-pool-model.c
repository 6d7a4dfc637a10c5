/* SPDX-License-Identifier: MIT */
/*
 * Pools against an obvious model: a byte for each byte of memory, which says whose it is.
 */
#include "pool.h"

#include <time.h>

#define RAM_BASE 0x40000000ull
#define RAM_SIZE ((size_t)64 << 20)
#define MOST 3000u

struct block {
    char *cpu;
    dma_addr_t dma;
    unsigned tag;
};

struct model {
    struct dk_machine *machine;
    struct device *dev;
    struct dma_pool *pool, *other;
    size_t size, align, boundary;
    int depth;
    u64 random;
    unsigned char *used; /* a byte for each of RAM */
    struct block blocks[MOST];
    unsigned count, tags;
    unsigned long wrong; /* frees */
    dma_addr_t other_dma;
    void *other_cpu;
};

static u64 next_random(struct model *model)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return model->random;
}

static unsigned below(struct model *model, unsigned limit)
{
    return (unsigned)(next_random(model) % limit);
}

static void take(struct model *model)
{
    struct block *block = &model->blocks[model->count];
    bool zero = below(model, 4) == 0;
    size_t at, i;

    block->cpu = zero ? dma_pool_zalloc(model->pool, GFP_KERNEL, &block->dma)
                      : dma_pool_alloc(model->pool, below(model, 2) ? GFP_ATOMIC : GFP_KERNEL, &block->dma);
    /* Memory for atomic requests may run out on a machine that does not snoop. */
    if (!block->cpu)
        return;
    assert_int_equal(block->dma & (model->align - 1), 0);
    if (model->boundary)
        assert_int_equal(block->dma & ~(u64)(model->boundary - 1),
                         (block->dma + model->size - 1) & ~(u64)(model->boundary - 1));
    assert_in_range(block->dma, RAM_BASE, RAM_BASE + RAM_SIZE - model->size);
    at = (size_t)(block->dma - RAM_BASE);
    for (i = 0; i < model->size; i++)
        assert_int_equal(model->used[at + i], 0);
    memset(model->used + at, 1, model->size);
    for (i = 0; zero && i < model->size; i++)
        assert_int_equal(block->cpu[i], 0);
    block->tag = ++model->tags;
    fill(block->cpu, model->size, block->tag);
    model->count++;
}

static void give(struct model *model)
{
    unsigned index = below(model, model->count);
    struct block *block = &model->blocks[index];

    assert_true(filled(block->cpu, model->size, block->tag));
    memset(model->used + (block->dma - RAM_BASE), 0, model->size);
    /* Either of the two ways. */
    if (below(model, 2))
        dk_pool_free(model->pool, block->cpu, block->dma);
    else
        dma_pool_free(model->pool, block->cpu, block->dma);
    *block = model->blocks[--model->count];
}

/* With the checker off those that can be told; each changes nothing. */
static void give_wrongly(struct model *model)
{
    const struct block *block = &model->blocks[below(model, model->count)];
    struct block again;

    model->wrong++;
    switch (below(model, model->depth ? 6 : 5)) {
    case 0:
        dma_pool_free(model->pool, block->cpu, block->dma + 1 + below(model, 5000));
        break;
    case 1:
        dma_pool_free(model->pool, block->cpu + 1 + below(model, (unsigned)model->size - 1),
                      block->dma + 1 + below(model, (unsigned)model->size - 1));
        break;
    case 2:
        dma_pool_free(model->pool, model->other_cpu, model->other_dma);
        break;
    case 3:
        dma_pool_free(model->pool, model, block->dma);
        break;
    case 4: {
        unsigned inside = 1 + below(model, (unsigned)model->size - 1);

        dma_pool_free(model->pool, block->cpu + inside, block->dma + inside);
        break;
    }
    default:
        /* Twice. */
        again = *block;
        assert_true(filled(again.cpu, model->size, again.tag));
        dma_pool_free(model->pool, again.cpu, again.dma);
        dma_pool_free(model->pool, again.cpu, again.dma);
        memset(model->used + (again.dma - RAM_BASE), 0, model->size);
        model->blocks[block - model->blocks] = model->blocks[--model->count];
        break;
    }
}

static void run_model(const struct pool_place *place, struct model *model, unsigned long operations)
{
    unsigned limit = MOST;
    unsigned long i;

    model->dev = pool_device(place, model->depth, &model->machine);
    dk_check_set_sink(model->machine, ignore_report, NULL);
    model->pool = dma_pool_create("model", model->dev, model->size, model->align, model->boundary);
    model->other = dma_pool_create("other", model->dev, model->size, model->align, model->boundary);
    assert_non_null(model->pool);
    model->other_cpu = dma_pool_alloc(model->other, GFP_KERNEL, &model->other_dma);
    assert_non_null(model->other_cpu);
    memset(model->used + (model->other_dma - RAM_BASE), 1, model->size);
    model->count = model->tags = 0;
    model->wrong = 0;
    if (limit > (RAM_SIZE / 16) / model->size)
        limit = (unsigned)((RAM_SIZE / 16) / model->size);
    for (i = 0; i < operations; i++) {
        /* Long tides, so that chunks come and go. */
        bool grows = i / 8192 % 2 ? below(model, 8) < 3 : below(model, 8) < 5;

        if (model->count && below(model, 256) == 0)
            give_wrongly(model);
        else if ((grows && model->count < limit) || !model->count)
            take(model);
        else
            give(model);
        if (i % 65536 == 0) {
            char text[256];

            dk_device_pools(model->dev, text, sizeof(text));
            assert_non_null(strstr(text, "\nmodel "));
            assert_int_equal(strtoul(strstr(text, "\nmodel ") + 17, NULL, 10), model->count);
        }
    }
    while (model->count)
        give(model);
    assert_int_equal(dk_check_count(model->machine, NULL), model->depth ? model->wrong : 0);
    dma_pool_free(model->other, model->other_cpu, model->other_dma);
    memset(model->used + (model->other_dma - RAM_BASE), 0, model->size);
    dma_pool_destroy(model->other);
    dma_pool_destroy(model->pool);
    assert_int_equal(dk_machine_destroy(model->machine), model->depth ? model->wrong : 0);
}

static void a_million_operations(void **state)
{
    static const struct {
        size_t size, align, boundary;
    } shapes[] = {
        { 64, 1, 0 },         { 96, 32, 0 },    { 96, 32, 256 }, { 17, 1, 64 },
        { 4096, 4096, 4096 }, { 200, 8, 4096 }, { 3000, 4, 0 },
    };
    unsigned long operations = SLOW_HERE || getenv("DMAKIT_TEST_FAST") ? 4000 : 80000;
    const char *given = getenv("DMAKIT_TEST_SEED");
    u64 seed = given ? strtoull(given, NULL, 0) : (u64)time(NULL) * 2 + 1;
    struct model *model = calloc(1, sizeof(*model));
    size_t i;

    (void)state;
    assert_non_null(model);
    model->used = calloc(1, RAM_SIZE);
    assert_non_null(model->used);
    print_message("seed %llu (DMAKIT_TEST_SEED)\n", seed);
    model->random = seed;
    for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        model->size = shapes[i].size;
        model->align = shapes[i].align;
        model->boundary = shapes[i].boundary;
        for (model->depth = 0; model->depth < 2; model->depth++) {
            run_model(&pool_places[0], model, operations);
            run_model(&pool_places[1], model, operations / 4);
        }
    }
    free(model->used);
    free(model);
}

/* Whatever the shape, whatever the back end: alignment, boundary, and a place for each block alone. */
static void shapes_hold_everywhere(void **state)
{
    unsigned rounds = SLOW_HERE || getenv("DMAKIT_TEST_FAST") ? 10 : 100, i, j, k;
    struct model model = { .random = 88172645463325252ull };
    int depth;
    size_t place;

    (void)state;
    for (depth = 0; depth < 2; depth++) {
        for (place = 0; place < POOL_PLACES; place++) {
            struct dk_machine *machine;
            struct device *dev = pool_device(&pool_places[place], depth, &machine);

            for (i = 0; i < rounds; i++) {
                size_t size = 1 + below(&model, 1u << below(&model, 14));
                size_t align = (size_t)1 << below(&model, 14), boundary = 0;
                size_t rounded = (size + align - 1) / align * align;
                struct dma_pool *pool;
                struct block blocks[40];
                unsigned count = 0;

                if (below(&model, 3))
                    for (boundary = 1; boundary < rounded;)
                        boundary *= 2;
                boundary <<= boundary ? below(&model, 3) : 0;
                pool = dma_pool_create("shape", dev, size, align, boundary);
                assert_non_null(pool);
                for (j = 0; j < 40; j++) {
                    struct block *block = &blocks[count];

                    block->cpu = dma_pool_alloc(pool, GFP_KERNEL | __GFP_NOWARN, &block->dma);
                    if (!block->cpu)
                        break;
                    assert_int_equal(block->dma % align, 0);
                    assert_int_equal((uintptr_t)block->cpu % (align < PAGE_SIZE ? align : PAGE_SIZE), 0);
                    if (boundary)
                        assert_int_equal(block->dma / boundary, (block->dma + size - 1) / boundary);
                    else if (rounded <= PAGE_SIZE)
                        assert_int_equal(block->dma / PAGE_SIZE, (block->dma + size - 1) / PAGE_SIZE);
                    for (k = 0; k < count; k++) {
                        assert_true(block->dma >= blocks[k].dma + size || blocks[k].dma >= block->dma + size);
                        assert_true(block->cpu >= blocks[k].cpu + size || blocks[k].cpu >= block->cpu + size);
                    }
                    fill(block->cpu, size, j);
                    block->tag = j;
                    count++;
                }
                assert_true(count >= 1);
                for (j = 0; j < count; j++) {
                    unsigned char first = 0;

                    assert_true(filled(blocks[j].cpu, size, blocks[j].tag));
                    assert_int_equal(dk_master_read(dev, blocks[j].dma, &first, 1), 0);
                    assert_int_equal(first, (unsigned char)blocks[j].cpu[0]);
                    dma_pool_free(pool, blocks[j].cpu, blocks[j].dma);
                }
                dma_pool_destroy(pool);
            }
            assert_int_equal(dk_machine_destroy(machine), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_million_operations),
        cmocka_unit_test(shapes_hold_everywhere),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("pool-model", tests, NULL, NULL);
}
