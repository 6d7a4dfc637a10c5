/* SPDX-License-Identifier: MIT */
/*
 * Time: delays and jiffies (Documentation/timers/timers-howto.rst).
 */
#ifndef DMAKIT_DELAY_H
#define DMAKIT_DELAY_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

/* Jiffies a second. The host's headers have a macro of this name, for another clock. */
#undef HZ
#define HZ 1000
#define MAX_JIFFY_OFFSET ((unsigned long)(LONG_MAX >> 1) - 1)

/* Jiffies that have passed since the host started. Any context. */
DK_PUBLIC unsigned long dk_jiffies(void);
#define jiffies dk_jiffies()

static inline unsigned long msecs_to_jiffies(unsigned milliseconds)
{
    return milliseconds;
}
static inline unsigned jiffies_to_msecs(unsigned long count)
{
    return (unsigned)count;
}
static inline unsigned long usecs_to_jiffies(unsigned microseconds)
{
    return ((unsigned long)microseconds + 999) / 1000;
}

#define time_after(a, b) ((long)((b) - (a)) < 0)
#define time_before(a, b) time_after(b, a)
#define time_after_eq(a, b) ((long)((a) - (b)) >= 0)
#define time_before_eq(a, b) time_after_eq(b, a)

/* At least so long; may sleep, and reported in atomic context. */
DK_PUBLIC void msleep(unsigned milliseconds);
DK_PUBLIC void usleep_range(unsigned long least, unsigned long most);
static inline void ssleep(unsigned seconds)
{
    msleep(seconds * 1000);
}
static inline void fsleep(unsigned long microseconds)
{
    usleep_range(microseconds, microseconds);
}

/* Busy for at least so long. Any context. */
DK_PUBLIC void ndelay(unsigned long nanoseconds);
static inline void udelay(unsigned long microseconds)
{
    ndelay(microseconds * 1000);
}
static inline void mdelay(unsigned long milliseconds)
{
    ndelay(milliseconds * 1000000);
}

DK_END_DECLS

#endif
