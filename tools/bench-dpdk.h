/* SPDX-License-Identifier: MIT */
/*
 * DPDK's rte_mempool of 64-byte blocks, as a peer of the pool rows. Its file sees nothing of dmakit: both
 * have a phys_addr_t.
 */
#ifndef DK_TOOLS_BENCH_DPDK_H
#define DK_TOOLS_BENCH_DPDK_H

#include <stdbool.h>

/* False: not built with it, or it does not start. */
bool dk_bench_dpdk_start(void);
/* A block taken and given back @count times. After dk_bench_dpdk_start(). */
void dk_bench_dpdk_pairs(unsigned long count);

#endif
