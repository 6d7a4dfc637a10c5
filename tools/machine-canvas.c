/* SPDX-License-Identifier: MIT */
#include "machine-canvas.h"

#include "machine-view.h"

#include <string.h>

const struct dk_colour dk_colour_ink = { 0.13, 0.16, 0.20 };
const struct dk_colour dk_colour_faint = { 0.42, 0.46, 0.51 };
const struct dk_colour dk_colour_failed = { 0.80, 0.11, 0.13 };
const struct dk_colour dk_colour_guide = { 0.80, 0.83, 0.87 };
const struct dk_colour dk_colour_paper = { 1, 1, 1 };

static const struct {
    const char *family;
    cairo_font_weight_t weight;
    double size;
} faces[DK_FACE_COUNT] = {
    [DK_FACE_TITLE] = { "sans-serif", CAIRO_FONT_WEIGHT_BOLD, 20 },
    [DK_FACE_HEAD] = { "sans-serif", CAIRO_FONT_WEIGHT_BOLD, 11.5 },
    [DK_FACE_BODY] = { "sans-serif", CAIRO_FONT_WEIGHT_NORMAL, 11 },
    [DK_FACE_ADDRESS] = { "monospace", CAIRO_FONT_WEIGHT_NORMAL, 10.5 },
};

void dk_canvas_colour(cairo_t *cr, struct dk_colour colour, double opacity)
{
    cairo_set_source_rgba(cr, colour.red, colour.green, colour.blue, opacity);
}

void dk_canvas_fill(cairo_t *cr, struct dk_box box, struct dk_colour colour, double opacity)
{
    dk_canvas_colour(cr, colour, opacity);
    cairo_rectangle(cr, box.x, box.y, box.width, box.height);
    cairo_fill(cr);
}

void dk_canvas_outline(cairo_t *cr, struct dk_box box, struct dk_colour colour, double width)
{
    dk_canvas_colour(cr, colour, 1);
    cairo_set_line_width(cr, width);
    cairo_set_dash(cr, NULL, 0, 0);
    cairo_rectangle(cr, box.x + width / 2, box.y + width / 2, box.width - width, box.height - width);
    cairo_stroke(cr);
}

void dk_canvas_hatch(cairo_t *cr, struct dk_box box, struct dk_colour colour)
{
    cairo_save(cr);
    cairo_rectangle(cr, box.x, box.y, box.width, box.height);
    cairo_clip(cr);
    dk_canvas_colour(cr, colour, 0.85);
    cairo_set_line_width(cr, 1.4);
    cairo_set_dash(cr, NULL, 0, 0);
    for (int i = 0; i * 7 < box.width + box.height; i++) {
        double x = i * 7 - box.height;

        cairo_move_to(cr, box.x + x, box.y + box.height);
        cairo_line_to(cr, box.x + x + box.height, box.y);
    }
    cairo_stroke(cr);
    cairo_restore(cr);
}

void dk_canvas_line(cairo_t *cr, double x1, double y1, double x2, double y2, double dash)
{
    cairo_set_dash(cr, &dash, dash > 0 ? 1 : 0, 0);
    cairo_move_to(cr, x1, y1);
    cairo_line_to(cr, x2, y2);
    cairo_stroke(cr);
    cairo_set_dash(cr, NULL, 0, 0);
}

/* A zigzag from left to right over @box, or back. */
static void zigzag(cairo_t *cr, struct dk_box box, double y, bool back)
{
    enum { TEETH = 12 };

    for (int i = 0; i <= TEETH; i++) {
        int at = back ? TEETH - i : i;

        cairo_line_to(cr, box.x + box.width * at / TEETH, y + (at % 2 ? -3 : 3));
    }
}

void dk_canvas_break(cairo_t *cr, struct dk_box box, double y)
{
    struct dk_box wide = { box.x - 4, box.y, box.width + 8, box.height };

    cairo_new_path(cr);
    zigzag(cr, wide, y - 3, false);
    zigzag(cr, wide, y + 3, true);
    cairo_close_path(cr);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_fill(cr);
    dk_canvas_colour(cr, dk_colour_faint, 0.9);
    cairo_set_line_width(cr, 0.9);
    zigzag(cr, wide, y - 3, false);
    cairo_stroke(cr);
    zigzag(cr, wide, y + 3, false);
    cairo_stroke(cr);
}

static double choose_face(cairo_t *cr, enum dk_face face, const char *text)
{
    cairo_text_extents_t extents;

    cairo_select_font_face(cr, faces[face].family, CAIRO_FONT_SLANT_NORMAL, faces[face].weight);
    cairo_set_font_size(cr, faces[face].size);
    cairo_text_extents(cr, text, &extents);
    return extents.x_advance;
}

double dk_canvas_text(cairo_t *cr, enum dk_face face, double x, double y, double width, const char *text)
{
    char plain[256];
    size_t length = strlen(dk_machine_plain(plain, sizeof(plain) - 3, text));
    double wide = choose_face(cr, face, plain);

    while (wide > width && length > 1) {
        memcpy(plain + --length, "\xe2\x80\xa6", 4);
        wide = choose_face(cr, face, plain);
    }
    cairo_move_to(cr, x, y);
    cairo_show_text(cr, plain);
    return wide;
}

void dk_canvas_text_right(cairo_t *cr, enum dk_face face, double x, double y, const char *text)
{
    char plain[256];

    dk_machine_plain(plain, sizeof(plain), text);
    cairo_move_to(cr, x - choose_face(cr, face, plain), y);
    cairo_show_text(cr, plain);
}

void dk_canvas_text_middle(cairo_t *cr, enum dk_face face, double x, double y, const char *text)
{
    char plain[256];

    dk_machine_plain(plain, sizeof(plain), text);
    cairo_move_to(cr, x - choose_face(cr, face, plain) / 2, y);
    cairo_show_text(cr, plain);
}
