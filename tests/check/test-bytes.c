/* SPDX-License-Identifier: MIT */
/*
 * The picture of a report: which bytes it shows, how they are marked, and whose they are.
 */
#include "check/bytes.h"
#include "fake-machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIZE 1024
#define PHYS 0x10000ull /* of the first byte of the memory */

static struct fake_machine fake;
static struct {
    char cached[SIZE], dram[SIZE];
} views __attribute__((aligned(64)));
static char picture[DK_BYTES_PICTURE];

static int start(void **state)
{
    unsigned i;

    (void)state;
    memset(&views, 0, sizeof(views));
    for (i = 0; i < SIZE; i++)
        views.cached[i] = views.dram[i] = (char)(i >> 4);
    if (fake_start_checked(&fake))
        return -1;
    fake_range(&fake.memory, views.cached, SIZE, DK_ADDRESS_LINEAR, PHYS);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    fake_finish(&fake);
    return 0;
}

static struct dk_mapping map(unsigned device, enum dk_mapping_kind kind, u64 offset, u64 size)
{
    struct dk_mapping mapping = {
        .kind = kind, .dma = 0x8000 + offset, .phys = PHYS + offset, .size = size, .direction = DMA_TO_DEVICE
    };

    dk_check_mapped(&fake.devices[device], "dma_map_single", &mapping);
    return mapping;
}

static void draw(const struct dk_report_draft *draft)
{
    dk_bytes_picture(fake_checker(&fake), draft, picture, sizeof(picture));
}

static void test_owners_and_marks(void **state)
{
    struct dk_mapping mapping;
    struct dk_report_draft draft = { .mapping = &mapping, .offset = 8, .length = 12, .dma = 0x8088 };

    (void)state;
    mapping = map(0, DK_MAPPING_SINGLE, 0x80, 24);
    map(1, DK_MAPPING_COHERENT, 0xa0, 4);
    memcpy(views.cached + 0x88, "DMA[]\x7f\x80", 7);
    draw(&draft);
    assert_string_equal(
        picture,
        "  memory there, by bytes into the mapping:\n"
        "        -16: 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07 07  ................  ................\n"
        "  =>     +0: 08 08 08 08 08 08 08 08[44 4d 41 5b 5d 7f 80 08  ........DMA[]...  DDDDDDDDDDDDDDDD\n"
        "  =>    +16: 09 09 09 09]09 09 09 09 09 09 09 09 09 09 09 09  ................  DDDDDDDD........\n"
        "        +32: 0a 0a 0a 0a 0a 0a 0a 0a 0a 0a 0a 0a 0a 0a 0a 0a  ................  BBBB............\n"
        "    (owners: D the device's, B coherent, both's, . not mapped; [ ] the bytes reported)\n");
}

static void test_two_views(void **state)
{
    struct dk_mapping mapping;
    struct dk_report_draft draft = { .mapping = &mapping, .offset = 0, .length = 16, .dma = 0x8000 };

    (void)state;
    fake.memory.dram_offset = SIZE;
    mapping = map(0, DK_MAPPING_SINGLE, 0, 16);
    views.dram[3] = 0x11;
    views.dram[15] = 0x22;
    views.dram[16] = 0x33;
    draw(&draft);
    assert_string_equal(
        picture,
        "  memory there, by bytes into the mapping:\n"
        "  =>     +0:[00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00] ................  DDDDDDDDDDDDDDDD\n"
        "      DRAM:           11                                  22\n"
        "        +16: 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01  ................  ................\n"
        "      DRAM:  33\n"
        "    (owners: D the device's, . not mapped; [ ] the bytes reported; DRAM: what a device sees there)\n");
}

static void test_many_bytes_leave_a_gap(void **state)
{
    struct dk_mapping mapping;
    struct dk_report_draft draft = { .mapping = &mapping, .offset = 0, .length = 512, .dma = 0x8100 };

    (void)state;
    mapping = map(0, DK_MAPPING_SINGLE, 0x100, 512);
    draw(&draft);
    assert_non_null(strstr(picture, "\n        -16: 0f"));
    assert_non_null(strstr(picture, "\n  =>     +0:[10"));
    assert_non_null(strstr(picture, "\n  =>    +16: 11"));
    assert_non_null(strstr(picture, "\n         ...: 464 bytes are left out\n  =>   +496: 2f"));
    assert_non_null(strstr(picture, " 2f] ////////////////  DDDDDDDDDDDDDDDD\n       +512: 30"));
    /* Four rows are shown whole. */
    draft.length = 64;
    draw(&draft);
    assert_null(strstr(picture, "left out"));
    assert_non_null(strstr(picture, "\n  =>    +48: 13"));
    draft.length = 65;
    draw(&draft);
    assert_non_null(strstr(picture, "...: 32 bytes are left out\n  =>    +64: 14]14"));
}

static void test_gone_mapping_is_marked(void **state)
{
    struct dk_mapping mapping, found;
    struct dk_report_draft draft = { .mapping = &mapping, .offset = 0, .length = 4, .dma = 0x8000 };

    (void)state;
    mapping = map(0, DK_MAPPING_SINGLE, 0, 8);
    dk_check_mapping_error(&fake.devices[0], mapping.dma);
    assert_true(dk_check_unmap(&fake.devices[0], "dma_unmap_single", &mapping, &found));
    draw(&draft);
    assert_non_null(strstr(picture, "=>     +0:[00 00 00 00]00"));
    assert_non_null(strstr(picture, "  gggggggg........\n"));
    assert_non_null(strstr(picture, "(owners: g this mapping's, which is gone, . not mapped;"));
    /* Whoever has the bytes now is shown, not who had them. */
    map(1, DK_MAPPING_SINGLE, 0, 4);
    draw(&draft);
    assert_non_null(strstr(picture, "  DDDDgggg........\n"));
}

static void test_without_a_mapping(void **state)
{
    struct dk_report_draft draft = { .cpu = (uintptr_t)views.cached + 0x25, .length = 1, .dma = ~0ull };
    char line[64];

    (void)state;
    draw(&draft);
    snprintf(line, sizeof(line), "\n  =>0x%llx: 02 02 02 02 02[02]02", (u64)(uintptr_t)views.cached + 0x20);
    assert_non_null(strstr(picture, "  memory there, by CPU address:\n"));
    assert_non_null(strstr(picture, line));
}

/* Nothing is drawn of what is not known to be the machine's memory. */
static void test_no_picture(void **state)
{
    struct dk_mapping mapping = { .kind = DK_MAPPING_SINGLE, .phys = PHYS, .size = 64, .dma = 0x8000 };
    struct dk_mapping elsewhere = {
        .kind = DK_MAPPING_SINGLE, .phys = PHYS + SIZE, .size = 64, .dma = 0x8000
    };
    struct dk_mapping resource = { .kind = DK_MAPPING_RESOURCE, .phys = PHYS, .size = 64, .dma = 0x8000 };
    struct dk_mapping beyond = { .kind = DK_MAPPING_SINGLE, .phys = ~0ull - 7, .size = 64, .dma = 0x8000 };
    struct dk_mapping pieces = {
        .kind = DK_MAPPING_SINGLE, .phys = PHYS, .size = 64, .contiguous = 16, .dma = 0x8000
    };
    const struct dk_report_draft drafts[] = {
        { .mapping = &mapping, .length = 0 },       { .mapping = &mapping, .offset = 64, .length = 4 },
        { .mapping = &elsewhere, .length = 64 },    { .mapping = &resource, .length = 64 },
        { .mapping = &beyond, .length = 64 },       { .mapping = &pieces, .offset = 16, .length = 16 },
        { .cpu = (uintptr_t)picture, .length = 4 }, { .dma = 0x8000, .length = 4 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(drafts) / sizeof(drafts[0]); i++) {
        memset(picture, 'x', sizeof(picture));
        draw(&drafts[i]);
        if (*picture)
            print_error("draft %zu:\n%s", i, picture);
        assert_int_equal(*picture, 0);
    }
    fake.memory.asleep = true;
    draw(&(struct dk_report_draft){ .mapping = &mapping, .length = 64 });
    assert_string_equal(picture, "");
    fake.memory.asleep = false;
    /* Of a mapping in pieces the first is drawn, and what is reported ends with it. */
    draw(&(struct dk_report_draft){ .mapping = &pieces, .length = 64 });
    assert_non_null(strstr(picture, "=>     +0:[00"));
    assert_null(strstr(picture, "=>    +16"));
}

static bool storing; /* atomic */

static void *store(void *data)
{
    unsigned i;

    for (i = 0; __atomic_load_n(&storing, __ATOMIC_RELAXED); i++)
        *(volatile char *)((char *)data + i % SIZE) = (char)i;
    return NULL;
}

/* The program goes on storing to what is drawn: a race detector has nothing to say about the drawing. */
static void test_while_the_program_stores(void **state)
{
    struct dk_report_draft draft = { .cpu = (uintptr_t)views.cached + 0x25, .length = 90 };
    pthread_t thread;
    unsigned i;

    (void)state;
    fake.memory.dram_offset = SIZE;
    storing = true;
    assert_int_equal(pthread_create(&thread, NULL, store, views.cached), 0);
    for (i = 0; i < 300; i++) {
        draw(&draft);
        assert_non_null(strstr(picture, "=>"));
    }
    __atomic_store_n(&storing, false, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
}

/* A picture that does not fit ends early, as a string. */
static void test_too_little_room(void **state)
{
    struct dk_report_draft draft = { .cpu = (uintptr_t)views.cached + 0x25, .length = 90 };
    size_t size, whole;

    (void)state;
    draw(&draft);
    whole = strlen(picture);
    for (size = 1; size <= whole + 1; size++) {
        char *small = malloc(size);

        assert_non_null(small);
        dk_bytes_picture(fake_checker(&fake), &draft, small, size);
        assert_int_equal(strlen(small), size - 1);
        assert_memory_equal(small, picture, size - 1);
        free(small);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_owners_and_marks),         CASE(test_two_views),         CASE(test_many_bytes_leave_a_gap),
        CASE(test_gone_mapping_is_marked),   CASE(test_without_a_mapping), CASE(test_no_picture),
        CASE(test_while_the_program_stores), CASE(test_too_little_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
