/* SPDX-License-Identifier: MIT */
/*
 * A file with a picture, SVG or PNG by its name's ending.
 */
#ifndef DK_TOOLS_PICTURE_H
#define DK_TOOLS_PICTURE_H

#include <dmakit/types.h>

#include <cairo.h>

/* Whether @path ends in .svg or .png. */
bool dk_picture_can(const char *path);

/*
 * Writes a picture of @width times @height points to @path, where @draw has painted with @data. 0; -EINVAL
 * another ending; -ENOMEM; what opening or writing the file says, and then no half of it is left.
 */
int dk_picture_write(const char *path, double width, double height, void (*draw)(cairo_t *cr, void *data),
                     void *data);

#endif
