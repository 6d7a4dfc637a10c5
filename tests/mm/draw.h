/* SPDX-License-Identifier: MIT */
/*
 * Random numbers that come again with the same seed (xorshift, 64 bits).
 */
#ifndef TEST_MM_DRAW_H
#define TEST_MM_DRAW_H

#include <dmakit/types.h>
#include <stdio.h>
#include <stdlib.h>

static u64 state_word; /* the seed, not 0, and what becomes of it */

/* From 0 to @below - 1. */
static inline u64 draw(u64 below)
{
    state_word ^= state_word << 13;
    state_word ^= state_word >> 7;
    state_word ^= state_word << 17;
    return state_word % below;
}

/* The seed in DMAKIT_TEST_SEED, else @otherwise; printed. */
static inline u64 draw_seed(u64 otherwise)
{
    const char *text = getenv("DMAKIT_TEST_SEED");
    u64 seed = text ? strtoull(text, NULL, 0) : otherwise;

    seed += !seed;
    printf("seed 0x%llx (DMAKIT_TEST_SEED)\n", (unsigned long long)seed);
    return seed;
}

#endif
