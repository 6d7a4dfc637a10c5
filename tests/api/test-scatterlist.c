/* SPDX-License-Identifier: MIT */
/*
 * Scatterlists: their shape, and the bytes they stand for.
 */
#include "api.h"

static unsigned seed;

static unsigned below(unsigned limit)
{
    seed = seed * 1664525u + 1013904223u;
    return (unsigned)((u64)(seed >> 8) * limit >> 24);
}

/* ---- Shape ---- */

static void a_table_is_cleared_and_ends(void **state)
{
    struct scatterlist list[5], untouched;
    unsigned count, i;

    (void)state;
    for (count = 1; count <= 4; count++) {
        memset(list, 0xa5, sizeof(list));
        untouched = list[count];
        sg_init_table(list, count);
        for (i = 0; i < count; i++) {
            assert_null(sg_page(&list[i]));
            assert_int_equal(list[i].length | list[i].offset | list[i].dma_length, 0);
            assert_false(sg_is_chain(&list[i]));
            assert_int_equal(!!sg_is_last(&list[i]), i + 1 == count);
        }
        assert_memory_equal(&list[count], &untouched, sizeof(untouched));
        assert_int_equal(sg_nents(list), count);
        assert_ptr_equal(sg_last(list, count), &list[count - 1]);
        assert_ptr_equal(sg_last(list, count + 9), &list[count - 1]);
    }
    assert_null(sg_last(list, 0));
    assert_int_equal(sg_nents(NULL), 0);
    sg_init_table(NULL, 3);
    untouched = list[0];
    sg_init_table(list, 0);
    assert_memory_equal(&list[0], &untouched, sizeof(untouched));
    sg_unmark_end(&list[3]);
    assert_false(sg_is_last(&list[3]));
    sg_mark_end(&list[1]);
    assert_int_equal(sg_nents(list), 2);
}

/* Three arrays of 3, 2 and 4 entries, of which the links take one each. */
static void chains_are_walked_through(void **state)
{
    struct scatterlist first[3], second[2], third[4], *sg;
    const struct scatterlist *const expected[] = { &first[0], &first[1], &second[0], &third[0],
                                                   &third[1], &third[2], &third[3] };
    int i;

    (void)state;
    sg_init_table(first, 3);
    sg_init_table(second, 2);
    sg_init_table(third, 4);
    first[2].length = first[2].offset = 7;
    sg_chain(first, 3, second);
    sg_chain(second, 2, third);
    assert_true(sg_is_chain(&first[2]));
    assert_false(sg_is_last(&first[2]));
    assert_int_equal(first[2].length | first[2].offset, 0);
    assert_ptr_equal(sg_chain_ptr(&first[2]), second);
    assert_int_equal(sg_nents(first), 7);
    assert_int_equal(sg_nents(second), 5);
    for (i = 0, sg = first; sg; sg = sg_next(sg), i++) {
        assert_true(i < 7);
        assert_ptr_equal(sg, expected[i]);
        assert_ptr_equal(sg_last(first, (unsigned)i + 1), sg);
    }
    assert_int_equal(i, 7);
    for_each_sg (first, sg, 5, i)
        assert_ptr_equal(sg, expected[i]);
    for (i = 0; i < 7; i++)
        ((struct scatterlist *)(uintptr_t)expected[i])->length = 100;
    assert_int_equal(sg_nents_for_len(first, 300), 3);
    assert_int_equal(sg_nents_for_len(first, 301), 4);
}

static void entries_that_hold_a_length_are_counted(void **state)
{
    static const struct {
        u64 length;
        int result;
    } cases[] = {
        { 0, 0 },          { 1, 1 },   { 100, 1 },        { 101, 2 },         { 149, 2 },
        { 150, 2 },        { 151, 4 }, { 0xfffffff0, 4 }, { 0x100000095, 4 }, { 0x100000096, -EINVAL },
        { ~0ull, -EINVAL }
    };
    struct scatterlist list[4];
    size_t i;

    (void)state;
    sg_init_table(list, 4);
    list[0].length = 100;
    list[1].length = 50;
    list[2].length = 0;
    list[3].length = 0xffffffff;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(sg_nents_for_len(list, cases[i].length), cases[i].result);
    assert_int_equal(sg_nents_for_len(NULL, 1), -EINVAL);
}

static void buffers_are_found_by_their_page(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    char *buffer = kmalloc(9000, GFP_KERNEL);
    char host[16];
    struct scatterlist sg, pair[2];

    (void)state;
    sg_init_one(&sg, buffer + 5000, 3000);
    assert_true(sg_is_last(&sg));
    assert_ptr_equal(sg_page(&sg), virt_to_page(buffer + 5000));
    assert_int_equal(sg.offset, offset_in_page(buffer + 5000));
    assert_int_equal(sg.length, 3000);
    assert_ptr_equal(sg_virt(&sg), buffer + 5000);
    assert_int_equal(sg_phys(&sg), virt_to_phys(buffer + 5000));
    /* The end mark is the list's, not the buffer's. */
    sg_init_table(pair, 2);
    sg_set_buf(&pair[0], buffer, 10);
    sg_set_buf(&pair[1], buffer, 10);
    assert_false(sg_is_last(&pair[0]));
    assert_true(sg_is_last(&pair[1]));
    /* What is no machine memory has no page, no address and no bytes. */
    sg_set_buf(&sg, host, sizeof(host));
    assert_null(sg_page(&sg));
    assert_null(sg_virt(&sg));
    assert_int_equal(sg.length, sizeof(host));
    assert_int_equal(sg_copy_to_buffer(&sg, 1, buffer, 16), 0);
    assert_int_equal(sg_zero_buffer(&sg, 1, 16, 0), 0);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void tables_are_allocated_and_freed(void **state)
{
    struct sg_table table;

    (void)state;
    memset(&table, 0xa5, sizeof(table));
    assert_int_equal(sg_alloc_table(&table, 0, GFP_KERNEL), -EINVAL);
    assert_null(table.sgl);
    assert_int_equal(table.nents | table.orig_nents, 0);
    assert_int_equal(sg_alloc_table(&table, 1000, GFP_KERNEL), 0);
    assert_int_equal(table.nents, 1000);
    assert_int_equal(table.orig_nents, 1000);
    assert_int_equal(sg_nents(table.sgl), 1000);
    sg_free_table(&table);
    assert_null(table.sgl);
    assert_int_equal(table.nents | table.orig_nents, 0);
    sg_free_table(&table);
    dk_fail_nth(1);
    assert_int_equal(sg_alloc_table(&table, 4, GFP_KERNEL), -ENOMEM);
    dk_fail_nth(0);
    assert_null(table.sgl);
}

/* ---- Tables of pages ---- */

#define SET_PAGES 40

/* The bytes of the table, in order, are the pages' from @offset on; no segment could be longer, and none is
 * too long. */
static void compare_with_pages(struct sg_table *table, struct page **pages, unsigned offset,
                               unsigned long size, unsigned max_segment)
{
    size_t most = max_segment / PAGE_SIZE; /* pages of a segment */
    u64 at = offset;                       /* of the next byte, in the pages laid end to end */
    struct scatterlist *sg;
    unsigned i;

    assert_int_equal(table->nents, table->orig_nents);
    assert_int_equal(sg_nents(table->sgl), table->nents);
    for_each_sgtable_sg (table, sg, i) {
        u64 first = at / PAGE_SIZE, last = (at + sg->length - 1) / PAGE_SIZE, page;

        assert_true(sg->length > 0);
        assert_true(last - first < most);
        assert_int_equal(sg->offset, at % PAGE_SIZE);
        for (page = first; page <= last; page++)
            assert_int_equal(page_to_phys(pages[page]),
                             page_to_phys(sg_page(sg)) + (page - first) * PAGE_SIZE);
        at += sg->length;
        if (i + 1 < table->nents) {
            assert_int_equal(at % PAGE_SIZE, 0);
            /* Why the segment ends here: the next page is no neighbour, or it is full. */
            assert_true(page_to_phys(pages[last]) + PAGE_SIZE != page_to_phys(pages[last + 1]) ||
                        last - first + 1 == most);
        }
    }
    assert_int_equal(at, offset + size);
}

static void pages_become_the_fewest_segments(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct page *block = alloc_pages(GFP_KERNEL, 8), *pages[SET_PAGES];
    struct sg_table table;
    unsigned round;

    (void)state;
    assert_non_null(block);
    seed = 7001;
    print_message("seed %u\n", seed);
    for (round = 0; round < 3000; round++) {
        unsigned count = 1 + below(SET_PAGES), place = below(256), i;
        unsigned offset = below(2) ? 0 : below(PAGE_SIZE);
        unsigned long most = count * PAGE_SIZE - offset,
                      size = below(3) ? most - below((unsigned)most) : most;
        unsigned max_segment =
            below(2) ? UINT_MAX : (1 + below(6)) * (unsigned)PAGE_SIZE + (below(2) ? 0 : below(PAGE_SIZE));

        for (i = 0; i < count; i++) {
            place = below(3) ? (place + 1) % 256 : below(256);
            pages[i] = block + place;
        }
        assert_int_equal(
            sg_alloc_table_from_pages_segment(&table, pages, count, offset, size, max_segment, GFP_KERNEL),
            0);
        compare_with_pages(&table, pages, offset, size, max_segment);
        sg_free_table(&table);
    }
    assert_int_equal(sg_alloc_table_from_pages(&table, pages, 1, 0, PAGE_SIZE, GFP_KERNEL), 0);
    compare_with_pages(&table, pages, 0, PAGE_SIZE, UINT_MAX);
    sg_free_table(&table);
    __free_pages(block, 8);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void impossible_tables_are_refused(void **state)
{
    static const struct {
        unsigned count, offset;
        unsigned long size;
        unsigned max_segment;
        int result;
    } cases[] = {
        { 2, 0, 8192, 4096, 0 },       { 2, 4095, 4097, 4096, 0 },       { 2, 0, 1, 4096, 0 },
        { 0, 0, 8192, 4096, -EINVAL }, { 2, 0, 0, 4096, -EINVAL },       { 2, 0, 8193, 4096, -EINVAL },
        { 2, 1, 8192, 4096, -EINVAL }, { 2, 4096, 4096, 4096, -EINVAL }, { 2, 0, 8192, 0, -EINVAL },
        { 2, 0, 8192, 4095, -EINVAL }, { 2, 0, ~0ul, 4096, -EINVAL },
    };
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct page *block = alloc_pages(GFP_KERNEL, 1), *pages[2] = { block, block + 1 };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sg_table table;

        memset(&table, 0xa5, sizeof(table));
        assert_int_equal(sg_alloc_table_from_pages_segment(&table, pages, cases[i].count, cases[i].offset,
                                                           cases[i].size, cases[i].max_segment, GFP_KERNEL),
                         cases[i].result);
        assert_int_equal(!!table.sgl, cases[i].result == 0);
        sg_free_table(&table);
    }
    __free_pages(block, 1);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- Bytes ---- */

#define ENTRIES 12
#define ENTRY_MOST 9000u
#define FLAT_MOST ((size_t)ENTRIES * ENTRY_MOST)
#define OPERATIONS 100000

/* A list in two chained arrays, and the same bytes laid end to end. */
struct flat {
    struct scatterlist list[ENTRIES + 1], rest[ENTRIES];
    unsigned count;
    size_t size;
    char *place[ENTRIES];
    size_t start[ENTRIES + 1]; /* of each entry, in @bytes */
    unsigned char bytes[ENTRIES * ENTRY_MOST];
};

/* Entries are apart in memory, in an order of their own, across page boundaries. */
static void make_flat(struct flat *flat, char *memory)
{
    unsigned order[ENTRIES], in_first, i;

    flat->count = 1 + below(ENTRIES);
    in_first = 1 + below(flat->count);
    flat->size = 0;
    for (i = 0; i < flat->count; i++) {
        unsigned other = below(i + 1);

        order[i] = order[other];
        order[other] = i;
    }
    sg_init_table(flat->list, flat->count == in_first ? in_first : in_first + 1);
    if (flat->count > in_first) {
        sg_init_table(flat->rest, flat->count - in_first);
        sg_chain(flat->list, in_first + 1, flat->rest);
    }
    for (i = 0; i < flat->count; i++) {
        struct scatterlist *sg = i < in_first ? &flat->list[i] : &flat->rest[i - in_first];
        unsigned length = 1 + below(below(2) ? 100 : ENTRY_MOST);

        flat->place[i] = memory + (size_t)order[i] * 4 * PAGE_SIZE + below(PAGE_SIZE);
        flat->start[i] = flat->size;
        flat->size += length;
        sg_set_buf(sg, flat->place[i], length);
    }
    flat->start[flat->count] = flat->size;
    for (i = 0; i < flat->count; i++)
        memcpy(flat->bytes + flat->start[i], flat->place[i], flat->start[i + 1] - flat->start[i]);
}

static void compare_flat(const struct flat *flat)
{
    unsigned i;

    for (i = 0; i < flat->count; i++)
        assert_memory_equal(flat->place[i], flat->bytes + flat->start[i],
                            flat->start[i + 1] - flat->start[i]);
}

/* How many bytes an operation on the first @nents entries moves. */
static size_t expected_bytes(const struct flat *flat, unsigned nents, size_t length, size_t skip)
{
    size_t end = flat->start[nents < flat->count ? nents : flat->count];

    if (skip >= end)
        return 0;
    return length < end - skip ? length : end - skip;
}

static void operate(struct flat *flat, unsigned char *buffer)
{
    unsigned nents = below(8) ? flat->count : below(flat->count + 2), choice = below(5);
    size_t length = below(below(16) ? 200 : (unsigned)FLAT_MOST), skip = below((unsigned)flat->size + 20),
           moved, i;

    if (choice < 2)
        skip = 0;
    moved = expected_bytes(flat, nents, length, skip);
    for (i = 0; i < length && i < 64; i++)
        buffer[i] = (unsigned char)below(256);
    switch (choice) {
    case 0:
        assert_int_equal(sg_copy_from_buffer(flat->list, nents, buffer, length), moved);
        memcpy(flat->bytes, buffer, moved);
        break;
    case 1:
        assert_int_equal(sg_copy_to_buffer(flat->list, nents, buffer, length), moved);
        assert_memory_equal(buffer, flat->bytes, moved);
        break;
    case 2:
        assert_int_equal(sg_pcopy_from_buffer(flat->list, nents, buffer, length, (off_t)skip), moved);
        memcpy(flat->bytes + skip, buffer, moved);
        break;
    case 3:
        if (moved < length)
            buffer[moved] = 0x5a;
        assert_int_equal(sg_pcopy_to_buffer(flat->list, nents, buffer, length, (off_t)skip), moved);
        assert_memory_equal(buffer, flat->bytes + skip, moved);
        assert_true(moved == length || buffer[moved] == 0x5a);
        break;
    default:
        assert_int_equal(sg_zero_buffer(flat->list, nents, length, (off_t)skip), moved);
        memset(flat->bytes + skip, 0, moved);
        break;
    }
}

static void copies_move_the_bytes_of_a_flat_array(void **state)
{
    struct dk_machine *machine = machine_on(NONCOHERENT_BOARD);
    struct page *block = alloc_pages(GFP_KERNEL, 8);
    unsigned char *buffer = malloc(FLAT_MOST), *before = malloc(256 * PAGE_SIZE);
    struct flat *flat = malloc(sizeof(*flat));
    char *memory = page_address(block);
    unsigned i, entry;

    (void)state;
    assert_non_null(memory);
    assert_true(buffer && before && flat);
    seed = 4242;
    print_message("seed %u\n", seed);
    memset(buffer, 0x33, FLAT_MOST);
    fill(memory, 256 * PAGE_SIZE, 1);
    for (i = 0; i < OPERATIONS; i++) {
        if (i % 1000 == 0) {
            make_flat(flat, memory);
            memcpy(before, memory, 256 * PAGE_SIZE);
        }
        operate(flat, buffer);
        if (i % 100 == 99)
            compare_flat(flat);
        if (i % 1000 != 999)
            continue;
        /* Nothing beside the entries has changed. */
        for (entry = 0; entry < flat->count; entry++)
            memcpy(before + (flat->place[entry] - memory), flat->place[entry],
                   flat->start[entry + 1] - flat->start[entry]);
        assert_memory_equal(before, memory, 256 * PAGE_SIZE);
    }
    free(flat);
    free(before);
    free(buffer);
    __free_pages(block, 8);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* 2 GiB: two sections, which need not be neighbours in this process. The last page is the end of RAM. */
#define SECTIONS                                                                                             \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"two\"; compatible = \"dmakit,two\"; " \
    "dma-coherent; memory@0 { device_type = \"memory\"; reg = <0 0x80000000>; }; };"

static void an_entry_may_cross_sections_but_not_leave_ram(void **state)
{
    struct dk_machine *machine = machine_on(SECTIONS);
    struct page *first = phys_to_page(0x3ffff000), *second = phys_to_page(0x40000000);
    struct page *last = phys_to_page(0x7ffff000);
    unsigned char bytes[8192], seen[8192];
    struct scatterlist sg;

    (void)state;
    assert_true(first && second && last);
    sg_init_table(&sg, 1);
    sg_set_page(&sg, first, 8000, 100);
    fill(bytes, 8000, 1);
    assert_int_equal(sg_copy_from_buffer(&sg, 1, bytes, sizeof(bytes)), 8000);
    assert_memory_equal((char *)page_address(first) + 100, bytes, 3996);
    assert_memory_equal(page_address(second), bytes + 3996, 4004);
    assert_int_equal(sg_copy_to_buffer(&sg, 1, seen, sizeof(seen)), 8000);
    assert_true(filled(seen, 8000, 1));
    /* An entry that RAM does not hold counts for nothing. */
    sg_set_page(&sg, last, 4096, 0);
    assert_int_equal(sg_zero_buffer(&sg, 1, sizeof(bytes), 0), 4096);
    sg_set_page(&sg, last, 4097, 0);
    assert_int_equal(sg_copy_to_buffer(&sg, 1, seen, sizeof(seen)), 0);
    assert_int_equal(sg_copy_to_buffer(&sg, 1, seen, 4096), 4096);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_cleared_and_ends),
        cmocka_unit_test(chains_are_walked_through),
        cmocka_unit_test(entries_that_hold_a_length_are_counted),
        cmocka_unit_test(buffers_are_found_by_their_page),
        cmocka_unit_test(tables_are_allocated_and_freed),
        cmocka_unit_test(pages_become_the_fewest_segments),
        cmocka_unit_test(impossible_tables_are_refused),
        cmocka_unit_test(copies_move_the_bytes_of_a_flat_array),
        cmocka_unit_test(an_entry_may_cross_sections_but_not_leave_ram),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("scatterlist", tests, NULL, NULL);
}
