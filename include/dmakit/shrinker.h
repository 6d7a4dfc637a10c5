/* SPDX-License-Identifier: MIT */
/*
 * Shrinkers: callbacks of caches that give memory back when pages run short (Documentation/mm, and
 * Documentation/filesystems/porting.rst for the older form).
 */
#ifndef DMAKIT_SHRINKER_H
#define DMAKIT_SHRINKER_H

#include <dmakit/gfp.h>
#include <dmakit/list.h>
#include <dmakit/notifier.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

/* What an allocation asks of a shrinker. */
struct shrink_control {
    gfp_t gfp_mask; /* the allocation's: a callback that would need __GFP_FS or __GFP_IO looks here */
    int nid;        /* 0 */
    unsigned long nr_to_scan; /* objects, at most the shrinker's batch */
    unsigned long nr_scanned; /* what was looked at; nr_to_scan unless the callback says otherwise */
};

/* From scan_objects: nothing can be freed now, in this context. */
#define SHRINK_STOP (~0UL)
/* From count_objects: there are no objects. As 0, which means that they cannot be counted or freed now. */
#define SHRINK_EMPTY (~0UL - 1)

#define DEFAULT_SEEKS 2

/*
 * A cache that can be shrunk. Callbacks run in the thread whose allocation found too little memory, which may
 * sleep, with no lock of this library's allocators held; one shrinker's may run in several threads at once.
 * They may free anything; what they allocate may use all reserves, and calls no shrinker again. They must not
 * register or free shrinkers.
 */
struct shrinker {
    /* How many objects could be freed; 0 or SHRINK_EMPTY: none. Is not to wait for locks. */
    unsigned long (*count_objects)(struct shrinker *shrinker, struct shrink_control *control);
    /* Looks at up to control->nr_to_scan objects; returns how many it freed, or SHRINK_STOP. */
    unsigned long (*scan_objects)(struct shrinker *shrinker, struct shrink_control *control);
    long batch; /* objects for each call of scan_objects; 0: 128 */
    int seeks;  /* what it costs to make an object anew: twice DEFAULT_SEEKS halves the pressure, less is as
                   DEFAULT_SEEKS; 0: nothing */
    unsigned flags; /* SHRINKER_*: accepted, and without meaning on a machine with one node and no groups */
    void *private_data;

    /* The library's. */
    struct list_head dk_link;
    struct dk_reclaim *dk_reclaim; /* NULL: not registered */
    char *dk_name;                 /* NULL unless shrinker_alloc() made it */
};

#define SHRINKER_NUMA_AWARE 0x1u
#define SHRINKER_MEMCG_AWARE 0x2u
#define SHRINKER_NONSLAB 0x4u

/*
 * A shrinker without callbacks, of seeks DEFAULT_SEEKS, that is not called before shrinker_register().
 * @format names it. NULL: out of memory, or no current machine. The caller's; shrinker_free().
 */
DK_PUBLIC struct shrinker *shrinker_alloc(unsigned flags, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Starts calling @shrinker for the current machine's allocations. One without callbacks, or one registered
 * already, is refused with a log line. May sleep. */
DK_PUBLIC void shrinker_register(struct shrinker *shrinker);
/* Ends that, waits for callbacks that run, and frees @shrinker; what shrinker_alloc() did not make is not
 * freed, with a log line. NULL is fine. May sleep. */
DK_PUBLIC void shrinker_free(struct shrinker *shrinker);

/* The older form, of a shrinker that is the caller's memory; seeks 0 means DEFAULT_SEEKS here. 0; -EINVAL
 * without callbacks, -EBUSY registered already, -ENODEV without a current machine. May sleep. */
DK_PUBLIC int dk_register_shrinker(struct shrinker *shrinker);
/* With and without the name that Linux 6.0 added. */
#define register_shrinker(shrinker, ...) dk_register_shrinker(shrinker)
/* Ends that, and waits for callbacks that run. What is not registered is refused with a log line. */
DK_PUBLIC void unregister_shrinker(struct shrinker *shrinker);

/*
 * Calls @block when shrinkers gave the current machine's allocation nothing, before it fails, if that is of
 * order 3 at most, with __GFP_FS and without __GFP_NORETRY and __GFP_RETRY_MAYFAIL: with event 0 and a
 * pointer to an unsigned long, to which the callback adds the pages that it freed. The highest priority
 * first; one that returns NOTIFY_STOP is the last. As shrinkers' callbacks otherwise. 0; -EEXIST registered
 * already; -ENODEV without a current machine. May sleep. @block is the caller's, and stays until it is
 * unregistered.
 */
DK_PUBLIC int register_oom_notifier(struct notifier_block *block);
/* Ends that, and waits for callbacks that run. 0; -ENOENT: it is not registered with the current machine;
 * -ENODEV. May sleep. */
DK_PUBLIC int unregister_oom_notifier(struct notifier_block *block);

DK_END_DECLS

#endif
