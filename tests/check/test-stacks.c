/* SPDX-License-Identifier: MIT */
/*
 * Stacks: what is captured, what it means, and that a remembered stack is the real one.
 */
#include "fake-machine.h"

#include "check/dwarf-frames.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unwind.h>

#include <cmocka.h>

#define SINGLE_SIZE 64

static struct fake_machine fake;
static struct dk_frames frames;

static int start(void **state)
{
    (void)state;
    return fake_start_checked(&fake);
}

static int finish(void **state)
{
    (void)state;
    fake_finish(&fake);
    return 0;
}

/* The stack of the only live mapping of device 0. */
static void copy_stack(struct dk_mappings *mappings, u32 *stack)
{
    struct dk_record *record = dk_mappings_holding(mappings, 0x1000, 1, DMA_TO_DEVICE, 0);

    assert_non_null(record);
    *stack = record->stack;
}

static void read_stack(void)
{
    struct dk_mappings *mappings = fake.dk[0].check;
    struct dk_checker *checker = fake_checker(&fake);
    u32 stack;

    copy_stack(mappings, &stack);
    dk_symbols_frames(&checker->symbols, dk_stacks_get(&checker->stacks, stack), &frames);
}

/* ---- A driver ---- */

static volatile int sink;
static int line_plain, line_caller, line_inlined, line_tail;

__attribute__((noinline)) static void driver_plain(struct dk_mapping *mapping)
{
    line_plain = __LINE__ + 1;
    dk_check_mapped(&fake.devices[0], "dma_map_single", mapping);
    sink++;
}

__attribute__((noinline)) static void driver_caller(struct dk_mapping *mapping)
{
    line_caller = __LINE__ + 1;
    driver_plain(mapping);
    sink++;
}

__attribute__((always_inline)) static inline void driver_inlined(struct dk_mapping *mapping)
{
    line_inlined = __LINE__ + 1;
    dk_check_mapped(&fake.devices[0], "dma_map_single", mapping);
    sink++;
}

__attribute__((noinline)) static void driver_outer(struct dk_mapping *mapping)
{
    line_caller = __LINE__ + 1;
    driver_inlined(mapping);
    sink++;
}

/* Ends in a jump where the compiler optimises: no frame is left of it. */
__attribute__((noinline)) static void driver_tail(struct dk_mapping *mapping)
{
    line_tail = __LINE__ + 1;
    dk_check_mapped(&fake.devices[0], "dma_map_single", mapping);
}

__attribute__((noinline)) static void driver_before_tail(struct dk_mapping *mapping)
{
    sink++;
    driver_tail(mapping);
}

__attribute__((noinline)) static void driver_tail_caller(struct dk_mapping *mapping)
{
    line_caller = __LINE__ + 1;
    driver_before_tail(mapping);
    sink++;
}

static void expect_frame(unsigned index, const char *function, int line)
{
    assert_true(index < frames.count);
    assert_string_equal(frames.frames[index].function, function);
    assert_non_null(frames.frames[index].file);
    assert_non_null(strstr(frames.frames[index].file, "test-stacks.c"));
    assert_int_equal(frames.frames[index].line, line);
    assert_non_null(frames.frames[index].module);
    assert_non_null(strstr(frames.frames[index].module, "check-stacks"));
    assert_true(frames.frames[index].address);
}

static struct dk_mapping mapping = { .kind = DK_MAPPING_COHERENT, .dma = 0x1000, .size = SINGLE_SIZE };

static void test_plain(void **state)
{
    (void)state;
    driver_caller(&mapping);
    read_stack();
    expect_frame(0, "driver_plain", line_plain);
    expect_frame(1, "driver_caller", line_caller);
    assert_string_equal(frames.frames[2].function, "test_plain");
}

static void test_inlined(void **state)
{
    (void)state;
    driver_outer(&mapping);
    read_stack();
    expect_frame(0, "driver_inlined", line_inlined);
    expect_frame(1, "driver_outer", line_caller);
    assert_string_equal(frames.frames[2].function, "test_inlined");
}

static void test_tail(void **state)
{
    (void)state;
    driver_tail_caller(&mapping);
    read_stack();
    expect_frame(0, "driver_tail", line_tail);
    assert_string_equal(frames.frames[1].function, "driver_before_tail");
    expect_frame(2, "driver_tail_caller", line_caller);
}

/* ---- Remembering ---- */

static unsigned fresh_count;
static uintptr_t fresh[DK_STACK_RAW];

/* A captured stack, and the same by unwinding; both from this function outwards. */
__attribute__((noinline)) static u32 capture_both(struct dk_stacks *stacks)
{
    u32 id = dk_stacks_capture(stacks);

    fresh_count = dk_stack_unwind(fresh);
    return id;
}

__attribute__((noinline)) static u32 deeper(struct dk_stacks *stacks, unsigned depth, size_t extra)
{
    volatile char *space = __builtin_alloca(extra + 16);
    u32 id;

    space[0] = (char)depth;
    id = depth ? deeper(stacks, depth - 1, extra) : capture_both(stacks);
    sink += space[0];
    return id;
}

__attribute__((noinline)) static u32 other_way(struct dk_stacks *stacks, unsigned depth, size_t extra)
{
    u32 id = deeper(stacks, depth, extra);

    sink++;
    return id;
}

/* All but the first address, which is the place in capture_both() itself, is to be the same. */
static void expect_same(struct dk_stacks *stacks, u32 id)
{
    const struct dk_stack *stack = dk_stacks_get(stacks, id);

    assert_non_null(stack);
    assert_int_equal(stack->count, fresh_count);
    assert_true(fresh_count > 3);
    assert_memory_equal(stack->addresses + 1, fresh + 1, (fresh_count - 1) * sizeof(fresh[0]));
}

static void test_remembered_is_real(void **state)
{
    struct dk_stacks *stacks = &fake_checker(&fake)->stacks;
    unsigned seed = 1, i;

    (void)state;
    for (i = 0; i < 20000; i++) {
        unsigned depth, extra;
        u32 id;

        seed = seed * 1103515245u + 12345u;
        depth = (seed >> 16) % 6;
        extra = ((seed >> 20) % 4) * 16;
        id = seed >> 30 ? deeper(stacks, depth, extra) : other_way(stacks, depth, extra);
        expect_same(stacks, id);
    }
    /* Twelve call chains; each id was given once. */
    assert_true(stacks->count <= 1 + 2 * 6 * 3);
}

static void test_same_id_for_same_stack(void **state)
{
    struct dk_stacks *stacks = &fake_checker(&fake)->stacks;
    u32 ids[3];
    volatile int i; /* keeps the loop one call site */

    (void)state;
    for (i = 0; i < 3; i++)
        ids[i] = capture_both(stacks);
    assert_int_equal(ids[0], ids[1]);
    assert_int_equal(ids[1], ids[2]);
    assert_int_not_equal(ids[0], capture_both(stacks));
}

static void test_another_checker_is_not_confused(void **state)
{
    static struct fake_machine other;
    u32 ids[2];
    int i;

    (void)state;
    assert_int_equal(fake_start_checked(&other), 0);
    /* A first stack that only the other one has shifts its numbers. */
    deeper(&fake_checker(&other)->stacks, 1, 0);
    for (i = 0; i < 2; i++) {
        struct dk_stacks *stacks = &fake_checker(i ? &other : &fake)->stacks;

        ids[i] = capture_both(stacks);
        expect_same(stacks, ids[i]);
    }
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], 2);
    fake_finish(&other);
}

/* ---- What is remembered of several ---- */

/* By this thread. */
static __thread unsigned unwound;

_Unwind_Reason_Code __real__Unwind_Backtrace(_Unwind_Trace_Fn step, void *data);
_Unwind_Reason_Code __wrap__Unwind_Backtrace(_Unwind_Trace_Fn step, void *data);

_Unwind_Reason_Code __wrap__Unwind_Backtrace(_Unwind_Trace_Fn step, void *data)
{
    unwound++;
    return __real__Unwind_Backtrace(step, data);
}

#ifdef __x86_64__

/* *first: the place where it is looked for. */
__attribute__((noinline)) static u32 recall(struct dk_stacks *stacks, size_t *first)
{
    const uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    const unsigned before = unwound;
    u32 id;

    *first = dk_remembered_index(frame, (uintptr_t)__builtin_return_address(0));
    id = dk_stacks_recall(stacks);
    /* What was learnt last is found in line. */
    if (unwound != before)
        assert_true(dk_remembered[*first].witnesses[0].slot == frame + sizeof(uintptr_t));
    return id;
}

/* From further down the stack by @room bytes. */
__attribute__((noinline)) static u32 recall_below(struct dk_stacks *stacks, size_t room, size_t *first)
{
    volatile char *space = __builtin_alloca(room + 16);
    u32 id;

    space[0] = 0;
    id = recall(stacks, first);
    sink += space[0];
    return id;
}

/* Stacks that are looked for at one place are not forgotten for one another; nor for older ones. */
static void test_several_at_one_place(void **state)
{
    enum { TOGETHER = 4 };
    struct dk_stacks *stacks = &fake_checker(&fake)->stacks;
    size_t rooms[TOGETHER], room, first, place = 0;
    unsigned found = 0, round, i;
    volatile unsigned again; /* one call site */

    (void)state;
    for (room = 0; found < TOGETHER; room += 16) {
        assert_true(room < 65536);
        recall_below(stacks, room, &first);
        if (!found)
            place = first;
        if (first == place)
            rooms[found++] = room;
    }
    /* What the search left there goes within a few rounds. */
    for (round = 0; round < 8; round++) {
        unwound = 0;
        for (again = 0; again < TOGETHER; again++) {
            i = again;
            recall_below(stacks, rooms[i], &first);
            assert_int_equal(first, place);
        }
        if (round >= 4)
            assert_int_equal(unwound, 0);
    }
}

#endif

static void *capture_in_thread(void *data)
{
    struct dk_stacks *stacks = &fake_checker(&fake)->stacks;
    u32 *id = data;
    int i;

    for (i = 0; i < 1000; i++)
        *id = dk_stacks_capture(stacks);
    return NULL;
}

static void test_threads(void **state)
{
    struct dk_stacks *stacks = &fake_checker(&fake)->stacks;
    pthread_t threads[4];
    u32 ids[4];
    int i;

    (void)state;
    for (i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, capture_in_thread, &ids[i]), 0);
    for (i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    /* The same code on another stack is the same stack. */
    for (i = 0; i < 4; i++)
        assert_int_equal(ids[i], ids[0]);
    assert_int_equal(stacks->count, 2);
}

/* A program's own stacks: one is given back, and a shorter one made where its lower end was. */
#define LONG_STACK ((size_t)512 << 10)
#define SHORT_STACK ((size_t)64 << 10)

static struct own_stack {
    ucontext_t back, own;
    char *place;     /* where the frame of the capturing function is to be */
    unsigned frames; /* between that and the one that ends at the stack's other end */
    u32 id;
} own_stack;

/* From the same place of both, so that what was remembered of one seems to be about the other. */
__attribute__((noinline)) static u32 capture_down_there(char *place)
{
    volatile char *room = __builtin_alloca((size_t)((char *)__builtin_frame_address(0) - place));
    u32 id;

    room[0] = 0;
    id = deeper(&fake_checker(&fake)->stacks, own_stack.frames, 0);
    sink++;
    return id;
}

static void run_on_own(void)
{
    own_stack.id = capture_down_there(own_stack.place);
}

static void run_on_stack(char *start, size_t size)
{
    getcontext(&own_stack.own);
    own_stack.own.uc_stack.ss_sp = start;
    own_stack.own.uc_stack.ss_size = size;
    own_stack.own.uc_link = &own_stack.back;
    makecontext(&own_stack.own, run_on_own, 0);
    swapcontext(&own_stack.back, &own_stack.own);
}

static void test_stack_that_ends_sooner(void **state)
{
    struct dk_stacks *stacks = &fake_checker(&fake)->stacks;
    int i;

    (void)state;
    for (own_stack.frames = 0; own_stack.frames < 5; own_stack.frames++) {
        char *start = mmap(NULL, LONG_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        assert_ptr_not_equal(start, MAP_FAILED);
        own_stack.place = start + SHORT_STACK / 2;
        for (i = 0; i < 4; i++) {
            run_on_stack(start, i < 2 ? LONG_STACK : SHORT_STACK);
            expect_same(stacks, own_stack.id);
            if (i == 1)
                munmap(start + SHORT_STACK, LONG_STACK - SHORT_STACK);
        }
        munmap(start, SHORT_STACK);
    }
}

static void test_depot(void **state)
{
    struct dk_stacks *stacks = &fake_checker(&fake)->stacks;
    uintptr_t addresses[3] = { 0x10, 0x20, 0x30 };
    u32 i;

    (void)state;
    for (i = 0; i < 5000; i++) {
        addresses[1] = i;
        assert_int_equal(dk_stacks_intern(stacks, addresses, 3), i + 1);
    }
    addresses[1] = 77;
    assert_int_equal(dk_stacks_intern(stacks, addresses, 3), 78);
    assert_int_equal(dk_stacks_intern(stacks, addresses, 2), 5001);
    assert_null(dk_stacks_get(stacks, 0));
    assert_int_equal(dk_stacks_get(stacks, 78)->addresses[1], 77);
}

/* However many stacks there are, each is found after a few others: they differ in every word or in one only.
 */
static void test_depot_is_quick(void **state)
{
    enum { COUNT = 5000 };
    struct dk_stacks *stacks = &fake_checker(&fake)->stacks;
    unsigned *steps = test_calloc(COUNT + 1, sizeof(*steps)), most = 0;
    uintptr_t addresses[3] = { 0x10, 0x20, 0x30 };
    u32 i;

    (void)state;
    for (i = 1; i <= COUNT; i++) {
        addresses[i % 3] += i * 16;
        assert_int_equal(dk_stacks_intern(stacks, addresses, 3), i);
        steps[i] = steps[dk_stacks_get(stacks, i)->next] + 1;
        if (steps[i] > most)
            most = steps[i];
    }
    assert_in_range(most, 1, 40);
    test_free(steps);
}

static void test_address_of_nothing(void **state)
{
    struct dk_checker *checker = fake_checker(&fake);
    const uintptr_t addresses[1] = { 0x1001 };
    u32 id;

    (void)state;
    id = dk_stacks_intern(&checker->stacks, addresses, 1);
    dk_symbols_frames(&checker->symbols, dk_stacks_get(&checker->stacks, id), &frames);
    assert_int_equal(frames.count, 1);
    assert_null(frames.frames[0].function);
    assert_null(frames.frames[0].file);
    assert_int_equal(frames.frames[0].line, 0);
    assert_int_equal(frames.frames[0].address, 0x1001);
    dk_symbols_frames(&checker->symbols, NULL, &frames);
    assert_int_equal(frames.count, 0);
}

/* A function of the C library, which came without debug information: its name at least. */
static void test_symbol_without_lines(void **state)
{
    struct dk_checker *checker = fake_checker(&fake);
    const uintptr_t addresses[1] = { (uintptr_t)qsort + 1 };
    u32 id;

    (void)state;
    id = dk_stacks_intern(&checker->stacks, addresses, 1);
    dk_symbols_frames(&checker->symbols, dk_stacks_get(&checker->stacks, id), &frames);
    assert_int_equal(frames.count, 1);
    assert_non_null(frames.frames[0].function);
    assert_non_null(frames.frames[0].module);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plain, start, finish),
        cmocka_unit_test_setup_teardown(test_inlined, start, finish),
        cmocka_unit_test_setup_teardown(test_tail, start, finish),
        cmocka_unit_test_setup_teardown(test_remembered_is_real, start, finish),
        cmocka_unit_test_setup_teardown(test_same_id_for_same_stack, start, finish),
        cmocka_unit_test_setup_teardown(test_another_checker_is_not_confused, start, finish),
#ifdef __x86_64__
        cmocka_unit_test_setup_teardown(test_several_at_one_place, start, finish),
#endif
        cmocka_unit_test_setup_teardown(test_threads, start, finish),
        cmocka_unit_test_setup_teardown(test_stack_that_ends_sooner, start, finish),
        cmocka_unit_test_setup_teardown(test_depot, start, finish),
        cmocka_unit_test_setup_teardown(test_depot_is_quick, start, finish),
        cmocka_unit_test_setup_teardown(test_address_of_nothing, start, finish),
        cmocka_unit_test_setup_teardown(test_symbol_without_lines, start, finish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
