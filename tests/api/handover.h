/* SPDX-License-Identifier: MIT */
/*
 * What the tests of depth 2 share: kinds of buses, and one report, remembered.
 */
#ifndef TESTS_API_HANDOVER_H
#define TESTS_API_HANDOVER_H

#include "api.h"

struct handover_place {
    const char *name, *board, *bus;
    const char *arguments; /* NULL: the board's */
    bool lines;            /* the device does not snoop, and meets the buffer's own lines */
};

static const struct handover_place handover_places[] = {
    { "coherent", "hostile.dts", "coherent", NULL, false },
    { "non-coherent", "hostile.dts", "noncoherent", NULL, true },
    { "offset", "hostile.dts", "offset", NULL, true },
    { "IOMMU", "hostile.dts", "iommu", NULL, true },
    { "bounced", "hostile.dts", "bounce", NULL, false },
    { "bounced, coherent", "coherent-pc.dts", "coherent", "swiotlb=force", false },
    { "bounced, non-coherent", "raspberry-pi-4.dts", "noncoherent", "swiotlb=force", false },
    { "PC", "coherent-pc.dts", "coherent", NULL, false },
    { "Arm with IOMMU", "arm-soc-iommu.dts", "iommu", NULL, true },
};
#define HANDOVER_PLACES (sizeof(handover_places) / sizeof(handover_places[0]))

/* The latest report, and how many there were. */
struct handover_seen {
    unsigned count;
    struct dk_report report;
};

static inline void handover_see(const struct dk_report *report, void *data)
{
    struct handover_seen *seen = data;

    seen->count++;
    seen->report = *report;
}

#endif
