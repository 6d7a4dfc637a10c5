/* SPDX-License-Identifier: MIT */
/*
 * dmakit check: runs a program once for each board and seed, and sums up what the checker reported.
 */
#include "check.h"
#include "base/alloc.h"
#include "check/suppressions.h"
#include "command.h"
#include "picture.h"

#include <dmakit/check.h>
#include <dmakit/log.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_TIMEOUT 60.0
#define LONGEST_TIMEOUT 1e6
#define LONGEST_REASON 512 /* of a file that is refused */

struct check_options {
    const char *output; /* NULL: standard output */
    const char *seeds;  /* NULL: not given */
    bool list;
};

static int print_help(void)
{
    puts(
        "Usage: dmakit check [OPTION]... -- PROGRAM [ARGUMENT]...\n"
        "\n"
        "Runs PROGRAM once for each board and seed, and sums up what dmakit's checker reported there. A run\n"
        "that crashes, hangs or fails is a row of the result.\n"
        "\n"
        "  --board FILE      a device tree, blob or source; may be given again\n"
        "  --boards FOLDER   every *.dts and *.dtb in FOLDER; may be given again\n"
        "                    (neither: the built-in hostile board, whatever DMAKIT_BOARD says)\n"
        "  --seeds A..B      seeds A to B, both included, or one seed (default: the one in DMAKIT_OPTIONS, else 0)\n"
        "  --depth N         checker's depth, 0 to 3 (default: the one in DMAKIT_OPTIONS, else 2)\n"
        "  --timeout SECONDS kill a run that takes longer (default 60)\n"
        "  --jobs N          runs at once (default: as many as there are cores)\n"
        "  --suppressions FILE  reports that are not to be made: lines CLASS or CLASS:PATTERN of a function, file\n"
        "                    or module (docs/formats.md)\n"
        "  --no-bisect       do not look for the smallest setting that still shows each bug: that takes as long\n"
        "                    again, or 5 seconds\n"
        "  --format FORMAT   text (default), json or sarif (docs/formats.md)\n"
        "  --matrix FILE     draw the outcome too, as .svg or .png: boards down, seeds across, the class of the first\n"
        "                    report in the cell\n"
        "  -o FILE           write there instead of standard output\n"
        "  --list-classes    print the classes of reports there are\n"
        "  --help            print this\n"
        "  --version         print the version\n"
        "\n"
        "Each run has DMAKIT_BOARD and DMAKIT_OPTIONS set: your own options first, ours after them.\n"
        "\n"
        "Exit status: 0 nothing wrong, 1 something found, 2 could not run.");
    return dk_command_flush("check", DK_EXIT_CLEAN);
}

static int list_classes(void)
{
    const char *const *classes = dk_check_classes();
    size_t width = 0;

    for (size_t i = 0; classes[i]; i++) {
        size_t length = strlen(classes[i]);

        if (length > width)
            width = length;
    }
    for (size_t i = 0; classes[i]; i++) {
        const char *summary = dk_check_class_summary(classes[i]);

        printf("%-*s  %s\n", (int)width, classes[i], summary ? summary : "");
    }
    return dk_command_flush("check", DK_EXIT_CLEAN);
}

/* Reads a whole number that fills [@text, @end). */
static bool read_number(const char *text, const char *end, u64 *number)
{
    char *stop;

    if (text == end || *text < '0' || *text > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &stop, 0);
    return !errno && stop == end;
}

/* "A..B" or "A", with A not above B. */
static bool read_seeds(const char *text, struct check_request *request)
{
    const char *end = text + strlen(text);
    const char *dots = strstr(text, "..");

    if (!read_number(text, dots ? dots : end, &request->seed_first))
        return false;
    request->seed_last = request->seed_first;
    if (dots && !read_number(dots + 2, end, &request->seed_last))
        return false;
    return request->seed_first <= request->seed_last;
}

/* The last seed=N in the user's own options becomes the seed when no --seeds was given. */
static void take_user_seed(struct check_request *request)
{
    const char *at = request->user_options;

    while (*at) {
        const char *end = strchrnul(at, ':');
        u64 seed;

        if (!strncmp(at, "seed=", 5) && read_number(at + 5, end, &seed)) {
            request->seed_first = seed;
            request->seed_last = seed;
        }
        at = *end ? end + 1 : end;
    }
}

static int add_folder(struct check_request *request, const char *folder)
{
    int count = dk_check_boards_add_folder(request, folder);

    if (count < 0)
        return dk_command_refuse("check", "cannot read folder '%s': %s", folder, strerror(-count));
    if (!count)
        return dk_command_refuse("check", "no board in folder '%s'; it should have *.dts or *.dtb files",
                                 folder);
    return -1;
}

static int read_depth(struct check_request *request, const char *text)
{
    if (text[0] < '0' || text[0] > '3' || text[1])
        return dk_command_refuse("check", "bad depth '%s'; give 0, 1, 2 or 3", text);
    request->depth = text[0] - '0';
    return -1;
}

static int read_timeout(struct check_request *request, const char *text)
{
    char *end;

    request->timeout = strtod(text, &end);
    if (end == text || *end || !(request->timeout > 0) || request->timeout > LONGEST_TIMEOUT)
        return dk_command_refuse("check", "bad time-out '%s'; give seconds, as in --timeout 10", text);
    return -1;
}

static int read_format(struct check_request *request, const char *text)
{
    static const char *const names[] = {
        [CHECK_TEXT] = "text", [CHECK_JSON] = "json", [CHECK_SARIF] = "sarif"
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!strcmp(text, names[i])) {
            request->format = (enum check_format)i;
            return -1;
        }
    }
    return dk_command_refuse("check", "unknown format '%s'; there are text, json and sarif", text);
}

static int read_jobs(struct check_request *request, const char *text)
{
    u64 jobs;

    if (!read_number(text, text + strlen(text), &jobs) || !jobs || jobs > SIZE_MAX)
        return dk_command_refuse("check", "bad number of jobs '%s'; give 1 or more", text);
    request->jobs = (size_t)jobs;
    return -1;
}

static void keep_first_line(int level, const char *line, void *data)
{
    char *first = data;

    if (level == 0 && !*first)
        snprintf(first, LONGEST_REASON, "%s", line);
}

/* Each run reads the file for itself: here only whether it will be able to. */
static int read_suppressions(struct check_request *request, const char *path)
{
    struct dk_suppressions suppressions;
    char reason[LONGEST_REASON] = "";
    int error;

    if (strchr(path, ':'))
        return dk_command_refuse(
            "check", "suppressions '%s': DMAKIT_OPTIONS cannot name a file with ':'; rename it", path);
    dk_log_set_sink(keep_first_line, reason);
    error = dk_suppressions_read(&suppressions, path);
    dk_log_set_sink(NULL, NULL);
    if (error)
        return dk_command_refuse("check", "%s", *reason ? reason : strerror(-error));
    dk_suppressions_finish(&suppressions);
    request->suppressions = path;
    return -1;
}

/* Reads the options. -1 to go on, else the exit code. */
static int read_options(int argc, char **argv, struct check_request *request, struct check_options *more)
{
    static const struct option options[] = {
        { "board", required_argument, NULL, 'b' },
        { "boards", required_argument, NULL, 'B' },
        { "depth", required_argument, NULL, 'd' },
        { "seeds", required_argument, NULL, 's' },
        { "format", required_argument, NULL, 'f' },
        { "timeout", required_argument, NULL, 't' },
        { "list-classes", no_argument, NULL, 'l' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' },
        { "jobs", required_argument, NULL, 'j' },
        { "suppressions", required_argument, NULL, 'S' },
        { "no-bisect", no_argument, NULL, 'n' },
        { "matrix", required_argument, NULL, 'm' },
        { NULL, 0, NULL, 0 },
    };
    int choice;
    int result = -1;

    opterr = 0;
    optind = 0; /* glibc: start over, also with its hidden state */
    while (result < 0 && (choice = getopt_long(argc, argv, "+:ho:", options, NULL)) != -1) {
        switch (choice) {
        case 'b':
            if (dk_check_boards_add(request, optarg))
                result = dk_command_refuse("check", "out of memory");
            break;
        case 'B':
            result = add_folder(request, optarg);
            break;
        case 'd':
            result = read_depth(request, optarg);
            break;
        case 's':
            more->seeds = optarg;
            break;
        case 'f':
            result = read_format(request, optarg);
            break;
        case 'm':
            if (!dk_picture_can(optarg))
                result = dk_command_refuse("check", "cannot draw '%s'; give a name that ends in .svg or .png",
                                           optarg);
            request->matrix = optarg;
            break;
        case 'n':
            request->bisect = false;
            break;
        case 'j':
            result = read_jobs(request, optarg);
            break;
        case 'S':
            result = read_suppressions(request, optarg);
            break;
        case 't':
            result = read_timeout(request, optarg);
            break;
        case 'o':
            more->output = optarg;
            break;
        case 'l':
            more->list = true;
            break;
        case 'h':
            return print_help();
        case 'v':
            return dk_command_version("check");
        case ':':
            return dk_command_refuse("check", "%s needs a value; see 'dmakit check --help'",
                                     argv[optind - 1]);
        default:
            return dk_command_refuse("check", "bad option '%s'; 'dmakit check --help' lists them",
                                     argv[optind - 1]);
        }
    }
    if (result >= 0 || more->list)
        return result;
    if (more->seeds && !read_seeds(more->seeds, request))
        return dk_command_refuse("check", "bad seeds '%s'; give them as in --seeds 0..19", more->seeds);
    if (!more->seeds)
        take_user_seed(request);
    if (optind == argc)
        return dk_command_refuse("check", "no program given; as in: dmakit check --seeds 0..3 -- ./program");
    request->program = argv + optind;
    return -1;
}

/* Ends as the signal would have ended us, so that a shell's loop stops too. */
static int die_of(int signal)
{
    struct sigaction plain = { .sa_handler = SIG_DFL };
    sigset_t set;

    fflush(stdout);
    sigaction(signal, &plain, NULL);
    sigemptyset(&set);
    sigaddset(&set, signal);
    raise(signal);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    return DK_EXIT_REFUSED;
}

static int tell(const struct check_result *result, FILE *out)
{
    int error = 0;

    switch (result->request->format) {
    case CHECK_TEXT:
        dk_check_print(result, out);
        break;
    case CHECK_JSON:
        error = dk_check_print_json(result, out);
        break;
    case CHECK_SARIF:
        error = dk_check_print_sarif(result, out);
        break;
    }
    if (!error && (fflush(out) || ferror(out)))
        error = -EIO;
    return error;
}

/* Everything is known: tells it, and says how it went. */
static int finish(const struct check_result *result, FILE *out, const char *output)
{
    struct check_tally tally = dk_check_result_tally(result, SIZE_MAX);
    int error = tell(result, out);

    if (error)
        return dk_command_refuse("check", "cannot write %s: %s", output ? output : "standard output",
                                 strerror(-error));
    if (result->request->matrix) {
        error = dk_check_draw_matrix(result, result->request->matrix);
        if (error)
            return dk_command_refuse("check", "cannot draw '%s': %s", result->request->matrix,
                                     strerror(-error));
    }
    if (tally.by_status[CHECK_REFUSED] == tally.runs)
        return dk_command_refuse("check",
                                 "nothing was run: no board could be loaded; dmakit machine says more");
    return tally.by_status[CHECK_OK] == tally.runs ? DK_EXIT_CLEAN : DK_EXIT_FOUND;
}

/* All runs are made: puts them in order, and makes those that tell what it takes to see a bug. An
 * interruption of the latter loses nothing of the former. */
static int settle(struct check_result *result, int *signal)
{
    int error = dk_check_result_settle(result);

    if (!error && result->request->bisect)
        error = dk_check_bisect(result, result->seconds, signal);
    if (error == -ENOMEM)
        return dk_command_refuse("check", "out of memory");
    return error == -EIO ? DK_EXIT_REFUSED : DK_EXIT_CLEAN;
}

static int run(const struct check_request *request, const char *output)
{
    struct check_result result = { 0 };
    FILE *out = stdout;
    int signal = 0;
    int code;
    int error = dk_check_result_init(&result, request);

    if (error == -E2BIG)
        return dk_command_refuse("check", "more than a million runs; give fewer seeds or boards");
    if (error)
        return dk_command_refuse("check", "out of memory");
    if (output) {
        out = fopen(output, "we");
        if (!out) {
            code = dk_command_refuse("check", "cannot write '%s': %s", output, strerror(errno));
            goto free_result;
        }
    }
    code = dk_check_run_all(&result, &signal);
    if (code == DK_EXIT_CLEAN)
        code = settle(&result, &signal);
    if (code == DK_EXIT_CLEAN)
        code = finish(&result, out, output);
    if (output && fclose(out) && code != DK_EXIT_REFUSED)
        code = dk_command_refuse("check", "cannot write '%s': %s", output, strerror(errno));
free_result:
    dk_check_result_free(&result);
    return signal ? die_of(signal) : code;
}

static int check(int argc, char **argv)
{
    const char *user_options = getenv("DMAKIT_OPTIONS");
    struct check_request request = {
        .depth = -1,
        .timeout = DEFAULT_TIMEOUT,
        .bisect = true,
        .user_options = user_options ? user_options : "",
        .user_board = getenv("DMAKIT_BOARD") != NULL,
    };
    struct check_options more = { 0 };
    const char *missing = NULL;
    int code;
    int error;

    code = read_options(argc, argv, &request, &more);
    if (code >= 0)
        goto free_boards;
    if (more.list) {
        code = list_classes();
        goto free_boards;
    }
    error = dk_check_boards_settle(&request, &missing);
    if (error == -ENOENT)
        code = dk_command_refuse("check", "no board '%s'; check the path", missing);
    else if (error)
        code = dk_command_refuse("check", "cannot load boards: %s", strerror(-error));
    else
        code = run(&request, more.output);
free_boards:
    dk_check_boards_free(&request);
    return code;
}

const struct dk_command dk_command_check = {
    .name = "check",
    .summary = "run a program on boards and seeds, and sum up what its DMA did wrong",
    .run = check,
};
