/* SPDX-License-Identifier: MIT */
/*
 * Where things go on a memory map: physical addresses to heights on the page, and labels beside them.
 */
#ifndef DK_TOOLS_MACHINE_AXIS_H
#define DK_TOOLS_MACHINE_AXIS_H

#include "machine-view.h"

enum dk_stretch_kind {
    DK_STRETCH_FREE,     /* memory that no region takes */
    DK_STRETCH_RESERVED, /* inside a region that stands */
    DK_STRETCH_GAP,      /* neither */
};

/* A run of addresses drawn alike. Heights grow with the logarithm of the size, so that 4 KiB shows beside 500
 * GiB. */
struct dk_stretch {
    u64 base;
    u64 last; /* inclusive */
    enum dk_stretch_kind kind;
    bool compressed; /* shorter even than the logarithm: gets a break mark */
    double top;      /* points from the top of the axis */
    double height;
};

/* All stretches without holes, by rising address, from the lowest to the highest byte drawn. */
struct dk_axis {
    struct dk_stretch *stretches;
    unsigned count; /* 0: there is nothing to draw */
    double height;
};

/*
 * Cuts the addresses that @view's memory and standing regions span at every edge of theirs, of failed regions
 * and of windows. The axis is at least @least points high, unless it is empty. 0 or -ENOMEM.
 */
int dk_axis_init(struct dk_axis *axis, const struct dk_machine_view *view, double least);

void dk_axis_finish(struct dk_axis *axis);

/* The height of @address's upper edge; addresses outside are moved to the nearest end. */
double dk_axis_top(const struct dk_axis *axis, u64 address);

/* The height of the lower edge of the byte at @last, moved likewise. */
double dk_axis_bottom(const struct dk_axis *axis, u64 last);

/* Whether any of @base to @last is on @axis. */
bool dk_axis_touches(const struct dk_axis *axis, u64 base, u64 last);

/* A label beside the axis. */
struct dk_label {
    double want;   /* where its top would best be */
    double height; /* what it takes */
    double top;    /* where dk_labels_spread() put it */
    /* dk_labels_spread()'s own: a run of labels that touch. */
    double run_want;
    double run_height;
    unsigned run_count;
    unsigned index; /* the caller's */
};

/*
 * Sorts @labels by where they want to be and places them between @upper and @lower, none over another, with
 * the least sum of squared moves. What does not fit overflows @lower.
 */
void dk_labels_spread(struct dk_label *labels, unsigned count, double upper, double lower);

#endif
