/* SPDX-License-Identifier: MIT */
/*
 * Writes reports as JSON lines, for test-json.py to read: one that a checker made, and some whose strings are
 * hard.
 */
#include "fake-machine.h"

#include <stdio.h>

static void print_json(const struct dk_report *report, void *data)
{
    dk_report_print_json(report, data);
}

static void print_made(void)
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
    dk_check_each(&fake.machine, print_json, stdout);
    fake_finish(&fake);
}

int main(void)
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
    size_t i;

    print_made();
    for (i = 0; i < sizeof(hard) / sizeof(hard[0]); i++) {
        report.device = hard[i];
        report.what = hard[i];
        report.picture = hard[i];
        dk_report_print_json(&report, stdout);
    }
    return 0;
}
