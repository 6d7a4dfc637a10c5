/* SPDX-License-Identifier: MIT */
/*
 * How a machine is asked for: the options structure, DMAKIT_OPTIONS and DMAKIT_BOARD.
 */
#include "api.h"

/* Whether @machine has a checker: one that has sees an unmap of nothing. */
static bool checks(struct dk_machine *machine)
{
    FILE *null = fopen("/dev/null", "w");
    int kept = dup(STDERR_FILENO);

    fflush(stderr);
    dup2(fileno(null), STDERR_FILENO);
    dma_unmap_single(dk_device_find(machine, "nic"), 0x40000000, 64, DMA_TO_DEVICE);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    fclose(null);
    return dk_check_count(machine, NULL);
}

/*
 * Which of 64 lines, dirty since before, a sync wrote back unasked: what the seed chooses, and nothing else.
 * One bit a line.
 */
static u64 evictions(struct dk_machine *machine)
{
    struct device *dev = dk_device_find(machine, "nic");
    char *buffer = (dk_machine_enter(machine), kmalloc(4096, GFP_KERNEL)), seen[4096];
    dma_addr_t dma;
    u64 lines = 0;
    int i;

    assert_non_null(buffer);
    memset(buffer, 0, 4096);
    dma = dma_map_single(dev, buffer, 4096, DMA_BIDIRECTIONAL);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    memset(buffer, 1, 4096);
    dma_sync_single_for_cpu(dev, dma, 4096, DMA_TO_DEVICE);
    assert_int_equal(dk_master_read(dev, dma, seen, 4096), 0);
    for (i = 0; i < 64; i++)
        lines |= seen[64 * i] ? 1ull << i : 0;
    dma_unmap_single(dev, dma, 4096, DMA_BIDIRECTIONAL);
    kfree(buffer);
    return lines;
}

static void a_shorter_structure_keeps_the_defaults(void **state)
{
    static const struct {
        size_t size;
        int depth;
        long error;
        bool checks;
    } cases[] = {
        { sizeof(struct dk_machine_options), 0, 0, false },
        { sizeof(struct dk_machine_options), 1, 0, true },
        { sizeof(struct dk_machine_options), 2, 0, true },
        { sizeof(struct dk_machine_options), -1, 0, true },
        { sizeof(struct dk_machine_options), 4, -EINVAL, false },
        { sizeof(struct dk_machine_options), -2, -EINVAL, false },
        { offsetof(struct dk_machine_options, depth), 0, 0, true },
        { offsetof(struct dk_machine_options, depth), 99, 0, true },
        { offsetof(struct dk_machine_options, memory), 0, 0, true },
        { sizeof(struct dk_machine_options) + 64, 0, 0, false },
        { sizeof(size_t) - 1, 0, -EINVAL, false },
        { 0, 0, -EINVAL, false },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct {
            struct dk_machine_options options;
            char later[64]; /* what a newer header has */
        } given = { .options = { .size = cases[i].size, .depth = cases[i].depth } };
        struct dk_machine *machine;
        struct log_lines lines;
        long error;

        /* Beyond the size there is nothing to be read. */
        if (cases[i].size <= offsetof(struct dk_machine_options, memory))
            memset((char *)&given + sizeof(size_t), 0xa5, sizeof(given) - sizeof(size_t));
        keep_log(&lines);
        error = create_machine(COHERENT_BOARD, &given.options, &machine);
        drop_log();
        if (error != cases[i].error)
            fail_msg("case %zu: %ld", i, error);
        assert_int_equal(lines.count, error != 0);
        if (error)
            continue;
        assert_int_equal(checks(machine), cases[i].checks);
        dk_machine_destroy(machine);
    }
}

static void a_seed_chooses(void **state)
{
    struct dk_machine_options options = { .size = sizeof(options) };
    struct dk_machine *machine;
    u64 lines[3];
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++) {
        options.seed = 7 * i;
        assert_int_equal(create_machine(NONCOHERENT_BOARD, &options, &machine), 0);
        lines[i] = evictions(machine);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
    assert_true(lines[0] == 0);
    assert_true(lines[1] && ~lines[1]);
    assert_true(lines[1] != lines[2]);
}

static void the_environment_speaks_where_the_caller_does_not(void **state)
{
    const struct dk_machine_options silent = { .size = sizeof(silent), .depth = -1 };
    const struct dk_machine_options seeded = { .size = sizeof(seeded), .seed = 7, .depth = 0 };
    const struct dk_machine_options deep = { .size = sizeof(deep), .depth = 1 };
    struct dk_machine *machine;
    struct log_lines lines;
    u64 expected;

    (void)state;
    assert_int_equal(create_machine(NONCOHERENT_BOARD, &seeded, &machine), 0);
    expected = evictions(machine);
    dk_machine_destroy(machine);

    setenv("DMAKIT_OPTIONS", "seed=7:depth=0", 1);
    assert_int_equal(create_machine(NONCOHERENT_BOARD, NULL, &machine), 0);
    assert_true(evictions(machine) == expected);
    assert_false(checks(machine));
    dk_machine_destroy(machine);
    /* Given options come before the environment; a depth of -1 leaves it to it. */
    assert_int_equal(create_machine(NONCOHERENT_BOARD, &silent, &machine), 0);
    assert_false(checks(machine));
    assert_true(evictions(machine) == 0);
    dk_machine_destroy(machine);
    assert_int_equal(create_machine(NONCOHERENT_BOARD, &deep, &machine), 0);
    assert_true(checks(machine));
    dk_machine_destroy(machine);

    setenv("DMAKIT_OPTIONS", "memory=32M@0x80000000", 1);
    assert_int_equal(create_machine(COHERENT_BOARD, NULL, &machine), 0);
    assert_true(pfn_valid(0x80000));
    assert_false(pfn_valid(0x82000));
    assert_false(pfn_valid(0x40000));
    dk_machine_destroy(machine);
    /* The file that does not exist makes no difference to a caller that has a board. */
    setenv("DMAKIT_OPTIONS", "arguments=cma=lots", 1);
    setenv("DMAKIT_BOARD", "/nonexistent.dts", 1);
    assert_int_equal(create_machine(COHERENT_BOARD, NULL, &machine), -EINVAL);
    assert_int_equal(create_machine(COHERENT_BOARD, &deep, &machine), 0);
    dk_machine_destroy(machine);
    /* Nobody would see the reports that the user asked for. */
    setenv("DMAKIT_OPTIONS", "report_path=/no/such/folder/reports", 1);
    assert_int_equal(create_machine(COHERENT_BOARD, NULL, &machine), -ENOENT);
    setenv("DMAKIT_OPTIONS", "depth=9", 1);
    keep_log(&lines);
    assert_int_equal(create_machine(COHERENT_BOARD, &deep, &machine), -EINVAL);
    drop_log();
    assert_non_null(strstr(lines.text, "depth cannot be \"9\""));
    unsetenv("DMAKIT_OPTIONS");
    unsetenv("DMAKIT_BOARD");
}

/* The log's level stays what the program chose, unless the options name one. */
static void options_leave_the_log_alone(void **state)
{
    struct dk_machine *machine;
    struct log_lines lines;

    (void)state;
    keep_log(&lines);
    dk_log_set_level(-1);
    setenv("DMAKIT_OPTIONS", "seed=1", 1);
    assert_int_equal(create_machine(COHERENT_BOARD, NULL, &machine), 0);
    dk_machine_destroy(machine);
    assert_null(kmalloc(1, GFP_KERNEL));
    assert_int_equal(lines.count, 0);
    setenv("DMAKIT_OPTIONS", "log=1", 1);
    assert_int_equal(create_machine(COHERENT_BOARD, NULL, &machine), 0);
    dk_machine_destroy(machine);
    assert_null(kmalloc(1, GFP_KERNEL));
    assert_int_equal(lines.count, 1);
    unsetenv("DMAKIT_OPTIONS");
    drop_log();
}

static void the_environment_names_a_board(void **state)
{
    struct dk_machine_options options = { .size = sizeof(options), .depth = 1 };
    struct dk_machine *machine;
    struct log_lines lines;

    (void)state;
    setenv("DMAKIT_BOARD", "/nonexistent/board.dts", 1);
    keep_log(&lines);
    assert_int_equal(create_machine(NULL, NULL, &machine), -ENOENT);
    drop_log();
    assert_non_null(strstr(lines.text, "/nonexistent/board.dts"));
    setenv("DMAKIT_BOARD", TEST_BOARDS_FOLDER "/coherent-pc.dts", 1);
    assert_int_equal(create_machine(NULL, NULL, &machine), 0);
    assert_non_null(dk_device_find(machine, "isa"));
    dk_machine_destroy(machine);
    options.memory = "64M@0x40000000";
    assert_int_equal(create_machine(NULL, &options, &machine), 0);
    assert_non_null(dk_device_find(machine, "isa"));
    assert_false(pfn_valid(0x100));
    assert_true(pfn_valid(0x40000));
    dk_machine_destroy(machine);
    /* Without one it is the built-in board. */
    setenv("DMAKIT_BOARD", "", 1);
    assert_int_equal(create_machine(NULL, NULL, &machine), 0);
    assert_non_null(dk_device_find(machine, "narrow"));
    dk_machine_destroy(machine);
    unsetenv("DMAKIT_BOARD");
    options.memory = NULL;
    assert_int_equal(create_machine(NULL, &options, &machine), 0);
    assert_non_null(dk_device_find(machine, "narrow"));
    dk_machine_destroy(machine);
    options.memory = "1M@";
    assert_int_equal(create_machine(NULL, &options, &machine), -EINVAL);
}

/* Whichever allocation fails, that is the error; and the next attempt works. */
static void running_out_of_memory_is_the_error(void **state)
{
    const struct dk_machine_options options = { .size = sizeof(options),
                                                .memory = "64M@0x40000000",
                                                .depth = 1 };
    struct dk_board *board = board_from(NONCOHERENT_BOARD);
    unsigned long n = 0, hits;

    (void)state;
    assert_false(IS_ERR(board));
    do {
        struct dk_machine *machine;

        dk_fail_nth(++n);
        machine = dk_machine_create(board, &options);
        hits = dk_fail_hits();
        dk_fail_nth(0);
        if (IS_ERR(machine))
            assert_int_equal(PTR_ERR(machine), -ENOMEM);
        else
            assert_int_equal(dk_machine_destroy(machine), 0);
    } while (hits);
    assert_true(n > 20);
    dk_board_free(board);
}

/* slab_debug= looks at every object; without it only caches that ask are looked at. */
static void slab_debug_is_for_all_objects(void **state)
{
    static const struct {
        const char *arguments;
        unsigned long overruns, late_writes;
    } cases[] = {
        { "", 0, 0 },
        { "slab_debug=-", 0, 0 },
        { "slab_debug=FZ", 1, 0 },
        { "slab_debug=PU", 0, 1 },
        { "slab_debug=ZP", 1, 1 },
    };
    const struct dk_machine_options wrong = { .size = sizeof(wrong), .arguments = "slab_debug=P,kmalloc-64" };
    struct dk_machine *machine;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *neighbour, *object;

        machine = machine_with(COHERENT_BOARD, cases[i].arguments, 0, 1);
        dk_check_set_sink(machine, ignore_report, NULL);
        neighbour = kmalloc(64, GFP_KERNEL);
        object = kmalloc(64, GFP_KERNEL);
        object[64] = 1;
        kfree(object);
        object[3] = 1;
        assert_ptr_equal(kmalloc(64, GFP_KERNEL), object);
        assert_int_equal(dk_check_count(machine, "slab-overrun"), cases[i].overruns);
        assert_int_equal(dk_check_count(machine, "slab-use-after-free"), cases[i].late_writes);
        kfree(object);
        kfree(neighbour);
        dk_machine_destroy(machine);
    }
    assert_int_equal(create_machine(COHERENT_BOARD, &wrong, &machine), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shorter_structure_keeps_the_defaults),
        cmocka_unit_test(a_seed_chooses),
        cmocka_unit_test(the_environment_speaks_where_the_caller_does_not),
        cmocka_unit_test(options_leave_the_log_alone),
        cmocka_unit_test(the_environment_names_a_board),
        cmocka_unit_test(running_out_of_memory_is_the_error),
        cmocka_unit_test(slab_debug_is_for_all_objects),
    };

    unsetenv("DMAKIT_BOARD");
    unsetenv("DMAKIT_OPTIONS");
    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("machine-options", tests, NULL, NULL);
}
