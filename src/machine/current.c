/* SPDX-License-Identifier: MIT */
/*
 * Which machine a thread works on. The memory room keeps the answer, because its calls ask first.
 */
#include "machine/machine.h"

static struct dk_machine *machine_of(const struct dk_memory *memory)
{
    return memory ? dk_memory_machine(memory) : NULL;
}

struct dk_machine *dk_machine_enter(struct dk_machine *machine)
{
    return machine_of(dk_memory_enter(machine ? machine->memory : NULL));
}

struct dk_machine *dk_machine_current(void)
{
    return machine_of(dk_memory_current());
}

struct dk_machine *dk_device_machine_of(const struct device *dev)
{
    return dev ? dk_device_machine(dev) : NULL;
}
