/* SPDX-License-Identifier: MIT */
/*
 * Locks, atomic context, completions and time.
 */
#include "compose.h"

#include "base/context.h"
#include <dmakit/completion.h>
#include <dmakit/mutex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

static DEFINE_SPINLOCK(global_lock);
static DEFINE_MUTEX(global_mutex);
static DEFINE_RWLOCK(global_rwlock);

static unsigned depth(void)
{
    return dk_context()->atomic_depth;
}

static void test_what_is_atomic(void **state)
{
    DEFINE_SPINLOCK(lock);
    DEFINE_RAW_SPINLOCK(raw);
    DEFINE_RWLOCK(rw);
    unsigned long flags, inner;

    (void)state;
    assert_false(in_atomic());
    spin_lock(&lock);
    assert_int_equal(depth(), 1);
    assert_true(spin_is_locked(&lock));
    raw_spin_lock_irqsave(&raw, flags);
    assert_int_equal(depth(), 3);
    assert_true(irqs_disabled());
    local_irq_save(inner);
    assert_int_equal(depth(), 3);
    local_irq_restore(inner);
    assert_true(irqs_disabled());
    raw_spin_unlock_irqrestore(&raw, flags);
    assert_int_equal(depth(), 1);
    assert_false(irqs_disabled());
    assert_int_equal(spin_trylock(&raw), 1);
    assert_int_equal(depth(), 2);
    assert_int_equal(spin_trylock(&raw), 0);
    assert_int_equal(spin_trylock_irqsave(&raw, flags), 0);
    assert_int_equal(depth(), 2);
    spin_unlock(&raw);
    spin_unlock(&lock);
    assert_false(in_atomic());
    assert_false(spin_is_locked(&lock));
    assert_int_equal(spin_trylock_irqsave(&raw, flags), 1);
    assert_int_equal(depth(), 2);
    spin_unlock_irqrestore(&raw, flags);
    spin_lock_irq(&lock);
    assert_int_equal(depth(), 2);
    spin_unlock_irq(&lock);
    spin_lock_bh(&lock);
    assert_int_equal(depth(), 2);
    spin_unlock_bh(&lock);
    read_lock(&rw);
    read_lock(&rw);
    assert_int_equal(depth(), 2);
    read_unlock(&rw);
    read_unlock(&rw);
    write_lock_irqsave(&rw, flags);
    assert_int_equal(depth(), 2);
    write_unlock_irqrestore(&rw, flags);
    read_lock_irq(&rw);
    assert_true(irqs_disabled());
    read_unlock_irq(&rw);
    preempt_disable();
    assert_true(in_atomic());
    preempt_enable();
    assert_int_equal(depth(), 0);
}

/* All that the word of a reader-writer lock can count may read at once. */
static void test_many_readers(void **state)
{
    rwlock_t rw = { .state = ~0u - 2 };

    (void)state;
    read_lock(&rw);
    assert_int_equal(rw.state, ~0u - 1);
    read_unlock(&rw);
    assert_int_equal(rw.state, ~0u - 2);
    assert_int_equal(depth(), 0);
}

static void test_misuse_is_survived(void **state)
{
    DEFINE_SPINLOCK(lock);
    DEFINE_MUTEX(mutex);
    DEFINE_RWLOCK(rw);

    (void)state;
    log_lines();
    spin_unlock(&lock);
    preempt_enable();
    mutex_unlock(&mutex);
    read_unlock(&rw);
    write_unlock(&rw);
    assert_int_equal(log_lines(), 5);
    assert_int_equal(depth(), 0);
    local_irq_enable();
    assert_int_equal(depth(), 0);
    local_irq_disable();
    preempt_enable();
    assert_int_equal(log_lines(), 1);
    assert_int_equal(depth(), 1);
    local_irq_enable();

    spin_lock(&lock);
    spin_lock(&lock);
    assert_int_equal(log_lines(), 1);
    assert_int_equal(depth(), 2);
    spin_unlock(&lock);
    assert_true(spin_is_locked(&lock));
    spin_unlock(&lock);
    assert_false(spin_is_locked(&lock));
    write_lock(&rw);
    read_unlock(&rw);
    assert_int_equal(log_lines(), 1);
    write_unlock(&rw);
    assert_int_equal(depth(), 0);
    read_lock(&rw);
    write_unlock(&rw);
    assert_int_equal(log_lines(), 1);
    read_unlock(&rw);
    assert_int_equal(depth(), 0);
}

struct counting {
    spinlock_t *lock;
    unsigned long rounds;
    unsigned long count; /* guarded */
    unsigned long reads_torn;
    unsigned long pair;
};

static void *count_spin(void *data)
{
    struct counting *counting = data;
    unsigned long i;

    for (i = 0; i < counting->rounds; i++) {
        spin_lock(&global_lock);
        counting->count++;
        spin_unlock(&global_lock);
    }
    return NULL;
}

static void *count_mutex(void *data)
{
    struct counting *counting = data;
    unsigned long i;

    for (i = 0; i < counting->rounds; i++) {
        if (i & 1)
            mutex_lock(&global_mutex);
        else
            while (!mutex_trylock(&global_mutex))
                ;
        counting->count++;
        mutex_unlock(&global_mutex);
    }
    return NULL;
}

static void *count_rw(void *data)
{
    struct counting *counting = data;
    unsigned long i;

    for (i = 0; i < counting->rounds; i++) {
        if (i % 4) {
            read_lock(&global_rwlock);
            if (counting->pair != counting->count)
                __atomic_add_fetch(&counting->reads_torn, 1, __ATOMIC_RELAXED);
            read_unlock(&global_rwlock);
        } else {
            write_lock(&global_rwlock);
            counting->count += 4;
            counting->pair += 4;
            write_unlock(&global_rwlock);
        }
    }
    return NULL;
}

static void test_contention(void **state)
{
    static void *(*const bodies[])(void *) = { count_spin, count_mutex, count_rw };
    unsigned b, i;

    (void)state;
    for (b = 0; b < 3; b++) {
        struct counting counting = { .rounds = test_rounds(40000) & ~3ul };
        pthread_t threads[4];

        for (i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, bodies[b], &counting), 0);
        for (i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(counting.count, 4 * counting.rounds);
        assert_int_equal(counting.reads_torn, 0);
    }
    assert_false(mutex_is_locked(&global_mutex));
}

static void test_mutexes(void **state)
{
    struct mutex mutex;

    (void)state;
    mutex_init(&mutex);
    mutex_lock(&mutex);
    assert_true(mutex_is_locked(&mutex));
    assert_int_equal(depth(), 0);
    assert_int_equal(mutex_trylock(&mutex), 0);
    mutex_unlock(&mutex);
    assert_int_equal(mutex_lock_interruptible(&mutex), 0);
    assert_int_equal(depth(), 0);
    mutex_unlock(&mutex);
    assert_int_equal(mutex_trylock(&mutex), 1);
    mutex_unlock(&mutex);
    mutex_destroy(&mutex);
}

static void do_might_sleep(void)
{
    might_sleep();
}
static void do_mutex_lock(void)
{
    struct mutex mutex = { DK_SPIN_LOCK_UNLOCKED };

    mutex_lock(&mutex);
    mutex_unlock(&mutex);
}
static void do_mutex_lock_interruptible(void)
{
    struct mutex mutex = { DK_SPIN_LOCK_UNLOCKED };

    assert_int_equal(mutex_lock_interruptible(&mutex), 0);
    mutex_unlock(&mutex);
}
static void do_mutex_trylock(void)
{
    struct mutex mutex = { DK_SPIN_LOCK_UNLOCKED };

    assert_int_equal(mutex_trylock(&mutex), 1);
    mutex_unlock(&mutex);
}
static void do_wait_for_completion(void)
{
    DECLARE_COMPLETION_ONSTACK(completion);

    complete(&completion);
    wait_for_completion(&completion);
}
static void do_wait_for_completion_timeout(void)
{
    DECLARE_COMPLETION_ONSTACK(completion);

    complete(&completion);
    assert_true(wait_for_completion_timeout(&completion, 5));
}
static void do_try_wait_for_completion(void)
{
    DECLARE_COMPLETION_ONSTACK(completion);

    complete_all(&completion);
    assert_true(try_wait_for_completion(&completion));
}
static void do_msleep(void)
{
    msleep(1);
}
static void do_usleep_range(void)
{
    usleep_range(1, 2);
}
static void do_udelay(void)
{
    udelay(1);
}
static void do_spin_lock(void)
{
    DEFINE_SPINLOCK(lock);

    spin_lock(&lock);
    spin_unlock(&lock);
}

/* What may sleep is a finding under a spinlock and none outside; what may not sleep never is one. */
static void test_sleeping_is_found(void **state)
{
    static const struct {
        void (*call)(void);
        const char *name; /* as the finding names it; NULL: never sleeps */
    } cases[] = {
        { do_might_sleep, "do_might_sleep" },
        { do_mutex_lock, "mutex_lock" },
        { do_mutex_lock_interruptible, "mutex_lock_interruptible" },
        { do_mutex_trylock, NULL },
        { do_wait_for_completion, "wait_for_completion" },
        { do_wait_for_completion_timeout, "wait_for_completion_timeout" },
        { do_try_wait_for_completion, NULL },
        { do_msleep, "msleep" },
        { do_usleep_range, "usleep_range" },
        { do_udelay, NULL },
        { do_spin_lock, NULL },
    };
    struct composed *c = compose(&(struct shape){ 0 });
    unsigned long flags;
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned before = c->findings;

        cases[i].call();
        assert_int_equal(c->findings, before);
        spin_lock(&global_lock);
        cases[i].call();
        spin_unlock(&global_lock);
        assert_int_equal(c->findings, before + (cases[i].name ? 1 : 0));
        local_irq_save(flags);
        cases[i].call();
        local_irq_restore(flags);
        assert_int_equal(c->findings, before + (cases[i].name ? 2 : 0));
        if (cases[i].name) {
            assert_string_equal(c->finding_class, "sleeps-in-atomic");
            assert_string_equal(c->finding_call, cases[i].name);
        }
    }
    dispose(c);
    /* Without a machine there is nobody to tell. */
    preempt_disable();
    might_sleep();
    preempt_enable();
}

static void *complete_later(void *data)
{
    msleep(10);
    complete(data);
    return NULL;
}

static void test_completions(void **state)
{
    DECLARE_COMPLETION(completion);
    unsigned long before = jiffies;
    pthread_t thread;

    (void)state;
    assert_false(completion_done(&completion));
    assert_false(try_wait_for_completion(&completion));
    assert_int_equal(wait_for_completion_timeout(&completion, msecs_to_jiffies(20)), 0);
    assert_true(time_after_eq(jiffies, before + 20));
    assert_int_equal(wait_for_completion_timeout(&completion, 0), 0);
    complete(&completion);
    complete(&completion);
    assert_true(completion_done(&completion));
    wait_for_completion(&completion);
    assert_in_range(wait_for_completion_timeout(&completion, 10000), 9000, 10000);
    assert_false(completion_done(&completion));
    complete(&completion);
    assert_int_equal(wait_for_completion_timeout(&completion, 1), 1);
    assert_int_equal(pthread_create(&thread, NULL, complete_later, &completion), 0);
    assert_true(wait_for_completion_interruptible_timeout(&completion, 10 * HZ) > 0);
    pthread_join(thread, NULL);
    assert_int_equal(pthread_create(&thread, NULL, complete_later, &completion), 0);
    assert_int_equal(wait_for_completion_interruptible(&completion), 0);
    pthread_join(thread, NULL);
    complete_all(&completion);
    complete(&completion);
    wait_for_completion(&completion);
    wait_for_completion(&completion);
    assert_true(completion_done(&completion));
    assert_true(wait_for_completion_timeout(&completion, ~0ul) > 0);
    reinit_completion(&completion);
    assert_false(completion_done(&completion));
}

static void test_time(void **state)
{
    unsigned long before = jiffies;
    unsigned long middle;

    (void)state;
    mdelay(3);
    middle = jiffies;
    assert_true(time_after(middle, before + 1));
    assert_true(time_before(before, middle));
    assert_true(time_before_eq(middle, middle));
    fsleep(3000);
    assert_true(time_after_eq(jiffies, middle + 2));
    assert_int_equal(usecs_to_jiffies(1), 1);
    assert_int_equal(jiffies_to_msecs(msecs_to_jiffies(77)), 77);
}

static void test_single_accesses(void **state)
{
    u8 b = 1;
    u16 w = 2;
    u32 l = 3;
    u64 q = 4;
    u8 *p = &b;

    (void)state;
    WRITE_ONCE(b, 0xff);
    WRITE_ONCE(w, 0xfffe);
    WRITE_ONCE(l, 0xfffffffd);
    WRITE_ONCE(q, ~3ull);
    mb();
    rmb();
    wmb();
    dma_mb();
    dma_rmb();
    dma_wmb();
    smp_mb();
    smp_rmb();
    smp_wmb();
    barrier();
    assert_int_equal(READ_ONCE(b), 0xff);
    assert_int_equal(READ_ONCE(w), 0xfffe);
    assert_int_equal(READ_ONCE(l), 0xfffffffd);
    assert_true(READ_ONCE(q) == ~3ull);
    assert_ptr_equal(READ_ONCE(p), &b);
    smp_store_release(&l, 9);
    assert_int_equal(smp_load_acquire(&l), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_atomic),
        cmocka_unit_test(test_many_readers),
        cmocka_unit_test(test_misuse_is_survived),
        cmocka_unit_test(test_contention),
        cmocka_unit_test(test_mutexes),
        cmocka_unit_test(test_sleeping_is_found),
        cmocka_unit_test(test_completions),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_single_accesses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
