/* SPDX-License-Identifier: MIT */
/*
 * The board's nodes, as drivers hold them.
 */
#ifndef DMAKIT_OF_H
#define DMAKIT_OF_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

struct device;
struct dk_machine;

/* A node of the device tree; the machine's. */
struct device_node {
    const char *name;           /* last component */
    const char *full_name;      /* full path */
    u32 phandle;                /* 0: none */
    struct dk_machine *machine; /* private */
    int index;                  /* private */
};

DK_END_DECLS

#endif
