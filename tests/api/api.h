/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the public interface share: boards written in place, machines on them, and a way to move
 * bytes by DMA.
 */
#ifndef TESTS_API_API_H
#define TESTS_API_API_H

/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dmakit/dmakit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A board from the source @dts, or, when it has no brace, from the file of that name in the boards' folder.
 */
static inline struct dk_board *board_from(const char *dts)
{
    char path[] = "/tmp/dmakit-test-XXXXXX", *named;
    struct dk_board *board;
    int file;

    if (!strchr(dts, '{')) {
        assert_true(asprintf(&named, "%s/%s", TEST_BOARDS_FOLDER, dts) > 0);
        board = dk_board_load(named);
        free(named);
        return board;
    }
    file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, dts, strlen(dts)), strlen(dts));
    close(file);
    board = dk_board_load(path);
    unlink(path);
    return board;
}

/* A machine on board_from(@dts), entered. */
static inline struct dk_machine *machine_with(const char *dts, const char *arguments, uint64_t seed,
                                              int depth)
{
    const struct dk_machine_options options = {
        .size = sizeof(options),
        .arguments = arguments,
        .seed = seed,
        .depth = depth,
    };
    struct dk_board *board = board_from(dts);
    struct dk_machine *machine;

    assert_false(IS_ERR(board));
    machine = dk_machine_create(board, &options);
    assert_false(IS_ERR(machine));
    dk_board_free(board);
    dk_machine_enter(machine);
    return machine;
}

/* The error of dk_machine_create() on board_from(@dts) or no board, or 0 and the machine in *@machine. */
static inline long create_machine(const char *dts, const struct dk_machine_options *options,
                                  struct dk_machine **machine)
{
    struct dk_board *board = dts ? board_from(dts) : NULL;

    assert_false(IS_ERR(board));
    *machine = dk_machine_create(board, options);
    dk_board_free(board);
    return PTR_ERR_OR_ZERO(*machine);
}

static inline struct dk_machine *machine_on(const char *dts)
{
    return machine_with(dts, NULL, 0, 1);
}

/* A device below the node or alias @bus. */
static inline struct device *device_below(struct dk_machine *machine, const char *bus, const char *name)
{
    struct device *parent = dk_device_find(machine, bus);
    struct device *dev;

    assert_non_null(parent);
    dev = dk_device_add(parent, name);
    assert_false(IS_ERR(dev));
    return dev;
}

/* Bytes that differ from place to place and from @tag to @tag. */
static inline void fill(void *bytes, size_t size, unsigned tag)
{
    unsigned char *at = bytes;
    size_t i;

    for (i = 0; i < size; i++)
        at[i] = (unsigned char)(i * 7 + (i >> 8) + tag * 31 + 1);
}

static inline bool filled(const void *bytes, size_t size, unsigned tag)
{
    const unsigned char *at = bytes;
    size_t i;

    for (i = 0; i < size; i++) {
        if (at[i] != (unsigned char)(i * 7 + (i >> 8) + tag * 31 + 1))
            return false;
    }
    return true;
}

/* How many of @count seeds to try: one under a thread checker, or where DMAKIT_TEST_FAST asks for speed. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLOW_HERE true
#endif
#elif defined(__SANITIZE_THREAD__)
#define SLOW_HERE true
#endif
#ifndef SLOW_HERE
#define SLOW_HERE false
#endif

static inline uint64_t seeds(uint64_t count)
{
    return SLOW_HERE || getenv("DMAKIT_TEST_FAST") ? 1 : count;
}

/* For dk_check_set_sink(): reports that the test expects and counts. */
static inline void ignore_report(const struct dk_report *report, void *data)
{
    (void)report;
    (void)data;
}

/* The log lines since keep_log(), newest last; what does not fit is dropped. */
struct log_lines {
    unsigned count;
    size_t used;
    char text[8192];
};

static inline void keep_line(int level, const char *line, void *data)
{
    struct log_lines *lines = data;
    int length =
        snprintf(lines->text + lines->used, sizeof(lines->text) - lines->used, "%d %s\n", level, line);

    lines->count++;
    if (length > 0 && (size_t)length < sizeof(lines->text) - lines->used)
        lines->used += (size_t)length;
    else
        lines->text[lines->used] = 0;
}

/* Errors and warnings go to @lines until drop_log(), which makes the log silent. */
static inline void keep_log(struct log_lines *lines)
{
    lines->count = 0;
    lines->used = 0;
    lines->text[0] = 0;
    dk_log_set_sink(keep_line, lines);
    dk_log_set_level(1);
}

static inline void drop_log(void)
{
    dk_log_set_sink(NULL, NULL);
    dk_log_set_level(-1);
}

/* A small board with 64 MiB of RAM at 1 GiB and one bus whose properties are @bus; @coherence is one of the
 * two words or nothing. */
#define SMALL_BOARD(coherence, bus)                                                                                        \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"small\"; compatible = \"dmakit,small\"; " coherence \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                                        \
    " bus: bus@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; " bus                             \
    " nic: nic@0 { compatible = \"dmakit,nic\"; }; };"                                                                     \
    " aliases { bus = \"/bus@0\"; nic = \"/bus@0/nic@0\"; }; };"

#define COHERENT_BOARD SMALL_BOARD("dma-coherent;", "ranges;")
#define NONCOHERENT_BOARD SMALL_BOARD("dma-noncoherent;", "ranges;")

#endif
