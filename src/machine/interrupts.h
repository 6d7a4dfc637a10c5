/* SPDX-License-Identifier: MIT */
/*
 * Interrupt lines, as the thread that serves them and the calls that change them share them.
 */
#ifndef DK_MACHINE_INTERRUPTS_H
#define DK_MACHINE_INTERRUPTS_H

#include "machine/machine.h"
#include <dmakit/interrupt.h>

#define DK_FIRST_INTERRUPT 32u

/* One handler on a line. */
struct dk_irq_action {
    struct list_head link; /* in dk_irq_line.actions */
    struct dk_irq_line *line;
    irq_handler_t handler;
    irq_handler_t thread_fn;
    unsigned long flags;
    char *name;
    void *dev_id;
    struct list_head awake; /* in dk_interrupts.awake while its threaded half is to run */
    unsigned long wakes;    /* how often it is to run */
    bool in_handler;
    bool in_thread;
    bool dying; /* free_irq() waits for it: it is not called any more */
};

/* A line that was asked for once; it stays until the machine goes. */
struct dk_irq_line {
    struct list_head link;   /* in dk_interrupts.lines */
    struct list_head raised; /* in dk_interrupts.raised while its turn is to come */
    struct list_head actions;
    unsigned irq;
    unsigned disabled;     /* depth of disable_irq() */
    unsigned masked;       /* threaded halves that hold it, IRQF_ONESHOT */
    unsigned long pending; /* raised and not yet handled */
    unsigned long spurious;
    unsigned long runs; /* started ones */
    bool running;
};

struct dk_interrupts {
    struct dk_machine *machine;
    pthread_mutex_t lock; /* guards everything; not held in handlers */
    pthread_cond_t work;  /* something was raised or woken, or it is time to stop */
    pthread_cond_t done;  /* a handler returned */
    pthread_t thread;
    pthread_t sleeper; /* runs threaded halves */
    bool thread_started;
    bool sleeper_started;
    bool stopping;
    struct list_head lines;
    struct list_head raised;
    struct list_head awake;
};

/* Starts the two threads if they are not running. 0 or -EAGAIN. Called with the lock. */
int dk_interrupt_threads_start(struct dk_interrupts *interrupts);
/* Stops and joins them; what is pending stays. */
void dk_interrupt_threads_stop(struct dk_interrupts *interrupts);
/* Gives @line its turn when something is pending and nothing holds it. Called with the lock. */
void dk_interrupt_schedule(struct dk_interrupts *interrupts, struct dk_irq_line *line);

#endif
