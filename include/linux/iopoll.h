/* SPDX-License-Identifier: MIT */
/* <linux/iopoll.h> for driver source. */
#ifndef DMAKIT_LINUX_IOPOLL_H
#define DMAKIT_LINUX_IOPOLL_H

#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/io.h>

/*
 * Reads @address into @value until @condition holds: 0, or -ETIMEDOUT when @timeout_us microseconds passed
 * without (0: waits for ever). Between reads it sleeps at least @sleep_us (0: not at all). May sleep; the
 * _atomic form never does, and waits @delay_us between reads.
 */
#define readl_poll_timeout(address, value, condition, sleep_us, timeout_us) \
    dk_poll(readl, address, value, condition, timeout_us, (sleep_us) ? fsleep(sleep_us) : (void)0)
#define readl_poll_timeout_atomic(address, value, condition, delay_us, timeout_us) \
    dk_poll(readl, address, value, condition, timeout_us, udelay(delay_us))
#define readl_relaxed_poll_timeout(address, value, condition, sleep_us, timeout_us) \
    dk_poll(readl_relaxed, address, value, condition, timeout_us, (sleep_us) ? fsleep(sleep_us) : (void)0)

#define dk_poll(read, address, value, condition, timeout_us, wait)                          \
    __extension__({                                                                         \
        unsigned long dk_deadline = jiffies + usecs_to_jiffies((unsigned)(timeout_us)) + 1; \
        bool dk_met;                                                                        \
        for (;;) {                                                                          \
            bool dk_late = (timeout_us) && time_after(jiffies, dk_deadline);                \
            (value) = read(address);                                                        \
            dk_met = (condition);                                                           \
            if (dk_met || dk_late)                                                          \
                break;                                                                      \
            wait;                                                                           \
        }                                                                                   \
        dk_met ? 0 : -ETIMEDOUT;                                                            \
    })

#endif
