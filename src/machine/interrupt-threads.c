/* SPDX-License-Identifier: MIT */
/*
 * The machine's interrupt thread, and the one for threaded handlers.
 */
#include "base/alloc.h"
#include "base/context.h"
#include "base/log.h"
#include "machine/interrupts.h"

void dk_interrupt_schedule(struct dk_interrupts *interrupts, struct dk_irq_line *line)
{
    if (!line->pending || line->disabled || line->masked || !list_empty(&line->raised))
        return;
    list_add_tail(&line->raised, &interrupts->raised);
    pthread_cond_broadcast(&interrupts->work);
}

/* Calls the handler as a processor would: atomic, and whatever it forgot to unlock is logged and mended. */
static irqreturn_t call_handler(const struct dk_irq_action *action)
{
    struct dk_context *context = dk_context();
    irqreturn_t result;

    if (!action->handler)
        return IRQ_WAKE_THREAD;
    /* What devices wrote before they raised it is there. */
    dk_context_barrier();
    context->atomic_depth++;
    context->interrupt_depth++;
    result = action->handler((int)action->line->irq, action->dev_id);
    context->interrupt_depth--;
    context->atomic_depth--;
    if (context->atomic_depth) {
        dk_log(DK_LOG_ERROR, "irq %u: handler \"%s\" returned with a spinlock held or interrupts off",
               action->line->irq, action->name);
        context->atomic_depth = 0;
        context->interrupts_off = false;
    }
    return result;
}

static void wake_thread(struct dk_interrupts *interrupts, struct dk_irq_action *action)
{
    if (!action->thread_fn) {
        dk_log(DK_LOG_ERROR, "irq %u: handler \"%s\" wakes a thread it does not have", action->line->irq,
               action->name);
        return;
    }
    if (action->dying)
        return;
    if (action->flags & IRQF_ONESHOT)
        action->line->masked++;
    action->wakes++;
    if (list_empty(&action->awake))
        list_add_tail(&action->awake, &interrupts->awake);
    pthread_cond_broadcast(&interrupts->work);
}

/* One interrupt: all of the line's handlers in the order they came. Called with the lock, which is let go in
 * each handler. */
static void run_line(struct dk_interrupts *interrupts, struct dk_irq_line *line)
{
    struct dk_irq_action *action, *following;
    bool handled = false;

    line->pending--;
    line->runs++;
    line->running = true;
    for (action = list_first_entry(&line->actions, struct dk_irq_action, link);
         &action->link != &line->actions; action = following) {
        irqreturn_t result;

        action->in_handler = true;
        pthread_mutex_unlock(&interrupts->lock);
        result = call_handler(action);
        pthread_mutex_lock(&interrupts->lock);
        action->in_handler = false;
        handled = handled || result != IRQ_NONE;
        if (result == IRQ_WAKE_THREAD)
            wake_thread(interrupts, action);
        following = list_next_entry(action, link);
        if (action->dying) {
            list_del(&action->link);
            pthread_cond_broadcast(&interrupts->done);
        }
    }
    /* The last handler left while it ran: what is pending goes with it. */
    if (list_empty(&line->actions))
        line->pending = 0;
    line->running = false;
    pthread_cond_broadcast(&interrupts->done);
    if (!handled && !line->spurious++)
        dk_log(DK_LOG_WARNING, "irq %u: no handler wanted it", line->irq);
}

static void *interrupt_thread(void *data)
{
    struct dk_interrupts *interrupts = data;
    struct dk_irq_line *line;

    dk_machine_enter(interrupts->machine);
    pthread_mutex_lock(&interrupts->lock);
    while (!interrupts->stopping) {
        if (list_empty(&interrupts->raised)) {
            pthread_cond_wait(&interrupts->work, &interrupts->lock);
            continue;
        }
        line = list_first_entry(&interrupts->raised, struct dk_irq_line, raised);
        list_del(&line->raised);
        if (!line->pending || line->disabled || line->masked)
            continue;
        run_line(interrupts, line);
        dk_interrupt_schedule(interrupts, line);
    }
    pthread_mutex_unlock(&interrupts->lock);
    return NULL;
}

static void *threaded_handlers(void *data)
{
    struct dk_interrupts *interrupts = data;
    struct dk_irq_action *action;

    dk_machine_enter(interrupts->machine);
    pthread_mutex_lock(&interrupts->lock);
    while (!interrupts->stopping) {
        if (list_empty(&interrupts->awake)) {
            pthread_cond_wait(&interrupts->work, &interrupts->lock);
            continue;
        }
        action = list_first_entry(&interrupts->awake, struct dk_irq_action, awake);
        list_del(&action->awake);
        action->wakes--;
        action->in_thread = true;
        pthread_mutex_unlock(&interrupts->lock);
        dk_context_barrier();
        action->thread_fn((int)action->line->irq, action->dev_id);
        pthread_mutex_lock(&interrupts->lock);
        action->in_thread = false;
        if (action->flags & IRQF_ONESHOT) {
            action->line->masked--;
            dk_interrupt_schedule(interrupts, action->line);
        }
        if (action->wakes && list_empty(&action->awake))
            list_add_tail(&action->awake, &interrupts->awake);
        pthread_cond_broadcast(&interrupts->done);
    }
    pthread_mutex_unlock(&interrupts->lock);
    return NULL;
}

static int start(pthread_t *thread, bool *started, void *(*body)(void *data),
                 struct dk_interrupts *interrupts)
{
    if (!*started) {
        if (dk_fault_point() || pthread_create(thread, NULL, body, interrupts))
            return -EAGAIN;
        *started = true;
    }
    return 0;
}

int dk_interrupt_threads_start(struct dk_interrupts *interrupts)
{
    int error = start(&interrupts->thread, &interrupts->thread_started, interrupt_thread, interrupts);

    if (error)
        return error;
    return start(&interrupts->sleeper, &interrupts->sleeper_started, threaded_handlers, interrupts);
}

void dk_interrupt_threads_stop(struct dk_interrupts *interrupts)
{
    pthread_mutex_lock(&interrupts->lock);
    interrupts->stopping = true;
    pthread_cond_broadcast(&interrupts->work);
    pthread_mutex_unlock(&interrupts->lock);
    if (interrupts->thread_started)
        pthread_join(interrupts->thread, NULL);
    if (interrupts->sleeper_started)
        pthread_join(interrupts->sleeper, NULL);
}
