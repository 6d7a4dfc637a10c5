/* SPDX-License-Identifier: MIT */
#include "mm/write-stop.h"

#include "base/alloc.h"
#include "base/log.h"
#include <dmakit/slot.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- By userfaultfd ---- */

#define FEATURES_WANTED (UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

static int open_userfaultfd(int flags)
{
    struct uffdio_api api = { .api = UFFD_API, .features = FEATURES_WANTED };
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);

    if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int stop_by_userfaultfd(const struct dk_write_stop *stop, const char *page)
{
    struct uffdio_range range = { (uintptr_t)page, PAGE_SIZE };
    struct uffdio_register watch = { .range = range, .mode = UFFDIO_REGISTER_MODE_WP };
    struct uffdio_writeprotect protect = { .range = range, .mode = UFFDIO_WRITEPROTECT_MODE_WP };

    if (ioctl(stop->fd, UFFDIO_REGISTER, &watch))
        return -ENOMEM;
    if (ioctl(stop->fd, UFFDIO_WRITEPROTECT, &protect)) {
        ioctl(stop->fd, UFFDIO_UNREGISTER, &range);
        return -ENOMEM;
    }
    return 0;
}

static void resume_by_userfaultfd(const struct dk_write_stop *stop, const char *page, bool replaced)
{
    struct uffdio_range range = { (uintptr_t)page, PAGE_SIZE };
    struct uffdio_writeprotect allow = { .range = range };

    if (!replaced) {
        ioctl(stop->fd, UFFDIO_WRITEPROTECT, &allow);
        ioctl(stop->fd, UFFDIO_UNREGISTER, &range);
    }
    /* The new mapping is not watched, but who waits for the old one has to be woken. */
    ioctl(stop->fd, UFFDIO_WAKE, &range);
}

/* ---- By a signal ---- */

/* Process-wide, because a signal's action is. */
static pthread_mutex_t action_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;
static struct sigaction action_before;

/* The last fault of this thread that was tried again. The handler may not allocate, hence the model. */
static _Thread_local struct {
    const char *page;
    u64 resumed;
} tried_again __attribute__((tls_model("initial-exec")));

/*
 * Whether the store may have failed only because @page was stopped: then it may be tried again. A page may
 * have gone on before we look, so each fault is tried again once, and given up when nothing was stopped
 * since.
 */
static bool wait_for_resume(const struct dk_write_stop *stop, const char *page)
{
    u64 resumed;

    while (__atomic_load_n(&stop->page, __ATOMIC_ACQUIRE) == page)
        sched_yield();
    resumed = __atomic_load_n(&stop->resumed, __ATOMIC_ACQUIRE);
    if (tried_again.page == page && tried_again.resumed == resumed)
        return false;
    tried_again.page = page;
    tried_again.resumed = resumed;
    return true;
}

static void pass_on(int number, siginfo_t *info, void *context)
{
    if (action_before.sa_flags & SA_SIGINFO) {
        action_before.sa_sigaction(number, info, context);
    } else if (action_before.sa_handler != SIG_DFL && action_before.sa_handler != SIG_IGN) {
        action_before.sa_handler(number);
    } else {
        /* The store fails again, and the process ends as it would have without us. */
        signal(SIGSEGV, SIG_DFL);
    }
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    const char *page = (const char *)((uintptr_t)info->si_addr & PAGE_MASK);
    const struct dk_slot *slot = info->si_code == SEGV_ACCERR ? dk_slot_find(page) : NULL;
    int error = errno;

    if (!slot || slot->kind != DK_SLOT_VMALLOC || !wait_for_resume(dk_memory_write_stop(slot->memory), page))
        pass_on(number, info, context);
    errno = error;
}

static bool action_is_ours(void)
{
    struct sigaction now;

    return !sigaction(SIGSEGV, NULL, &now) && now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_fault;
}

static bool take_action(void)
{
    struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER, .sa_sigaction = on_fault };
    bool ours = true;

    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&action_lock);
    if (!users)
        ours = !sigaction(SIGSEGV, NULL, &action_before) && !sigaction(SIGSEGV, &action, NULL);
    users += ours;
    pthread_mutex_unlock(&action_lock);
    return ours;
}

static void give_action_back(void)
{
    pthread_mutex_lock(&action_lock);
    /* Somebody's newer handler may call ours for the rest of the process's life: ours then stays. */
    if (!--users && action_is_ours())
        sigaction(SIGSEGV, &action_before, NULL);
    pthread_mutex_unlock(&action_lock);
}

static int stop_by_signal(struct dk_write_stop *stop, char *page)
{
    if (!action_is_ours()) {
        dk_log(DK_LOG_WARNING,
               "movable memory stays where it is: the program has taken SIGSEGV's action from the library");
        return -EPERM;
    }
    __atomic_store_n(&stop->page, page, __ATOMIC_RELEASE);
    if (mprotect(page, PAGE_SIZE, PROT_READ)) {
        __atomic_store_n(&stop->page, NULL, __ATOMIC_RELEASE);
        return -ENOMEM;
    }
    return 0;
}

static void resume_by_signal(struct dk_write_stop *stop, char *page, bool replaced)
{
    if (!replaced && mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE))
        dk_log(DK_LOG_ERROR, "the page at %p stays read-only: the process is out of mappings", (void *)page);
    /* In this order: see wait_for_resume(). */
    __atomic_add_fetch(&stop->resumed, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&stop->page, NULL, __ATOMIC_RELEASE);
}

/* ---- Either ---- */

void dk_write_stop_init(struct dk_write_stop *stop, bool by_signal)
{
    pthread_mutex_init(&stop->lock, NULL);
    stop->by_signal = by_signal;
    stop->fd = -1;
}

void dk_write_stop_finish(struct dk_write_stop *stop)
{
    if (stop->ready && stop->by_signal)
        give_action_back();
    if (stop->fd >= 0)
        close(stop->fd);
    pthread_mutex_destroy(&stop->lock);
}

/* Chooses the way. Under the lock. */
static bool make_ready(struct dk_write_stop *stop)
{
    if (stop->ready || dk_fault_point())
        return stop->ready;
    if (!stop->by_signal) {
        stop->fd = open_userfaultfd(0);
        /* Without the privilege, faults in system calls are not waited for: they fail. */
        if (stop->fd < 0)
            stop->fd = open_userfaultfd(UFFD_USER_MODE_ONLY);
        stop->by_signal = stop->fd < 0;
    }
    stop->ready = !stop->by_signal || take_action();
    return stop->ready;
}

int dk_writes_stop(struct dk_write_stop *stop, char *page)
{
    int error = -ENOMEM;

    pthread_mutex_lock(&stop->lock);
    if (make_ready(stop))
        error = stop->by_signal ? stop_by_signal(stop, page) : stop_by_userfaultfd(stop, page);
    if (error)
        pthread_mutex_unlock(&stop->lock);
    return error;
}

void dk_writes_resume(struct dk_write_stop *stop, char *page, bool replaced)
{
    if (stop->by_signal)
        resume_by_signal(stop, page, replaced);
    else
        resume_by_userfaultfd(stop, page, replaced);
    pthread_mutex_unlock(&stop->lock);
}
