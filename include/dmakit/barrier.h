/* SPDX-License-Identifier: MIT */
/*
 * Barriers and single accesses (Documentation/memory-barriers.txt).
 *
 * A thread checker understands atomic accesses but no fences. Where one is built in, READ_ONCE is therefore
 * an acquire and WRITE_ONCE a release, and the barriers are atomic read-modify-writes of a local word.
 */
#ifndef DMAKIT_BARRIER_H
#define DMAKIT_BARRIER_H

#include <dmakit/types.h>

/* Under dmakit's own run time (instrument.h) accesses and barriers are what they are everywhere. */
#if defined(DK_INSTRUMENTED)
#include <dmakit/instrument.h>
#elif defined(__SANITIZE_THREAD__)
#define DK_THREAD_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DK_THREAD_CHECKED 1
#endif
#endif

DK_BEGIN_DECLS

#ifdef DK_THREAD_CHECKED
#define DK_READ_ORDER __ATOMIC_ACQUIRE
#define DK_WRITE_ORDER __ATOMIC_RELEASE
static inline void dk_fence(int order)
{
    int word = 0;

    (void)order;
    __atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST);
}
#else
#define DK_READ_ORDER __ATOMIC_RELAXED
#define DK_WRITE_ORDER __ATOMIC_RELAXED
#ifdef DK_INSTRUMENTED
#define dk_fence(order) dk_instrument_fence(order)
#else
#define dk_fence(order) __atomic_thread_fence(order)
#endif
#endif

/* Keeps the compiler from moving accesses across. */
static inline void barrier(void)
{
    __asm__ __volatile__("" ::: "memory");
}

/* All accesses before are seen before all accesses after; the r forms order reads, the w forms writes. */
static inline void mb(void)
{
    dk_fence(__ATOMIC_SEQ_CST);
}
static inline void rmb(void)
{
    dk_fence(__ATOMIC_ACQUIRE);
}
static inline void wmb(void)
{
    dk_fence(__ATOMIC_RELEASE);
}
static inline void smp_mb(void)
{
    mb();
}
static inline void smp_rmb(void)
{
    rmb();
}
static inline void smp_wmb(void)
{
    wmb();
}
/* For memory shared with a device. */
static inline void dma_mb(void)
{
    mb();
}
static inline void dma_rmb(void)
{
    rmb();
}
static inline void dma_wmb(void)
{
    wmb();
}

/* One access of a scalar of 1, 2, 4 or 8 bytes: not split, repeated or left out. */
#define READ_ONCE(x) __atomic_load_n(&(x), DK_READ_ORDER)
#define WRITE_ONCE(x, value) __atomic_store_n(&(x), (value), DK_WRITE_ORDER)

#define smp_load_acquire(pointer) __atomic_load_n((pointer), __ATOMIC_ACQUIRE)
#define smp_store_release(pointer, value) __atomic_store_n((pointer), (value), __ATOMIC_RELEASE)

DK_END_DECLS

#endif
