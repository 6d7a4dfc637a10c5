/* SPDX-License-Identifier: MIT */
/*
 * Stopping stores into a page under the feet of those who store, for as long as it takes to move it: a thread
 * that stores into it waits until it goes on. Loads are not stopped.
 *
 * The kernel does it where it has write protection by userfaultfd for shared memory (Linux 5.19, and a
 * process that may use it): system calls that write into the page wait too. Else the page is made read-only,
 * and a handler of SIGSEGV makes the thread wait: there a system call that writes into it just then fails
 * with EFAULT.
 */
#ifndef DK_MM_WRITE_STOP_H
#define DK_MM_WRITE_STOP_H

#include <dmakit/types.h>
#include <pthread.h>

/* One page of a memory can be stopped at a time. */
struct dk_write_stop {
    pthread_mutex_t lock; /* from dk_writes_stop() to dk_writes_resume() */
    bool by_signal;       /* not by userfaultfd; fixed at the first use */
    bool ready;           /* by one of the two */
    int fd;               /* of the userfaultfd, or -1 */
    const char *page;     /* stopped now by making it read-only, or NULL; atomic, the handler reads it */
    u64 resumed;          /* how often a page was; atomic, the handler reads it */
};

/* @by_signal: userfaultfd is not even tried. */
void dk_write_stop_init(struct dk_write_stop *stop, bool by_signal);
void dk_write_stop_finish(struct dk_write_stop *stop);

/*
 * Stops stores into the page at @page, which lies in the vmalloc space of the memory that @stop belongs to
 * and is mapped shared. On return none is under way. 0, with the lock held until dk_writes_resume(); -EPERM:
 * somebody took SIGSEGV's action from our handler; -ENOMEM: the host is out of memory or mappings. May sleep.
 */
int dk_writes_stop(struct dk_write_stop *stop, char *page);
/* Stores go on: into what is mapped there now if the page was @replaced by a new mapping, else into the same.
 */
void dk_writes_resume(struct dk_write_stop *stop, char *page, bool replaced);

/* The stop of @memory, which private.h does not let the handler see. */
struct dk_memory;
struct dk_write_stop *dk_memory_write_stop(struct dk_memory *memory);

#endif
