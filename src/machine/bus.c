/* SPDX-License-Identifier: MIT */
/*
 * The bus between a device and memory: windows, and the uncached alias.
 */
#include "machine/bus.h"

const char dk_bus_no_memory[] = "the bus leads to no memory there";

phys_addr_t dk_alias_to_memory(const struct dk_machine *machine, phys_addr_t phys)
{
    const struct dk_uncached_alias *alias = &machine->board->alias;

    return phys >= alias->base && phys - alias->base < alias->size ? alias->target + (phys - alias->base)
                                                                   : phys;
}

static u64 smaller(u64 a, u64 b)
{
    return a < b ? a : b;
}

/* How many of the @length bytes at @phys lead on to consecutive memory: the alias begins and ends somewhere.
 */
static u64 alias_run(const struct dk_machine *machine, phys_addr_t phys, u64 length)
{
    const struct dk_uncached_alias *alias = &machine->board->alias;

    if (!alias->size)
        return length;
    if (phys < alias->base)
        return smaller(length, alias->base - phys);
    return phys - alias->base < alias->size ? smaller(length, alias->size - (phys - alias->base)) : length;
}

/* How many of the @length bytes at @phys are RAM without a gap. */
static u64 ram_run(const struct dk_machine *machine, phys_addr_t phys, u64 length)
{
    const struct dk_memory *memory = machine->memory;
    u64 is = 1;
    u64 is_not = length;

    if (dk_memory_is_ram(memory, phys, length))
        return length;
    if (!dk_memory_is_ram(memory, phys, 1))
        return 0;
    while (is_not - is > 1) {
        u64 middle = is + (is_not - is) / 2;

        if (dk_memory_is_ram(memory, phys, middle))
            is = middle;
        else
            is_not = middle;
    }
    return is;
}

static const struct dk_window *window_of(const struct device *dev, dma_addr_t dma)
{
    unsigned i;

    for (i = 0; i < dev->dk->window_count; i++) {
        const struct dk_window *window = &dev->dk->windows[i];

        if (dma >= window->dma && dma - window->dma < window->size)
            return window;
    }
    return NULL;
}

static const char wraps[] = "the access wraps around the end of the bus's addresses";
static const char no_window[] = "no window of the device's bus holds this address";

static bool is_wrapping(dma_addr_t dma, u64 length)
{
    return !length || dma + (length - 1) < dma;
}

const char *dk_bus_bound(const struct device *dev, dma_addr_t dma, u64 *length)
{
    const struct dk_window *window;

    if (is_wrapping(dma, *length))
        return wraps;
    if (!dev->dk->window_count)
        return NULL;
    window = window_of(dev, dma);
    if (!window)
        return no_window;
    *length = smaller(*length, window->size - (dma - window->dma));
    return NULL;
}

bool dk_bus_lead(struct dk_machine *machine, phys_addr_t phys, u64 length, struct dk_bus_target *target)
{
    target->phys = phys;
    target->run = ram_run(machine, phys, length);
    target->registers = !target->run;
    if (!target->run)
        target->run = dk_registers_run(machine, phys, length);
    return target->run;
}

const char *dk_bus_walk(struct device *dev, dma_addr_t dma, u64 length, struct dk_bus_target *target)
{
    struct dk_machine *machine = dk_device_machine(dev);
    const struct dk_window *window = NULL;
    const char *reason = dk_bus_no_memory;
    phys_addr_t address = dma;

    if (is_wrapping(dma, length))
        return wraps;
    if (dev->dk->window_count) {
        window = window_of(dev, dma);
        if (window) {
            address = window->cpu + (dma - window->dma);
            length = smaller(length, window->size - (dma - window->dma));
        } else {
            reason = no_window;
        }
    }
    if (window || !dev->dk->window_count) {
        length = alias_run(machine, address, length);
        if (dk_bus_lead(machine, dk_alias_to_memory(machine, address), length, target))
            return NULL;
    }
    target->registers = true;
    target->phys = dma;
    target->run = dk_registers_run(machine, dma, length);
    return target->run ? NULL : reason;
}

int dk_bus_translate(struct device *dev, dma_addr_t dma, u64 length, phys_addr_t *phys, u64 *run)
{
    struct dk_bus_target target;

    if (dk_bus_walk(dev, dma, length, &target) || target.registers)
        return -EFAULT;
    *phys = target.phys;
    *run = target.run;
    return 0;
}

bool dk_bus_address(const struct device *dev, phys_addr_t phys, u64 size, dma_addr_t *dma)
{
    unsigned i;

    if (size && phys + (size - 1) < phys)
        return false;
    if (!dev->dk->window_count) {
        *dma = phys;
        return true;
    }
    for (i = 0; i < dev->dk->window_count; i++) {
        const struct dk_window *window = &dev->dk->windows[i];

        if (phys >= window->cpu && phys - window->cpu < window->size &&
            size <= window->size - (phys - window->cpu)) {
            *dma = window->dma + (phys - window->cpu);
            return true;
        }
    }
    return false;
}
