/* SPDX-License-Identifier: MIT */
/*
 * Runs the examples of docs/bugs/.
 *
 *   run CLASS wrong|mended DEPTH   one of them, on DMAKIT_BOARD's machine; reports go where DMAKIT_OPTIONS
 *                                  says. Prints "end" when it ran to its end, else "left early".
 *   run --mended DEPTH SEED        all mended ones, each on a machine of its own. Prints a line for each: its
 *                                  name, the number of reports, and the class of the first.
 *
 * Exit code 0; 2 when something could not run.
 */
#include "frame.h"

#include <stdio.h>
#include <stdlib.h>

typedef void example(struct device *dev, struct device *other, char *buffer, bool *reached);

static struct device *add(struct dk_machine *machine, const char *bus, const char *name)
{
    struct device *parent = bus ? dk_device_find(machine, bus) : NULL;
    struct device *dev = dk_device_add(parent, name);

    if (IS_ERR(dev) || dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)))
        return NULL;
    return dev;
}

/* False: it could not be run at all. */
static bool play(struct dk_machine *machine, const char *bus, example *part, bool *reached)
{
    struct device *dev = add(machine, bus, "card"), *other = add(machine, bus, "other");
    char *buffer = kzalloc(16384, GFP_KERNEL);

    if (!dev || !other || !buffer)
        return false;
    part(dev, other, buffer, reached);
    dk_device_remove(other);
    dk_device_remove(dev);
    kfree(buffer);
    return true;
}

static struct dk_machine *machine_for(const struct page_of_bugs *page, int depth, u64 seed)
{
    const struct dk_machine_options options = {
        .size = sizeof(options),
        .arguments = page->arguments,
        .seed = seed,
        .depth = depth,
    };
    struct dk_machine *machine = dk_machine_create(NULL, &options);

    if (IS_ERR(machine))
        return NULL;
    dk_machine_enter(machine);
    return machine;
}

static int run_one(const char *name, const char *which, int depth)
{
    const struct page_of_bugs *page = dk_pages_of_bugs;
    struct dk_machine *machine;
    bool reached = false;

    while (page->name && strcmp(page->name, name))
        page++;
    machine = page->name ? machine_for(page, depth, 0) : NULL;
    if (!machine || !play(machine, page->bus, strcmp(which, "mended") ? page->wrong : page->mended, &reached))
        return 2;
    dk_machine_destroy(machine);
    puts(reached ? "end" : "left early");
    return 0;
}

static void note(const struct dk_report *report, void *data)
{
    char *first = data;

    if (!*first)
        snprintf(first, 64, "%s", report->class_name);
}

static int run_mended(int depth, u64 seed)
{
    const struct page_of_bugs *page;

    for (page = dk_pages_of_bugs; page->name; page++) {
        struct dk_machine *machine = machine_for(page, depth, seed);
        char first[64] = "";
        bool reached;

        if (!machine)
            return 2;
        dk_check_set_sink(machine, note, first);
        if (!play(machine, page->bus, page->mended, &reached))
            return 2;
        printf("%s %lu %s\n", page->name, dk_machine_destroy(machine), first);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "--mended"))
        return run_mended(atoi(argv[2]), strtoull(argv[3], NULL, 0));
    if (argc == 4)
        return run_one(argv[1], argv[2], atoi(argv[3]));
    fprintf(stderr, "usage: run CLASS wrong|mended DEPTH | run --mended DEPTH SEED\n");
    return 2;
}
