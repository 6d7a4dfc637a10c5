/* SPDX-License-Identifier: MIT */
/*
 * Atomic context: what makes a thread atomic, and what reports sleeping there.
 */
#include "base/context.h"
#include "base/log.h"
#include "machine/machine.h"
#include <dmakit/interrupt.h>

bool in_atomic(void)
{
    return dk_context()->atomic_depth;
}

void dk_might_sleep(const char *call)
{
    const struct dk_finding finding = {
        .class_name = "sleeps-in-atomic",
        .call = call,
        .dma = ~(dma_addr_t)0,
        .what =
            "A call that may sleep was made in atomic context: under a spinlock, with interrupts disabled, or in an "
            "interrupt handler.",
        .advice = "Make it after leaving atomic context, or in a threaded handler.",
    };
    const struct dk_memory *memory = in_atomic() ? dk_memory_current() : NULL;

    if (memory)
        dk_hooks_finding(dk_memory_hooks(memory), &finding);
}

void preempt_disable(void)
{
    dk_context()->atomic_depth++;
}

void preempt_enable(void)
{
    struct dk_context *context = dk_context();

    if (context->atomic_depth > context->interrupts_off)
        context->atomic_depth--;
    else
        dk_log(DK_LOG_ERROR, "an unlock or enable without its lock or disable in this thread");
}

unsigned long dk_irq_save(void)
{
    struct dk_context *context = dk_context();
    bool off = context->interrupts_off;

    if (!off) {
        context->interrupts_off = true;
        context->atomic_depth++;
    }
    return off;
}

void dk_irq_restore(unsigned long flags)
{
    struct dk_context *context = dk_context();

    if (flags || !context->interrupts_off)
        return;
    context->interrupts_off = false;
    context->atomic_depth--;
}

void local_irq_disable(void)
{
    dk_irq_save();
}

void local_irq_enable(void)
{
    dk_irq_restore(0);
}

bool irqs_disabled(void)
{
    return dk_context()->interrupts_off || dk_context()->interrupt_depth;
}

bool in_interrupt(void)
{
    return dk_context()->interrupt_depth;
}
