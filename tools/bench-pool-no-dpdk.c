/* SPDX-License-Identifier: MIT */
/*
 * In the place of bench-pool-dpdk.c where DPDK is not installed.
 */
#include "bench-dpdk.h"

bool dk_bench_dpdk_start(void)
{
    return false;
}

void dk_bench_dpdk_pairs(unsigned long count)
{
    (void)count;
}
