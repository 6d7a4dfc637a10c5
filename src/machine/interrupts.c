/* SPDX-License-Identifier: MIT */
/*
 * Interrupt lines: asking for them, holding them back, raising them.
 */
#include "machine/interrupts.h"

#include "base/alloc.h"
#include "base/log.h"
#include "machine/teardown.h"
#include <dmakit/platform.h>

int dk_interrupts_start(struct dk_machine *machine)
{
    struct dk_interrupts *interrupts = dk_allocate(1, sizeof(*interrupts));

    if (!interrupts)
        return -ENOMEM;
    interrupts->machine = machine;
    pthread_mutex_init(&interrupts->lock, NULL);
    pthread_cond_init(&interrupts->work, NULL);
    pthread_cond_init(&interrupts->done, NULL);
    INIT_LIST_HEAD(&interrupts->lines);
    INIT_LIST_HEAD(&interrupts->raised);
    INIT_LIST_HEAD(&interrupts->awake);
    machine->interrupts = interrupts;
    return 0;
}

static void free_action(struct dk_irq_action *action)
{
    dk_release(action->name);
    dk_release(action);
}

void dk_interrupts_finish(struct dk_machine *machine)
{
    struct dk_interrupts *interrupts = machine->interrupts;
    struct dk_irq_line *line, *next_line;
    struct dk_irq_action *action, *next_action;

    if (!interrupts)
        return;
    machine->interrupts = NULL;
    dk_interrupt_threads_stop(interrupts);
    list_for_each_entry_safe (line, next_line, &interrupts->lines, link) {
        list_for_each_entry_safe (action, next_action, &line->actions, link)
            free_action(action);
        dk_release(line);
    }
    pthread_cond_destroy(&interrupts->done);
    pthread_cond_destroy(&interrupts->work);
    pthread_mutex_destroy(&interrupts->lock);
    dk_release(interrupts);
}

/* Line @irq if it was ever asked for, else NULL. Called with the lock. */
static struct dk_irq_line *find_line(const struct dk_interrupts *interrupts, unsigned irq)
{
    struct dk_irq_line *line;

    list_for_each_entry (line, &interrupts->lines, link) {
        if (line->irq == irq)
            return line;
    }
    return NULL;
}

static struct dk_irq_line *find_or_make_line(struct dk_interrupts *interrupts, unsigned irq)
{
    struct dk_irq_line *line = find_line(interrupts, irq);

    if (line)
        return line;
    line = dk_allocate(1, sizeof(*line));
    if (!line)
        return NULL;
    line->irq = irq;
    INIT_LIST_HEAD(&line->raised);
    INIT_LIST_HEAD(&line->actions);
    list_add_tail(&line->link, &interrupts->lines);
    return line;
}

static bool is_line(struct dk_machine *machine, unsigned irq)
{
    bool is;

    pthread_mutex_lock(&machine->devices_lock);
    is = irq >= DK_FIRST_INTERRUPT && (irq - DK_FIRST_INTERRUPT) / DK_INTERRUPT_LINES < machine->device_count;
    pthread_mutex_unlock(&machine->devices_lock);
    return is;
}

/* Whether another handler with @flags may join those on @line. */
static bool may_join(const struct dk_irq_line *line, unsigned long flags)
{
    const struct dk_irq_action *first = list_first_entry(&line->actions, struct dk_irq_action, link);

    return list_empty(&line->actions) || (first->flags & flags & IRQF_SHARED);
}

/* Called with the lock. */
static int join_line(struct dk_interrupts *interrupts, unsigned irq, struct dk_irq_action *action)
{
    int error = dk_interrupt_threads_start(interrupts);
    struct dk_irq_line *line;

    if (error)
        return error;
    line = find_or_make_line(interrupts, irq);
    if (!line)
        return -ENOMEM;
    if (!may_join(line, action->flags))
        return -EBUSY;
    if (list_empty(&line->actions))
        line->disabled = action->flags & IRQF_NO_AUTOEN ? 1 : 0;
    action->line = line;
    list_add_tail(&action->link, &line->actions);
    return 0;
}

/* A handler of its own line, or NULL when out of memory. */
static struct dk_irq_action *make_action(irq_handler_t handler, irq_handler_t thread_fn, unsigned long flags,
                                         const char *name, void *dev_id)
{
    struct dk_irq_action *action = dk_allocate(1, sizeof(*action));

    if (!action)
        return NULL;
    INIT_LIST_HEAD(&action->link);
    INIT_LIST_HEAD(&action->awake);
    action->handler = handler;
    action->thread_fn = thread_fn;
    action->flags = flags;
    action->dev_id = dev_id;
    action->name = dk_copy_string(name ? name : "");
    if (action->name)
        return action;
    dk_release(action);
    return NULL;
}

static int request(struct dk_machine *machine, unsigned irq, irq_handler_t handler, irq_handler_t thread_fn,
                   unsigned long flags, const char *name, void *dev_id)
{
    struct dk_irq_action *action;
    int error;

    dk_might_sleep("request_irq");
    if (!machine || !machine->interrupts)
        return -ENODEV;
    if (!is_line(machine, irq) || (!handler && !thread_fn) || (!handler && !(flags & IRQF_ONESHOT)) ||
        (flags & IRQF_SHARED && !dev_id))
        return -EINVAL;
    action = make_action(handler, thread_fn, flags, name, dev_id);
    if (!action)
        return -ENOMEM;
    pthread_mutex_lock(&machine->interrupts->lock);
    error = join_line(machine->interrupts, irq, action);
    pthread_mutex_unlock(&machine->interrupts->lock);
    if (error)
        free_action(action);
    return error;
}

int request_irq(unsigned irq, irq_handler_t handler, unsigned long flags, const char *name, void *dev_id)
{
    return request(dk_machine_current(), irq, handler, NULL, flags, name, dev_id);
}

int request_threaded_irq(unsigned irq, irq_handler_t handler, irq_handler_t thread_fn, unsigned long flags,
                         const char *name, void *dev_id)
{
    return request(dk_machine_current(), irq, handler, thread_fn, flags, name, dev_id);
}

/* Whether this thread is running @action, either half, and would wait for itself. Called with the lock. */
static bool is_self(const struct dk_interrupts *interrupts, const struct dk_irq_action *action)
{
    return (action->in_handler && pthread_equal(pthread_self(), interrupts->thread)) ||
           (action->in_thread && pthread_equal(pthread_self(), interrupts->sleeper));
}

/* Takes @action off its line and waits until it has returned. Called with the lock. */
static void retire(struct dk_interrupts *interrupts, struct dk_irq_action *action)
{
    struct dk_irq_line *line = action->line;

    action->dying = true;
    /* In its handler it is the interrupt thread's place in the list, which takes it out itself. */
    if (!action->in_handler)
        list_del(&action->link);
    if (action->flags & IRQF_ONESHOT)
        line->masked -= (unsigned)action->wakes;
    action->wakes = 0;
    list_del(&action->awake);
    while (action->in_handler || action->in_thread)
        pthread_cond_wait(&interrupts->done, &interrupts->lock);
    if (list_empty(&line->actions))
        line->pending = 0;
    dk_interrupt_schedule(interrupts, line);
}

static struct dk_irq_action *find_action(const struct dk_irq_line *line, const void *dev_id)
{
    struct dk_irq_action *action;

    list_for_each_entry (action, &line->actions, link) {
        if (action->dev_id == dev_id && !action->dying)
            return action;
    }
    return NULL;
}

static const void *free_handler(struct dk_machine *machine, unsigned irq, void *dev_id)
{
    struct dk_interrupts *interrupts = machine ? machine->interrupts : NULL;
    struct dk_irq_action *action = NULL;
    const char *reason = "no machine";
    struct dk_irq_line *line;

    dk_might_sleep("free_irq");
    if (interrupts) {
        pthread_mutex_lock(&interrupts->lock);
        line = find_line(interrupts, irq);
        action = line ? find_action(line, dev_id) : NULL;
        reason = action ? NULL : "no such handler";
        if (action && is_self(interrupts, action))
            reason = "the handler frees itself";
        if (!reason)
            retire(interrupts, action);
        pthread_mutex_unlock(&interrupts->lock);
    }
    if (reason) {
        dk_log(DK_LOG_ERROR, "free_irq %u: %s", irq, reason);
        return NULL;
    }
    free_action(action);
    return dev_id;
}

const void *free_irq(unsigned irq, void *dev_id)
{
    return free_handler(dk_machine_current(), irq, dev_id);
}

void dk_interrupts_device_removed(struct device *dev)
{
    struct dk_interrupts *interrupts = dk_device_machine(dev)->interrupts;
    unsigned first = DK_FIRST_INTERRUPT + dev->dk->number * DK_INTERRUPT_LINES;
    struct dk_irq_action *action;
    struct dk_irq_line *line;
    unsigned irq;

    if (!interrupts)
        return;
    for (irq = first; irq < first + DK_INTERRUPT_LINES; irq++) {
        pthread_mutex_lock(&interrupts->lock);
        line = find_line(interrupts, irq);
        while (line && !list_empty(&line->actions)) {
            action = list_first_entry(&line->actions, struct dk_irq_action, link);
            if (action->dying || is_self(interrupts, action)) {
                line->pending = 0;
                break;
            }
            dk_device_log(dev, DK_LOG_WARNING, "removed with handler \"%s\" on irq %u", action->name, irq);
            retire(interrupts, action);
            free_action(action);
        }
        pthread_mutex_unlock(&interrupts->lock);
    }
}

/* ---- Managed handlers ---- */

struct managed_irq {
    struct device *dev;
    unsigned irq;
    void *dev_id;
};

static void release_irq(void *data)
{
    struct managed_irq *managed = data;

    free_handler(dk_device_machine(managed->dev), managed->irq, managed->dev_id);
    dk_release(managed);
}

static bool same_irq(const void *data, const void *key)
{
    const struct managed_irq *managed = data;
    const struct managed_irq *wanted = key;

    return managed->irq == wanted->irq && managed->dev_id == wanted->dev_id;
}

int devm_request_threaded_irq(struct device *dev, unsigned irq, irq_handler_t handler,
                              irq_handler_t thread_fn, unsigned long flags, const char *name, void *dev_id)
{
    struct managed_irq *managed = dk_allocate(1, sizeof(*managed));
    int error;

    if (!managed)
        return -ENOMEM;
    *managed = (struct managed_irq){ dev, irq, dev_id };
    error =
        request(dk_device_machine(dev), irq, handler, thread_fn, flags, name ? name : dev_name(dev), dev_id);
    if (error) {
        dk_release(managed);
        return error;
    }
    return devm_add_action_or_reset(dev, release_irq, managed);
}

int devm_request_irq(struct device *dev, unsigned irq, irq_handler_t handler, unsigned long flags,
                     const char *name, void *dev_id)
{
    return devm_request_threaded_irq(dev, irq, handler, NULL, flags, name, dev_id);
}

void devm_free_irq(struct device *dev, unsigned irq, void *dev_id)
{
    const struct managed_irq wanted = { dev, irq, dev_id };
    struct managed_irq *managed = dk_managed_take(dev, release_irq, same_irq, &wanted);

    if (managed)
        release_irq(managed);
    else
        dk_device_log(dev, DK_LOG_ERROR, "devm_free_irq %u: no such handler", irq);
}

/* ---- Holding back ---- */

static bool thread_runs(const struct dk_irq_line *line)
{
    const struct dk_irq_action *action;

    list_for_each_entry (action, &line->actions, link) {
        if (action->in_thread)
            return true;
    }
    return false;
}

/* Whether this thread runs a handler of @line. Called with the lock. */
static bool in_own_handler(const struct dk_interrupts *interrupts, const struct dk_irq_line *line)
{
    const struct dk_irq_action *action;

    list_for_each_entry (action, &line->actions, link) {
        if (is_self(interrupts, action))
            return true;
    }
    return false;
}

/* Waits for the handlers of @line that run now. Called with the lock. */
static void wait_for_handlers(struct dk_interrupts *interrupts, const struct dk_irq_line *line,
                              const char *call)
{
    unsigned long run = line->runs;

    if (in_own_handler(interrupts, line)) {
        dk_log(DK_LOG_ERROR, "%s %u: in the line's own handler, which it would wait for", call, line->irq);
        return;
    }
    while ((line->running && line->runs == run) || thread_runs(line))
        pthread_cond_wait(&interrupts->done, &interrupts->lock);
}

/* Line @irq of the current machine with the lock held, or NULL without it, with a log line. */
static struct dk_irq_line *lock_line(struct dk_interrupts **interrupts, unsigned irq, const char *call)
{
    struct dk_machine *machine = dk_machine_current();
    struct dk_irq_line *line = NULL;

    *interrupts = machine ? machine->interrupts : NULL;
    if (*interrupts) {
        pthread_mutex_lock(&(*interrupts)->lock);
        line = find_line(*interrupts, irq);
        if (line)
            return line;
        pthread_mutex_unlock(&(*interrupts)->lock);
    }
    dk_log(DK_LOG_ERROR, "%s %u: no such line is in use", call, irq);
    return NULL;
}

void disable_irq_nosync(unsigned irq)
{
    struct dk_interrupts *interrupts;
    struct dk_irq_line *line = lock_line(&interrupts, irq, "disable_irq_nosync");

    if (!line)
        return;
    line->disabled++;
    pthread_mutex_unlock(&interrupts->lock);
}

void disable_irq(unsigned irq)
{
    struct dk_interrupts *interrupts;
    struct dk_irq_line *line = lock_line(&interrupts, irq, "disable_irq");

    if (!line)
        return;
    line->disabled++;
    wait_for_handlers(interrupts, line, "disable_irq");
    pthread_mutex_unlock(&interrupts->lock);
}

void synchronize_irq(unsigned irq)
{
    struct dk_interrupts *interrupts;
    struct dk_irq_line *line;

    dk_might_sleep("synchronize_irq");
    line = lock_line(&interrupts, irq, "synchronize_irq");
    if (!line)
        return;
    wait_for_handlers(interrupts, line, "synchronize_irq");
    pthread_mutex_unlock(&interrupts->lock);
}

void enable_irq(unsigned irq)
{
    struct dk_interrupts *interrupts;
    struct dk_irq_line *line = lock_line(&interrupts, irq, "enable_irq");

    if (!line)
        return;
    if (line->disabled) {
        line->disabled--;
        dk_interrupt_schedule(interrupts, line);
    } else {
        dk_log(DK_LOG_ERROR, "enable_irq %u: it is not disabled", irq);
    }
    pthread_mutex_unlock(&interrupts->lock);
}

/* ---- The device's side ---- */

static unsigned number_of(const struct device *dev, unsigned index)
{
    return DK_FIRST_INTERRUPT + dev->dk->number * DK_INTERRUPT_LINES + index;
}

int platform_get_irq(struct platform_device *pdev, unsigned index)
{
    return index < DK_INTERRUPT_LINES ? (int)number_of(&pdev->dev, index) : -ENXIO;
}

int dk_interrupt_raise(struct device *dev, unsigned index)
{
    struct dk_interrupts *interrupts;
    struct dk_irq_line *line;
    int error = 0;

    if (!dev || index >= DK_INTERRUPT_LINES)
        return -EINVAL;
    interrupts = dk_device_machine(dev)->interrupts;
    if (dk_device_is_removed(dev) || !interrupts)
        return -ENODEV;
    pthread_mutex_lock(&interrupts->lock);
    line = find_line(interrupts, number_of(dev, index));
    if (line && !list_empty(&line->actions)) {
        line->pending++;
        dk_interrupt_schedule(interrupts, line);
    } else {
        error = -ENOENT;
    }
    pthread_mutex_unlock(&interrupts->lock);
    return error;
}

unsigned long dk_interrupt_spurious(struct device *dev, unsigned index)
{
    struct dk_interrupts *interrupts = dk_device_machine(dev)->interrupts;
    struct dk_irq_line *line;
    unsigned long count;

    pthread_mutex_lock(&interrupts->lock);
    line = find_line(interrupts, number_of(dev, index));
    count = line ? line->spurious : 0;
    pthread_mutex_unlock(&interrupts->lock);
    return count;
}
