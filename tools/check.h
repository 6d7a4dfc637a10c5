/* SPDX-License-Identifier: MIT */
/*
 * dmakit check: a program, run once for each board and seed, and what came of it.
 *
 * check.c reads the options, check-boards.c finds the boards, check-run.c runs the processes, check-result.c
 * gathers what they reported, check-bisect.c finds out what of a run's setting it takes to see that, and
 * check-print.c, check-json.c, check-sarif.c and check-matrix.c tell it.
 */
#ifndef DK_TOOLS_CHECK_H
#define DK_TOOLS_CHECK_H

#include <dmakit/types.h>
#include <json-c/json.h>
#include <stdio.h>

struct check_board {
    char *path;    /* as the user wrote it; NULL: the built-in hostile board */
    char *label;   /* short, for the table */
    char *refusal; /* why it cannot be loaded; NULL: it can */
    bool snoops; /* the card (the alias nic, else what is added to the default bus) snoops the CPU's caches */
    bool moved;  /* its DMA addresses differ from physical ones */
};

enum check_format { CHECK_TEXT, CHECK_JSON, CHECK_SARIF };

struct check_request {
    struct check_board *boards; /* at least one once dk_check_boards_settle() is through */
    size_t board_count;
    u64 seed_first;
    u64 seed_last;            /* inclusive */
    int depth;                /* 0 to 3; -1: not given */
    double timeout;           /* seconds, above 0 */
    char *const *program;     /* argv, NULL at its end */
    const char *user_options; /* DMAKIT_OPTIONS as the user set it, or "" */
    bool user_board;          /* DMAKIT_BOARD was set around dmakit check */
    const char *suppressions; /* file that every run is given; NULL: none */
    size_t jobs;              /* runs at once, at least 1; 0: as many as there are cores */
    const char *matrix;       /* file for the picture; NULL: none */
    bool bisect;              /* find the smallest setting that shows each bug */
    enum check_format format;
};

/* What a run is given. */
struct check_setting {
    const char *board; /* a path; NULL: the built-in hostile board */
    char *options;     /* DMAKIT_OPTIONS but for where reports go; "": none */
};

/* The smallest setting that still shows a bug or a failure. */
struct check_smallest {
    bool tried;       /* else nothing that follows is known */
    bool steady;      /* it showed again with the very same setting; else nothing that follows is known */
    bool needs_board; /* the built-in board does not show it */
    int depth;        /* the lowest that shows it */
    char *options;    /* the words of DMAKIT_OPTIONS that it takes */
    char *line;       /* the command line that shows it */
};

enum check_status {
    CHECK_OK,
    CHECK_REPORTS, /* ended by itself and reported something, whatever its exit code */
    CHECK_FAILED,  /* exit code other than 0 and no report, or report lines that nobody can read */
    CHECK_CRASHED, /* ended by a signal */
    CHECK_TIMEOUT, /* killed at its time-out */
    CHECK_REFUSED, /* the board cannot be loaded: nothing ran */
};

/* A distinct report: the same class at the same place, on mappings made at the same place. */
struct check_bug {
    char *key;
    struct json_object *report; /* as the first run in order made it */
    unsigned long order;        /* which of that run's reports it is */
    size_t *runs;               /* the runs that made it, in order once dk_check_result_settle() is through */
    size_t run_count;
    size_t run_room;
    struct check_smallest smallest;
};

/* Runs that went wrong in the same way without a report. */
struct check_failure {
    size_t *runs; /* in order */
    size_t run_count;
    struct check_smallest smallest;
};

struct check_run {
    size_t board;
    u64 seed;                            /* 0 when refused */
    const struct check_setting *setting; /* NULL: the board's and the seed's */
    enum check_status status;
    int exit;   /* exit code; -1: none */
    int signal; /* the signal that ended it; 0: none */
    double seconds;
    bool reported;              /* its report file was opened: a machine with a checker lived in it */
    unsigned long report_count; /* report lines */
    unsigned long unreadable;   /* lines of the report file that are no report */
    struct check_bug *first;    /* the bug of its first report; NULL: none */
    unsigned long suppressed;   /* reports that suppressions hid */
    char **reports;             /* for JSON output: each report's text; else NULL */
    char *output;               /* the last part of what it printed; NULL: none, or not wanted */
};

struct check_bugs {
    struct check_bug **bugs;
    size_t count;
    size_t room;
};

struct check_result {
    const struct check_request *request;
    struct check_run *runs; /* board by board, seed by seed */
    size_t run_count;
    size_t done;                    /* how many ended so far */
    size_t wrong;                   /* of those, how many were not right */
    const char *doing;              /* in front of the progress, or NULL */
    double seconds;                 /* that all runs took */
    bool unfinished;                /* the search for smallest settings ran out of time */
    struct check_failure *failures; /* of dk_check_result_settle() */
    size_t failure_count;
    struct check_bugs found;
    struct check_bugs suppressed; /* what suppressions hid; each report has its member "suppressed" */
};

/* How the runs of one status ended up, of one board or of all. */
struct check_tally {
    size_t runs;
    size_t by_status[CHECK_REFUSED + 1];
};

/* ---- Boards -----------------------------------------------------------------------------------------------
 */

/* Adds the board file @path (NULL: the built-in one). 0 or -ENOMEM. */
int dk_check_boards_add(struct check_request *request, const char *path);

/*
 * Adds every *.dts and *.dtb file of @folder, sorted by name. Returns how many, or -errno: what opendir()
 * says, -ENOMEM.
 */
int dk_check_boards_add_folder(struct check_request *request, const char *folder);

/*
 * With no board yet, adds the built-in one. Then loads each once to learn which are refused, and labels them.
 * 0; -ENOENT one does not exist, and *@missing is its path; -ENOMEM. Log lines of boards are kept back while
 * it runs.
 */
int dk_check_boards_settle(struct check_request *request, const char **missing);

void dk_check_boards_free(struct check_request *request);

struct dk_board;
/* Sets snoops and moved as @board has them. */
void dk_check_traits(struct check_board *traits, const struct dk_board *board);

/* ---- Results ----------------------------------------------------------------------------------------------
 */

/* Lays out a run for each board and seed; refused boards have one. 0; -ENOMEM; -E2BIG more than a million
 * runs. */
int dk_check_result_init(struct check_result *result, const struct check_request *request);

/*
 * Run @run has ended: reads its report file @path (it may be missing), settles its status from exit, signal
 * and reports.
 * @timed_out: it was killed. 0; -ENOMEM; -errno of reading.
 */
int dk_check_result_add(struct check_result *result, size_t run, const char *path, bool timed_out);

/* Orders bugs and their runs, so that the outcome does not depend on which run ended first, and gathers
 * failures. 0 or -ENOMEM. */
int dk_check_result_settle(struct check_result *result);

/* Whether two runs went wrong in the same way without a report. */
bool dk_check_same_failure(const struct check_run *a, const struct check_run *b);

void dk_check_result_free(struct check_result *result);

/* Counts the runs of board @board; SIZE_MAX: of all. */
struct check_tally dk_check_result_tally(const struct check_result *result, size_t board);

/* Where a report belongs: the driver's line that has to change. Parts are NULL or 0 when unknown. */
struct check_place {
    const char *function;
    const char *file;
    int line;
};
struct check_place dk_check_report_place(struct json_object *report);

/* @key of @object as a string; "" when it is missing or something else. */
const char *dk_check_text(struct json_object *object, const char *key);
/* @key of @object when it is of @type, else NULL. */
struct json_object *dk_check_member(struct json_object *object, const char *key, enum json_type type);

/* "ok", "reports", "failed", "crashed", "timeout", "refused". */
const char *dk_check_status_name(enum check_status status);

/* ---- Running ----------------------------------------------------------------------------------------------
 */

/*
 * Makes every run of @result that is not refused. Returns one of enum dk_exit: DK_EXIT_CLEAN when all were
 * made, else DK_EXIT_REFUSED with its line printed. *@signal is the signal that interrupted it, or 0.
 * Whatever it returns, no process of it is left and no temporary file.
 */
int dk_check_run_all(struct check_result *result, int *signal);

/* The options of a run, but for where its reports go: the user's, then ours. NULL: out of memory. */
char *dk_check_run_options(const struct check_request *request, u64 seed);

/*
 * Finds the smallest setting for each bug and failure of @result, settled, in about as long as its runs took
 * (@seconds). 0; -ENOMEM; -EINTR *@signal interrupted it; -EIO a run could not be made, which a line says.
 */
int dk_check_bisect(struct check_result *result, double seconds, int *signal);

/* ---- Telling ----------------------------------------------------------------------------------------------
 */

/*
 * What the boards where runs went wrong without a report have in common, that those where all went right
 * lack: a sentence, or NULL. A guess that leads somewhere, not a finding.
 */
const char *dk_check_hint(const struct check_result *result);

/* For people, 100 columns wide. */
void dk_check_print(const struct check_result *result, FILE *out);
/* As docs/formats.md says. 0 or -ENOMEM. */
int dk_check_print_json(const struct check_result *result, FILE *out);
/* As a SARIF log (docs/formats.md). 0 or -ENOMEM. */
int dk_check_print_sarif(const struct check_result *result, FILE *out);
/* What became of a run that is neither right nor has reports, as in "crashed: SIGSEGV". */
void dk_check_describe_failure(const struct check_result *result, const struct check_run *run, char *text,
                               size_t size);
/* As a picture at @path, SVG or PNG by its ending. 0; -EINVAL another ending; -ENOMEM; or why it cannot be
 * written. */
int dk_check_draw_matrix(const struct check_result *result, const char *path);
/* The length of the UTF-8 sequence at @text, which is not at its end; 0: the byte there starts none. */
size_t dk_check_sequence_length(const char *text);
/* The command line that shows what @run showed, for a shell: of the smallest setting (NULL: none) if it is
 * known. NULL: out of memory. The caller frees it with dk_release(). */
char *dk_check_reproduce(const struct check_result *result, size_t run,
                         const struct check_smallest *smallest);
/* The command line that makes a run with @setting. The same. */
char *dk_check_command_line(const struct check_request *request, const struct check_setting *setting);

#endif
