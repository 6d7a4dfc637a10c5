/* SPDX-License-Identifier: MIT */
/*
 * The checker: what went wrong, where, and who did it.
 */
#ifndef DMAKIT_CHECK_H
#define DMAKIT_CHECK_H

#include <dmakit/types.h>
#include <stdio.h>

DK_BEGIN_DECLS

struct device;
struct dk_machine;

/* The deepest stack that is kept. */
#define DK_STACK_DEPTH 16

/* One call on a stack, innermost first. Unknown parts are NULL or 0. */
struct dk_frame {
    const char *function;
    const char *file; /* as the compiler recorded it */
    int line;
    const char *module; /* the object file's path */
    uintptr_t address;
};

struct dk_frames {
    unsigned count;
    struct dk_frame frames[DK_STACK_DEPTH];
};

/* One bug. Everything it points to lives as long as the machine. */
struct dk_report {
    const char *class_name; /* one of `dmakit check --list-classes` */
    const char *severity;   /* "error" or "warning" */
    const char *device;     /* the device's path, or "" */
    const char *what;       /* one sentence: what happened */
    const char *advice;     /* one sentence: what to do */

    /* The bytes concerned; length 0: none. */
    struct {
        uintptr_t cpu;  /* their CPU address, or 0 */
        dma_addr_t dma; /* their DMA address, or DMA_MAPPING_ERROR */
        u64 offset;     /* of the first of them in the mapping */
        u64 length;
    } bytes;

    /* The mapping or allocation concerned; kind NULL: none. */
    struct {
        const char *kind; /* "single", "page", "sg", "resource", "coherent", "noncoherent", "pages",
                             "noncontiguous", "addresses", "remap", "pool", "pool-block" */
        dma_addr_t dma;
        u64 size;
        const char *direction;  /* "to-device", "from-device", "bidirectional", "none" */
        struct dk_frames stack; /* of the call that made it */
    } mapping;

    /* What the program did. */
    struct {
        const char *kind; /* "call", "load", "store", "device-read", "device-write" */
        const char *name; /* the call's name, or "" */
        struct dk_frames stack;
    } access;

    unsigned long
        count; /* how often it was made so far: by the same access on mappings made by the same call */

    /*
     * The memory around the bytes concerned, as it was when the report was made, for people: lines that end
     * in
     * '\n'. "" or NULL: there is none to show.
     */
    const char *picture;

    /* The line of the suppressions file that hides this report; NULL: none, as for all that a sink is handed.
     */
    const char *suppressed;

    /* The call that unmapped or freed the mapping before; kind NULL: none did, or it is not known. */
    struct {
        const char *kind; /* "unmapped", "freed" */
        struct dk_frames stack;
    } undone;
};

typedef void dk_report_sink(const struct dk_report *report, void *data);

/*
 * Hands each new report of @machine to @sink with @data, instead of text on standard error (or what
 * DMAKIT_OPTIONS' report_format and report_path chose). The same bug again only raises its count. NULL: the
 * default again. The sink runs in the thread that made the report, in whatever context; it may call nothing
 * of the machine. Every report goes to one sink: when this returns, the one before runs in no thread any
 * more.
 */
DK_PUBLIC void dk_check_set_sink(struct dk_machine *machine, dk_report_sink *sink, void *data);

/* How many reports of class @class_name (NULL: of all classes) @machine has made, repeated ones counted each
 * time. Suppressed ones are not counted. */
DK_PUBLIC unsigned long dk_check_count(struct dk_machine *machine, const char *class_name);

/* Calls @sink for every report kept, oldest first, with its count; suppressed ones are not reports. */
DK_PUBLIC void dk_check_each(struct dk_machine *machine, dk_report_sink *sink, void *data);

/* The classes there are, as NULL-terminated array of names, and a class's one-line summary (NULL: no such
 * class). */
DK_PUBLIC const char *const *dk_check_classes(void);
DK_PUBLIC const char *dk_check_class_summary(const char *class_name);

/* Writes @report for people, and as one line of JSON (docs/formats.md). */
DK_PUBLIC void dk_report_print(const struct dk_report *report, FILE *out);
DK_PUBLIC void dk_report_print_json(const struct dk_report *report, FILE *out);

DK_END_DECLS

#endif
