/* SPDX-License-Identifier: MIT */
/*
 * dmakit bench: what the library's operations cost on this machine.
 */
#include "bench.h"
#include "base/alloc.h"
#include "command.h"

#include <getopt.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bench_request {
    bool json;
    bool list;
    bool gate;
    bool growth;
    char *const *names; /* NULL-terminated; none: all rows */
};

struct bench_outcome {
    const struct bench_row *row;
    struct bench_measure measure;
};

static int print_help(void)
{
    puts(
        "Usage: dmakit bench [--list] [--json] [--gate] [--growth] [ROW]...\n"
        "\n"
        "Times the library's operations on this machine, each in turns with a floor or peer in the same process:\n"
        "31 rounds of 2 ms. No ROW: all of them, but for those of --growth.\n"
        "\n"
        "  --list     print the rows there are\n"
        "  --json     print JSON (docs/formats.md) instead of text\n"
        "  --growth   the rows that show what grows with the number of blocks or pages: takes 2 GiB of memory\n"
        "  --gate     exit 1 when a goal is missed\n"
        "  --help     print this\n"
        "  --version  print the version\n"
        "\n"
        "A goal holds for the minimum, of two threads for the median. Exit status: 0 measured, 1 a goal is missed (--gate only), 2 could not run.");
    return dk_command_flush("bench", DK_EXIT_CLEAN);
}

static int read_options(int argc, char **argv, struct bench_request *request)
{
    static const struct option options[] = {
        { "list", no_argument, NULL, 'l' },
        { "json", no_argument, NULL, 'j' },
        { "gate", no_argument, NULL, 'g' },
        { "growth", no_argument, NULL, 'r' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' },
        { NULL, 0, NULL, 0 },
    };
    int choice;

    opterr = 0;
    optind = 0; /* glibc: start over, also with its hidden state */
    while ((choice = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (choice) {
        case 'l':
            request->list = true;
            break;
        case 'j':
            request->json = true;
            break;
        case 'g':
            request->gate = true;
            break;
        case 'r':
            request->growth = true;
            break;
        case 'h':
            return print_help();
        case 'v':
            return dk_command_version("bench");
        default:
            return dk_command_refuse("bench", "bad option '%s'; 'dmakit bench --help' lists them",
                                     argv[optind - 1]);
        }
    }
    request->names = argv + optind;
    for (int i = optind; i < argc; i++) {
        if (!dk_bench_row_find(argv[i]))
            return dk_command_refuse("bench", "no row '%s'; 'dmakit bench --list' lists them", argv[i]);
    }
    return -1;
}

static bool is_wanted(const struct bench_request *request, const struct bench_row *row)
{
    for (size_t i = 0; request->names[i]; i++) {
        if (!strcmp(request->names[i], row->subject.name))
            return true;
    }
    return !request->names[0] && request->growth == (row->scale > 0);
}

static const char *unit(const struct bench_row *row)
{
    return row->ratio ? "x" : "ns";
}

static int list_rows(const struct bench_request *request)
{
    for (size_t i = 0; i < dk_bench_row_count(); i++) {
        const struct bench_row *row = dk_bench_row_at(i);

        if (!is_wanted(request, row))
            continue;
        printf("%-22s %-2s  %s; beside: %s\n", row->subject.name, unit(row), row->summary, row->peer.name);
    }
    return dk_command_flush("bench", DK_EXIT_CLEAN);
}

static bool is_met(const struct bench_outcome *outcome)
{
    double goal = dk_bench_goal(outcome->row, &outcome->measure);

    return goal == 0 ||
           (outcome->row->threads ? outcome->measure.subject.median : outcome->measure.subject.min) <= goal;
}

/* The processor's name, without what JSON would have to escape. */
static void describe_machine(char *text, size_t size)
{
    char line[256];
    char name[200] = "unknown processor";
    FILE *file = fopen("/proc/cpuinfo", "re");
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);

    while (file && fgets(line, sizeof(line), file)) {
        const char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        snprintf(name, sizeof(name), "%s", colon + 1 + strspn(colon + 1, " \t"));
        name[strcspn(name, "\n")] = 0;
        break;
    }
    if (file)
        fclose(file);
    for (char *at = name; *at; at++) {
        if (*at < 0x20 || *at > 0x7e || *at == '"' || *at == '\\')
            *at = '?';
    }
    snprintf(text, size, "%s, %d core%s", name, cores, cores == 1 ? "" : "s");
}

static void print_json(const struct bench_outcome *outcomes, size_t count)
{
    char machine[256];

    describe_machine(machine, sizeof(machine));
    printf("{\"machine\": \"%s\", \"rows\": [", machine);
    for (size_t i = 0; i < count; i++) {
        const struct bench_row *row = outcomes[i].row;
        const struct bench_measure *measure = &outcomes[i].measure;

        printf("%s\n  {\"row\": \"%s\", \"unit\": \"%s\", \"min\": %.3f, \"median\": %.3f, \"goal\": ",
               i ? "," : "", row->subject.name, unit(row), measure->subject.min, measure->subject.median);
        if (dk_bench_goal(row, measure) > 0)
            printf("%g", dk_bench_goal(row, measure));
        else
            fputs("null", stdout);
        printf(", \"peers\": [{\"name\": \"%s\", \"unit\": \"ns\", \"min\": %.3f, \"median\": %.3f}",
               row->peer.name, measure->peer.min, measure->peer.median);
        for (int j = 0; j < BENCH_OTHERS; j++) {
            if (measure->others[j].min > 0)
                printf(", {\"name\": \"%s\", \"unit\": \"ns\", \"min\": %.3f, \"median\": %.3f}",
                       row->others[j].name, measure->others[j].min, measure->others[j].median);
        }
        fputs("]}", stdout);
    }
    puts("\n]}");
}

static void print_text(const struct bench_outcome *outcomes, size_t count)
{
    char machine[256];

    describe_machine(machine, sizeof(machine));
    printf("%s\n\n%-22s %4s  %9s  %9s  %6s  %-6s  %s\n", machine, "row", "unit", "min", "median", "goal",
           "met", "beside, ns: min, median");
    for (size_t i = 0; i < count; i++) {
        const struct bench_row *row = outcomes[i].row;
        const struct bench_measure *measure = &outcomes[i].measure;
        double most = dk_bench_goal(row, measure);
        char goal[16] = "-";

        if (most > 0)
            snprintf(goal, sizeof(goal), "%.*g", most < 1000 ? 4 : 6, most);
        printf("%-22s %4s  %9.2f  %9.2f  %6s  %-6s  %s: %.2f, %.2f\n", row->subject.name, unit(row),
               measure->subject.min, measure->subject.median, goal,
               most > 0 ? is_met(&outcomes[i]) ? "yes" : "MISSED" : "-", row->peer.name, measure->peer.min,
               measure->peer.median);
        for (int j = 0; j < BENCH_OTHERS; j++) {
            if (measure->others[j].min > 0)
                printf("%66s%s: %.2f, %.2f\n", "", row->others[j].name, measure->others[j].min,
                       measure->others[j].median);
        }
    }
}

/* Measures the wanted rows into @outcomes. -1 when done, else the exit code. */
static int measure_rows(const struct bench_request *request, struct bench_outcome *outcomes, size_t *count)
{
    bool shows_progress = isatty(STDERR_FILENO) == 1;

    for (size_t i = 0; i < dk_bench_row_count(); i++) {
        const struct bench_row *row = dk_bench_row_at(i);
        struct bench_state state;
        int error;

        if (!is_wanted(request, row))
            continue;
        if (shows_progress)
            fprintf(stderr, "\r%s\033[K", row->subject.name);
        error = dk_bench_open(row, &state);
        if (!error) {
            outcomes[*count].row = row;
            dk_bench_measure(row, &state, &outcomes[*count].measure);
            (*count)++;
        }
        dk_bench_close(row, &state);
        if (shows_progress)
            fputs("\r\033[K", stderr);
        if (error)
            return dk_command_refuse("bench", "cannot set up row '%s': %s", row->subject.name,
                                     strerror(-error));
    }
    return -1;
}

static int bench(int argc, char **argv)
{
    struct bench_request request = { 0 };
    struct bench_outcome *outcomes;
    size_t count = 0;
    int code = read_options(argc, argv, &request);

    if (code >= 0)
        return code;
    if (request.list)
        return list_rows(&request);
    outcomes = dk_allocate(dk_bench_row_count(), sizeof(*outcomes));
    if (!outcomes)
        return dk_command_refuse("bench", "out of memory");
    code = measure_rows(&request, outcomes, &count);
    if (code < 0) {
        code = DK_EXIT_CLEAN;
        for (size_t i = 0; i < count; i++) {
            if (request.gate && !is_met(&outcomes[i]))
                code = DK_EXIT_FOUND;
        }
        if (request.json)
            print_json(outcomes, count);
        else
            print_text(outcomes, count);
        code = dk_command_flush("bench", code);
    }
    dk_release(outcomes);
    return code;
}

const struct dk_command dk_command_bench = {
    .name = "bench",
    .summary = "time the library's operations beside their floors",
    .run = bench,
};
