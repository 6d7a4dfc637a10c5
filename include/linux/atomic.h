/* SPDX-License-Identifier: MIT */
/* <linux/atomic.h> for driver source. */
#ifndef DMAKIT_LINUX_ATOMIC_H
#define DMAKIT_LINUX_ATOMIC_H

#include <linux/types.h>

typedef struct {
    int counter;
} atomic_t;

#define ATOMIC_INIT(value) \
    {                      \
        (value)            \
    }

/* Without order. */
static inline int atomic_read(const atomic_t *atomic)
{
    return __atomic_load_n(&atomic->counter, __ATOMIC_RELAXED);
}
static inline void atomic_set(atomic_t *atomic, int value)
{
    __atomic_store_n(&atomic->counter, value, __ATOMIC_RELAXED);
}
static inline void atomic_add(int value, atomic_t *atomic)
{
    __atomic_fetch_add(&atomic->counter, value, __ATOMIC_RELAXED);
}
static inline void atomic_sub(int value, atomic_t *atomic)
{
    __atomic_fetch_sub(&atomic->counter, value, __ATOMIC_RELAXED);
}
static inline void atomic_inc(atomic_t *atomic)
{
    atomic_add(1, atomic);
}
static inline void atomic_dec(atomic_t *atomic)
{
    atomic_sub(1, atomic);
}

/* Full barriers, with the new value. */
static inline int atomic_add_return(int value, atomic_t *atomic)
{
    return __atomic_add_fetch(&atomic->counter, value, __ATOMIC_SEQ_CST);
}
static inline int atomic_sub_return(int value, atomic_t *atomic)
{
    return __atomic_sub_fetch(&atomic->counter, value, __ATOMIC_SEQ_CST);
}
#define atomic_inc_return(atomic) atomic_add_return(1, atomic)
#define atomic_dec_return(atomic) atomic_sub_return(1, atomic)
#define atomic_inc_and_test(atomic) (atomic_add_return(1, atomic) == 0)
#define atomic_dec_and_test(atomic) (atomic_sub_return(1, atomic) == 0)

/* Full barriers, with the old value. */
static inline int atomic_xchg(atomic_t *atomic, int value)
{
    return __atomic_exchange_n(&atomic->counter, value, __ATOMIC_SEQ_CST);
}
static inline int atomic_cmpxchg(atomic_t *atomic, int from, int to)
{
    __atomic_compare_exchange_n(&atomic->counter, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return from;
}

#endif
