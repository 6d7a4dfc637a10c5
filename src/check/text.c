/* SPDX-License-Identifier: MIT */
/*
 * A report for people.
 */
#include "check/text.h"

#include "check/check.h"

#include <ctype.h>
#include <string.h>

static void print_stack(const struct dk_frames *stack, FILE *out)
{
    unsigned i;

    if (!stack->count)
        fprintf(out, "    (no stack: outside the program's own code, or memory ran out)\n");
    for (i = 0; i < stack->count; i++) {
        const struct dk_frame *frame = &stack->frames[i];

        fprintf(out, "    #%u %s ", i, frame->function ? frame->function : "??");
        if (frame->file)
            fprintf(out, "%s:%d\n", frame->file, frame->line);
        else
            fprintf(out, "(%s, 0x%llx)\n", frame->module ? frame->module : "??", (u64)frame->address);
        /* Below it is only what the C library does to get there. */
        if (frame->function && !strcmp(frame->function, "main"))
            break;
    }
}

static void print_bytes(const struct dk_report *report, FILE *out)
{
    fprintf(out, "  bytes: %llu", report->bytes.length);
    if (report->mapping.kind)
        fprintf(out, " at offset %llu", report->bytes.offset);
    if (report->bytes.dma != (dma_addr_t)-1)
        fprintf(out, ", DMA address 0x%llx", report->bytes.dma);
    if (report->bytes.cpu)
        fprintf(out, ", CPU address 0x%llx", (u64)report->bytes.cpu);
    fputc('\n', out);
}

/* The first line: in bold, red for an error and magenta for a warning. */
static void print_title(const struct dk_report *report, bool colour, FILE *out)
{
    const char *letter;

    if (colour)
        fputs(strcmp(report->severity, "warning") ? "\33[1;31m" : "\33[1;35m", out);
    fprintf(out, "==dmakit== ");
    for (letter = report->severity; *letter; letter++)
        fputc(toupper((unsigned char)*letter), out);
    fprintf(out, ": %s", report->class_name);
    if (*report->device)
        fprintf(out, " on %s", report->device);
    fputs(colour ? "\33[0m\n" : "\n", out);
}

/* Lines with bytes that are reported have an arrow in front. */
static void print_picture(const char *lines, bool colour, FILE *out)
{
    while (*lines) {
        size_t length = strcspn(lines, "\n");
        bool marked = colour && !strncmp(lines, "  =>", 4);

        fprintf(out, "%s%.*s%s\n", marked ? "\33[1m" : "", (int)length, lines, marked ? "\33[0m" : "");
        lines += length + (lines[length] == '\n');
    }
}

void dk_report_print_text(const struct dk_report *report, bool colour, FILE *out)
{
    print_title(report, colour, out);
    fprintf(out, "  %s.\n", report->what);
    if (report->bytes.length)
        print_bytes(report, out);
    if (*report->access.name)
        fprintf(out, "  %s() called from:\n", report->access.name);
    else
        fprintf(out, "  %s from:\n", report->access.kind);
    print_stack(&report->access.stack, out);
    if (report->mapping.kind) {
        fprintf(out, "  mapping: %s, %llu bytes at DMA address 0x%llx, %s, made from:\n",
                report->mapping.kind, report->mapping.size, report->mapping.dma, report->mapping.direction);
        print_stack(&report->mapping.stack, out);
    }
    if (report->undone.kind) {
        fprintf(out, "  %s from:\n", report->undone.kind);
        print_stack(&report->undone.stack, out);
    }
    if (report->picture)
        print_picture(report->picture, colour, out);
    fprintf(out, "  advice: %s%s.%s\n", colour ? "\33[1m" : "", report->advice, colour ? "\33[0m" : "");
    if (report->count > 1)
        fprintf(out, "  seen %lu times so far.\n", report->count);
    fputc('\n', out);
}

void dk_report_print(const struct dk_report *report, FILE *out)
{
    if (report && out)
        dk_report_print_text(report, false, out);
}
