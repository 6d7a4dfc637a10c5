/* SPDX-License-Identifier: MIT */
/*
 * The few things a memory map is painted with: colours, boxes, and text that is cut to fit.
 */
#ifndef DK_TOOLS_MACHINE_CANVAS_H
#define DK_TOOLS_MACHINE_CANVAS_H

#include <dmakit/types.h>

#include <cairo.h>

struct dk_colour {
    double red;
    double green;
    double blue;
};

struct dk_box {
    double x;
    double y;
    double width;
    double height;
};

enum dk_face {
    DK_FACE_TITLE,
    DK_FACE_HEAD,
    DK_FACE_BODY,
    DK_FACE_ADDRESS, /* all digits equally wide */
    DK_FACE_COUNT,
};

extern const struct dk_colour dk_colour_ink;
extern const struct dk_colour dk_colour_faint;
extern const struct dk_colour dk_colour_failed;
extern const struct dk_colour dk_colour_guide;
extern const struct dk_colour dk_colour_paper;

void dk_canvas_colour(cairo_t *cr, struct dk_colour colour, double opacity);

void dk_canvas_fill(cairo_t *cr, struct dk_box box, struct dk_colour colour, double opacity);

/* The outline of @box, @width points wide, just inside it. */
void dk_canvas_outline(cairo_t *cr, struct dk_box box, struct dk_colour colour, double width);

/* Diagonal lines across @box. */
void dk_canvas_hatch(cairo_t *cr, struct dk_box box, struct dk_colour colour);

/* A straight line, dashed when @dash (points) is not 0. */
void dk_canvas_line(cairo_t *cr, double x1, double y1, double x2, double y2, double dash);

/* A torn strip across @box at the height @y, in the colour of the paper: addresses are left out here. */
void dk_canvas_break(cairo_t *cr, struct dk_box box, double y);

/*
 * Writes @text (its printable ASCII; the rest as '?') with its base line at @y from @x on, cut with an
 * ellipsis to @width points. Returns the width written.
 */
double dk_canvas_text(cairo_t *cr, enum dk_face face, double x, double y, double width, const char *text);

/* The same, ending at @x, never cut. */
void dk_canvas_text_right(cairo_t *cr, enum dk_face face, double x, double y, const char *text);

/* The same, in the middle of @x. */
void dk_canvas_text_middle(cairo_t *cr, enum dk_face face, double x, double y, const char *text);

#endif
