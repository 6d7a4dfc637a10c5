/* SPDX-License-Identifier: MIT */
/*
 * A report as one line of JSON.
 */
#include "check/json.h"

#include "check/check.h"

/* The length of the UTF-8 sequence at @text, 1 to 4; 0 when it is none. */
static unsigned sequence_length(const unsigned char *text)
{
    u32 code;
    unsigned length, i;

    if (*text < 0x80)
        return 1;
    length = *text >= 0xf0 ? 4 : *text >= 0xe0 ? 3 : 2;
    if (*text < 0xc2 || *text > 0xf4)
        return 0;
    code = *text & (0x7fu >> length);
    for (i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    /* Longer than needed, half of a UTF-16 pair, or past the last character. */
    if ((length == 3 && code < 0x800) || (length == 4 && (code < 0x10000 || code > 0x10ffff)) ||
        (code >= 0xd800 && code < 0xe000))
        return 0;
    return length;
}

/* File names may hold any bytes: what is not UTF-8 becomes the replacement character. */
void dk_json_characters(const char *string, FILE *out)
{
    const unsigned char *text = (const unsigned char *)string;

    while (*text) {
        unsigned length = sequence_length(text);

        if (!length)
            fputs("\\ufffd", out);
        else if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if (*text < 0x20 || *text == 0x7f)
            fprintf(out, "\\u%04x", *text);
        else
            fwrite(text, 1, length, out);
        text += length ? length : 1;
    }
}

void dk_json_string(const char *string, FILE *out)
{
    if (!string) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    dk_json_characters(string, out);
    fputc('"', out);
}

static void print_member(const char *separator, const char *name, const char *value, FILE *out)
{
    fprintf(out, "%s\"%s\": ", separator, name);
    dk_json_string(value, out);
}

static void print_stack(const struct dk_frames *stack, FILE *out)
{
    unsigned i;

    fputc('[', out);
    for (i = 0; i < stack->count; i++) {
        const struct dk_frame *frame = &stack->frames[i];

        print_member(i ? ", {" : "{", "function", frame->function, out);
        print_member(", ", "file", frame->file, out);
        fprintf(out, ", \"line\": %d", frame->line);
        print_member(", ", "module", frame->module, out);
        fprintf(out, ", \"address\": \"0x%llx\"}", (u64)frame->address);
    }
    fputc(']', out);
}

void dk_report_print_json(const struct dk_report *report, FILE *out)
{
    if (!report || !out)
        return;
    print_member("{", "class", report->class_name, out);
    print_member(", ", "severity", report->severity, out);
    print_member(", ", "device", report->device, out);
    print_member(", ", "what", report->what, out);
    print_member(", ", "advice", report->advice, out);
    fprintf(out,
            ", \"bytes\": {\"cpu\": \"0x%llx\", \"dma\": \"0x%llx\", \"offset\": %llu, \"length\": %llu}",
            (u64)report->bytes.cpu, report->bytes.dma, report->bytes.offset, report->bytes.length);
    if (report->mapping.kind) {
        print_member(", \"mapping\": {", "kind", report->mapping.kind, out);
        fprintf(out, ", \"dma\": \"0x%llx\", \"size\": %llu", report->mapping.dma, report->mapping.size);
        print_member(", ", "direction", report->mapping.direction, out);
        fputs(", \"stack\": ", out);
        print_stack(&report->mapping.stack, out);
        fputc('}', out);
    } else {
        fputs(", \"mapping\": null", out);
    }
    print_member(", \"access\": {", "kind", report->access.kind, out);
    print_member(", ", "name", report->access.name, out);
    fputs(", \"stack\": ", out);
    print_stack(&report->access.stack, out);
    if (report->undone.kind) {
        print_member("}, \"undone\": {", "kind", report->undone.kind, out);
        fputs(", \"stack\": ", out);
        print_stack(&report->undone.stack, out);
    }
    fprintf(out, "}, \"count\": %lu", report->count);
    print_member(", ", "picture", report->picture && *report->picture ? report->picture : NULL, out);
    if (report->suppressed)
        print_member(", ", "suppressed", report->suppressed, out);
    fputs("}\n", out);
}
