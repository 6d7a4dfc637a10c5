/* SPDX-License-Identifier: MIT */
/*
 * Mistakes and their correct twins, in a table: each mistake is reported once, with class, file and line; no
 * twin is, on any board.
 */
#ifndef TESTS_API_CLASS_CASES_H
#define TESTS_API_CLASS_CASES_H

#include "api.h"

struct scene {
    struct dk_machine *machine;
    struct device *dev;
    char *buffer; /* 4096 bytes of kmalloc() */
    int line;     /* where the mistake stands */
};

/* Marks the mistake: notes the line of the call it wraps. */
#define AT(scene, call) ((scene)->line = __LINE__, (call))

struct class_board {
    const char *dts;
    const char *arguments;
    unsigned has; /* what a case may need */
};

struct class_case {
    const char *class_name;
    void (*bad)(struct scene *scene);
    void (*good)(struct scene *scene); /* on every board */
    unsigned needs;                    /* of a board, to be seen there */
    int depth;                         /* the lowest that sees it */
};

struct class_seen {
    unsigned long reports;
    char class_name[64];
    char file[256];
    int line;
    bool whole; /* every part that a reader needs is there */
};

static inline void class_note(const struct dk_report *report, void *data)
{
    struct class_seen *seen = data;
    const struct dk_frames *stack = &report->access.stack;

    seen->reports++;
    snprintf(seen->class_name, sizeof(seen->class_name), "%s", report->class_name);
    seen->line = stack->count ? stack->frames[0].line : 0;
    snprintf(seen->file, sizeof(seen->file), "%s",
             stack->count && stack->frames[0].file ? stack->frames[0].file : "");
    seen->whole = report->what && *report->what && report->advice && *report->advice && report->device &&
                  report->severity && report->access.kind && report->access.name;
}

/* Runs one side of one case on one board. */
static inline struct class_seen class_play(void (*part)(struct scene *scene), const struct class_board *board,
                                           int depth, uint64_t seed, struct scene *scene)
{
    struct class_seen seen = { 0 };

    scene->machine = machine_with(board->dts, board->arguments, seed, depth);
    scene->dev = dk_device_find(scene->machine, "nic");
    scene->buffer = kmalloc(4096, GFP_KERNEL);
    assert_non_null(scene->buffer);
    dk_check_set_sink(scene->machine, class_note, &seen);
    part(scene);
    dk_check_set_sink(scene->machine, ignore_report, NULL);
    return seen;
}

/* @file: the test's own name. */
static inline void class_mistakes(const struct class_case *cases, size_t count,
                                  const struct class_board *boards, size_t board_count, const char *file)
{
    size_t i, board;
    int depth;

    for (board = 0; board < board_count; board++) {
        for (i = 0; i < count; i++) {
            if ((cases[i].needs & boards[board].has) != cases[i].needs)
                continue;
            for (depth = cases[i].depth; depth <= 2; depth++) {
                struct scene scene = { 0 };
                struct class_seen seen = class_play(cases[i].bad, &boards[board], depth, 0, &scene);

                if (seen.reports != 1 || strcmp(seen.class_name, cases[i].class_name) ||
                    seen.line != scene.line || !strstr(seen.file, file))
                    print_error(
                        "case %zu, %s on board %zu at depth %d: %lu reports, %s at %s:%d, expected line %d\n",
                        i, cases[i].class_name, board, depth, seen.reports, seen.class_name, seen.file,
                        seen.line, scene.line);
                assert_int_equal(seen.reports, 1);
                assert_string_equal(seen.class_name, cases[i].class_name);
                assert_non_null(strstr(seen.file, file));
                assert_int_equal(seen.line, scene.line);
                assert_true(seen.whole);
                dk_machine_destroy(scene.machine);
            }
        }
    }
}

static inline void class_twins(const struct class_case *cases, size_t count, const struct class_board *boards,
                               size_t board_count)
{
    size_t i, board;
    uint64_t seed;

    for (board = 0; board < board_count; board++) {
        for (i = 0; i < count; i++) {
            for (seed = 0; seed < 3; seed++) {
                struct scene scene = { 0 };
                struct class_seen seen = class_play(cases[i].good, &boards[board], 2, seed, &scene);

                if (seen.reports)
                    print_error("the twin of case %zu, %s, on board %zu: %s at %s:%d\n", i,
                                cases[i].class_name, board, seen.class_name, seen.file, seen.line);
                assert_int_equal(seen.reports, 0);
                kfree(scene.buffer);
                assert_int_equal(dk_machine_destroy(scene.machine), 0);
            }
        }
    }
}

/* A mapping of the buffer's first @size bytes that was asked about. */
static inline dma_addr_t class_map(struct scene *scene, size_t size, enum dma_data_direction direction)
{
    dma_addr_t dma = dma_map_single(scene->dev, scene->buffer, size, direction);

    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    return dma;
}

/* RAM below 4 GiB and the same 32 bits above it; the device is on a bus that carries all bits. */
#define HIGH_BOARD                                                                                                           \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"high\"; compatible = \"dmakit,high\"; dma-coherent; " \
    " memory@40000000 { device_type = \"memory\"; reg = <0 0x40000000 0 0x4000000>, <1 0x40000000 0 0x4000000>,"             \
    " <0 0xc0000000 0 0x4000000>; };"                                                                                        \
    " bus: bus@0 { compatible = \"simple-bus\"; #address-cells = <2>; #size-cells = <2>; ranges;"                            \
    " nic: nic@0 { compatible = \"dmakit,nic\"; }; };"                                                                       \
    " aliases { bus = \"/bus@0\"; nic = \"/bus@0/nic@0\"; }; };"

/* The bus shows RAM from 0 on. */
#define OFFSET_BOARD SMALL_BOARD("dma-coherent;", "ranges; dma-ranges = <0x0 0x40000000 0x4000000>;")

#define BEHIND_IOMMU_BOARD(coherence)                                                                                      \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"iommu\"; compatible = \"dmakit,iommu\"; " coherence \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                                        \
    " mmu: iommu@0 { compatible = \"dmakit,mmu\"; #iommu-cells = <1>; };"                                                  \
    " bus@2 { compatible = \"dmakit,bus\"; };"                                                                             \
    " nic@1 { compatible = \"dmakit,nic\"; iommus = <&mmu 7>; }; aliases { nic = \"/nic@1\"; bus = \"/bus@2\"; }; };"

#endif
