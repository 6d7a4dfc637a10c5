/* SPDX-License-Identifier: MIT */
/*
 * This thread's number, by which fast paths find its caches. The library's; drivers have no use for it. The
 * header exists so that fast paths can be inline.
 */
#ifndef DMAKIT_THREAD_NUMBER_H
#define DMAKIT_THREAD_NUMBER_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

/* Threads with a higher number go without a cache. */
#define DK_THREAD_NUMBERS 256u

/* Not a number: this thread has not asked for one. */
#define DK_THREAD_UNNUMBERED (DK_THREAD_NUMBERS + 1)

/*
 * What this thread has: a number, DK_THREAD_NUMBERS or DK_THREAD_UNNUMBERED; so it is an index of an array of
 * DK_THREAD_UNNUMBERED + 1. Below the thread pointer also in the shared library, where the compiler would
 * otherwise call a function for it.
 */
extern DK_PUBLIC __thread unsigned dk_thread_number_here __attribute__((tls_model("initial-exec")));

DK_END_DECLS

#endif
