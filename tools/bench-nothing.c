/* SPDX-License-Identifier: MIT */
/*
 * The floor of what is called: a function of the same form that does nothing.
 */
#include "bench.h"

__attribute__((noinline)) dma_addr_t dk_bench_nothing(struct device *dev, const void *cpu, size_t size,
                                                      enum dma_data_direction direction, unsigned long attrs)
{
    (void)dev;
    (void)size;
    (void)direction;
    (void)attrs;
    return (dma_addr_t)(uintptr_t)cpu;
}
