/* SPDX-License-Identifier: MIT */
/*
 * Interrupts: who is called, how often, in what order and context.
 */
#include "compose.h"

#include "base/context.h"
#include <dmakit/completion.h>
#include <dmakit/platform.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

struct listener {
    unsigned calls; /* atomic */
    unsigned thread_entered, thread_calls;
    irqreturn_t answer;
    unsigned irq;
    bool atomic_context, interrupt_context, slept_in_thread;
    struct dk_machine *machine;
    struct completion *gate; /* waited for in the handler */
    char letter;
};

static char order[256];
static unsigned ordered;

static irqreturn_t listen(int irq, void *data)
{
    struct listener *l = data;
    unsigned at = ordered;

    if (l->letter && at < sizeof(order) - 1) {
        order[at] = l->letter;
        ordered = at + 1;
    }
    l->irq = (unsigned)irq;
    l->atomic_context = in_atomic() && dk_context()->atomic_depth == 1;
    l->interrupt_context = in_interrupt() && dk_context()->interrupt_depth == 1;
    l->machine = dk_machine_current();
    __atomic_add_fetch(&l->calls, 1, __ATOMIC_RELEASE);
    while (l->gate && !try_wait_for_completion(l->gate))
        udelay(10);
    return l->answer;
}

static irqreturn_t listen_asleep(int irq, void *data)
{
    struct listener *l = data;

    (void)irq;
    l->slept_in_thread = !in_atomic() && !in_interrupt();
    __atomic_add_fetch(&l->thread_entered, 1, __ATOMIC_RELEASE);
    usleep_range(1, 2);
    if (l->gate)
        wait_for_completion(l->gate);
    __atomic_add_fetch(&l->thread_calls, 1, __ATOMIC_RELEASE);
    return IRQ_HANDLED;
}

static struct device *device(struct composed *c)
{
    return dk_device_find(&c->machine, "dma0");
}

static unsigned irq_of(struct device *dev, unsigned index)
{
    return (unsigned)platform_get_irq(to_platform_device(dev), index);
}

static void test_a_handler_is_called(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct composed *other = compose(&(struct shape){ 0 });
    struct listener l = { .answer = IRQ_HANDLED };
    struct device *dev = device(c);
    unsigned irq = irq_of(dev, 2);

    (void)state;
    assert_int_equal(irq, 32 + dev->dk->number * 4 + 2);
    assert_int_equal(platform_get_irq(to_platform_device(dev), 4), -ENXIO);
    assert_int_equal(dk_interrupt_raise(dev, 2), -ENOENT);
    dk_machine_enter(&c->machine);
    assert_int_equal(request_irq(irq, listen, 0, "one", &l), 0);
    assert_int_equal(dk_interrupt_raise(dev, 2), 0);
    assert_int_equal(wait_for(&l.calls, 1), 1);
    synchronize_irq(irq);
    assert_int_equal(l.irq, irq);
    assert_true(l.atomic_context && l.interrupt_context);
    assert_false(in_interrupt() || in_atomic());
    assert_ptr_equal(l.machine, &c->machine);
    assert_int_equal(dk_interrupt_raise(dev, 1), -ENOENT);
    assert_int_equal(dk_interrupt_raise(dev, 4), -EINVAL);
    assert_int_equal(dk_interrupt_raise(NULL, 0), -EINVAL);
    assert_int_equal(dk_interrupt_raise(device(other), 2), -ENOENT);
    assert_ptr_equal(free_irq(irq, &l), &l);
    assert_int_equal(dk_interrupt_raise(dev, 2), -ENOENT);
    assert_int_equal(dk_interrupt_spurious(dev, 2), 0);
    dk_device_remove(dev);
    assert_int_equal(dk_interrupt_raise(dev, 2), -ENODEV);
    dispose(other);
    dispose(c);
}

static void test_requests_refused(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct device *dev = device(c);
    unsigned irq = irq_of(dev, 0);
    struct listener l = { .answer = IRQ_HANDLED };
    struct dk_machine *machine;

    (void)state;
    assert_int_equal(request_irq(31, listen, 0, "x", &l), -EINVAL);
    assert_int_equal(request_irq(32, listen, 0, "x", &l), 0);
    free_irq(32, &l);
    assert_int_equal(request_irq(32 + c->machine.device_count * 4, listen, 0, "x", &l), -EINVAL);
    assert_int_equal(request_irq(32 + c->machine.device_count * 4 - 1, listen, 0, "x", &l), 0);
    assert_int_equal(request_irq(irq, NULL, 0, "x", &l), -EINVAL);
    assert_int_equal(request_irq(irq, listen, IRQF_SHARED, "x", NULL), -EINVAL);
    assert_int_equal(request_threaded_irq(irq, NULL, listen, 0, "x", &l), -EINVAL);
    assert_int_equal(request_threaded_irq(irq, NULL, NULL, IRQF_ONESHOT, "x", &l), -EINVAL);
    assert_int_equal(request_irq(irq, listen, 0, NULL, NULL), 0);
    assert_int_equal(request_irq(irq, listen, 0, "x", &l), -EBUSY);
    assert_int_equal(request_irq(irq, listen, IRQF_SHARED, "x", &l), -EBUSY);
    log_lines();
    assert_null(free_irq(irq, &l));
    assert_null(free_irq(irq + 1, &l));
    assert_int_equal(log_lines(), 2);
    free_irq(irq, NULL);
    assert_int_equal(request_irq(irq, listen, IRQF_SHARED, "x", &l), 0);
    assert_int_equal(request_irq(irq, listen, 0, "x", &l), -EBUSY);
    log_lines();
    disable_irq(7);
    disable_irq_nosync(7);
    enable_irq(7);
    synchronize_irq(7);
    enable_irq(irq);
    assert_int_equal(log_lines(), 5);
    machine = dk_machine_enter(NULL);
    dispose(c);
    (void)machine;
    assert_int_equal(request_irq(irq, listen, 0, "x", &l), -ENODEV);
    assert_null(free_irq(irq, &l));
}

static void test_sharing_and_order(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct listener a = { .answer = IRQ_NONE, .letter = 'a' }, b = { .answer = IRQ_HANDLED, .letter = 'b' };
    struct listener d = { .answer = IRQ_HANDLED, .letter = 'd' };
    struct device *dev = device(c);
    unsigned irq = irq_of(dev, 0), second = irq_of(dev, 1);

    (void)state;
    memset(order, 0, sizeof(order));
    ordered = 0;
    assert_int_equal(request_irq(irq, listen, IRQF_SHARED, "a", &a), 0);
    disable_irq(irq);
    /* A handler that joins does not enable the line. */
    assert_int_equal(request_irq(irq, listen, IRQF_SHARED, "b", &b), 0);
    assert_int_equal(request_irq(second, listen, IRQF_NO_AUTOEN, "d", &d), 0);
    dk_interrupt_raise(dev, 1);
    dk_interrupt_raise(dev, 0);
    dk_interrupt_raise(dev, 1);
    assert_int_equal(a.calls + b.calls + d.calls, 0);
    enable_irq(second);
    assert_int_equal(wait_for(&d.calls, 2), 2);
    enable_irq(irq);
    assert_int_equal(wait_for(&b.calls, 1), 1);
    synchronize_irq(irq);
    assert_string_equal(order, "ddab");
    assert_int_equal(dk_interrupt_spurious(dev, 0), 0);

    /* The one left wants nothing: spurious, and one log line for all of them. */
    free_irq(irq, &b);
    log_lines();
    dk_interrupt_raise(dev, 0);
    dk_interrupt_raise(dev, 0);
    assert_int_equal(wait_for(&a.calls, 3), 3);
    synchronize_irq(irq);
    assert_int_equal(dk_interrupt_spurious(dev, 0), 2);
    assert_int_equal(log_lines(), 1);
    assert_int_equal(b.calls, 1);
    dispose(c);
}

static void test_disabling(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct listener l = { .answer = IRQ_HANDLED };
    struct device *dev = device(c);
    unsigned irq = irq_of(dev, 0);
    unsigned i;

    (void)state;
    assert_int_equal(request_irq(irq, listen, 0, "x", &l), 0);
    disable_irq(irq);
    disable_irq_nosync(irq);
    for (i = 0; i < 5; i++)
        assert_int_equal(dk_interrupt_raise(dev, 0), 0);
    enable_irq(irq);
    msleep(20);
    assert_int_equal(l.calls, 0);
    enable_irq(irq);
    assert_int_equal(wait_for(&l.calls, 5), 5);

    /* What is pending when the last handler goes is lost. */
    disable_irq(irq);
    dk_interrupt_raise(dev, 0);
    free_irq(irq, &l);
    assert_int_equal(request_irq(irq, listen, 0, "x", &l), 0);
    dk_interrupt_raise(dev, 0);
    assert_int_equal(wait_for(&l.calls, 6), 6);
    synchronize_irq(irq);
    msleep(5);
    assert_int_equal(l.calls, 6);
    dispose(c);
}

struct waiting {
    unsigned irq;
    void *dev_id;
    unsigned done;
    int call;
    struct dk_machine *machine;
};

static void *wait_in_call(void *data)
{
    struct waiting *waiting = data;

    dk_machine_enter(waiting->machine);
    if (waiting->call == 'f')
        free_irq(waiting->irq, waiting->dev_id);
    else if (waiting->call == 'd')
        disable_irq(waiting->irq);
    else
        synchronize_irq(waiting->irq);
    __atomic_store_n(&waiting->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* Each of the calls that wait waits for a running handler, either half. */
static void test_waiting_for_a_handler(void **state)
{
    static const char calls[] = "fds";
    unsigned i, threaded;

    (void)state;
    for (i = 0; calls[i]; i++) {
        for (threaded = 0; threaded < 2; threaded++) {
            struct composed *c = compose(&(struct shape){ 0 });
            DECLARE_COMPLETION_ONSTACK(gate);
            struct listener l = { .answer = IRQ_HANDLED, .gate = &gate };
            struct device *dev = device(c);
            struct waiting waiting = {
                .irq = irq_of(dev, 0), .dev_id = &l, .call = calls[i], .machine = &c->machine
            };
            pthread_t thread;

            if (threaded)
                assert_int_equal(
                    request_threaded_irq(waiting.irq, NULL, listen_asleep, IRQF_ONESHOT, "x", &l), 0);
            else
                assert_int_equal(request_irq(waiting.irq, listen, 0, "x", &l), 0);
            dk_interrupt_raise(dev, 0);
            assert_int_equal(wait_for(threaded ? &l.thread_entered : &l.calls, 1), 1);
            assert_int_equal(pthread_create(&thread, NULL, wait_in_call, &waiting), 0);
            msleep(10);
            assert_int_equal(__atomic_load_n(&waiting.done, __ATOMIC_ACQUIRE), 0);
            complete_all(&gate);
            assert_int_equal(wait_for(&waiting.done, 1), 1);
            assert_int_equal(threaded ? l.thread_calls : l.calls, 1);
            pthread_join(thread, NULL);
            dispose(c);
        }
    }
}

static irqreturn_t free_self(int irq, void *data)
{
    struct listener *l = data;

    if (free_irq((unsigned)irq, data))
        l->answer = IRQ_NONE;
    disable_irq((unsigned)irq);
    enable_irq((unsigned)irq);
    synchronize_irq((unsigned)irq);
    __atomic_add_fetch(&l->calls, 1, __ATOMIC_RELEASE);
    return IRQ_WAKE_THREAD;
}

static irqreturn_t free_self_asleep(int irq, void *data)
{
    struct listener *l = data;

    if (free_irq((unsigned)irq, data))
        l->answer = IRQ_NONE;
    __atomic_add_fetch(&l->thread_calls, 1, __ATOMIC_RELEASE);
    return IRQ_HANDLED;
}

/* A handler that would wait for itself does not, stays, and a log line says so. */
static void test_no_handler_waits_for_itself(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct listener l = { .answer = IRQ_HANDLED };
    struct device *dev = device(c);
    unsigned irq = irq_of(dev, 0);

    (void)state;
    assert_int_equal(request_threaded_irq(irq, free_self, free_self_asleep, 0, "x", &l), 0);
    log_lines();
    dk_interrupt_raise(dev, 0);
    assert_int_equal(wait_for(&l.thread_calls, 1), 1);
    synchronize_irq(irq);
    assert_int_equal(l.calls, 1);
    assert_int_equal(l.answer, IRQ_HANDLED);
    assert_int_equal(log_lines(), 4);
    /* And sleeping calls in the atomic half are findings. */
    assert_int_equal(c->findings, 2);
    assert_string_equal(c->finding_class, "sleeps-in-atomic");
    assert_ptr_equal(free_irq(irq, &l), &l);
    dispose(c);
}

static struct listener *victim;

static irqreturn_t free_other(int irq, void *data)
{
    struct listener *l = data;

    if (victim)
        free_irq((unsigned)irq, victim);
    victim = NULL;
    __atomic_add_fetch(&l->calls, 1, __ATOMIC_RELEASE);
    return IRQ_HANDLED;
}

static void test_freeing_a_neighbour_in_a_handler(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct listener first = { .answer = IRQ_HANDLED }, second = first, third = first;
    struct device *dev = device(c);
    unsigned irq = irq_of(dev, 0);

    (void)state;
    assert_int_equal(request_irq(irq, free_other, IRQF_SHARED, "1", &first), 0);
    assert_int_equal(request_irq(irq, listen, IRQF_SHARED, "2", &second), 0);
    assert_int_equal(request_irq(irq, listen, IRQF_SHARED, "3", &third), 0);
    victim = &second;
    dk_interrupt_raise(dev, 0);
    assert_int_equal(wait_for(&third.calls, 1), 1);
    synchronize_irq(irq);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 0);
    dispose(c);
}

static void test_threaded_handlers(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    DECLARE_COMPLETION_ONSTACK(gate);
    struct listener l = { .answer = IRQ_WAKE_THREAD }, once = { .gate = &gate },
                    wrong = { .answer = IRQ_WAKE_THREAD };
    struct device *dev = device(c);

    (void)state;
    assert_int_equal(request_threaded_irq(irq_of(dev, 0), listen, listen_asleep, 0, "x", &l), 0);
    dk_interrupt_raise(dev, 0);
    dk_interrupt_raise(dev, 0);
    assert_int_equal(wait_for(&l.thread_calls, 2), 2);
    assert_true(l.slept_in_thread);
    assert_int_equal(l.calls, 2);
    assert_int_equal(c->findings, 0);

    /* IRQF_ONESHOT: the line waits for the threaded half. */
    assert_int_equal(request_threaded_irq(irq_of(dev, 1), NULL, listen_asleep, IRQF_ONESHOT, "x", &once), 0);
    dk_interrupt_raise(dev, 1);
    dk_interrupt_raise(dev, 1);
    complete(&gate);
    assert_int_equal(wait_for(&once.thread_calls, 1), 1);
    msleep(5);
    assert_int_equal(once.thread_calls, 1);
    complete(&gate);
    assert_int_equal(wait_for(&once.thread_calls, 2), 2);

    /* Waking what is not there is a log line. */
    log_lines();
    assert_int_equal(request_irq(irq_of(dev, 2), listen, 0, "x", &wrong), 0);
    dk_interrupt_raise(dev, 2);
    assert_int_equal(wait_for(&wrong.calls, 1), 1);
    synchronize_irq(irq_of(dev, 2));
    assert_int_equal(log_lines(), 1);
    dispose(c);
}

static irqreturn_t forget_unlock(int irq, void *data)
{
    struct listener *l = data;

    (void)irq;
    local_irq_disable();
    preempt_disable();
    __atomic_add_fetch(&l->calls, 1, __ATOMIC_RELEASE);
    return IRQ_HANDLED;
}

static void test_forgotten_unlock_is_mended(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct listener l = { 0 }, after = { .answer = IRQ_HANDLED };
    struct device *dev = device(c);

    (void)state;
    assert_int_equal(request_irq(irq_of(dev, 0), forget_unlock, 0, "x", &l), 0);
    assert_int_equal(request_irq(irq_of(dev, 1), listen, 0, "x", &after), 0);
    log_lines();
    dk_interrupt_raise(dev, 0);
    dk_interrupt_raise(dev, 1);
    assert_int_equal(wait_for(&after.calls, 1), 1);
    assert_int_equal(log_lines(), 1);
    dispose(c);
}

static void test_managed_handlers(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct composed *other = compose(&(struct shape){ 0 });
    struct listener l = { .answer = IRQ_HANDLED }, left = l;
    struct device *dev = device(c);

    (void)state;
    /* On the device's machine, not the one this thread entered. */
    assert_int_equal(devm_request_irq(dev, irq_of(dev, 0), listen, 0, NULL, &l), 0);
    assert_int_equal(devm_request_irq(dev, irq_of(dev, 0), listen, 0, NULL, &l), -EBUSY);
    dk_interrupt_raise(dev, 0);
    assert_int_equal(wait_for(&l.calls, 1), 1);
    log_lines();
    devm_free_irq(dev, irq_of(dev, 0), &left);
    devm_free_irq(dev, irq_of(dev, 1), &l);
    assert_int_equal(log_lines(), 2);
    devm_free_irq(dev, irq_of(dev, 0), &l);
    assert_int_equal(dk_interrupt_raise(dev, 0), -ENOENT);
    assert_int_equal(log_lines(), 0);
    assert_int_equal(devm_request_threaded_irq(dev, irq_of(dev, 0), NULL, listen, IRQF_ONESHOT, "x", &l), 0);
    dk_machine_enter(&c->machine);
    assert_int_equal(request_irq(irq_of(dev, 3), listen, 0, "left", &left), 0);
    dk_device_remove(dev);
    /* The managed one went silently; of the other one the log tells. */
    assert_int_equal(log_lines(), 1);
    assert_non_null(strstr(log_last(), "left"));
    assert_null(free_irq(irq_of(dev, 3), &left));
    dispose(other);
    dispose(c);
}

#define RAISERS 4

struct raiser {
    struct device *dev;
    unsigned long rounds;
};

static void *raise_often(void *data)
{
    const struct raiser *raiser = data;
    unsigned long i;

    for (i = 0; i < raiser->rounds; i++)
        dk_interrupt_raise(raiser->dev, (unsigned)(i & 1));
    return NULL;
}

/* None is lost and none comes twice, also while the line is held back now and then. */
static void test_every_raise_counts(void **state)
{
    struct composed *c = compose(&(struct shape){ 0 });
    struct listener l = { .answer = IRQ_HANDLED }, m = l;
    struct raiser raiser = { device(c), test_rounds(20000) & ~1ul };
    unsigned irq = irq_of(raiser.dev, 0);
    pthread_t threads[RAISERS];
    unsigned i;

    (void)state;
    assert_int_equal(request_irq(irq, listen, 0, "x", &l), 0);
    assert_int_equal(request_irq(irq + 1, listen, 0, "x", &m), 0);
    for (i = 0; i < RAISERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, raise_often, &raiser), 0);
    for (i = 0; i < 100; i++) {
        disable_irq(irq);
        udelay(20);
        enable_irq(irq);
    }
    for (i = 0; i < RAISERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(wait_for(&l.calls, (unsigned)(RAISERS * raiser.rounds / 2)),
                     RAISERS * raiser.rounds / 2);
    assert_int_equal(wait_for(&m.calls, (unsigned)(RAISERS * raiser.rounds / 2)),
                     RAISERS * raiser.rounds / 2);
    dispose(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_handler_is_called),
        cmocka_unit_test(test_requests_refused),
        cmocka_unit_test(test_sharing_and_order),
        cmocka_unit_test(test_disabling),
        cmocka_unit_test(test_waiting_for_a_handler),
        cmocka_unit_test(test_no_handler_waits_for_itself),
        cmocka_unit_test(test_freeing_a_neighbour_in_a_handler),
        cmocka_unit_test(test_threaded_handlers),
        cmocka_unit_test(test_forgotten_unlock_is_mended),
        cmocka_unit_test(test_managed_handlers),
        cmocka_unit_test(test_every_raise_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
