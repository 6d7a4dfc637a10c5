/* SPDX-License-Identifier: MIT */
/*
 * What the <linux/...> headers compute themselves: bits, sizes, lists, byte order, atomics, warnings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <dmakit/log.h>
#include <linux/atomic.h>
#include <linux/bitfield.h>
#include <linux/bug.h>
#include <linux/cache.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/iopoll.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/string.h>

static void values(void **state)
{
    const struct {
        u64 got, want;
    } cases[] = {
        { BIT(0), 1 },
        { BIT_ULL(63), 0x8000000000000000ull },
        { GENMASK(7, 4), 0xf0 },
        { GENMASK(31, 0), 0xffffffff },
        { GENMASK_ULL(63, 63), 0x8000000000000000ull },
        { GENMASK_ULL(0, 0), 1 },
        { BITS_TO_LONGS(1), 1 },
        { BITS_TO_LONGS(BITS_PER_LONG), 1 },
        { BITS_TO_LONGS(BITS_PER_LONG + 1), 2 },
        { FIELD_PREP(0x0ff0u, 0x12u), 0x120 },
        { FIELD_PREP(0x0ff0u, 0xfffu), 0xff0 },
        { FIELD_GET(0x0ff0u, 0xabcdu), 0xbc },
        { FIELD_MAX(0xff00u), 0xff },
        { ALIGN(0u, 64), 0 },
        { ALIGN(1u, 64), 64 },
        { ALIGN(64u, 64), 64 },
        { ALIGN(65ull, 64), 128 },
        { ALIGN_DOWN(127u, 64), 64 },
        { IS_ALIGNED(128u, 64), 1 },
        { IS_ALIGNED(129u, 64), 0 },
        { round_up(17u, 16), 32 },
        { round_up(16u, 16), 16 },
        { round_down(31u, 16), 16 },
        { roundup(10, 7), 14 },
        { rounddown(13, 7), 7 },
        { DIV_ROUND_UP(9, 4), 3 },
        { DIV_ROUND_UP(8, 4), 2 },
        { DIV_ROUND_CLOSEST(10, 4), 3 },
        { PAGE_ALIGN(1ul), PAGE_SIZE },
        { PAGE_ALIGN(PAGE_SIZE), PAGE_SIZE },
        { PAGE_ALIGNED(PAGE_SIZE + 1), 0 },
        { upper_32_bits(0x123456789abcdef0ull), 0x12345678 },
        { lower_32_bits(0x123456789abcdef0ull), 0x9abcdef0 },
        { SZ_1, 1 },
        { SZ_4K, 4096 },
        { SZ_1M, 1 << 20 },
        { SZ_2G, 1ull << 31 },
        { SZ_4G, 1ull << 32 },
        { (u64)fls(0), 0 },
        { (u64)fls(1), 1 },
        { (u64)fls(0x80000000u), 32 },
        { (u64)fls64(1ull << 40), 41 },
        { __ffs(8), 3 },
        { __fls(9), 3 },
        { hweight32(0xf0f0u), 8 },
        { hweight64(~0ull), 64 },
        { is_power_of_2(0), 0 },
        { is_power_of_2(64), 1 },
        { is_power_of_2(65), 0 },
        { (u64)ilog2(1), 0 },
        { (u64)ilog2(4095), 11 },
        { (u64)ilog2(4096), 12 },
        { roundup_pow_of_two(0), 1 },
        { roundup_pow_of_two(64), 64 },
        { roundup_pow_of_two(65), 128 },
        { rounddown_pow_of_two(127), 64 },
        { (u64)order_base_2(1), 0 },
        { (u64)order_base_2(64), 6 },
        { (u64)order_base_2(65), 7 },
        { sizeof_field(struct list_head, next), sizeof(void *) },
        { ERESTARTSYS, 512 },
        { EPROBE_DEFER, 517 },
        { ENOTSUPP, 524 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_SIZE(cases); i++)
        if (cases[i].got != cases[i].want)
            fail_msg("case %zu: %llx instead of %llx", i, cases[i].got, cases[i].want);
    BUILD_BUG_ON(ARRAY_SIZE(cases) == 0);
}

static void smaller_and_greater(void **state)
{
    int once = 0;
    int a = 1, b = 2;

    (void)state;
    assert_int_equal(min(once++, 5), 0);
    assert_int_equal(once, 1);
    assert_int_equal(min(7, 3), 3);
    assert_int_equal(max(7, 3), 7);
    assert_int_equal(max(3, 7), 7);
    assert_int_equal(min_t(u8, 256, 3), 0);
    assert_int_equal(max_t(long, -1, 1u), 1);
    assert_int_equal(min3(3, 1, 2), 1);
    assert_int_equal(max3(3, 1, 2), 3);
    assert_int_equal(clamp(5, 1, 4), 4);
    assert_int_equal(clamp(0, 1, 4), 1);
    assert_int_equal(clamp(2, 1, 4), 2);
    assert_int_equal(clamp_t(u8, 300, 1, 50), 44);
    swap(a, b);
    assert_int_equal(a, 2);
    assert_int_equal(b, 1);
}

static void bytes_in_order(void **state)
{
    __le32 little = cpu_to_le32(0x01020304u);
    __be16 big = cpu_to_be16(0x0102u);

    (void)state;
    assert_memory_equal(&little, "\4\3\2\1", 4);
    assert_memory_equal(&big, "\1\2", 2);
    le32_add_cpu(&little, 1);
    assert_int_equal(le32_to_cpup(&little), 0x01020305);
    assert_int_equal(le64_to_cpu(cpu_to_le64(5)), 5);
}

static void bits_of_words(void **state)
{
    unsigned long words[2] = { 0, 0 };

    (void)state;
    set_bit(BITS_PER_LONG + 3, words);
    assert_int_equal(words[1], 8);
    assert_true(test_bit(BITS_PER_LONG + 3, words));
    assert_false(test_bit(3, words));
    assert_false(test_and_set_bit(0, words));
    assert_true(test_and_set_bit(0, words));
    assert_true(test_and_clear_bit(0, words));
    assert_false(test_and_clear_bit(0, words));
    change_bit(1, words);
    assert_int_equal(words[0], 2);
    change_bit(1, words);
    clear_bit(BITS_PER_LONG + 3, words);
    __set_bit(5, words);
    __set_bit(6, words);
    __clear_bit(5, words);
    assert_int_equal(words[0], 64);
    assert_int_equal(words[1], 0);
}

static void atomics(void **state)
{
    atomic_t atomic = ATOMIC_INIT(3);

    (void)state;
    atomic_inc(&atomic);
    atomic_add(5, &atomic);
    atomic_sub(2, &atomic);
    atomic_dec(&atomic);
    assert_int_equal(atomic_read(&atomic), 6);
    assert_int_equal(atomic_inc_return(&atomic), 7);
    assert_int_equal(atomic_dec_return(&atomic), 6);
    assert_int_equal(atomic_xchg(&atomic, 1), 6);
    assert_int_equal(atomic_cmpxchg(&atomic, 2, 9), 1);
    assert_int_equal(atomic_cmpxchg(&atomic, 1, 9), 1);
    assert_int_equal(atomic_read(&atomic), 9);
    atomic_set(&atomic, 1);
    assert_true(atomic_dec_and_test(&atomic));
    assert_false(atomic_inc_and_test(&atomic));
}

struct item {
    struct list_head node;
    int number;
};

/* The numbers of @head forward and backward as decimal digits: 123 and 321. */
static void expect_list(struct list_head *head, int forward, int backward)
{
    struct item *item;
    int number = 0;

    list_for_each_entry (item, head, node)
        number = number * 10 + item->number;
    assert_int_equal(number, forward);
    number = 0;
    list_for_each_entry_reverse(item, head, node) number = number * 10 + item->number;
    assert_int_equal(number, backward);
}

static void lists(void **state)
{
    struct item one = { .number = 1 }, two = { .number = 2 }, three = { .number = 3 };
    struct list_head *position, *following;
    LIST_HEAD(first);
    LIST_HEAD(second);
    int count = 0;

    (void)state;
    assert_null(list_first_entry_or_null(&first, struct item, node));
    assert_false(list_is_singular(&first));
    list_add_tail(&one.node, &first);
    assert_true(list_is_singular(&first));
    list_add_tail(&two.node, &first);
    list_add_tail(&three.node, &second);
    assert_false(list_is_singular(&first));
    assert_true(list_is_last(&two.node, &first));
    assert_false(list_is_last(&one.node, &first));
    assert_ptr_equal(list_first_entry_or_null(&first, struct item, node), &one);

    list_splice_tail_init(&second, &first);
    assert_true(list_empty(&second));
    expect_list(&first, 123, 321);
    list_splice_tail_init(&second, &first);
    expect_list(&first, 123, 321);
    list_move(&three.node, &first);
    expect_list(&first, 312, 213);
    list_move_tail(&three.node, &first);
    expect_list(&first, 123, 321);

    list_for_each(position, &first) count++;
    assert_int_equal(count, 3);
    list_for_each_safe(position, following, &first) list_del(position);
    assert_true(list_empty(&first));
}

static void keep_line(int level, const char *line, void *data)
{
    snprintf(data, 256, "%d %s", level, line);
}

static void warnings(void **state)
{
    char line[256] = "";

    (void)state;
    dk_log_set_sink(keep_line, line);
    assert_false(WARN_ON(line[0]));
    assert_string_equal(line, "");
    assert_true(WARN_ON(!line[0]));
    assert_non_null(strstr(line, "test-linux-helpers.c"));
    assert_non_null(strstr(line, "!line[0]"));
    assert_true(WARN(true, "number %d", 7));
    assert_string_equal(line, "1 number 7");
    pr_err("error %d\n", 5);
    assert_string_equal(line, "0 error 5");
    assert_int_equal(dev_err_probe(NULL, -ENODEV, "none\n"), -ENODEV);
    assert_string_equal(line, "0 none");
    BUG_ON(true);
    assert_non_null(strstr(line, "true"));
    dk_log_set_sink(NULL, NULL);
}

static unsigned reads;

static unsigned read_count(const unsigned *address)
{
    return (*address) + ++reads;
}

static void polling(void **state)
{
    unsigned address = 10, value = 0;

    (void)state;
    reads = 0;
    assert_int_equal(dk_poll(read_count, &address, value, value == 14, 1000000, udelay(1)), 0);
    assert_int_equal(value, 14);
    reads = 0;
    assert_int_equal(dk_poll(read_count, &address, value, false, 2000, udelay(100)), -ETIMEDOUT);
    assert_true(reads > 1);
    memzero_explicit(&address, sizeof(address));
    assert_int_equal(address, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),         cmocka_unit_test(smaller_and_greater),
        cmocka_unit_test(bytes_in_order), cmocka_unit_test(bits_of_words),
        cmocka_unit_test(atomics),        cmocka_unit_test(lists),
        cmocka_unit_test(warnings),       cmocka_unit_test(polling),
    };

    return cmocka_run_group_tests_name("linux-helpers", tests, NULL, NULL);
}
