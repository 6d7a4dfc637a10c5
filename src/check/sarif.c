/* SPDX-License-Identifier: MIT */
#include "check/sarif.h"

#include "check/classes.h"
#include "check/json.h"
#include <ctype.h>
#include <string.h>

#define SCHEMA "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"

static void print_member(const char *before, const char *name, const char *value, FILE *out)
{
    fprintf(out, "%s\"%s\": ", before, name);
    dk_json_string(value, out);
}

/* ---- The tool ---- */

static void print_rule(enum dk_class class_index, FILE *out)
{
    const char *name = dk_class_name(class_index);
    const struct dk_class_facts *facts = dk_class_facts(class_index);

    print_member("            {", "id", name, out);
    print_member(", \"shortDescription\": {", "text", facts->summary, out);
    print_member("}, \"help\": {", "text", facts->advice, out);
    fprintf(out, "}, \"helpUri\": \"%s%s.md\"", DK_BUGS_URI, name);
    print_member(", \"defaultConfiguration\": {", "level", facts->severity, out);
    fputs("}}", out);
}

void dk_sarif_begin(const char *invocation, FILE *out)
{
    unsigned i;

    fputs(
        "{\n  \"$schema\": \"" SCHEMA "\",\n  \"version\": \"2.1.0\",\n  \"runs\": [\n    {\n"
        "      \"tool\": {\n        \"driver\": {\n          \"name\": \"dmakit\", \"version\": \"" DK_VERSION
        "\",\n          \"rules\": [\n",
        out);
    for (i = 0; i < DK_CLASS_COUNT; i++) {
        print_rule((enum dk_class)i, out);
        fputs(i + 1 < DK_CLASS_COUNT ? ",\n" : "\n", out);
    }
    fprintf(out,
            "          ]\n        }\n      },\n      \"invocations\": [%s],\n      \"columnKind\": "
            "\"unicodeCodePoints\",\n      \"results\": [",
            invocation ? invocation : "{\"executionSuccessful\": true}");
}

/* ---- Places ---- */

/* A file's name as a reference of RFC 3986: what is not plain is escaped byte by byte. */
static void print_uri(const char *file, FILE *out)
{
    const char *slash = strchr(file, '/');
    const char *colon = strchr(file, ':');

    fputc('"', out);
    if (*file == '/')
        fputs("file://", out);
    else if (colon && (!slash || colon < slash))
        fputs("./", out); /* else it would read as a scheme */
    for (; *file; file++) {
        unsigned char byte = (unsigned char)*file;

        if (isascii(byte) && (isalnum(byte) || strchr("-._~/+,=@:", byte)))
            fputc(byte, out);
        else
            fprintf(out, "%%%02X", byte);
    }
    fputc('"', out);
}

/* The members of a location object: where @frame is, and what is said of it. */
static void print_location(const struct dk_frame *frame, const char *message, FILE *out)
{
    const char *comma = "";

    fputc('{', out);
    if (frame->file) {
        fputs("\"physicalLocation\": {\"artifactLocation\": {\"uri\": ", out);
        print_uri(frame->file, out);
        fputc('}', out);
        if (frame->line > 0)
            fprintf(out, ", \"region\": {\"startLine\": %d}", frame->line);
        fputc('}', out);
        comma = ", ";
    }
    if (frame->function) {
        fprintf(out, "%s\"logicalLocations\": [", comma);
        print_member("{", "name", frame->function, out);
        fputs(", \"kind\": \"function\"}]", out);
        comma = ", ";
    }
    if (message) {
        fprintf(out, "%s\"message\": ", comma);
        print_member("{", "text", message, out);
        fputc('}', out);
    }
    fputc('}', out);
}

static bool is_known(const struct dk_frames *stack)
{
    return stack->count && (stack->frames[0].file || stack->frames[0].function);
}

static void describe_mapping(const struct dk_report *report, char *text, size_t size)
{
    snprintf(text, size, "the mapping is made here: %s, %llu bytes at DMA address 0x%llx, %s",
             report->mapping.kind, report->mapping.size, report->mapping.dma, report->mapping.direction);
}

static void describe_access(const struct dk_report *report, char *text, size_t size)
{
    if (*report->access.name)
        snprintf(text, size, "%s() is called here", report->access.name);
    else
        snprintf(text, size, "the %s is here", report->access.kind);
}

/* The end of the mapping, between two others of a list; nothing when it is not known. */
static void print_undone(const struct dk_report *report, const char *before, const char *after, FILE *out)
{
    char text[64];

    if (!report->undone.kind || !is_known(&report->undone.stack))
        return;
    snprintf(text, sizeof(text), "it is %s here", report->undone.kind);
    fputs(before, out);
    print_location(&report->undone.stack.frames[0], text, out);
    fputs(after, out);
}

/* The result's own location, which is to be mended, then the other ones as related, then the way from the
 * mapping to the access. */
static void print_locations(const struct dk_report *report, FILE *out)
{
    const struct dk_frames *mapping = report->mapping.kind ? &report->mapping.stack : NULL;
    const struct dk_frames *access = &report->access.stack;
    bool has_mapping = mapping && is_known(mapping);
    bool has_access = is_known(access);
    bool by_mapping = has_mapping && (!has_access || dk_class_lies_in_mapping(report->class_name));
    char mapped[256], accessed[256];

    if (mapping)
        describe_mapping(report, mapped, sizeof(mapped));
    describe_access(report, accessed, sizeof(accessed));
    fputs(", \"locations\": [", out);
    if (by_mapping || has_access)
        print_location(&(by_mapping ? mapping : access)->frames[0], by_mapping ? mapped : accessed, out);
    fputs("]", out);
    if (!has_mapping || !has_access) {
        print_undone(report, ", \"relatedLocations\": [", "]", out);
        return;
    }
    fputs(", \"relatedLocations\": [", out);
    print_location(&(by_mapping ? access : mapping)->frames[0], by_mapping ? accessed : mapped, out);
    print_undone(report, ", ", "", out);
    fputs("], \"codeFlows\": [{\"threadFlows\": [{\"locations\": [{\"location\": ", out);
    print_location(&mapping->frames[0], mapped, out);
    print_undone(report, "}, {\"location\": ", "", out);
    fputs("}, {\"location\": ", out);
    print_location(&access->frames[0], accessed, out);
    fputs("}]}]}]", out);
}

/* Below main() is only what the C library does to get there. */
static bool is_last(const struct dk_frame *frame)
{
    return frame->function && !strcmp(frame->function, "main");
}

static void print_stack(const struct dk_frames *stack, const char *message, FILE *out)
{
    unsigned i;

    print_member("{\"message\": {", "text", message, out);
    fputs("}, \"frames\": [", out);
    for (i = 0; i < stack->count; i++) {
        const struct dk_frame *frame = &stack->frames[i];

        fputs(i ? ", {\"location\": " : "{\"location\": ", out);
        print_location(frame, NULL, out);
        if (frame->module)
            print_member(", ", "module", frame->module, out);
        fputc('}', out);
        if (is_last(frame))
            break;
    }
    fputs("]}", out);
}

static void print_stacks(const struct dk_report *report, FILE *out)
{
    const char *comma = "";
    char text[256];

    fputs(", \"stacks\": [", out);
    if (report->access.stack.count) {
        describe_access(report, text, sizeof(text));
        print_stack(&report->access.stack, text, out);
        comma = ", ";
    }
    if (report->mapping.kind && report->mapping.stack.count) {
        describe_mapping(report, text, sizeof(text));
        fputs(comma, out);
        print_stack(&report->mapping.stack, text, out);
        comma = ", ";
    }
    if (report->undone.kind && report->undone.stack.count) {
        snprintf(text, sizeof(text), "it is %s here", report->undone.kind);
        fputs(comma, out);
        print_stack(&report->undone.stack, text, out);
    }
    fputc(']', out);
}

/* ---- Results ---- */

static u64 hash_string(u64 hash, const char *string)
{
    /* FNV-1a; the NUL parts strings. */
    do
        hash = (hash ^ (unsigned char)(string ? *string : 0)) * 0x100000001b3;
    while (string && *string++);
    return hash;
}

static u64 hash_functions(u64 hash, const struct dk_frames *stack)
{
    unsigned i;

    for (i = 0; i < stack->count; i++) {
        hash = hash_string(hash, stack->frames[i].function);
        if (is_last(&stack->frames[i]))
            break;
    }
    return hash_string(hash, "");
}

/* The same for the same bug in the next version of the program: no lines, addresses or boards. */
static u64 fingerprint(const struct dk_report *report)
{
    u64 hash = hash_string(0xcbf29ce484222325, report->class_name);

    hash = hash_string(hash, report->access.name);
    hash = hash_functions(hash, &report->access.stack);
    return report->mapping.kind ? hash_functions(hash, &report->mapping.stack) : hash;
}

static void print_properties(const struct dk_report *report, const char *properties, FILE *out)
{
    print_member(", \"properties\": {", "device", report->device, out);
    fprintf(out,
            ", \"bytes\": {\"cpu\": \"0x%llx\", \"dma\": \"0x%llx\", \"offset\": %llu, \"length\": %llu}",
            (u64)report->bytes.cpu, report->bytes.dma, report->bytes.offset, report->bytes.length);
    if (report->picture && *report->picture)
        print_member(", ", "picture", report->picture, out);
    if (properties)
        fprintf(out, ", %s", properties);
    fputc('}', out);
}

void dk_sarif_result(const struct dk_report *report, unsigned long occurrences, const char *properties,
                     FILE *out)
{
    enum dk_class class_index = dk_class_find(report->class_name);

    print_member("        {", "ruleId", report->class_name, out);
    if (class_index < DK_CLASS_COUNT)
        fprintf(out, ", \"ruleIndex\": %u", (unsigned)class_index);
    fprintf(out, ", \"level\": \"%s\", \"message\": {\"text\": \"",
            strcmp(report->severity, "warning") ? "error" : "warning");
    dk_json_characters(report->what, out);
    fputs(". Advice: ", out);
    dk_json_characters(report->advice, out);
    fputs(".\"}", out);
    print_locations(report, out);
    print_stacks(report, out);
    fprintf(out, ", \"partialFingerprints\": {\"dmakitFunctions/v1\": \"%016llx\"}, \"occurrenceCount\": %lu",
            fingerprint(report), occurrences ? occurrences : report->count);
    if (report->suppressed) {
        print_member(", \"suppressions\": [{\"kind\": \"external\", ", "justification", report->suppressed,
                     out);
        fputs("}]", out);
    }
    print_properties(report, properties, out);
    fputc('}', out);
}
