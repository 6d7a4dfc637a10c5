/* SPDX-License-Identifier: MIT */
/*
 * What the examples of docs/bugs/ stand in. An example is the body of a function; what it is given is
 * described in docs/bugs/README.md.
 */
#ifndef TESTS_BUGS_FRAME_H
#define TESTS_BUGS_FRAME_H

#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>

#include <dmakit/dmakit.h>
#include <string.h>

/* Kept out of line, so that reports name the example. @reached: the example ran to its end. */
#define EXAMPLE(name)                                                       \
    static noinline void name(struct device *dev __attribute__((unused)),   \
                              struct device *other __attribute__((unused)), \
                              char *buffer __attribute__((unused)), bool *reached)

struct page_of_bugs {
    const char *name;
    const char *bus;       /* alias or path that the devices are added below; NULL: the default bus */
    const char *arguments; /* of the machine, or NULL */
    void (*wrong)(struct device *dev, struct device *other, char *buffer, bool *reached);
    void (*mended)(struct device *dev, struct device *other, char *buffer, bool *reached);
};

extern const struct page_of_bugs dk_pages_of_bugs[];

#endif
