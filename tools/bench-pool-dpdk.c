/* SPDX-License-Identifier: MIT */
/*
 * DPDK's rte_mempool with its cache for each core, as a peer of the pool rows.
 */
#include "bench-dpdk.h"

#include <rte_eal.h>
#include <rte_mempool.h>
#include <sched.h>
#include <stdio.h>

#define BLOCKS 8191u /* it says that a power of two less one fits best */
#define CACHE 256u
#define BLOCK 64u

/* DPDK is the process's, and starts once. */
static struct rte_mempool *blocks;

static int first_core(const cpu_set_t *cores)
{
    int core = 0;

    while (core < CPU_SETSIZE - 1 && !CPU_ISSET(core, cores))
        core++;
    return core;
}

static int start_on(int core)
{
    static char program[] = "dmakit", no_huge[] = "--no-huge", no_pci[] = "--no-pci", memory[] = "-m",
                size[] = "64", no_files[] = "--no-shconf", level[] = "--log-level=1", cores[] = "-l",
                number[16];
    static char *arguments[] = {
        program, no_huge, no_pci, memory, size, no_files, level, cores, number, NULL
    };

    snprintf(number, sizeof(number), "%d", core);
    return rte_eal_init((int)(sizeof(arguments) / sizeof(arguments[0])) - 1, arguments);
}

bool dk_bench_dpdk_start(void)
{
    static bool tried;
    cpu_set_t cores;

    if (tried)
        return blocks;
    tried = true;
    if (sched_getaffinity(0, sizeof(cores), &cores) || start_on(first_core(&cores)) < 0)
        return false;
    /* It has tied this thread to its core, which the rows of two threads are not to share. */
    sched_setaffinity(0, sizeof(cores), &cores);
    blocks = rte_mempool_create("bench", BLOCKS, BLOCK, CACHE, 0, NULL, NULL, NULL, NULL, SOCKET_ID_ANY, 0);
    return blocks;
}

void dk_bench_dpdk_pairs(unsigned long count)
{
    while (count--) {
        void *block = NULL;

        if (rte_mempool_get(blocks, &block))
            return;
        __asm__ volatile("" : "+r"(block) : : "memory");
        rte_mempool_put(blocks, block);
    }
}
