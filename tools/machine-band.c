/* SPDX-License-Identifier: MIT */
/*
 * Physical memory as a band, and what is written beside it.
 */
#include "machine-page.h"

#include <math.h>
#include <string.h>

const struct dk_colour dk_page_memory_colour = { 0.90, 0.93, 0.96 };

struct dk_colour dk_page_kind_colour(enum dk_reserved_kind kind)
{
    static const struct dk_colour colours[] = {
        [DK_RESERVED_CMA] = { 0.30, 0.58, 0.88 },        [DK_RESERVED_COHERENT] = { 0.25, 0.68, 0.50 },
        [DK_RESERVED_RESTRICTED] = { 0.61, 0.44, 0.80 }, [DK_RESERVED_NO_MAP] = { 0.38, 0.42, 0.50 },
        [DK_RESERVED_PLAIN] = { 0.89, 0.69, 0.33 },
    };

    return colours[kind];
}

static struct dk_box band_between(const struct dk_page *page, double top, double bottom)
{
    return (struct dk_box){ page->band_x, page->map_top + top, BAND_WIDTH, bottom - top };
}

static struct dk_box band_box(const struct dk_page *page, u64 base, u64 size)
{
    return band_between(page, dk_axis_top(page->axis, base),
                        dk_axis_bottom(page->axis, dk_machine_last(base, size)));
}

/* The edges of memory across the whole map, for the eye to follow. */
static void draw_guides(const struct dk_page *page)
{
    const struct dk_board *board = page->view->board;
    double right = page->band_x + BAND_WIDTH + TICK_WIDTH + page->columns * COLUMN_WIDTH;

    dk_canvas_colour(page->cr, dk_colour_guide, 1);
    cairo_set_line_width(page->cr, 0.8);
    for (unsigned i = 0; i < board->memory_count; i++) {
        struct dk_box box = band_box(page, board->memory[i].base, board->memory[i].size);

        dk_canvas_line(page->cr, box.x + box.width, box.y, right, box.y, 2);
        dk_canvas_line(page->cr, box.x + box.width, box.y + box.height, right, box.y + box.height, 2);
    }
}

static void draw_stretch(const struct dk_page *page, const struct dk_stretch *stretch)
{
    struct dk_box box = band_between(page, stretch->top, stretch->top + stretch->height);
    double middle = box.y + box.height / 2;
    char size[DK_SIZE_TEXT];
    char text[48];

    if (stretch->kind == DK_STRETCH_RESERVED)
        return;
    if (stretch->kind == DK_STRETCH_FREE) {
        dk_canvas_fill(page->cr, box, dk_page_memory_colour, 1);
        dk_canvas_colour(page->cr, dk_colour_faint, 0.5);
        cairo_set_line_width(page->cr, 0.8);
        dk_canvas_line(page->cr, box.x, box.y, box.x + box.width, box.y, 3);
    }
    dk_machine_size(size, stretch->last - stretch->base + 1);
    snprintf(text, sizeof(text), "%s %s", size, stretch->kind == DK_STRETCH_GAP ? "gap" : "free");
    dk_canvas_colour(page->cr, dk_colour_guide, 1);
    if (stretch->kind == DK_STRETCH_GAP) {
        cairo_set_line_width(page->cr, 1);
        dk_canvas_line(page->cr, box.x + 0.5, box.y, box.x + 0.5, box.y + box.height, 2);
        dk_canvas_line(page->cr, box.x + box.width - 0.5, box.y, box.x + box.width - 0.5, box.y + box.height,
                       2);
    }
    if (stretch->compressed)
        dk_canvas_break(page->cr, box, stretch->kind == DK_STRETCH_GAP ? middle + 12 : middle + 18);
    if (box.height >= 15) {
        dk_canvas_colour(page->cr, dk_colour_faint, 1);
        dk_canvas_text_middle(page->cr, DK_FACE_BODY, box.x + box.width / 2,
                              stretch->compressed ? middle - 2 : middle + 4, text);
    }
}

static void draw_region(const struct dk_page *page, const struct dk_reserved *region)
{
    struct dk_box box = band_box(page, region->range.base, region->range.size);

    if (region->reason) {
        dk_canvas_fill(page->cr, box, dk_colour_paper, 0.35);
        dk_canvas_hatch(page->cr, box, dk_colour_failed);
        dk_canvas_outline(page->cr, box, dk_colour_failed, 1.4);
        return;
    }
    dk_canvas_fill(page->cr, box, dk_page_kind_colour(region->kind), 1);
    dk_canvas_colour(page->cr, dk_colour_paper, 0.9);
    cairo_set_line_width(page->cr, 1);
    dk_canvas_line(page->cr, box.x, box.y, box.x + box.width, box.y, 0);
    dk_canvas_line(page->cr, box.x, box.y + box.height, box.x + box.width, box.y + box.height, 0);
}

bool dk_page_shows(const struct dk_page *page, const struct dk_reserved *region)
{
    u64 last = dk_machine_last(region->range.base, region->range.size);

    if (region->disabled || !region->range.size)
        return false;
    if (region->reason && region->dynamic && !region->range.base)
        return false;
    return dk_axis_touches(page->axis, region->range.base, last);
}

static void draw_memory(const struct dk_page *page)
{
    const struct dk_board *board = page->view->board;

    for (unsigned i = 0; i < page->axis->count; i++)
        draw_stretch(page, &page->axis->stretches[i]);
    for (int failed = 0; failed <= 1; failed++) {
        for (unsigned i = 0; i < board->reserved_count; i++) {
            const struct dk_reserved *region = &board->reserved[i];

            if (dk_page_shows(page, region) && (region->reason != NULL) == (failed == 1))
                draw_region(page, region);
        }
    }
    for (unsigned i = 0; i < board->memory_count; i++) {
        if (board->memory[i].size)
            dk_canvas_outline(page->cr, band_box(page, board->memory[i].base, board->memory[i].size),
                              dk_colour_ink, 1.2);
    }
    /* A break goes through the outline too. */
    for (unsigned i = 0; i < page->axis->count; i++) {
        const struct dk_stretch *stretch = &page->axis->stretches[i];
        struct dk_box box = band_between(page, stretch->top, stretch->top + stretch->height);

        if (stretch->compressed && stretch->kind == DK_STRETCH_FREE)
            dk_canvas_break(page->cr, box, box.y + box.height / 2 + 18);
    }
}

/* From a label's end at (@x1, @y1), level through the label column, to the band's edge at (@x2, @y2). */
static void draw_leader(cairo_t *cr, double x1, double y1, double x2, double y2)
{
    cairo_move_to(cr, x1, y1);
    cairo_line_to(cr, x2 - LEADER_WIDTH + 10, y1);
    cairo_line_to(cr, x2 - 10, y2);
    cairo_line_to(cr, x2, y2);
    cairo_stroke(cr);
}

static const char *short_node(const char *node)
{
    static const char folder[] = "/reserved-memory/";

    return strncmp(node, folder, sizeof(folder) - 1) ? node : node + sizeof(folder) - 1;
}

static void draw_region_label(const struct dk_page *page, const struct dk_reserved *region, double top)
{
    struct dk_colour colour = region->reason ? dk_colour_failed : dk_page_kind_colour(region->kind);
    double y = page->map_top + top;
    struct dk_box box = band_box(page, region->range.base, region->range.size);
    double from;
    char size[DK_SIZE_TEXT];
    char text[128];

    dk_canvas_fill(page->cr, (struct dk_box){ PAGE_MARGIN, y + 2, 4, LABEL_HEIGHT - 5 }, colour, 1);
    dk_canvas_colour(page->cr, region->reason ? dk_colour_failed : dk_colour_ink, 1);
    from = dk_canvas_text(page->cr, DK_FACE_HEAD, PAGE_MARGIN + 11, y + 12, LABEL_WIDTH - 20,
                          short_node(region->node));
    snprintf(text, sizeof(text), "0x%llx  %s  %s%s%s", region->range.base,
             dk_machine_size(size, region->range.size), dk_machine_kind(region),
             region->is_default ? ", default" : "", region->dynamic ? ", dynamic" : "");
    dk_canvas_colour(page->cr, region->reason ? dk_colour_failed : dk_colour_faint, 1);
    if (region->reason)
        snprintf(text, sizeof(text), "0x%llx  %s  %s, FAILED", region->range.base,
                 dk_machine_size(size, region->range.size), dk_machine_kind(region));
    from = fmax(from,
                dk_canvas_text(page->cr, DK_FACE_ADDRESS, PAGE_MARGIN + 11, y + 25, LABEL_WIDTH - 20, text));
    dk_canvas_colour(page->cr, colour, 0.9);
    cairo_set_line_width(page->cr, 1);
    draw_leader(page->cr, PAGE_MARGIN + from + 18, y + LABEL_HEIGHT / 2.0 - 1, page->band_x,
                box.y + box.height / 2);
}

static void draw_region_labels(const struct dk_page *page)
{
    const struct dk_board *board = page->view->board;
    unsigned count = 0;
    unsigned left = 0;
    char text[64];

    for (unsigned i = 0; i < board->reserved_count; i++) {
        struct dk_box box;

        if (!dk_page_shows(page, &board->reserved[i]))
            continue;
        if (count == MOST_LABELS) {
            left++;
            continue;
        }
        box = band_box(page, board->reserved[i].range.base, board->reserved[i].range.size);
        page->labels[count++] = (struct dk_label){
            .want = box.y + box.height / 2 - page->map_top - LABEL_HEIGHT / 2.0 + 1,
            .height = LABEL_HEIGHT,
            .index = i,
        };
    }
    dk_labels_spread(page->labels, count, 0, page->axis->height);
    for (unsigned i = 0; i < count; i++)
        draw_region_label(page, &board->reserved[page->labels[i].index], page->labels[i].top);
    dk_canvas_colour(page->cr, dk_colour_faint, 1);
    dk_canvas_text(page->cr, DK_FACE_HEAD, PAGE_MARGIN, page->map_top - 14, LABEL_WIDTH, "Reserved regions");
    if (!page->view->region_count)
        dk_canvas_text(page->cr, DK_FACE_BODY, PAGE_MARGIN, page->map_top + 14, LABEL_WIDTH, "none");
    if (left) {
        snprintf(text, sizeof(text), "and %u without a label", left);
        dk_canvas_text(page->cr, DK_FACE_BODY, PAGE_MARGIN + 130, page->map_top - 14, LABEL_WIDTH - 130,
                       text);
    }
}

/* The first and last address of each memory range, beside the band. */
static void draw_ticks(const struct dk_page *page)
{
    const struct dk_board *board = page->view->board;
    double x = page->band_x + BAND_WIDTH;
    unsigned count = 0;

    dk_canvas_colour(page->cr, dk_colour_faint, 1);
    dk_canvas_text_middle(page->cr, DK_FACE_HEAD, page->band_x + BAND_WIDTH / 2.0, page->map_top - 14,
                          "Physical memory");
    if (!page->axis->count)
        dk_canvas_text_middle(page->cr, DK_FACE_BODY, page->band_x + BAND_WIDTH / 2.0, page->map_top + 14,
                              "none");
    for (unsigned i = 0; i < board->memory_count && count + 2 <= MOST_LABELS; i++) {
        struct dk_box box = band_box(page, board->memory[i].base, board->memory[i].size);

        double middle = box.y + box.height / 2 - page->map_top;

        /* Inside the range where it is high enough, so that the end of one does not push the start of the
         * next. */
        page->labels[count] = (struct dk_label){
            .want = fmin(box.y - page->map_top, middle - TICK_HEIGHT),
            .height = TICK_HEIGHT,
            .index = 2 * i,
        };
        page->labels[count + 1] = (struct dk_label){
            .want = fmax(box.y + box.height - page->map_top - TICK_HEIGHT, middle),
            .height = TICK_HEIGHT,
            .index = 2 * i + 1,
        };
        count += 2;
    }
    dk_labels_spread(page->labels, count, -2, page->axis->height + 2);
    for (unsigned i = 0; i < count; i++) {
        const struct dk_range *range = &board->memory[page->labels[i].index / 2];
        bool is_end = page->labels[i].index % 2;
        u64 address = is_end ? dk_machine_last(range->base, range->size) : range->base;
        double y = page->map_top + page->labels[i].top;
        double edge =
            page->map_top + (is_end ? dk_axis_bottom(page->axis, address) : dk_axis_top(page->axis, address));
        char text[32];

        snprintf(text, sizeof(text), "0x%llx", address);
        dk_canvas_colour(page->cr, dk_colour_faint, 0.8);
        cairo_set_line_width(page->cr, 0.8);
        dk_canvas_line(page->cr, x, edge, x + 10, y + 7, 0);
        dk_canvas_colour(page->cr, dk_colour_ink, 1);
        dk_canvas_text(page->cr, DK_FACE_ADDRESS, x + 13, y + 11, TICK_WIDTH - 14, text);
    }
}

void dk_page_draw_band(const struct dk_page *page)
{
    draw_guides(page);
    draw_memory(page);
    draw_region_labels(page);
    draw_ticks(page);
}
