/* SPDX-License-Identifier: MIT */
/*
 * The outcome of dmakit check as a picture: boards down, seeds across, and in each cell the class of the
 * first report, or what became of the run.
 *
 * Each class has a letter and a colour, so that it can be told without seeing colours; the colours are Okabe
 * and Ito's, which differ for every kind of colour vision, and come again hatched for classes beyond them.
 */
#include "base/alloc.h"
#include "check.h"
#include "machine-canvas.h"
#include "picture.h"

#include <errno.h>
#include <math.h>
#include <string.h>

enum {
    MARGIN = 28,
    HEADER = 96, /* title, what it is, and the seeds */
    LABEL_SPACE = 12,
    WIDEST_LABEL = 240,
    CELL_WIDTH = 24,
    CELL_HEIGHT = 24,
    LETTER_WIDTH = 12, /* a cell narrower than this has no letter */
    NARROWEST = 3,
    WIDEST_GRID = 1440,
    TALLY_WIDTH = 110,
    LEGEND_ROW = 22,
    LEAST_WIDTH = 560,
    MOST_COLUMNS = WIDEST_GRID / NARROWEST,
    MOST_ROWS = 400,
    MOST_CLASSES = 26,
};

/* Okabe and Ito's, without black. */
static const struct dk_colour colours[] = {
    { 0.84, 0.37, 0.00 }, { 0.34, 0.71, 0.91 }, { 0.94, 0.89, 0.26 }, { 0.00, 0.45, 0.70 },
    { 0.80, 0.47, 0.65 }, { 0.90, 0.62, 0.00 }, { 0.00, 0.62, 0.45 },
};
#define COLOURS (sizeof(colours) / sizeof(colours[0]))

static const struct dk_colour right_colour = { 0.93, 0.95, 0.96 };
static const struct dk_colour broken_colour = { 0.27, 0.29, 0.32 };
static const struct dk_colour refused_colour = { 0.72, 0.75, 0.79 };

struct matrix_class {
    const char *name;
    const struct check_bug *bug; /* the earliest of the class */
    size_t cells;
};

struct matrix {
    const struct check_result *result;
    cairo_t *cr;
    struct matrix_class classes[MOST_CLASSES];
    size_t class_count;
    size_t others;                   /* cells of classes beyond those */
    struct check_tally tally;        /* of all runs */
    size_t shown[CHECK_REFUSED + 1]; /* cells that show a status, not a class */
    size_t columns, rows;            /* drawn */
    u64 seeds;
    double cell_width;
    double label_width;
    double width, height;
};

/* ---- What there is to draw ---- */

static const char *class_of(const struct check_run *run)
{
    return run->first ? dk_check_text(run->first->report, "class") : NULL;
}

static void count_class(struct matrix *matrix, const struct check_run *run)
{
    const char *name = class_of(run);

    if (!name) {
        matrix->shown[run->status]++;
        return;
    }
    for (size_t i = 0; i < matrix->class_count; i++) {
        if (!strcmp(matrix->classes[i].name, name)) {
            matrix->classes[i].cells++;
            return;
        }
    }
    if (matrix->class_count == MOST_CLASSES)
        matrix->others++;
    else
        matrix->classes[matrix->class_count++] = (struct matrix_class){ name, run->first, 1 };
}

/* In the order in which the runs meet them: letters and colours do not jump when one run more shows a bug. */
static void count_classes(struct matrix *matrix)
{
    for (size_t i = 0; i < matrix->result->run_count; i++)
        count_class(matrix, &matrix->result->runs[i]);
}

/* The class's place; MOST_CLASSES: it is beyond those. */
static size_t index_of(const struct matrix *matrix, const char *name)
{
    size_t i = 0;

    while (i < matrix->class_count && strcmp(matrix->classes[i].name, name) != 0)
        i++;
    return i < matrix->class_count ? i : MOST_CLASSES;
}

/* Whether a run reported something before it was ended. */
static bool has_corners(const struct matrix *matrix)
{
    const size_t *all = matrix->tally.by_status;

    return all[CHECK_CRASHED] > matrix->shown[CHECK_CRASHED] ||
           all[CHECK_TIMEOUT] > matrix->shown[CHECK_TIMEOUT];
}

static size_t legend_rows(const struct matrix *matrix)
{
    size_t rows = 1 + matrix->class_count + (matrix->others != 0) + has_corners(matrix);

    for (int status = CHECK_FAILED; status <= CHECK_REFUSED; status++)
        rows += matrix->shown[status] != 0;
    return rows + (matrix->columns < matrix->seeds || matrix->rows < matrix->result->request->board_count);
}

static void lay_out(struct matrix *matrix, const struct check_result *result)
{
    const struct check_request *request = result->request;
    double longest = 0;

    *matrix = (struct matrix){ .result = result, .tally = dk_check_result_tally(result, SIZE_MAX) };
    count_classes(matrix);
    matrix->seeds = request->seed_last - request->seed_first + 1;
    matrix->columns = matrix->seeds < MOST_COLUMNS ? (size_t)matrix->seeds : MOST_COLUMNS;
    matrix->rows = request->board_count < MOST_ROWS ? request->board_count : MOST_ROWS;
    matrix->cell_width = WIDEST_GRID / (double)matrix->columns;
    if (matrix->cell_width > CELL_WIDTH)
        matrix->cell_width = CELL_WIDTH;
    for (size_t i = 0; i < matrix->rows; i++) {
        /* As wide as such letters are at most, on the average. */
        double length = 6.4 * (double)strlen(request->boards[i].label);

        longest = length > longest ? length : longest;
    }
    matrix->label_width = longest < WIDEST_LABEL ? longest : WIDEST_LABEL;
    matrix->width = 2.0 * MARGIN + matrix->label_width + LABEL_SPACE +
                    matrix->cell_width * (double)matrix->columns + TALLY_WIDTH;
    matrix->width = ceil(matrix->width > LEAST_WIDTH ? matrix->width : LEAST_WIDTH);
    matrix->height =
        HEADER + CELL_HEIGHT * (double)matrix->rows + 2.0 * MARGIN + LEGEND_ROW * (double)legend_rows(matrix);
}

/* ---- Cells ---- */

static struct dk_box cell_box(const struct matrix *matrix, size_t row, size_t column)
{
    /* Narrow cells stand side by side, wide ones with paper between them. */
    double gap = matrix->cell_width >= LETTER_WIDTH ? 2 : 0;

    return (struct dk_box){ MARGIN + matrix->label_width + LABEL_SPACE + matrix->cell_width * (double)column,
                            HEADER + CELL_HEIGHT * (double)row, matrix->cell_width - gap, CELL_HEIGHT - 2 };
}

static struct dk_colour ink_on(struct dk_colour colour)
{
    double light = 0.30 * colour.red + 0.59 * colour.green + 0.11 * colour.blue;

    return light > 0.45 ? dk_colour_ink : dk_colour_paper;
}

static void draw_letter(cairo_t *cr, struct dk_box box, struct dk_colour on, const char *letter)
{
    if (box.width + 2 < LETTER_WIDTH)
        return;
    dk_canvas_colour(cr, ink_on(on), 1);
    dk_canvas_text_middle(cr, DK_FACE_HEAD, box.x + box.width / 2, box.y + box.height / 2 + 4.2, letter);
}

static void draw_class(cairo_t *cr, struct dk_box box, size_t index)
{
    char letter[2] = { index < MOST_CLASSES ? (char)('A' + index) : '+', 0 };
    struct dk_colour colour = index < MOST_CLASSES ? colours[index % COLOURS] : dk_colour_faint;

    dk_canvas_fill(cr, box, colour, 1);
    if (index < MOST_CLASSES && index / COLOURS) {
        dk_canvas_hatch(cr, box, ink_on(colour));
        /* The letter stands on plain colour. */
        if (box.width > LETTER_WIDTH)
            dk_canvas_fill(cr, (struct dk_box){ box.x + box.width / 2 - 6, box.y + 3, 12, box.height - 6 },
                           colour, 1);
    }
    draw_letter(cr, box, colour, letter);
}

static const char *letter_of(enum check_status status)
{
    switch (status) {
    case CHECK_CRASHED:
        return "c";
    case CHECK_TIMEOUT:
        return "t";
    default:
        return "f";
    }
}

static void draw_status(cairo_t *cr, struct dk_box box, enum check_status status)
{
    if (status == CHECK_OK) {
        dk_canvas_fill(cr, box, right_colour, 1);
    } else if (status == CHECK_REFUSED) {
        dk_canvas_hatch(cr, box, refused_colour);
        dk_canvas_outline(cr, box, refused_colour, 1);
    } else {
        dk_canvas_fill(cr, box, broken_colour, 1);
        draw_letter(cr, box, broken_colour, letter_of(status));
    }
}

/* A run that reported something and was then ended has its corner cut. */
static void draw_corner(cairo_t *cr, struct dk_box box)
{
    double size = box.width < 9 ? box.width : 9;

    cairo_move_to(cr, box.x + box.width, box.y + box.height);
    cairo_rel_line_to(cr, -size, 0);
    cairo_rel_line_to(cr, size, -size);
    cairo_close_path(cr);
    dk_canvas_colour(cr, broken_colour, 1);
    cairo_fill(cr);
}

static void draw_cell(const struct matrix *matrix, struct dk_box box, const struct check_run *run)
{
    const char *name = class_of(run);

    if (!name) {
        draw_status(matrix->cr, box, run->status);
        return;
    }
    draw_class(matrix->cr, box, index_of(matrix, name));
    if (run->status == CHECK_CRASHED || run->status == CHECK_TIMEOUT)
        draw_corner(matrix->cr, box);
}

static void draw_cells(const struct matrix *matrix)
{
    const struct check_result *result = matrix->result;

    for (size_t i = 0; i < result->run_count; i++) {
        const struct check_run *run = &result->runs[i];
        size_t column = (size_t)(run->seed - result->request->seed_first);
        struct dk_box box;

        if (run->board >= matrix->rows || (run->status != CHECK_REFUSED && column >= matrix->columns))
            continue;
        box = cell_box(matrix, run->board, run->status == CHECK_REFUSED ? 0 : column);
        /* A refused board has one run, which stands for all. */
        if (run->status == CHECK_REFUSED)
            box.width += matrix->cell_width * (double)(matrix->columns - 1);
        draw_cell(matrix, box, run);
    }
}

/* ---- Around them ---- */

static void draw_title(const struct matrix *matrix)
{
    const struct check_result *result = matrix->result;
    double room = matrix->width - 2 * MARGIN;
    char *const *program = result->request->program;
    char text[256];
    size_t used = 0;

    for (size_t i = 0; program[i] && used < sizeof(text); i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "", program[i]);
    dk_canvas_colour(matrix->cr, dk_colour_ink, 1);
    dk_canvas_text(matrix->cr, DK_FACE_TITLE, MARGIN, 40, room, text);
    snprintf(text, sizeof(text), "%zu board%s down, %llu seed%s across: %zu of %zu run%s not right",
             result->request->board_count, result->request->board_count == 1 ? "" : "s",
             (unsigned long long)matrix->seeds, matrix->seeds == 1 ? "" : "s",
             matrix->tally.runs - matrix->tally.by_status[CHECK_OK], matrix->tally.runs,
             matrix->tally.runs == 1 ? "" : "s");
    dk_canvas_colour(matrix->cr, dk_colour_faint, 1);
    dk_canvas_text(matrix->cr, DK_FACE_BODY, MARGIN, 60, room, text);
}

/* The seeds that there is room for, each above its column. */
static void draw_seeds(const struct matrix *matrix)
{
    u64 first = matrix->result->request->seed_first;
    char text[24];
    size_t step = 1;

    snprintf(text, sizeof(text), "%llu", (unsigned long long)(first + matrix->columns - 1));
    while ((double)step * matrix->cell_width < 7.0 * (double)strlen(text) + 4)
        step = step % 10 == 1 || step == 1 ? step * 5 : step * 2;
    dk_canvas_colour(matrix->cr, dk_colour_faint, 1);
    for (size_t i = 0; i < matrix->columns; i++) {
        struct dk_box box = cell_box(matrix, 0, i);

        if (step > 1 && (first + i) % step && i)
            continue;
        /* The first one yields to the next round number where they would touch. */
        if (step > 1 && !i && first % step && step - first % step < (step + 1) / 2)
            continue;
        snprintf(text, sizeof(text), "%llu", (unsigned long long)(first + i));
        dk_canvas_text_middle(matrix->cr, DK_FACE_BODY, box.x + box.width / 2, HEADER - 8, text);
    }
}

static void draw_boards(const struct matrix *matrix)
{
    for (size_t i = 0; i < matrix->rows; i++) {
        const struct check_board *board = &matrix->result->request->boards[i];
        struct check_tally tally = dk_check_result_tally(matrix->result, i);
        struct dk_box last = cell_box(matrix, i, matrix->columns - 1);
        double y = last.y + last.height / 2 + 4;
        char text[64];

        dk_canvas_colour(matrix->cr, dk_colour_ink, 1);
        dk_canvas_text(matrix->cr, DK_FACE_BODY, MARGIN, y, matrix->label_width, board->label);
        dk_canvas_colour(matrix->cr, dk_colour_faint, 1);
        if (board->refusal)
            snprintf(text, sizeof(text), "refused");
        else if (tally.by_status[CHECK_OK] == tally.runs)
            snprintf(text, sizeof(text), "all right");
        else
            snprintf(text, sizeof(text), "%zu of %zu right", tally.by_status[CHECK_OK], tally.runs);
        dk_canvas_text(matrix->cr, DK_FACE_BODY, last.x + last.width + 10, y, TALLY_WIDTH, text);
    }
}

/* ---- Legend ---- */

static void draw_meaning(const struct matrix *matrix, double y, const char *meaning, const char *detail)
{
    double x = MARGIN + CELL_WIDTH + 8;

    dk_canvas_colour(matrix->cr, dk_colour_ink, 1);
    x += dk_canvas_text(matrix->cr, DK_FACE_BODY, x, y + LEGEND_ROW / 2.0 + 3, matrix->width - x - MARGIN,
                        meaning);
    dk_canvas_colour(matrix->cr, dk_colour_faint, 1);
    x += 10;
    if (x < matrix->width - MARGIN)
        dk_canvas_text(matrix->cr, DK_FACE_BODY, x, y + LEGEND_ROW / 2.0 + 3, matrix->width - x - MARGIN,
                       detail);
}

static struct dk_box swatch(double y)
{
    return (struct dk_box){ MARGIN, y + 1, CELL_WIDTH - 2, LEGEND_ROW - 4 };
}

static double draw_class_meanings(const struct matrix *matrix, double y)
{
    char text[600];

    for (size_t i = 0; i < matrix->class_count; i++) {
        const struct matrix_class *class = &matrix->classes[i];
        struct check_place place = dk_check_report_place(class->bug->report);
        const char *slash = strrchr(place.file, '/');

        draw_class(matrix->cr, swatch(y), i);
        if (*place.file)
            snprintf(text, sizeof(text), "%zu run%s, first at %s:%d", class->cells,
                     class->cells == 1 ? "" : "s", slash ? slash + 1 : place.file, place.line);
        else
            snprintf(text, sizeof(text), "%zu run%s", class->cells, class->cells == 1 ? "" : "s");
        draw_meaning(matrix, y, class->name, text);
        y += LEGEND_ROW;
    }
    if (matrix->others) {
        draw_class(matrix->cr, swatch(y), MOST_CLASSES);
        snprintf(text, sizeof(text), "%zu runs", matrix->others);
        draw_meaning(matrix, y, "another class", text);
        y += LEGEND_ROW;
    }
    return y;
}

static double draw_status_meanings(const struct matrix *matrix, double y)
{
    static const struct {
        enum check_status status;
        const char *meaning;
    } statuses[] = {
        { CHECK_OK, "right: nothing reported, exit code 0" },
        { CHECK_FAILED, "failed: an exit code, without a report" },
        { CHECK_CRASHED, "crashed: a signal ended it" },
        { CHECK_TIMEOUT, "timed out: it was killed" },
        { CHECK_REFUSED, "the board cannot be loaded" },
    };

    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        size_t runs = matrix->shown[statuses[i].status];
        char text[64];

        if (!runs && statuses[i].status != CHECK_OK)
            continue;
        draw_status(matrix->cr, swatch(y), statuses[i].status);
        snprintf(text, sizeof(text), "%zu run%s", runs, runs == 1 ? "" : "s");
        draw_meaning(matrix, y, statuses[i].meaning, statuses[i].status == CHECK_REFUSED ? "" : text);
        y += LEGEND_ROW;
    }
    return y;
}

static void draw_legend(const struct matrix *matrix)
{
    double y = HEADER + CELL_HEIGHT * (double)matrix->rows + MARGIN;
    char text[128];

    y = draw_class_meanings(matrix, y);
    y = draw_status_meanings(matrix, y);
    if (has_corners(matrix)) {
        dk_canvas_fill(matrix->cr, swatch(y), right_colour, 1);
        draw_corner(matrix->cr, swatch(y));
        draw_meaning(matrix, y, "reported that, and crashed or timed out later", "");
        y += LEGEND_ROW;
    }
    if (matrix->columns < matrix->seeds || matrix->rows < matrix->result->request->board_count) {
        snprintf(text, sizeof(text),
                 "%llu more seeds and %zu more boards are not drawn; the other formats have them",
                 (unsigned long long)(matrix->seeds - matrix->columns),
                 matrix->result->request->board_count - matrix->rows);
        draw_meaning(matrix, y, text, "");
    }
}

static void draw(cairo_t *cr, void *data)
{
    struct matrix *matrix = data;

    matrix->cr = cr;
    dk_canvas_fill(cr, (struct dk_box){ 0, 0, matrix->width, matrix->height }, dk_colour_paper, 1);
    draw_title(matrix);
    draw_seeds(matrix);
    draw_boards(matrix);
    draw_cells(matrix);
    draw_legend(matrix);
}

int dk_check_draw_matrix(const struct check_result *result, const char *path)
{
    struct matrix *matrix = dk_allocate(1, sizeof(*matrix));
    int error;

    if (!matrix)
        return -ENOMEM;
    lay_out(matrix, result);
    error = dk_picture_write(path, matrix->width, matrix->height, draw, matrix);
    dk_release(matrix);
    return error;
}
