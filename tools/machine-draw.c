/* SPDX-License-Identifier: MIT */
/*
 * The whole memory map, and the file it goes to.
 */
#include "base/alloc.h"
#include "machine-page.h"
#include "picture.h"

#include <errno.h>
#include <math.h>

static unsigned shown_columns(const struct dk_machine_view *view)
{
    return view->group_count < MOST_COLUMNS ? view->group_count : MOST_COLUMNS;
}

static void draw_title(const struct dk_page *page)
{
    const struct dk_board *board = page->view->board;
    double room = page->width - 2 * PAGE_MARGIN;
    double x = PAGE_MARGIN;
    char text[160];
    char size[DK_SIZE_TEXT];
    int used;

    dk_canvas_colour(page->cr, dk_colour_ink, 1);
    dk_canvas_text(page->cr, DK_FACE_TITLE, PAGE_MARGIN, 42, room,
                   *board->model ? board->model : "(a board without a model)");
    dk_canvas_colour(page->cr, dk_colour_faint, 1);
    for (unsigned i = 0; board->compatible && board->compatible[i] && x < room; i++) {
        if (i > 0)
            x += dk_canvas_text(page->cr, DK_FACE_BODY, x, 62, room, ",  ");
        x += dk_canvas_text(page->cr, DK_FACE_BODY, x, 62, PAGE_MARGIN + room - x, board->compatible[i]);
    }
    used = snprintf(text, sizeof(text), "%s of memory%s, %u reserved region%s",
                    dk_machine_size(size, page->view->memory_size),
                    board->memory_assumed ? " (assumed: the tree does not say)" : "",
                    page->view->region_count, page->view->region_count == 1 ? "" : "s");
    if (page->view->failed_count)
        used += snprintf(text + used, sizeof(text) - (size_t)used, " (%u FAILED)", page->view->failed_count);
    snprintf(text + used, sizeof(text) - (size_t)used, ", %u devices, cache line %u bytes",
             page->view->device_count, board->line);
    dk_canvas_text(page->cr, DK_FACE_BODY, PAGE_MARGIN, 80, room, text);
}

static void draw_swatch(const struct dk_page *page, double *x, double y, const struct dk_colour *colour,
                        const char *meaning)
{
    struct dk_box box = { *x, y, 18, 12 };

    if (colour) {
        dk_canvas_fill(page->cr, box, *colour, 1);
    } else {
        dk_canvas_hatch(page->cr, box, dk_colour_failed);
        dk_canvas_outline(page->cr, box, dk_colour_failed, 1.2);
    }
    dk_canvas_colour(page->cr, dk_colour_ink, 1);
    *x += 25;
    *x += dk_canvas_text(page->cr, DK_FACE_BODY, *x, y + 10, 200, meaning) + 20;
}

static bool shows_kind(const struct dk_page *page, enum dk_reserved_kind kind)
{
    const struct dk_board *board = page->view->board;

    for (unsigned i = 0; i < board->reserved_count; i++) {
        const struct dk_reserved *region = &board->reserved[i];

        if (dk_page_shows(page, region) && !region->reason && region->kind == kind)
            return true;
    }
    return false;
}

static void draw_legend(const struct dk_page *page, double y)
{
    static const struct {
        enum dk_reserved_kind kind;
        const char *meaning;
    } kinds[] = {
        { DK_RESERVED_CMA, "cma" },
        { DK_RESERVED_COHERENT, "coherent pool" },
        { DK_RESERVED_RESTRICTED, "restricted pool" },
        { DK_RESERVED_NO_MAP, "no-map" },
        { DK_RESERVED_PLAIN, "reserved" },
    };
    double x = PAGE_MARGIN;
    char text[96];

    dk_canvas_colour(page->cr, dk_colour_guide, 1);
    cairo_set_line_width(page->cr, 1);
    dk_canvas_line(page->cr, PAGE_MARGIN, y, page->width - PAGE_MARGIN, y, 0);
    draw_swatch(page, &x, y + 16, &dk_page_memory_colour, "free memory");
    for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        struct dk_colour colour = dk_page_kind_colour(kinds[k].kind);

        if (shows_kind(page, kinds[k].kind))
            draw_swatch(page, &x, y + 16, &colour, kinds[k].meaning);
    }
    if (page->view->failed_count)
        draw_swatch(page, &x, y + 16, NULL, "failed region");
    dk_canvas_colour(page->cr, dk_colour_faint, 1);
    dk_canvas_text(
        page->cr, DK_FACE_BODY, PAGE_MARGIN, y + 50, page->width - 2 * PAGE_MARGIN,
        "Addresses grow downwards. Heights grow with the logarithm of the size; a torn strip marks what is shorter still.");
    if (page->columns < page->view->group_count) {
        snprintf(text, sizeof(text), "%u more sets of windows are not drawn; the text output lists them.",
                 page->view->group_count - page->columns);
        dk_canvas_text(page->cr, DK_FACE_BODY, PAGE_MARGIN, y + 67, page->width - 2 * PAGE_MARGIN, text);
    }
}

static double failed_height(const struct dk_machine_view *view)
{
    unsigned shown = view->failed_count < MOST_FAILED ? view->failed_count : MOST_FAILED + 1;

    return view->failed_count ? 44 + 2 * REASON_HEIGHT * shown : 0;
}

/* Every failed region with its reason, also those that have no place on the map. */
static void draw_failed(const struct dk_page *page, double y)
{
    const struct dk_board *board = page->view->board;
    double room = page->width - 2 * PAGE_MARGIN - 24;
    unsigned shown = 0;

    if (!page->view->failed_count)
        return;
    dk_canvas_colour(page->cr, dk_colour_failed, 1);
    dk_canvas_text(page->cr, DK_FACE_HEAD, PAGE_MARGIN, y + 16, room, "Failed regions");
    y += 36;
    for (unsigned i = 0; i < board->reserved_count && shown < MOST_FAILED; i++) {
        const struct dk_reserved *region = &board->reserved[i];
        char size[DK_SIZE_TEXT];
        char text[256];

        if (region->disabled || !region->reason)
            continue;
        shown++;
        snprintf(text, sizeof(text), "%.150s  (%s, %s)", region->node, dk_machine_kind(region),
                 dk_machine_size(size, region->range.size));
        dk_canvas_colour(page->cr, dk_colour_ink, 1);
        dk_canvas_text(page->cr, DK_FACE_BODY, PAGE_MARGIN + 12, y, room, text);
        dk_canvas_colour(page->cr, dk_colour_failed, 1);
        dk_canvas_text(page->cr, DK_FACE_BODY, PAGE_MARGIN + 24, y + REASON_HEIGHT - 3, room - 12,
                       region->reason);
        y += 2 * REASON_HEIGHT;
    }
    if (shown < page->view->failed_count) {
        dk_canvas_colour(page->cr, dk_colour_faint, 1);
        dk_canvas_text(page->cr, DK_FACE_BODY, PAGE_MARGIN + 12, y, room,
                       "and more; the text output lists them.");
    }
}

static void draw_page(const struct dk_page *page)
{
    double below = page->map_top + page->axis->height + 26;

    cairo_set_source_rgb(page->cr, dk_colour_paper.red, dk_colour_paper.green, dk_colour_paper.blue);
    cairo_paint(page->cr);
    draw_title(page);
    dk_page_draw_band(page);
    for (unsigned i = 0; i < page->columns; i++)
        dk_page_draw_column(page, i);
    draw_failed(page, below);
    draw_legend(page, below + failed_height(page->view));
}

/* How high the axis must be for its labels to fit beside it. */
static double needed_height(const struct dk_machine_view *view)
{
    double most = view->region_count < MOST_LABELS ? view->region_count : MOST_LABELS;
    double ticks = view->board->memory_count * 28.0;

    for (unsigned g = 0; g < shown_columns(view); g++) {
        double windows = view->groups[g].window_count;

        most = fmax(most, fmin(windows, MOST_WINDOW_LABELS));
    }
    return fmax(fmax(most * LABEL_HEIGHT, fmin(ticks, MOST_LABELS * 14.0)), 320);
}

static void lay_out(struct dk_page *page, const struct dk_machine_view *view, const struct dk_axis *axis)
{
    page->view = view;
    page->axis = axis;
    page->columns = shown_columns(view);
    page->band_x = PAGE_MARGIN + LABEL_WIDTH + LEADER_WIDTH;
    page->map_top = PAGE_HEADER + 40;
    for (unsigned g = 0; g < page->columns; g++)
        page->map_top = fmax(page->map_top, PAGE_HEADER + 42 + dk_page_head_height(&view->groups[g]));
    page->width =
        fmax(page->band_x + BAND_WIDTH + TICK_WIDTH + page->columns * COLUMN_WIDTH + PAGE_MARGIN, 860);
    page->height = page->map_top + page->axis->height + 26 + failed_height(view) + LEGEND_HEIGHT;
}

bool dk_machine_can_draw(const char *path)
{
    return dk_picture_can(path);
}

static void draw(cairo_t *cr, void *data)
{
    struct dk_page *page = data;

    page->cr = cr;
    draw_page(page);
}

int dk_machine_draw(const char *path, const struct dk_machine_view *view)
{
    struct dk_page page = { 0 };
    struct dk_axis axis;
    int error;

    if (!dk_machine_can_draw(path))
        return -EINVAL;
    error = dk_axis_init(&axis, view, needed_height(view));
    if (error)
        return error;
    page.labels = dk_allocate(MOST_LABELS, sizeof(*page.labels));
    if (!page.labels) {
        error = -ENOMEM;
        goto finish;
    }
    lay_out(&page, view, &axis);
    error = dk_picture_write(path, page.width, page.height, draw, &page);
finish:
    dk_release(page.labels);
    dk_axis_finish(&axis);
    return error;
}
