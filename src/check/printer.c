/* SPDX-License-Identifier: MIT */
#include "check/printer.h"

#include "base/alloc.h"
#include "base/log.h"
#include "check/sarif.h"
#include "check/text.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* More than a report with two full stacks and a picture takes. */
#define ROOM (64u << 10)

/* Whether text on @fd is to have colours when nobody says: as other programs decide it. */
static bool is_colourful(int fd)
{
    const char *none = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    return isatty(fd) == 1 && !(none && *none) && !(terminal && !strcmp(terminal, "dumb"));
}

/* Memory to write to, with room that stays. */
static int make_room(struct dk_printer *printer)
{
    unsigned i;

    printer->out = dk_fault_point() ? NULL : open_memstream(&printer->text, &printer->size);
    if (!printer->out)
        return -ENOMEM;
    for (i = 0; i < ROOM; i++)
        putc_unlocked(' ', printer->out);
    if (fflush(printer->out) || fseeko(printer->out, 0, SEEK_SET)) {
        fclose(printer->out);
        free(printer->text);
        return -ENOMEM;
    }
    return 0;
}

static int open_file(struct dk_printer *printer, const char *path)
{
    const bool sarif = printer->format == DK_REPORT_SARIF;
    int error = 0;

    if (sarif && !path) {
        dk_log(DK_LOG_ERROR, "report_format=sarif needs a file: give report_path too");
        return -EINVAL;
    }
    printer->fd = STDERR_FILENO;
    if (!path)
        return 0;
    printer->fd = open(path, (sarif ? O_RDWR : O_WRONLY | O_APPEND) | O_CREAT | O_CLOEXEC, 0666);
    if (printer->fd < 0)
        error = -errno;
    else if (sarif)
        error = dk_sarif_file_start(printer->fd);
    if (!error)
        return 0;
    if (error == -EINVAL)
        dk_log(DK_LOG_ERROR, "report_path %s: has something in it that is no SARIF log of dmakit", path);
    else
        dk_log(DK_LOG_ERROR, "report_path %s: cannot be written: %s", path, strerror(-error));
    if (printer->fd >= 0)
        close(printer->fd);
    return error;
}

int dk_printer_init(struct dk_printer *printer, const struct dk_check_options *options)
{
    int error;

    *printer = (struct dk_printer){ .format = options->format };
    error = make_room(printer);
    if (error)
        return error;
    error = open_file(printer, options->report_path);
    if (error) {
        fclose(printer->out);
        free(printer->text);
        return error;
    }
    printer->colour = options->colour == DK_COLOUR_ALWAYS ||
                      (options->colour == DK_COLOUR_AUTO && is_colourful(printer->fd));
    pthread_mutex_init(&printer->lock, NULL);
    return 0;
}

void dk_printer_finish(struct dk_printer *printer)
{
    fclose(printer->out);
    free(printer->text);
    if (printer->fd != STDERR_FILENO)
        close(printer->fd);
    pthread_mutex_destroy(&printer->lock);
}

/* A terminal or pipe of somebody's may be set not to block: it is waited for. 0 or -errno. */
static int write_all(int fd, const char *text, size_t size)
{
    while (size) {
        ssize_t written = write(fd, text, size);

        if (written < 0 && errno == EAGAIN) {
            struct pollfd ready = { .fd = fd, .events = POLLOUT };

            poll(&ready, 1, -1);
            continue;
        }
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written ? -errno : -EIO;
        text += written;
        size -= (size_t)written;
    }
    return 0;
}

/* What the stream holds goes out in one write, so that the reports of several processes stay in one piece
 * each. Under the lock. */
static void send(struct dk_printer *printer)
{
    int error = fflush(printer->out) ? -ENOMEM : 0;

    if (error)
        clearerr(printer->out);
    /* Even when the end of it found no memory: better a part than nothing. */
    if (printer->format == DK_REPORT_SARIF)
        error = error ? error : dk_sarif_file_add(printer->fd, printer->text, printer->size);
    else
        error = write_all(printer->fd, printer->text, printer->size);
    fseeko(printer->out, 0, SEEK_SET);
    if (error && !printer->complained) {
        printer->complained = true;
        dk_log(DK_LOG_ERROR, "a report cannot be written: %s", strerror(-error));
    }
}

void dk_printer_print(struct dk_printer *printer, const struct dk_report *report)
{
    pthread_mutex_lock(&printer->lock);
    switch (printer->format) {
    case DK_REPORT_TEXT:
        dk_report_print_text(report, printer->colour, printer->out);
        break;
    case DK_REPORT_JSON:
        dk_report_print_json(report, printer->out);
        break;
    case DK_REPORT_SARIF:
        dk_sarif_result(report, 0, NULL, printer->out);
        break;
    }
    send(printer);
    pthread_mutex_unlock(&printer->lock);
}

bool dk_printer_say(struct dk_printer *printer, const char *line)
{
    if (printer->format != DK_REPORT_TEXT)
        return false;
    pthread_mutex_lock(&printer->lock);
    fputs(line, printer->out);
    send(printer);
    pthread_mutex_unlock(&printer->lock);
    return true;
}
