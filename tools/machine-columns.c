/* SPDX-License-Identifier: MIT */
/*
 * A column of the memory map: devices that reach the same memory, and where on their bus they find it.
 */
#include "machine-page.h"

#include <math.h>
#include <stdio.h>

enum {
    NAMES_SHOWN = 6,
    NAME_HEIGHT = 14,
    BAR_WIDTH = 26,
};

static const struct dk_colour column_colours[] = {
    { 0.11, 0.53, 0.62 }, { 0.78, 0.42, 0.14 }, { 0.47, 0.36, 0.72 },
    { 0.40, 0.58, 0.18 }, { 0.76, 0.28, 0.52 }, { 0.22, 0.44, 0.76 },
};

/* The last name makes room for "and 2 more", never for "and 1 more". */
static unsigned names_shown(const struct dk_machine_group *group)
{
    return group->member_count > NAMES_SHOWN + 1 ? NAMES_SHOWN : group->member_count;
}

double dk_page_head_height(const struct dk_machine_group *group)
{
    unsigned lines = names_shown(group) + (group->iommu >= 0) + (names_shown(group) < group->member_count);

    return 24 + lines * NAME_HEIGHT;
}

static void draw_column_head(const struct dk_page *page, const struct dk_machine_group *group, double x,
                             struct dk_colour colour)
{
    const struct dk_board *board = page->view->board;
    double width = COLUMN_WIDTH - 16;
    double y = page->map_top - 26 - dk_page_head_height(group);
    unsigned shown = names_shown(group);
    char text[128];
    char name[96];

    dk_canvas_fill(page->cr, (struct dk_box){ x, y, width, 3 }, colour, 1);
    snprintf(text, sizeof(text), "%u device%s, %s", group->member_count, group->member_count == 1 ? "" : "s",
             group->coherent ? "coherent" : "not coherent");
    dk_canvas_colour(page->cr, dk_colour_ink, 1);
    dk_canvas_text(page->cr, DK_FACE_HEAD, x, y + 17, width, text);
    y += 32;
    if (group->iommu >= 0) {
        snprintf(text, sizeof(text), "behind %s",
                 dk_machine_plain(name, sizeof(name), board->nodes[group->iommu].name));
        dk_canvas_colour(page->cr, colour, 1);
        dk_canvas_text(page->cr, DK_FACE_BODY, x, y, width, text);
        y += NAME_HEIGHT;
    }
    dk_canvas_colour(page->cr, dk_colour_faint, 1);
    for (unsigned i = 0; i < shown; i++) {
        const struct dk_node *node = &board->nodes[group->members[i].node];

        dk_machine_plain(name, sizeof(name), *node->name ? node->name : "/");
        snprintf(text, sizeof(text), group->members[i].functions ? "functions below %s" : "%s", name);
        dk_canvas_text(page->cr, DK_FACE_BODY, x, y, width, text);
        y += NAME_HEIGHT;
    }
    if (shown < group->member_count) {
        snprintf(text, sizeof(text), "and %u more", group->member_count - shown);
        dk_canvas_text(page->cr, DK_FACE_BODY, x, y, width, text);
    }
}

/* The bar of one window, with open dashed ends where it goes on beyond what is drawn. */
static void draw_bar(const struct dk_page *page, u64 base, u64 last, double x, struct dk_colour colour)
{
    const struct dk_axis *axis = page->axis;
    double top = page->map_top + dk_axis_top(axis, base);
    double bottom = page->map_top + dk_axis_bottom(axis, last);
    struct dk_box bar = { x, top, BAR_WIDTH, fmax(bottom - top, 3) };

    dk_canvas_fill(page->cr, bar, colour, 0.30);
    dk_canvas_outline(page->cr, bar, colour, 1.4);
    for (int side = 0; side <= 1; side++) {
        double edge = x + 0.7 + side * (BAR_WIDTH - 1.4);

        if (base < axis->stretches[0].base)
            dk_canvas_line(page->cr, edge, top - 10, edge, top, 2);
        if (last > axis->stretches[axis->count - 1].last)
            dk_canvas_line(page->cr, edge, bottom, edge, bottom + 12, 2);
    }
}

/* From a bar's edge at (@x1, @y1) to its label at (@x2, @y2). */
static void draw_leader(cairo_t *cr, double x1, double y1, double x2, double y2)
{
    cairo_move_to(cr, x1, y1);
    cairo_line_to(cr, x1 + 4, y1);
    cairo_line_to(cr, x2 - 4, y2);
    cairo_line_to(cr, x2, y2);
    cairo_stroke(cr);
}

static void draw_window_label(const struct dk_page *page, const struct dk_window *window, double x,
                              double top, struct dk_colour colour)
{
    u64 last = dk_machine_last(window->cpu, window->size);
    bool reaches = dk_axis_touches(page->axis, window->cpu, last);
    double y = page->map_top + top;
    double text_x = x + BAR_WIDTH + 20;
    double room = x + COLUMN_WIDTH - 10 - text_x;
    char size[DK_SIZE_TEXT];
    char text[96];

    snprintf(text, sizeof(text), "DMA 0x%llx", window->dma);
    dk_canvas_colour(page->cr, colour, 1);
    dk_canvas_text(page->cr, DK_FACE_ADDRESS, text_x, y + 12, room, text);
    if (reaches)
        snprintf(text, sizeof(text), "%s at 0x%llx", dk_machine_size(size, window->size), window->cpu);
    else
        snprintf(text, sizeof(text), "no memory at 0x%llx", window->cpu);
    dk_canvas_colour(page->cr, dk_colour_faint, 1);
    dk_canvas_text(page->cr, DK_FACE_BODY, text_x, y + 25, room, text);
    if (!reaches)
        return;
    dk_canvas_colour(page->cr, colour, 0.9);
    cairo_set_line_width(page->cr, 1);
    draw_leader(page->cr, x + BAR_WIDTH,
                page->map_top +
                    fmin(dk_axis_top(page->axis, window->cpu) + 8,
                         (dk_axis_top(page->axis, window->cpu) + dk_axis_bottom(page->axis, last)) / 2),
                text_x - 4, y + LABEL_HEIGHT / 2.0 - 1);
}

/* Devices that reach all memory at its own address. */
static void draw_free_column(const struct dk_page *page, double x, struct dk_colour colour)
{
    double text_x = x + BAR_WIDTH + 10;
    double room = COLUMN_WIDTH - BAR_WIDTH - 22;

    draw_bar(page, 0, UINT64_MAX, x, colour);
    dk_canvas_colour(page->cr, colour, 1);
    dk_canvas_text(page->cr, DK_FACE_HEAD, text_x, page->map_top + 14, room, "every address");
    dk_canvas_colour(page->cr, dk_colour_faint, 1);
    dk_canvas_text(page->cr, DK_FACE_BODY, text_x, page->map_top + 29, room, "DMA = physical");
}

/* Devices behind an IOMMU: all memory is in reach, and windows only bound the addresses they use for it. */
static void draw_iommu_column(const struct dk_page *page, const struct dk_machine_group *group, double x,
                              struct dk_colour colour)
{
    double text_x = x + BAR_WIDTH + 10;
    double room = COLUMN_WIDTH - BAR_WIDTH - 22;
    unsigned lines = (unsigned)((page->axis->height - 60) / NAME_HEIGHT);

    draw_bar(page, 0, UINT64_MAX, x, colour);
    dk_canvas_colour(page->cr, colour, 1);
    dk_canvas_text(page->cr, DK_FACE_HEAD, text_x, page->map_top + 14, room, "any page");
    dk_canvas_colour(page->cr, dk_colour_faint, 1);
    dk_canvas_text(page->cr, DK_FACE_BODY, text_x, page->map_top + 29, room,
                   group->window_count ? "that the IOMMU maps, at IOVA" : "mapped, at any IOVA");
    for (unsigned w = 0; w < group->window_count && w < lines; w++) {
        const struct dk_window *window = &group->windows[w];
        char text[64];

        snprintf(text, sizeof(text), "0x%llx-0x%llx", window->dma,
                 dk_machine_last(window->dma, window->size));
        dk_canvas_text(page->cr, DK_FACE_ADDRESS, text_x, page->map_top + 45 + w * NAME_HEIGHT, room, text);
    }
}

void dk_page_draw_column(const struct dk_page *page, unsigned index)
{
    const struct dk_machine_group *group = &page->view->groups[index];
    struct dk_colour colour = column_colours[index % (sizeof(column_colours) / sizeof(column_colours[0]))];
    double x = page->band_x + BAND_WIDTH + TICK_WIDTH + index * COLUMN_WIDTH;
    unsigned shown = group->window_count < MOST_WINDOW_LABELS ? group->window_count : MOST_WINDOW_LABELS;

    draw_column_head(page, group, x, colour);
    if (!page->axis->count)
        return;
    if (group->iommu >= 0) {
        draw_iommu_column(page, group, x, colour);
        return;
    }
    if (!group->window_count) {
        draw_free_column(page, x, colour);
        return;
    }
    for (unsigned w = 0; w < group->window_count; w++) {
        const struct dk_window *window = &group->windows[w];
        u64 last = dk_machine_last(window->cpu, window->size);

        if (dk_axis_touches(page->axis, window->cpu, last))
            draw_bar(page, window->cpu, last, x, colour);
        if (w < shown)
            page->labels[w] = (struct dk_label){
                .want = dk_axis_top(page->axis, window->cpu) - 6,
                .height = LABEL_HEIGHT,
                .index = w,
            };
    }
    dk_labels_spread(page->labels, shown, 0, page->axis->height);
    for (unsigned i = 0; i < shown; i++)
        draw_window_label(page, &group->windows[page->labels[i].index], x, page->labels[i].top, colour);
}
