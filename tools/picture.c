/* SPDX-License-Identifier: MIT */
#include "picture.h"

#include <cairo-svg.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static cairo_status_t write_bytes(void *closure, const unsigned char *data, unsigned length)
{
    return fwrite(data, 1, length, closure) == length ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static int error_of(cairo_status_t status)
{
    switch (status) {
    case CAIRO_STATUS_SUCCESS:
        return 0;
    case CAIRO_STATUS_NO_MEMORY:
        return -ENOMEM;
    case CAIRO_STATUS_WRITE_ERROR:
        return errno ? -errno : -EIO;
    default:
        return -EIO;
    }
}

struct picture {
    double width, height;
    void (*draw)(cairo_t *cr, void *data);
    void *data;
};

/* Paints on @surface; what cairo says afterwards. */
static cairo_status_t paint(const struct picture *picture, cairo_surface_t *surface, double scale)
{
    cairo_t *cr = cairo_create(surface);
    cairo_status_t status;

    cairo_scale(cr, scale, scale);
    picture->draw(cr, picture->data);
    status = cairo_status(cr);
    cairo_destroy(cr);
    return status;
}

static int write_svg(const struct picture *picture, FILE *file)
{
    cairo_surface_t *surface =
        cairo_svg_surface_create_for_stream(write_bytes, file, picture->width, picture->height);
    cairo_status_t status = paint(picture, surface, 1);

    cairo_surface_finish(surface);
    if (status == CAIRO_STATUS_SUCCESS)
        status = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    return error_of(status);
}

static int write_png(const struct picture *picture, FILE *file)
{
    /* Twice as fine as the layout's points, unless that makes a huge picture. */
    double scale = picture->width * picture->height > 6e6 ? 1 : 2;
    cairo_surface_t *surface = cairo_image_surface_create(
        CAIRO_FORMAT_RGB24, (int)ceil(picture->width * scale), (int)ceil(picture->height * scale));
    cairo_status_t status = paint(picture, surface, scale);

    if (status == CAIRO_STATUS_SUCCESS)
        status = cairo_surface_write_to_png_stream(surface, write_bytes, file);
    cairo_surface_destroy(surface);
    return error_of(status);
}

static bool ends_in(const char *path, const char *ending)
{
    size_t length = strlen(path);
    size_t tail = strlen(ending);

    return length > tail && !strcasecmp(path + length - tail, ending);
}

static void remove_unfinished(const char *path)
{
    struct stat status;

    if (lstat(path, &status) == 0 && S_ISREG(status.st_mode))
        unlink(path);
}

/* Opens @path, has @picture written there, and sees to it that all of it got out. */
static int write_file(const char *path, const struct picture *picture)
{
    FILE *file = fopen(path, "wbe");
    int error;

    if (!file)
        return -errno;
    errno = 0;
    error = ends_in(path, ".svg") ? write_svg(picture, file) : write_png(picture, file);
    if (fflush(file) && !error)
        error = -errno;
    if (fclose(file) && !error)
        error = -errno;
    if (error)
        remove_unfinished(path);
    return error;
}

bool dk_picture_can(const char *path)
{
    return ends_in(path, ".svg") || ends_in(path, ".png");
}

int dk_picture_write(const char *path, double width, double height, void (*draw)(cairo_t *cr, void *data),
                     void *data)
{
    const struct picture picture = { width, height, draw, data };

    return dk_picture_can(path) ? write_file(path, &picture) : -EINVAL;
}
