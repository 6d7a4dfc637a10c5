/* SPDX-License-Identifier: MIT */
/*
 * Blocks of notifier chains. Chains of one's own are not here.
 */
#ifndef DMAKIT_NOTIFIER_H
#define DMAKIT_NOTIFIER_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

struct notifier_block;

/* Returns NOTIFY_DONE or NOTIFY_OK; with NOTIFY_STOP_MASK no further block is called. */
typedef int (*notifier_fn_t)(struct notifier_block *block, unsigned long event, void *data);

struct notifier_block {
    notifier_fn_t notifier_call;
    struct notifier_block *next; /* the chain's */
    int priority;
};

#define NOTIFY_DONE 0x0000
#define NOTIFY_OK 0x0001
#define NOTIFY_STOP_MASK 0x8000
#define NOTIFY_BAD (NOTIFY_STOP_MASK | 0x0002)
#define NOTIFY_STOP (NOTIFY_STOP_MASK | NOTIFY_OK)

DK_END_DECLS

#endif
