/* SPDX-License-Identifier: MIT */
/*
 * A board as `dmakit machine` shows it: its devices grouped by what they reach, and the two ways to show it.
 */
#ifndef DK_TOOLS_MACHINE_VIEW_H
#define DK_TOOLS_MACHINE_VIEW_H

#include "board/board.h"

#include <stdio.h>

struct dk_machine_member {
    unsigned node;  /* index into the board's nodes */
    bool functions; /* not the node itself but the PCI functions below it */
};

/* Devices with the same windows, IOMMU and coherence. */
struct dk_machine_group {
    bool coherent;
    int iommu;                       /* index into the board's nodes, or -1 */
    const struct dk_window *windows; /* the board's; empty: every address, one to one */
    unsigned window_count;
    struct dk_machine_member *members; /* in tree order */
    unsigned member_count;
};

struct dk_machine_view {
    const struct dk_board *board; /* outlives the view */
    struct dk_machine_group *groups;
    unsigned group_count;
    struct dk_machine_member *members; /* backs every group's list */
    unsigned device_count;             /* enabled nodes with a compatible */
    unsigned region_count;             /* reserved regions that are not disabled */
    unsigned failed_count;             /* those of them that failed */
    u64 memory_size;                   /* bytes in all memory ranges */
};

/* Groups @board's devices into @view, in tree order of each group's first. 0 or -ENOMEM, with nothing to
 * finish. */
int dk_machine_view_init(struct dk_machine_view *view, const struct dk_board *board);

void dk_machine_view_finish(struct dk_machine_view *view);

#define DK_SIZE_TEXT 24

/* Writes @bytes for people ("64 MiB", "3.9 GiB"), rounded to a tenth, into @text, and returns it. */
const char *dk_machine_size(char text[DK_SIZE_TEXT], u64 bytes);

/* The word for @region's kind, as in the JSON document. */
const char *dk_machine_kind(const struct dk_reserved *region);

/* The last byte of @base, @size; @base itself when empty, and the last address when it would wrap. */
u64 dk_machine_last(u64 base, u64 size);

/* Copies @text into @into (@size bytes with the NUL), cut to fit, all but printable ASCII as '?'. Returns
 * @into. */
const char *dk_machine_plain(char *into, size_t size, const char *text);

/* Prints @view for a terminal of 80 to 100 columns. What does not get out shows in ferror(@out). */
void dk_machine_print(FILE *out, const struct dk_machine_view *view);

/* Whether @path ends in a format that dk_machine_draw() can write. */
bool dk_machine_can_draw(const char *path);

/*
 * Draws @view as a memory map into the file @path, SVG or PNG by its ending. 0; -EINVAL for another ending;
 * -ENOMEM; -EIO when cairo failed; else the error of opening or writing. A regular file that was begun and
 * not finished is removed.
 */
int dk_machine_draw(const char *path, const struct dk_machine_view *view);

#endif
