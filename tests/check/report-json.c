/* SPDX-License-Identifier: MIT */
/*
 * Writes reports as JSON lines, for test-json.py to read: some that a checker made, and some whose strings
 * are hard. With a file's name: the same as a SARIF log there, for test-sarif.py.
 */
#include "check/sarif.h"
#include "fake-machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

static void print_json(const struct dk_report *report, void *data)
{
    dk_report_print_json(report, data);
}

/* To the log in the file, as the printer does it. */
static void add_to_log(const struct dk_report *report, void *data)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    dk_sarif_result(report, 0, NULL, out);
    fclose(out);
    if (dk_sarif_file_add(*(int *)data, text, size))
        exit(1);
    free(text);
}

static void print_made(dk_report_sink *sink, void *data)
{
    static struct fake_machine fake;
    struct dk_mapping mapping = {
        .kind = DK_MAPPING_SINGLE, .dma = 0xfedcba9876543210, .size = 1ull << 40, .direction = DMA_FROM_DEVICE
    };
    struct dk_mapping found;

    if (fake_start_checked(&fake))
        return;
    dk_check_mapped(&fake.devices[1], "dma_map_single", &mapping);
    mapping.direction = DMA_TO_DEVICE;
    dk_check_unmap(&fake.devices[1], "dma_unmap_single", &mapping, &found);
    dk_check_each(&fake.machine, sink, data);
    fake_finish(&fake);
}

/* One whose mapping is gone. */
static void print_undone(dk_report_sink *sink, void *data)
{
    const struct dk_report report = {
        .class_name = "device-access-after-unmap",
        .severity = "error",
        .device = "/x",
        .what = "w",
        .advice = "a",
        .mapping = { "single", 0x10, 8, "from-device", { 1, { { "make", "x.c", 1, "m", 1 } } } },
        .access = { "device-write", "dk_master_write", { 1, { { "use", "x.c", 3, "m", 3 } } } },
        .undone = { "unmapped", { 1, { { "end", "x.c", 2, "m", 2 } } } },
        .count = 1,
    };

    sink(&report, data);
}

int main(int argc, char **argv)
{
    static const char *const hard[] = {
        "quote \" backslash \\ slash /",
        "line\nfeed\ttab\r\x01\x1f\x7f",
        "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
        "bad \xff \xc3( \xe2\x82 \xc0\x80 \xed\xa0\x80 \xf4\x90\x80\x80 \xe0\x80\x80 end \xc3",
        "",
    };
    struct dk_report report = { .class_name = "maps-stack",
                                .severity = "error",
                                .advice = "x",
                                .bytes = { 0x10, ~0ull, 5, 6 },
                                .access = { .kind = "call", .name = "f" },
                                .count = 7 };
    dk_report_sink *sink = argc > 1 ? add_to_log : print_json;
    void *data = stdout;
    size_t i;
    int fd;

    if (argc > 1) {
        fd = open(argv[1], O_RDWR | O_CREAT, 0600);
        if (fd < 0 || dk_sarif_file_start(fd))
            return 1;
        data = &fd;
    }
    print_made(sink, data);
    for (i = 0; i < sizeof(hard) / sizeof(hard[0]); i++) {
        report.device = hard[i];
        report.what = hard[i];
        report.picture = hard[i];
        sink(&report, data);
    }
    if (argc > 1) {
        report.access.stack = (struct dk_frames){ 2, { { "f\xff", "/a b/\xc3\xbc%?#.c", 3, "m", 1 } } };
        report.suppressed = "maps-stack:f";
        sink(&report, data);
        report.access.stack.frames[0].file = "c:d.c";
        report.class_name = "not-in-the-table";
        report.suppressed = NULL;
        sink(&report, data);
    }
    print_undone(sink, data);
    return 0;
}
