/* SPDX-License-Identifier: MIT */
/*
 * A machine for the machine room's tests, composed by hand: a small board, its memory, and hooks that count.
 */
#ifndef DK_TESTS_COMPOSE_H
#define DK_TESTS_COMPOSE_H

#include "machine/machine.h"

/*
 * The board, on 64 MiB of RAM at 0 and 64 MiB at 128 MiB:
 *
 *   /                  not coherent
 *   /soc               not coherent, no windows; alias bus; the default bus
 *   /soc/dma@1000      bus 0xc0000000 leads to 0, 32 MiB; alias dma0
 *   /soc/two@2000      0x0 leads to 0, 16 MiB; 0x1000000 to 128 MiB, 16 MiB; 0x4000000 to 63 MiB, 2 MiB (1
 * MiB of it is RAM) /soc/snoop@3000    coherent /soc/off@4000      disabled /pcie              a PCI host
 * without windows; below it bus 0x80000000 leads to 0, 64 MiB /bus               no windows; its child has
 * one /bus/leaf          bus 0x40000000 leads to 0, 64 MiB
 *
 * The uncached alias at 0x20000000 shows the 1 MiB at 8 MiB.
 */
enum { NODE_ROOT, NODE_SOC, NODE_DMA, NODE_TWO, NODE_SNOOP, NODE_OFF, NODE_PCIE, NODE_BUS, NODE_LEAF, NODES };

#define RAM_SIZE 0x4000000ull
#define SECOND_RAM 0x8000000ull
#define ALIAS_BASE 0x20000000ull
#define ALIAS_TARGET 0x800000ull
#define ALIAS_SIZE 0x100000ull

struct composed {
    struct dk_machine machine;
    /* What the hooks saw; atomic where several threads come. */
    unsigned findings, added, removed, unbound, accesses, faults;
    char finding_class[32];
    char finding_call[32];
    char removed_paths[512]; /* in order, each after a space */
    dma_addr_t access_dma, fault_dma;
    phys_addr_t access_phys;
    u64 access_length, fault_length;
    bool access_write, fault_write;
    enum dk_master_fault_kind fault_kind;
    unsigned stale;
    dma_addr_t stale_dma;
    u64 stale_length;
    bool stale_write;
    int add_error; /* what device_added answers */
};

struct shape {
    bool coherent;
    unsigned line; /* 0: 64 */
    u64 seed;
};

/* NULL when memory ran out; the machine is entered. */
struct composed *compose(const struct shape *shape);
/* Leaves and frees it. NULL is fine. */
void dispose(struct composed *composed);

/* Log lines since the last call of this, which also silences the log; and the last of them. */
unsigned log_lines(void);
const char *log_last(void);

/* A number from the environment's DMAKIT_TEST_SEED, else @otherwise; printed. */
u64 test_seed(u64 otherwise);
/* The next number of a sequence that *@state carries. */
u64 test_random(u64 *state);
/* @count, or a twentieth of it under a thread checker, or where the environment's DMAKIT_TEST_FAST asks for
 * that. */
unsigned long test_rounds(unsigned long count);

/* As cmocka's skip-free assertions need: waits until *@word is @value, 10 s at most; the value it has then.
 */
unsigned wait_for(const unsigned *word, unsigned value);

#endif
