/* SPDX-License-Identifier: MIT */
/*
 * Dies, sections, masks, pairs and hotplug, by themselves: the machine's RAM lies elsewhere.
 */
#include "fixture.h"

#include "mm/pasr.h"
#include "mm/private.h"
#include <dmakit/fail.h>
#include <dmakit/pasr.h>
#include <stdio.h>
#include <sys/resource.h>

#define SECTION (8 * MIB)
#define DIE (4 * GIB)

/* What a memory controller was told. */
struct controller {
    u32 mask;
    unsigned calls;
    int inside; /* what pasr_get() said inside the callback */
};

static void apply(struct pasr_die *die, u32 mask, void *data)
{
    struct controller *controller = data;

    (void)die;
    assert_int_not_equal(mask, controller->mask);
    controller->mask = mask;
    controller->calls++;
}

static const struct dk_memory_range ram = { GIB, 64 * MIB };

static struct dk_memory *machine(void)
{
    struct dk_memory_config config = small_config(&ram);

    return make(&config);
}

static struct dk_pasr_layout layout(enum pasr_mode mode, struct controller *controller)
{
    *controller = (struct controller){ 0 };
    return (struct dk_pasr_layout){ .name = "die",
                                    .base = DIE,
                                    .section_size = SECTION,
                                    .sections = 8,
                                    .mode = mode,
                                    .apply_mask = apply,
                                    .data = controller };
}

static struct pasr_die *add(const struct dk_pasr_layout *layout)
{
    struct pasr_die *die = dk_pasr_die_add(layout);

    assert_false(IS_ERR_OR_NULL(die));
    return die;
}

static struct dk_pasr_section section(struct pasr_die *die, unsigned index)
{
    struct dk_pasr_section state;

    assert_int_equal(dk_pasr_section_read(die, index, &state), 0);
    return state;
}

/* Which mask each mode makes of each set of unused sections. */
static void test_modes(void **state)
{
    static const struct {
        enum pasr_mode mode;
        u32 unused, mask;
    } cases[] = {
        { PASR_BANK_SELECTIVE, 0x00, 0x00 },    { PASR_BANK_SELECTIVE, 0x01, 0x01 },
        { PASR_BANK_SELECTIVE, 0xa5, 0xa5 },    { PASR_BANK_SELECTIVE, 0xff, 0xff },
        { PASR_SEGMENT_SELECTIVE, 0x80, 0x80 }, { PASR_SEGMENT_SELECTIVE, 0x7e, 0x7e },
        { PASR_SEGMENT_SELECTIVE, 0xff, 0xff }, { PASR_SINGLE_ENDED, 0x00, 0x00 },
        { PASR_SINGLE_ENDED, 0x80, 0x00 },      { PASR_SINGLE_ENDED, 0xe0, 0x00 },
        { PASR_SINGLE_ENDED, 0xf0, 0xf0 },      { PASR_SINGLE_ENDED, 0xf8, 0xf0 },
        { PASR_SINGLE_ENDED, 0xfc, 0xfc },      { PASR_SINGLE_ENDED, 0xfe, 0xfe },
        { PASR_SINGLE_ENDED, 0xff, 0xfe },      { PASR_SINGLE_ENDED, 0x0f, 0x00 },
        { PASR_SINGLE_ENDED, 0x7f, 0x00 },      { PASR_SINGLE_ENDED, 0xfd, 0xfc },
        { PASR_DOUBLE_ENDED, 0x00, 0x00 },      { PASR_DOUBLE_ENDED, 0xf0, 0xf0 },
        { PASR_DOUBLE_ENDED, 0x0f, 0x0f },      { PASR_DOUBLE_ENDED, 0x1f, 0x0f },
        { PASR_DOUBLE_ENDED, 0x3f, 0x3f },      { PASR_DOUBLE_ENDED, 0x7f, 0x7f },
        { PASR_DOUBLE_ENDED, 0xff, 0xfe },      { PASR_DOUBLE_ENDED, 0x07, 0x00 },
        { PASR_DOUBLE_ENDED, 0x7e, 0x00 },      { PASR_DOUBLE_ENDED, 0xf7, 0xf0 },
        { PASR_DOUBLE_ENDED, 0xbf, 0x3f },      { PASR_DOUBLE_ENDED, 0xfb, 0xf0 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_memory *memory = machine();
        struct controller controller;
        struct dk_pasr_layout a = layout(cases[i].mode, &controller);
        struct pasr_die *die = add(&a);
        unsigned s;

        for (s = 0; s < 8; s++) {
            if (cases[i].unused >> s & 1)
                assert_int_equal(pasr_put(DIE + s * SECTION, SECTION), 0);
        }
        if (controller.mask != cases[i].mask)
            fail_msg("mode %d, unused 0x%x: mask 0x%x, not 0x%x", cases[i].mode, cases[i].unused,
                     controller.mask, cases[i].mask);
        for (s = 0; s < 8; s++)
            assert_int_equal(section(die, s).asleep, cases[i].mask >> s & 1);
        /* All of them at once: one change. */
        for (s = 0; s < 8; s++) {
            if (!(cases[i].unused >> s & 1))
                assert_int_equal(pasr_put(DIE + s * SECTION, SECTION), 0);
        }
        controller.calls = 0;
        assert_int_equal(pasr_get(DIE, 8 * SECTION), 0);
        assert_int_equal(controller.calls, 1);
        assert_int_equal(controller.mask, 0);
        assert_int_equal(memory->pasr->asleep, 0);
        assert_true(silent());
        unmake(memory, 64 * MIB / PAGE_SIZE);
    }
}

static void test_counts_bytes(void **state)
{
    struct dk_memory *memory = machine();
    struct controller controller;
    struct dk_pasr_layout a = layout(PASR_BANK_SELECTIVE, &controller);
    struct pasr_die *die = add(&a);
    struct dk_pasr_statistics sum;

    (void)state;
    assert_int_equal(section(die, 0).unused, 0);
    assert_int_equal(pasr_put(DIE + PAGE_SIZE, SECTION - PAGE_SIZE), 0);
    assert_int_equal(section(die, 0).unused, SECTION - PAGE_SIZE);
    assert_false(section(die, 0).asleep);
    assert_int_equal(pasr_put(DIE, PAGE_SIZE), 0);
    assert_true(section(die, 0).asleep);
    assert_int_equal(controller.calls, 1);
    /* Over a section's end, and over the die's into memory that nobody refreshes. */
    assert_int_equal(pasr_get(DIE + SECTION - PAGE_SIZE, PAGE_SIZE), 0);
    assert_int_equal(pasr_put(DIE + SECTION - PAGE_SIZE, SECTION + PAGE_SIZE), 0);
    assert_int_equal(controller.mask, 3);
    assert_int_equal(pasr_put(DIE + 7 * SECTION, 4 * SECTION), 0);
    assert_int_equal(pasr_put(DIE - SECTION, SECTION), 0);
    assert_int_equal(controller.mask, 0x83);
    assert_int_equal(dk_pasr_read(NULL, &sum), 0);
    assert_int_equal(sum.dies, 1);
    assert_int_equal(sum.sections, 8);
    assert_int_equal(sum.sections_asleep, 3);
    assert_int_equal(sum.bytes, 8 * SECTION);
    assert_int_equal(sum.bytes_unused, 3 * SECTION);
    assert_int_equal(sum.bytes_asleep, 3 * SECTION);
    assert_int_equal(sum.operations, 6);
    assert_int_equal(sum.mask_changes, controller.calls);
    /* Section 0 slept from the 2nd to the 3rd and from the 4th on, section 1 from there too, section 7 from
     * the 5th. */
    assert_int_equal(sum.operations_asleep, 1 + 2 + 2 + 1);
    assert_int_equal(sum.refused, 0);
    assert_true(silent());
    unmake(memory, 64 * MIB / PAGE_SIZE);
}

static void test_refusals_change_nothing(void **state)
{
    struct dk_memory *memory = machine();
    struct controller controller;
    struct dk_pasr_layout a = layout(PASR_BANK_SELECTIVE, &controller);
    struct pasr_die *die;
    struct dk_pasr_statistics before, after;
    static const struct {
        const char *what;
        u64 offset, size;
        int error;
        bool put;
    } cases[] = {
        { "no pages of memory", 0, 0, -EINVAL, true },
        { "no pages of memory", 1, PAGE_SIZE, -EINVAL, true },
        { "no pages of memory", 0, PAGE_SIZE + 1, -EINVAL, false },
        { "no pages of memory", 0, 0ull - DIE, -EINVAL, true },
        { "no pages of memory", 0, ~0ull & ~4095ull, -EINVAL, true },
        { "unused already", 0, PAGE_SIZE, -EALREADY, true },
        { "unused already", SECTION - PAGE_SIZE, 2 * PAGE_SIZE, -EALREADY, true },
        { "unused already", SECTION + PAGE_SIZE, 64 * PAGE_SIZE, -EALREADY, true },
        { "unused already", SECTION + 65 * PAGE_SIZE, 7 * SECTION, -EALREADY, true },
        { "in use already", 2 * SECTION, SECTION, -EALREADY, false },
        { "in use already", 0, 2 * SECTION, -EALREADY, false },
        { "is offline", 6 * SECTION, PAGE_SIZE, -ENXIO, true },
        { "is offline", 5 * SECTION, 2 * SECTION, -ENXIO, false },
    };
    size_t i;

    (void)state;
    die = add(&a);
    assert_int_equal(pasr_put(DIE, SECTION), 0);
    assert_int_equal(pasr_put(DIE + SECTION + 64 * PAGE_SIZE, PAGE_SIZE), 0);
    assert_int_equal(pasr_put(DIE + 5 * SECTION, 3 * SECTION), 0);
    assert_int_equal(dk_pasr_sections_offline(die, 6, 1), 0);
    assert_int_equal(dk_pasr_read(die, &before), 0);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int error = cases[i].put ? pasr_put(DIE + cases[i].offset, cases[i].size)
                                 : pasr_get(DIE + cases[i].offset, cases[i].size);

        if (error != cases[i].error)
            fail_msg("case %zu: %d", i, error);
        if (!logged(cases[i].what))
            fail_msg("case %zu: \"%s\"", i, last_line);
    }
    assert_int_equal(dk_pasr_read(die, &after), 0);
    assert_int_equal(after.refused, i);
    assert_int_equal(after.operations, before.operations);
    assert_int_equal(after.bytes_unused, before.bytes_unused);
    assert_int_equal(after.sections_asleep, before.sections_asleep);
    assert_int_equal(after.mask_changes, before.mask_changes);
    assert_int_equal(pasr_get(DIE + SECTION + 64 * PAGE_SIZE, PAGE_SIZE), 0);
    unmake(memory, 64 * MIB / PAGE_SIZE);
}

/* Interleaved dies: their sections alternate, and neighbours are partners. */
static void test_pairs(void **state)
{
    struct dk_memory *memory = machine();
    struct controller first, second;
    struct dk_pasr_layout a = layout(PASR_SEGMENT_SELECTIVE, &first),
                          b = layout(PASR_SEGMENT_SELECTIVE, &second);
    struct pasr_die *one, *two;
    unsigned i;

    (void)state;
    a.stride = b.stride = 2 * SECTION;
    b.base = DIE + SECTION;
    b.name = "other";
    one = add(&a);
    two = add(&b);
    for (i = 0; i < 8; i++)
        assert_int_equal(dk_pasr_pair(one, i, two, i), 0);
    assert_int_equal(dk_pasr_pair(one, 0, two, 1), -EBUSY);
    assert_true(logged("partner already"));
    assert_int_equal(dk_pasr_pair(one, 0, one, 0), -EINVAL);
    assert_true(logged("no two sections"));
    assert_int_equal(dk_pasr_pair(one, 8, two, 0), -EINVAL);
    assert_true(logged("no such"));
    assert_ptr_equal(section(one, 3).partner, two);
    assert_int_equal(section(one, 3).partner_section, 3);

    assert_int_equal(pasr_put(DIE, SECTION), 0);
    assert_int_equal(first.calls + second.calls, 0);
    assert_int_equal(pasr_put(DIE + SECTION, SECTION), 0);
    assert_int_equal(first.mask, 1);
    assert_int_equal(second.mask, 1);
    assert_int_equal(pasr_get(DIE + SECTION, PAGE_SIZE), 0);
    assert_int_equal(first.mask, 0);
    assert_int_equal(second.mask, 0);
    assert_int_equal(pasr_put(DIE + SECTION, PAGE_SIZE), 0);
    /* A partner that is gone does not keep anybody awake. */
    assert_int_equal(pasr_put(DIE + 2 * SECTION, SECTION), 0);
    assert_int_equal(first.mask, 1);
    for (i = 1; i < 8; i++)
        assert_int_equal(pasr_put(DIE + (2 * i + 1) * SECTION, SECTION), 0);
    assert_int_equal(first.mask, 3);
    assert_int_equal(dk_pasr_die_remove(two), 0);
    assert_int_equal(pasr_put(DIE + 4 * SECTION, SECTION), 0);
    assert_int_equal(first.mask, 7);
    assert_true(silent());
    assert_int_equal(dk_pasr_die_remove(one), -EBUSY);
    assert_true(logged("in use"));
    unmake(memory, 64 * MIB / PAGE_SIZE);
}

/* With a partner in use the masks of a die that masks an eighth shrink too; and partners may be of one die.
 */
static void test_pairs_of_other_modes(void **state)
{
    struct dk_memory *memory = machine();
    struct controller first, second;
    struct dk_pasr_layout a = layout(PASR_SINGLE_ENDED, &first), b = layout(PASR_BANK_SELECTIVE, &second);
    struct pasr_die *one, *two;

    (void)state;
    b.base = DIE + 8 * SECTION;
    b.name = "other";
    one = add(&a);
    b.section_size = SECTION / 2;
    two = add(&b);
    assert_int_equal(dk_pasr_pair(one, 0, two, 0), -EINVAL);
    assert_true(logged("of one size"));
    assert_int_equal(pasr_put(b.base, 4 * SECTION), 0);
    assert_int_equal(dk_pasr_die_remove(two), 0);
    second = (struct controller){ 0 };
    b.section_size = SECTION;
    two = add(&b);
    assert_int_equal(dk_pasr_pair(one, 5, two, 0), 0);
    assert_int_equal(dk_pasr_pair(two, 6, two, 7), 0);
    /* One of the two has a partner. */
    assert_int_equal(dk_pasr_pair(one, 5, one, 4), -EBUSY);
    assert_true(logged("a section has a partner already"));
    assert_int_equal(dk_pasr_pair(one, 4, two, 6), -EBUSY);
    assert_true(logged("a section has a partner already"));
    assert_int_equal(pasr_put(DIE, 8 * SECTION), 0);
    assert_int_equal(first.mask, 0);
    assert_int_equal(pasr_put(DIE + 14 * SECTION, SECTION), 0);
    assert_int_equal(second.mask, 0);
    assert_int_equal(pasr_put(DIE + 15 * SECTION, SECTION), 0);
    assert_int_equal(second.mask, 0xc0);
    assert_int_equal(pasr_put(DIE + 8 * SECTION, SECTION), 0);
    assert_int_equal(first.mask, 0xfe);
    assert_int_equal(second.mask, 0xc1);
    assert_int_equal(pasr_get(DIE + 5 * SECTION, PAGE_SIZE), 0);
    assert_int_equal(first.mask, 0);
    assert_int_equal(second.mask, 0xc0);
    /* A die that goes is not told of its partners' ends. */
    assert_int_equal(pasr_put(DIE + 9 * SECTION, 5 * SECTION), 0);
    assert_int_equal(second.mask, 0xfe);
    second.calls = 0;
    assert_int_equal(dk_pasr_die_remove(two), 0);
    assert_int_equal(second.calls, 0);
    assert_int_equal(pasr_put(DIE + 5 * SECTION, PAGE_SIZE), 0);
    assert_int_equal(first.mask, 0xfe);
    unmake(memory, 64 * MIB / PAGE_SIZE);
}

static void test_hotplug(void **state)
{
    struct dk_memory *memory = machine();
    struct controller controller;
    struct dk_pasr_layout a = layout(PASR_BANK_SELECTIVE, &controller);
    struct pasr_die *die = add(&a), *on_ram;
    unsigned calls;

    (void)state;
    assert_int_equal(dk_pasr_sections_offline(die, 2, 2), -EBUSY);
    assert_true(logged("in use"));
    assert_int_equal(pasr_put(DIE + 2 * SECTION, 3 * SECTION), 0);
    assert_int_equal(dk_pasr_sections_offline(die, 2, 2), 0);
    assert_int_equal(controller.mask, 0x1c);
    assert_true(section(die, 2).offline && section(die, 2).asleep);
    assert_int_equal(dk_pasr_sections_offline(die, 3, 2), -EALREADY);
    assert_true(logged("already"));
    assert_int_equal(dk_pasr_sections_offline(die, 7, 2), -EINVAL);
    assert_int_equal(dk_pasr_sections_offline(die, 7, 0), -EINVAL);
    assert_int_equal(dk_pasr_sections_offline(die, ~0u, 2), -EINVAL);
    log_lines = 0;
    assert_int_equal(dk_pasr_sections_online(die, 4, 1), -EALREADY);
    assert_true(logged("already"));
    assert_int_equal(dk_pasr_sections_online(die, 2, 2), 0);
    assert_int_equal(controller.mask, 0x10);
    assert_int_equal(section(die, 2).unused, 0);
    assert_int_equal(pasr_put(DIE + 2 * SECTION, SECTION), 0);
    assert_int_equal(controller.mask, 0x14);

    /* A die goes when nothing in it is used, and another comes in its place. */
    assert_int_equal(dk_pasr_die_remove(die), -EBUSY);
    assert_true(logged("in use"));
    assert_int_equal(pasr_put(DIE, 2 * SECTION), 0);
    assert_int_equal(pasr_put(DIE + 3 * SECTION, SECTION), 0);
    assert_int_equal(pasr_put(DIE + 5 * SECTION, 3 * SECTION), 0);
    assert_int_equal(dk_pasr_pair(die, 6, die, 7), 0);
    calls = controller.calls;
    assert_int_equal(dk_pasr_die_remove(die), 0);
    assert_int_equal(controller.calls, calls);
    assert_int_equal(memory->pasr->asleep, 0);
    assert_int_equal(dk_pasr_die_remove(die), -EINVAL);
    assert_true(logged("no such die"));
    assert_int_equal(pasr_put(DIE, SECTION), 0);
    controller = (struct controller){ 0 };
    die = add(&a);
    assert_int_equal(section(die, 0).unused, 0);

    /* What the page allocator gives out does not go offline. */
    a.name = "ram";
    a.base = GIB;
    on_ram = add(&a);
    assert_true(section(on_ram, 7).asleep);
    assert_int_equal(dk_pasr_sections_offline(on_ram, 7, 1), -EBUSY);
    assert_true(logged("in use"));
    unmake(memory, 64 * MIB / PAGE_SIZE);
}

static void test_layouts_refused(void **state)
{
    struct dk_memory *memory = machine();
    struct controller controller;
    const struct dk_pasr_layout good = layout(PASR_SINGLE_ENDED, &controller);
    struct dk_pasr_layout a;
    struct {
        const char *what;
        struct dk_pasr_layout layout;
        int error;
    } cases[20];
    size_t count = 0, i;

#define BAD(text, code, change) \
    (a = good, change, cases[count].what = text, cases[count].error = code, cases[count++].layout = a)
    (void)state;
    BAD("no name", -EINVAL, a.name = NULL);
    BAD("no name", -EINVAL, a.name = "");
    BAD("no such mode", -EINVAL, a.mode = (enum pasr_mode)4);
    BAD("no sections", -EINVAL, a.sections = 0);
    BAD("more than 32", -EINVAL, a.sections = 33);
    BAD("needs 8, 16 or 32", -EINVAL, a.sections = 4);
    BAD("needs 8, 16 or 32", -EINVAL, a.sections = 12);
    BAD("2 MiB", -EINVAL, a.section_size = 0);
    BAD("2 MiB", -EINVAL, a.section_size = 3 * MIB);
    BAD("2 MiB", -EINVAL, a.base += MIB);
    BAD("stride", -EINVAL, a.stride = SECTION + 2 * MIB);
    BAD("highest", -EINVAL, a.base = 1ull << 52);
    BAD("highest", -EINVAL, a.base = (1ull << 52) - 7 * SECTION);
    BAD("highest", -EINVAL, a.section_size = 1ull << 63);
    BAD("highest", -EINVAL, a.stride = 1ull << 63);
    BAD("another die", -EEXIST, a.name = "die");
    BAD("another die", -EEXIST, (a.name = "x", a.base = DIE + 7 * SECTION));
    BAD("another die", -EEXIST, (a.name = "x", a.base = DIE - 7 * SECTION));
    add(&good);
    for (i = 0; i < count; i++) {
        struct pasr_die *die = dk_pasr_die_add(&cases[i].layout);

        if (PTR_ERR_OR_ZERO(die) != cases[i].error || !logged(cases[i].what))
            fail_msg("case %zu: %ld, \"%s\"", i, (long)PTR_ERR_OR_ZERO(die), last_line);
    }
    a = good;
    a.name = "next";
    a.base = (1ull << 52) - 8 * SECTION;
    add(&a);
    unmake(memory, 64 * MIB / PAGE_SIZE);
}

static void call_back(struct pasr_die *die, u32 mask, void *data)
{
    struct controller *controller = data;
    struct dk_pasr_statistics sum;

    (void)mask;
    controller->calls++;
    controller->inside = pasr_get(DIE, PAGE_SIZE);
    assert_int_equal(dk_pasr_read(NULL, &sum), -EDEADLK);
    assert_int_equal(dk_pasr_die_remove(die), -EDEADLK);
    assert_int_equal(PTR_ERR_OR_ZERO(dk_pasr_die_add(&(struct dk_pasr_layout){
                         .name = "x", .base = 2 * DIE, .section_size = SECTION, .sections = 8 })),
                     -EDEADLK);
    assert_int_equal(dk_pasr_list(NULL, 0), 0);
}

static void test_controller(void **state)
{
    struct dk_memory *memory = machine();
    struct controller controller, late = { 0 };
    struct dk_pasr_layout a = layout(PASR_BANK_SELECTIVE, &controller);
    struct pasr_die *die;

    (void)state;
    a.apply_mask = call_back;
    die = add(&a);
    assert_ptr_equal(dk_pasr_die_find("die"), die);
    assert_null(dk_pasr_die_find("dye"));
    assert_null(dk_pasr_die_find(NULL));
    assert_int_equal(PTR_ERR_OR_ZERO(dk_pasr_die_add(NULL)), -EINVAL);
    assert_true(logged("no layout"));
    assert_int_equal(pasr_put(DIE, SECTION), 0);
    assert_int_equal(controller.calls, 1);
    assert_int_equal(controller.inside, -EDEADLK);
    log_lines = 0;
    assert_int_equal(dk_pasr_set_controller(die, apply, &late), 0);
    assert_int_equal(late.mask, 1);
    assert_int_equal(pasr_get(DIE, PAGE_SIZE), 0);
    assert_int_equal(late.mask, 0);
    /* Nothing to tell. */
    assert_int_equal(dk_pasr_set_controller(die, apply, &late), 0);
    assert_int_equal(dk_pasr_set_controller(die, NULL, NULL), 0);
    assert_int_equal(pasr_put(DIE, PAGE_SIZE), 0);
    assert_int_equal(late.calls, 2);
    assert_true(silent());
    unmake(memory, 64 * MIB / PAGE_SIZE);
}

/* A die may be one section, whose controller changes and which goes like any. */
static void test_die_of_one_section(void **state)
{
    struct dk_memory *memory = machine();
    struct controller controller, late = { 0 };
    struct dk_pasr_layout a = layout(PASR_SEGMENT_SELECTIVE, &controller);
    struct pasr_die *die;

    (void)state;
    a.sections = 1;
    die = add(&a);
    assert_int_equal(dk_pasr_set_controller(die, apply, &late), 0);
    assert_int_equal(pasr_put(DIE, SECTION), 0);
    assert_int_equal(late.mask, 1);
    assert_int_equal(controller.calls, 0);
    assert_int_equal(dk_pasr_die_remove(die), 0);
    assert_null(dk_pasr_die_find("die"));
    assert_true(silent());
    unmake(memory, 64 * MIB / PAGE_SIZE);
}

static void test_list(void **state)
{
    struct dk_memory *memory = machine();
    struct controller controller;
    struct dk_pasr_layout a = layout(PASR_BANK_SELECTIVE, &controller);
    struct pasr_die *die;
    char text[2000], part[64];
    size_t length;

    (void)state;
    assert_int_equal(dk_pasr_list(text, sizeof(text)), 0);
    assert_string_equal(text, "");
    a.sections = 4;
    die = add(&a);
    assert_int_equal(pasr_put(DIE + SECTION, SECTION), 0);
    assert_int_equal(pasr_put(DIE, PAGE_SIZE), 0);
    assert_int_equal(dk_pasr_pair(die, 2, die, 3), 0);
    assert_int_equal(dk_pasr_sections_offline(die, 1, 1), 0);
    length = dk_pasr_list(text, sizeof(text));
    assert_int_equal(length, strlen(text));
    assert_string_equal(text,
                        "die: bank-selective, mask 0x2, 1 mask changes\n"
                        "   0  0x100000000-0x1007fffff  0x1000 of 0x800000 unused, awake\n"
                        "   1  0x100800000-0x100ffffff  0x0 of 0x800000 unused, asleep, offline\n"
                        "   2  0x101000000-0x1017fffff  0x0 of 0x800000 unused, awake, partner die 3\n"
                        "   3  0x101800000-0x101ffffff  0x0 of 0x800000 unused, awake, partner die 2\n");
    memset(part, 'x', sizeof(part));
    assert_int_equal(dk_pasr_list(part, 20), length);
    assert_string_equal(part, "die: bank-selective");
    assert_int_equal(part[20], 'x');
    assert_int_equal(dk_pasr_list(NULL, 0), length);
    unmake(memory, 64 * MIB / PAGE_SIZE);
}

static long pages_touched(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

/* 16 TiB all unused, or all in use, take no memory of the host's to say so. */
static void test_sixteen_tebibytes(void **state)
{
    struct dk_memory *memory = machine();
    struct controller controller;
    struct dk_pasr_layout a = layout(PASR_BANK_SELECTIVE, &controller);
    struct pasr_die *die;
    long before;

    (void)state;
    a.section_size = 512 * GIB;
    a.sections = 32;
    before = pages_touched();
    die = add(&a);
    assert_int_equal(pasr_put(DIE, 16384 * GIB), 0);
    assert_int_equal(controller.mask, ~0u);
    assert_int_equal(pasr_get(DIE, 16384 * GIB), 0);
    assert_int_equal(pasr_put(DIE, 16384 * GIB), 0);
    /* The maps have 262144 pages. */
    assert_in_range(pages_touched() - before, 0, 2000);
    assert_int_equal(pasr_get(DIE + 512 * GIB + 7 * PAGE_SIZE, PAGE_SIZE), 0);
    assert_int_equal(section(die, 1).unused, 512 * GIB - PAGE_SIZE);
    assert_int_equal(controller.mask, ~2u);
    assert_int_equal(pasr_put(DIE + 512 * GIB + 7 * PAGE_SIZE, PAGE_SIZE), 0);
    assert_int_equal(controller.mask, ~0u);
    unmake(memory, 64 * MIB / PAGE_SIZE);
}

static void test_two_machines(void **state)
{
    struct dk_memory *one = machine(), *two = machine();
    struct controller controller;
    struct dk_pasr_layout a = layout(PASR_BANK_SELECTIVE, &controller);
    struct dk_pasr_statistics sum;
    struct pasr_die *die;

    (void)state;
    assert_int_equal(pasr_put(DIE, SECTION), -ENODEV);
    assert_true(logged("no machine"));
    assert_int_equal(PTR_ERR_OR_ZERO(dk_pasr_die_add(&a)), -ENODEV);
    assert_true(logged("no machine"));
    dk_memory_enter(one);
    die = add(&a);
    assert_int_equal(pasr_put(DIE, SECTION), 0);
    dk_memory_enter(two);
    assert_int_equal(pasr_put(DIE, SECTION), 0);
    assert_int_equal(pasr_put(DIE, SECTION), 0);
    assert_int_equal(dk_pasr_die_remove(die), -EINVAL);
    assert_int_equal(dk_pasr_read(die, &sum), -EINVAL);
    assert_int_equal(dk_pasr_read(NULL, &sum), 0);
    assert_int_equal(sum.dies, 0);
    dk_memory_enter(NULL);
    dk_memory_destroy(two);
    assert_int_equal(controller.calls, 1);
    unmake(one, 64 * MIB / PAGE_SIZE);
}

/* 0 or the first error; whatever fails, the next die can come. */
static int live(void)
{
    struct dk_memory_config config = small_config(&ram);
    struct dk_memory *memory = dk_memory_create(&config);
    struct controller first, second;
    struct dk_pasr_layout a = layout(PASR_BANK_SELECTIVE, &first), b = layout(PASR_SINGLE_ENDED, &second);
    struct pasr_die *one, *two = NULL;
    int error;

    if (IS_ERR(memory))
        return (int)PTR_ERR(memory);
    b.name = "other";
    b.base = 2 * DIE;
    one = dk_pasr_die_add(&a);
    error = PTR_ERR_OR_ZERO(one);
    if (!error) {
        two = dk_pasr_die_add(&b);
        error = PTR_ERR_OR_ZERO(two);
        /* Nothing of what follows needs memory. */
        assert_int_equal(pasr_put(DIE + PAGE_SIZE, 8 * SECTION - PAGE_SIZE), 0);
        assert_int_equal(first.mask, 0xfe);
        assert_int_equal(pasr_put(2 * DIE, 8 * SECTION), 0);
        assert_int_equal(second.mask, error ? 0 : 0xfe);
        assert_int_equal(pasr_get(DIE + SECTION, SECTION), 0);
        assert_int_equal(first.mask, 0xfc);
    }
    dk_memory_destroy(memory);
    return error;
}

static void test_each_allocation_fails(void **state)
{
    unsigned long n;

    (void)state;
    assert_int_equal(live(), 0);
    for (n = 1; n < 200; n++) {
        int error;

        dk_fail_nth(n);
        error = live();
        if (!dk_fail_hits())
            break;
        dk_fail_nth(0);
        assert_true(error == -ENOMEM || error == -EMFILE);
    }
    dk_fail_nth(0);
    /* Two dies of three allocations each, a table twice, a state. */
    assert_in_range(n, 9, 199);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_counts_bytes),
        cmocka_unit_test(test_refusals_change_nothing),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_pairs_of_other_modes),
        cmocka_unit_test(test_hotplug),
        cmocka_unit_test(test_layouts_refused),
        cmocka_unit_test(test_controller),
        cmocka_unit_test(test_die_of_one_section),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_sixteen_tebibytes),
        cmocka_unit_test(test_two_machines),
        cmocka_unit_test(test_each_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
