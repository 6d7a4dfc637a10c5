/* SPDX-License-Identifier: MIT */
/*
 * dmakit machine: what a board's device tree says about memory and DMA.
 */
#include "base/alloc.h"
#include "command.h"
#include "machine-view.h"

#include <dmakit/error.h>
#include <dmakit/log.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

struct machine_request {
    const char *board;
    const char *memory;
    const char *draw;
    bool json;
};

/*
 * The log of reading a board. Held back, so that a refusal is one line that carries the reason, and
 * warnings come out only for a board that was read.
 */
struct machine_log {
    char reason[768]; /* the last error */
    char *lines;      /* everything, each line with its newline; NULL when there is none */
    size_t used;
};

static void keep_line(int level, const char *line, void *data)
{
    static const char *const names[] = { "error", "warning", "info", "debug" };
    struct machine_log *log = data;
    char text[1100];
    char *grown;
    int length;

    if (level == 0)
        snprintf(log->reason, sizeof(log->reason), "%s", line);
    length = snprintf(text, sizeof(text), "dmakit: %s: %.1000s\n", names[level & 3], line);
    grown = dk_resize(log->lines, log->used + (size_t)length + 1, 1);
    if (!grown) {
        /* Nothing to keep it in: it comes out of order then, but it comes. An error is in @reason. */
        if (level > 0)
            fputs(text, stderr);
        return;
    }
    memcpy(grown + log->used, text, (size_t)length + 1);
    log->lines = grown;
    log->used += (size_t)length;
}

static int print_help(void)
{
    puts("Usage: dmakit machine [--json] [--memory SPEC] [--draw FILE.svg|FILE.png] BOARD\n"
         "\n"
         "Shows what the device tree BOARD (a blob, or source for dtc) says about memory and DMA: memory\n"
         "ranges, reserved regions and what became of them, and what each device reaches at which address.\n"
         "\n"
         "  --json         print JSON (docs/formats.md) instead of text\n"
         "  --memory SPEC  use these ranges, as a boot loader would fill them in: 1G@0x0,3G@0x40000000\n"
         "  --draw FILE    also draw a memory map, as SVG or PNG by FILE's ending\n"
         "  --help         print this\n"
         "  --version      print the version\n"
         "\n"
         "Exit status: 0 all regions stand, 1 a reserved region failed, 2 could not run.");
    return dk_command_flush("machine", DK_EXIT_CLEAN);
}

/* Reads the options into @request. Whether to go on; when not, @result is the exit code. */
static bool read_options(int argc, char **argv, struct machine_request *request, int *result)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },       { "memory", required_argument, NULL, 'm' },
        { "draw", required_argument, NULL, 'd' }, { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' },    { NULL, 0, NULL, 0 },
    };
    int choice;

    opterr = 0;
    optind = 0; /* glibc: start over, also with its hidden state */
    while ((choice = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (choice) {
        case 'j':
            request->json = true;
            break;
        case 'm':
            request->memory = optarg;
            break;
        case 'd':
            request->draw = optarg;
            break;
        case 'h':
            *result = print_help();
            return false;
        case 'v':
            *result = dk_command_version("machine");
            return false;
        case ':':
            *result = dk_command_refuse("machine", "%s needs a value; see 'dmakit machine --help'",
                                        argv[optind - 1]);
            return false;
        default:
            *result = dk_command_refuse("machine", "bad option '%s'; 'dmakit machine --help' lists them",
                                        argv[optind - 1]);
            return false;
        }
    }
    if (argc - optind != 1) {
        *result = dk_command_refuse("machine", "%s; give one device tree: dmakit machine BOARD",
                                    argc == optind ? "no board given" : "more than one board given");
        return false;
    }
    if (request->draw && !dk_machine_can_draw(request->draw)) {
        *result = dk_command_refuse(
            "machine", "cannot tell what to draw into '%s'; end its name in .svg or .png", request->draw);
        return false;
    }
    request->board = argv[optind];
    return true;
}

/* What to do about the error @error of reading a board. */
static const char *advice_for(long error)
{
    switch (error) {
    case -ENOENT:
        return "check the path";
    case -EACCES:
        return "check its permissions";
    case -EISDIR:
        return "give a file, not a folder";
    case -ENOEXEC:
        return "install dtc (Debian: device-tree-compiler), or compile it elsewhere";
    case -ENOMEM:
        return "free some memory";
    default:
        return "it must be a device tree blob, or source that dtc accepts";
    }
}

/* Tells a refusal of @what in one line: the log's reason where it has one, else the error's text. */
static int refuse_board(const struct machine_log *log, const char *what, long error, const char *advice)
{
    const char *reason = log->reason[0] ? log->reason : strerror((int)-error);

    if (strstr(reason, what))
        return dk_command_refuse("machine", "%s; %s", reason, advice);
    return dk_command_refuse("machine", "%s: %s; %s", what, reason, advice);
}

/* The board of @request, or an error pointer with its line printed. */
static struct dk_board *load_board(const struct machine_request *request, struct machine_log *log)
{
    struct dk_board *board = dk_board_load(request->board);
    struct dk_board *replaced;

    if (IS_ERR(board)) {
        refuse_board(log, request->board, PTR_ERR(board), advice_for(PTR_ERR(board)));
        return board;
    }
    if (!request->memory)
        return board;

    /* Its regions are placed anew, so what was said about the old memory no longer holds. */
    dk_release(log->lines);
    *log = (struct machine_log){ 0 };
    replaced = dk_board_with_memory(board, request->memory);
    if (IS_ERR(replaced))
        refuse_board(log, request->memory, PTR_ERR(replaced),
                     PTR_ERR(replaced) == -ENOMEM ? "free some memory"
                                                  : "--memory wants ranges like 1G@0x0,3G@0x40000000");
    dk_board_free(board);
    return replaced;
}

static int print_json(const struct dk_board *board)
{
    char *document = dk_board_json(board);

    if (!document)
        return -ENOMEM;
    fputs(document, stdout);
    if (!*document || document[strlen(document) - 1] != '\n')
        putchar('\n');
    free(document);
    return 0;
}

/* Shows @board in every form that @request asks for; the exit code. */
static int show_board(const struct machine_request *request, const struct dk_board *board)
{
    struct dk_machine_view view;
    int error = dk_machine_view_init(&view, board);
    int result;

    if (error)
        return dk_command_refuse("machine", "%s: out of memory; free some", request->board);
    result = view.failed_count ? DK_EXIT_FOUND : DK_EXIT_CLEAN;
    if (request->draw) {
        error = dk_machine_draw(request->draw, &view);
        if (error) {
            result = dk_command_refuse("machine", "cannot draw '%s': %s; choose a file that can be written",
                                       request->draw, strerror(-error));
            goto finish;
        }
    }
    if (request->json)
        error = print_json(board);
    else
        dk_machine_print(stdout, &view);
    if (error)
        result = dk_command_refuse("machine", "%s: out of memory; free some", request->board);
    else
        result = dk_command_flush("machine", result);
finish:
    dk_machine_view_finish(&view);
    return result;
}

static int run_machine(int argc, char **argv)
{
    struct machine_request request = { 0 };
    struct machine_log log = { 0 };
    struct dk_board *board;
    int result = DK_EXIT_REFUSED;

    if (!read_options(argc, argv, &request, &result))
        return result;
    dk_log_set_sink(keep_line, &log);
    board = load_board(&request, &log);
    dk_log_set_sink(NULL, NULL);
    if (IS_ERR(board)) {
        result = DK_EXIT_REFUSED;
    } else {
        result = show_board(&request, board);
        if (result != DK_EXIT_REFUSED && log.lines)
            fputs(log.lines, stderr);
        dk_board_free(board);
    }
    dk_release(log.lines);
    return result;
}

const struct dk_command dk_command_machine = {
    .name = "machine",
    .summary = "show a board's memory, reserved regions and what its devices reach",
    .run = run_machine,
};
