/* SPDX-License-Identifier: MIT */
/*
 * Interrupts (Documentation/core-api/genericirq.rst).
 *
 * A machine has one interrupt thread, which runs handlers in atomic context, and another one, in which the
 * threaded handlers run and may sleep. A device has four lines; their numbers are unique in the machine.
 */
#ifndef DMAKIT_INTERRUPT_H
#define DMAKIT_INTERRUPT_H

#include <dmakit/spinlock.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

struct device;
struct platform_device;

enum irqreturn {
    IRQ_NONE = 0, /* not this device */
    IRQ_HANDLED = 1,
    IRQ_WAKE_THREAD = 2, /* run the threaded handler */
};
typedef enum irqreturn irqreturn_t;
#define IRQ_RETVAL(x) ((x) ? IRQ_HANDLED : IRQ_NONE)

typedef irqreturn_t (*irq_handler_t)(int irq, void *dev_id);

#define IRQF_TRIGGER_NONE 0x0ul
#define IRQF_TRIGGER_RISING 0x1ul
#define IRQF_TRIGGER_FALLING 0x2ul
#define IRQF_TRIGGER_HIGH 0x4ul
#define IRQF_TRIGGER_LOW 0x8ul
#define IRQF_SHARED 0x80ul
#define IRQF_ONESHOT 0x2000ul    /* the line stays quiet until the threaded handler has run */
#define IRQF_NO_AUTOEN 0x80000ul /* starts disabled: enable_irq() */

/* Lines of a device. */
#define DK_INTERRUPT_LINES 4

/*
 * Runs @handler(@irq, @dev_id) for each interrupt on line @irq of the current machine; the devm_ forms on
 * @dev's, and until it loses its driver or is removed. @name is copied.
 *
 * request_threaded_irq(): @handler answers IRQ_WAKE_THREAD to have @thread_fn run in the machine's thread for
 * that; NULL always does, and needs IRQF_ONESHOT.
 *
 * 0; -EINVAL no such line, neither function, IRQF_SHARED without @dev_id, or NULL @handler without
 * IRQF_ONESHOT; -EBUSY the line is in use and not shared by all its users; -ENODEV no current machine;
 * -EAGAIN no thread to be had; -ENOMEM. May sleep.
 */
DK_PUBLIC int request_irq(unsigned irq, irq_handler_t handler, unsigned long flags, const char *name,
                          void *dev_id);
DK_PUBLIC int request_threaded_irq(unsigned irq, irq_handler_t handler, irq_handler_t thread_fn,
                                   unsigned long flags, const char *name, void *dev_id);
DK_PUBLIC int devm_request_irq(struct device *dev, unsigned irq, irq_handler_t handler, unsigned long flags,
                               const char *name, void *dev_id);
DK_PUBLIC int devm_request_threaded_irq(struct device *dev, unsigned irq, irq_handler_t handler,
                                        irq_handler_t thread_fn, unsigned long flags, const char *name,
                                        void *dev_id);

/*
 * Takes the handler with @dev_id off line @irq, waiting for it, and for its threaded half, where they are
 * running. The last one takes the line's pending interrupts with it. Returns @dev_id, or NULL with a log
 * line: there is no such handler, or it is the one that is calling, which would wait for itself; then it
 * stays. May sleep.
 */
DK_PUBLIC const void *free_irq(unsigned irq, void *dev_id);
DK_PUBLIC void devm_free_irq(struct device *dev, unsigned irq, void *dev_id);

/*
 * disable_irq() holds the line's interrupts back until as many enable_irq() as disables; all of them are kept
 * and run then. disable_irq() waits for handlers that are running, the _nosync form does not. A handler that
 * would wait for itself does not wait, with a log line. enable_irq() once too often: a log line.
 * disable_irq() may sleep; the other two run in any context.
 */
DK_PUBLIC void disable_irq(unsigned irq);
DK_PUBLIC void disable_irq_nosync(unsigned irq);
DK_PUBLIC void enable_irq(unsigned irq);

/* Waits until no handler of line @irq that runs now, threaded ones too, is running any more. May sleep. */
DK_PUBLIC void synchronize_irq(unsigned irq);

/* The number of line @index of @pdev; -ENXIO when it has none. Any context. */
DK_PUBLIC int platform_get_irq(struct platform_device *pdev, unsigned index);

/* Whether this thread is running a handler. */
DK_PUBLIC bool in_interrupt(void);
#define in_irq() in_interrupt()

/*
 * The model's half: interrupts the CPU on line @index of @dev. Each call is one run of the line's handlers;
 * lines take turns in the order in which they were raised.
 *
 * 0; -EINVAL NULL @dev, no such line; -ENODEV @dev was removed; -ENOENT nobody has asked for the line: the
 * interrupt is lost, as on a line that is masked. Any thread and context; never waits for a handler.
 */
DK_PUBLIC int dk_interrupt_raise(struct device *dev, unsigned index);

/* How many interrupts on line @index of @dev no handler wanted (IRQ_NONE from all). The first is logged. */
DK_PUBLIC unsigned long dk_interrupt_spurious(struct device *dev, unsigned index);

DK_END_DECLS

#endif
