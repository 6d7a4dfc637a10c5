/* SPDX-License-Identifier: MIT */
/*
 * The page of a memory map, left to right: labels of regions, physical memory, and a column for each set of
 * windows, beside the memory that it reaches.
 */
#ifndef DK_TOOLS_MACHINE_PAGE_H
#define DK_TOOLS_MACHINE_PAGE_H

#include "machine-axis.h"
#include "machine-canvas.h"

/* Widths, heights and places, in points. */
enum {
    PAGE_MARGIN = 28,
    PAGE_HEADER = 84,
    LABEL_WIDTH = 306,
    LABEL_HEIGHT = 32,
    LEADER_WIDTH = 44,
    BAND_WIDTH = 150,
    TICK_WIDTH = 122,
    TICK_HEIGHT = 14,
    COLUMN_WIDTH = 222,
    LEGEND_HEIGHT = 92,
    REASON_HEIGHT = 18,
};

/* More would not be read; the text output has them all. */
enum {
    MOST_LABELS = 300,
    MOST_COLUMNS = 12,
    MOST_WINDOW_LABELS = 60,
    MOST_FAILED = 40,
};

struct dk_page {
    cairo_t *cr;
    const struct dk_machine_view *view;
    const struct dk_axis *axis;
    struct dk_label *labels; /* MOST_LABELS of them, for whichever list is being spread */
    double width;
    double height;
    double map_top; /* where the axis begins */
    double band_x;
    unsigned columns; /* groups drawn */
};

extern const struct dk_colour dk_page_memory_colour;

/* The colour of a region of @kind that stands. */
struct dk_colour dk_page_kind_colour(enum dk_reserved_kind kind);

/* Whether @region has a place on the map: not disabled, and an address that the axis covers. */
bool dk_page_shows(const struct dk_page *page, const struct dk_reserved *region);

/* Draws physical memory, its reserved regions and their labels. */
void dk_page_draw_band(const struct dk_page *page);

/* Draws the column of the group @index, head and windows. */
void dk_page_draw_column(const struct dk_page *page, unsigned index);

/* How high the head of @group's column is. */
double dk_page_head_height(const struct dk_machine_group *group);

#endif
