/* SPDX-License-Identifier: MIT */
/*
 * The processes of dmakit check: as many at once as there are cores, each in a process group of its own, with
 * a time-out, the last part of its output, and a report file.
 */
#include "base/alloc.h"
#include "check.h"
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_JOBS 256
#define TAIL_SIZE 8192 /* bytes of output that are kept */

extern char **environ;

/* A slot for one process at a time. */
struct check_job {
    size_t run;
    pid_t pid; /* 0: free */
    int pipe;  /* what it prints; -1: it closed it */
    double started;
    bool timed_out;
    char *report_path;
    size_t printed; /* bytes in all; the tail is a ring */
    char tail[TAIL_SIZE];
};

struct check_runner {
    struct check_result *result;
    struct check_job *jobs;
    size_t job_count;
    struct pollfd *polls; /* the signals, then a pipe for each job */
    char *folder;         /* for report files */
    int null;
    int signals;
    int interrupted; /* the signal that ends everything, or 0 */
    sigset_t old_mask;
    bool shows_progress;
};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool is_named(const char *entry, const char *name)
{
    size_t length = strlen(name);

    return !strncmp(entry, name, length) && entry[length] == '=';
}

/* A program may be linked to an older library: it is asked for suppressed reports only where there can be
 * any. */
static bool has_suppressions(const struct check_request *request)
{
    return request->suppressions || strstr(request->user_options, "suppressions=");
}

char *dk_check_run_options(const struct check_request *request, u64 seed)
{
    const char *colon = *request->user_options ? ":" : "";
    const char *file = request->suppressions ? request->suppressions : "";
    char depth[24] = "";

    if (request->depth >= 0)
        snprintf(depth, sizeof(depth), ":depth=%d", request->depth);
    return dk_format("%s%sseed=%llu%s%s%s", request->user_options, colon, (unsigned long long)seed, depth,
                     *file ? ":suppressions=" : "", file);
}

/* The same, or those of its setting, with where @run's reports go. */
static char *options_of(const struct check_request *request, const struct check_run *run,
                        const char *report_path)
{
    char *own = run->setting ? NULL : dk_check_run_options(request, run->seed);
    const char *options = run->setting ? run->setting->options : own;
    char *whole = NULL;

    if (options)
        whole = dk_format("%s%sreport_format=json%s:report_path=%s", options, *options ? ":" : "",
                          has_suppressions(request) ? ":print_suppressed=1" : "", report_path);
    dk_release(own);
    return whole;
}

/* Our environment with DMAKIT_BOARD and DMAKIT_OPTIONS replaced. NULL: out of memory. */
static char **make_environment(char *board, char *options)
{
    size_t count = 0;
    size_t used = 0;
    char **made;

    while (environ[count])
        count++;
    made = dk_allocate(count + 3, sizeof(char *));
    if (!made)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (!is_named(environ[i], "DMAKIT_BOARD") && !is_named(environ[i], "DMAKIT_OPTIONS"))
            made[used++] = environ[i];
    }
    if (board)
        made[used++] = board;
    made[used] = options;
    return made;
}

/* Starts PROGRAM with its output in @output. 0 or -errno. */
static int spawn(const struct check_runner *runner, char *const *environment, int output, pid_t *pid)
{
    char *const *program = runner->result->request->program;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    int error = posix_spawn_file_actions_init(&actions);

    if (error)
        return -error;
    error = posix_spawnattr_init(&attributes);
    if (error)
        goto destroy_actions;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGCHLD);
    if ((error = posix_spawn_file_actions_adddup2(&actions, runner->null, 0)) ||
        (error = posix_spawn_file_actions_adddup2(&actions, output, 1)) ||
        (error = posix_spawn_file_actions_adddup2(&actions, output, 2)) ||
        (error = posix_spawnattr_setpgroup(&attributes, 0)) ||
        (error = posix_spawnattr_setsigmask(&attributes, &runner->old_mask)) ||
        (error = posix_spawnattr_setsigdefault(&attributes, &defaults)) ||
        (error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                           POSIX_SPAWN_SETSIGDEF)))
        goto destroy_attributes;
    error = posix_spawnp(pid, program[0], &actions, &attributes, program, environment);
destroy_attributes:
    posix_spawnattr_destroy(&attributes);
destroy_actions:
    posix_spawn_file_actions_destroy(&actions);
    return -error;
}

/* Starts run @run in the free slot @job. 0 or -errno, and the slot is still free. */
static int start_job(struct check_runner *runner, struct check_job *job, size_t run)
{
    const struct check_request *request = runner->result->request;
    const struct check_run *what = &runner->result->runs[run];
    const char *board = what->setting ? what->setting->board : request->boards[what->board].path;
    char *path = dk_format("%s/%zu", runner->folder, run);
    char *options = path ? options_of(request, what, path) : NULL;
    char *option_entry = options ? dk_format("DMAKIT_OPTIONS=%s", options) : NULL;
    char *board_entry = board ? dk_format("DMAKIT_BOARD=%s", board) : NULL;
    char **environment =
        option_entry && (board_entry || !board) ? make_environment(board_entry, option_entry) : NULL;
    int ends[2] = { -1, -1 };
    int error = environment ? 0 : -ENOMEM;

    if (!error && pipe2(ends, O_CLOEXEC))
        error = -errno;
    if (!error)
        error = spawn(runner, environment, ends[1], &job->pid);
    if (ends[1] >= 0)
        close(ends[1]);
    if (error) {
        if (ends[0] >= 0)
            close(ends[0]);
        job->pid = 0;
    } else {
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        job->run = run;
        job->pipe = ends[0];
        job->started = now();
        job->timed_out = false;
        job->printed = 0;
        job->report_path = path;
        path = NULL;
    }
    dk_release(environment);
    dk_release(board_entry);
    dk_release(option_entry);
    dk_release(options);
    dk_release(path);
    return error;
}

/* Takes in what @job printed. At most 1 MiB at a time, so that one that never stops printing cannot hold us.
 */
static void read_output(struct check_job *job)
{
    char chunk[TAIL_SIZE];

    for (int i = 0; job->pipe >= 0 && i < 128; i++) {
        ssize_t length = read(job->pipe, chunk, sizeof(chunk));

        if (length < 0 && (errno == EINTR || errno == EAGAIN))
            return;
        if (length <= 0) {
            close(job->pipe);
            job->pipe = -1;
            return;
        }
        for (ssize_t at = 0; at < length; at++)
            job->tail[job->printed++ % TAIL_SIZE] = chunk[at];
    }
}

/* The tail of @job's output in order, as a string without NULs; NULL: nothing, or out of memory. */
static char *copy_tail(const struct check_job *job)
{
    size_t length = job->printed < TAIL_SIZE ? job->printed : TAIL_SIZE;
    char *copy = length ? dk_allocate(length + 1, 1) : NULL;

    for (size_t i = 0; copy && i < length; i++) {
        char byte = job->tail[(job->printed - length + i) % TAIL_SIZE];

        copy[i] = byte ? byte : ' ';
    }
    return copy;
}

/* Frees the slot: its process is reaped, and its group gone. */
static void clear_job(struct check_job *job)
{
    unlink(job->report_path);
    dk_release(job->report_path);
    job->report_path = NULL;
    if (job->pipe >= 0)
        close(job->pipe);
    job->pipe = -1;
    job->pid = 0;
}

/* Whether @job's process has ended. It stays a zombie, so that its process group's number stays its own. */
static bool has_ended(const struct check_job *job)
{
    siginfo_t info = { 0 };

    return waitid(P_PID, (id_t)job->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == job->pid;
}

/* @job's process has ended: kills what it left running, and enters the outcome. 0 or -errno. */
static int finish_job(struct check_runner *runner, struct check_job *job)
{
    struct check_run *run = &runner->result->runs[job->run];
    int status = 0;
    int error;

    kill(-job->pid, SIGKILL);
    while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    read_output(job);
    run->seconds = now() - job->started;
    run->exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    run->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    run->output = copy_tail(job);
    error = dk_check_result_add(runner->result, job->run, job->report_path,
                                job->timed_out && run->signal == SIGKILL);
    clear_job(job);
    return error;
}

static void show_progress(const struct check_runner *runner)
{
    const struct check_result *result = runner->result;

    if (runner->shows_progress)
        fprintf(stderr, "\r%s%zu of %zu runs, %zu not right\033[K", result->doing ? result->doing : "",
                result->done, result->run_count, result->wrong);
}

static void kill_all(struct check_runner *runner)
{
    for (size_t i = 0; i < runner->job_count; i++) {
        struct check_job *job = &runner->jobs[i];

        if (!job->pid)
            continue;
        kill(-job->pid, SIGKILL);
        while (waitpid(job->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        clear_job(job);
    }
}

static void read_signals(struct check_runner *runner)
{
    struct signalfd_siginfo info;

    while (read(runner->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo != SIGCHLD)
            runner->interrupted = (int)info.ssi_signo;
    }
}

/* Sleeps until something prints, ends, or is to be killed. */
static void wait_for_something(struct check_runner *runner)
{
    double timeout = runner->result->request->timeout;
    double first = INFINITY;
    double left;

    runner->polls[0] = (struct pollfd){ .fd = runner->signals, .events = POLLIN };
    for (size_t i = 0; i < runner->job_count; i++) {
        struct check_job *job = &runner->jobs[i];

        /* poll() passes over negative descriptors. */
        runner->polls[i + 1] = (struct pollfd){ .fd = job->pid ? job->pipe : -1, .events = POLLIN };
        if (job->pid && !job->timed_out && job->started + timeout < first)
            first = job->started + timeout;
    }
    left = (first - now()) * 1e3 + 1;
    if (left < 0)
        left = 0;
    poll(runner->polls, runner->job_count + 1, left > 1e6 ? 1000000 : (int)left);
    read_signals(runner);
    for (size_t i = 0; i < runner->job_count; i++) {
        struct check_job *job = &runner->jobs[i];

        if (!job->pid)
            continue;
        read_output(job);
        if (!job->timed_out && now() >= job->started + timeout) {
            /* One that has ended by itself in the meantime was in time. */
            job->timed_out = !has_ended(job);
            if (job->timed_out)
                kill(-job->pid, SIGKILL);
        }
    }
}

static const char *advice_for(int error)
{
    switch (error) {
    case -ENOENT:
        return "; check its path";
    case -EACCES:
        return "; is it an executable file?";
    case -ENOEXEC:
        return "; a script needs a first line such as #!/bin/sh";
    default:
        return "";
    }
}

static int refuse_start(const struct check_runner *runner, int error)
{
    return dk_command_refuse("check", "cannot start '%s': %s%s", runner->result->request->program[0],
                             strerror(-error), advice_for(error));
}

/* Fills free slots from run *@next on. 0 or -errno of starting one. */
static int start_jobs(struct check_runner *runner, size_t *next)
{
    for (size_t i = 0; i < runner->job_count; i++) {
        int error;

        if (runner->jobs[i].pid)
            continue;
        while (*next < runner->result->run_count && runner->result->runs[*next].status == CHECK_REFUSED)
            (*next)++;
        if (*next == runner->result->run_count)
            return 0;
        error = start_job(runner, &runner->jobs[i], *next);
        if (error)
            return error;
        (*next)++;
    }
    return 0;
}

static int run_jobs(struct check_runner *runner)
{
    size_t next = 0;

    while (runner->result->done < runner->result->run_count && !runner->interrupted) {
        int error = start_jobs(runner, &next);

        if (error)
            return refuse_start(runner, error);
        show_progress(runner);
        wait_for_something(runner);
        for (size_t i = 0; i < runner->job_count; i++) {
            struct check_job *job = &runner->jobs[i];

            if (!job->pid || !has_ended(job))
                continue;
            error = finish_job(runner, job);
            if (error)
                return dk_command_refuse("check", "cannot read what was reported: %s", strerror(-error));
        }
    }
    if (runner->interrupted)
        return dk_command_refuse("check", "%sinterrupted after %zu of %zu runs",
                                 runner->result->doing ? runner->result->doing : "", runner->result->done,
                                 runner->result->run_count);
    return DK_EXIT_CLEAN;
}

static size_t core_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set))
        return 1;
    return (size_t)CPU_COUNT(&set);
}

/* A folder for report files. Colons separate options, so it must have none. */
static char *make_folder(void)
{
    const char *base = getenv("TMPDIR");
    char *folder;

    if (!base || !*base || strchr(base, ':'))
        base = "/tmp";
    folder = dk_format("%s/dmakit-check-XXXXXX", base);
    if (folder && !mkdtemp(folder)) {
        dk_command_refuse("check", "cannot make a folder in '%s': %s", base, strerror(errno));
        dk_release(folder);
        return NULL;
    }
    if (!folder)
        dk_command_refuse("check", "out of memory");
    return folder;
}

static int prepare(struct check_runner *runner)
{
    size_t most = runner->result->request->jobs ? runner->result->request->jobs : core_count();

    runner->job_count = runner->result->run_count < most ? runner->result->run_count : most;
    if (runner->job_count > MOST_JOBS)
        runner->job_count = MOST_JOBS;
    runner->jobs = dk_allocate(runner->job_count, sizeof(struct check_job));
    runner->polls = dk_allocate(runner->job_count + 1, sizeof(struct pollfd));
    if (!runner->jobs || !runner->polls)
        return dk_command_refuse("check", "out of memory");
    for (size_t i = 0; i < runner->job_count; i++)
        runner->jobs[i].pipe = -1;
    runner->folder = make_folder();
    if (!runner->folder)
        return DK_EXIT_REFUSED;
    runner->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (runner->null < 0)
        return dk_command_refuse("check", "cannot open /dev/null: %s", strerror(errno));
    return DK_EXIT_CLEAN;
}

/* From here on signals come through a descriptor. @old_action is SIGCHLD's, since an ignored one reaps behind
 * our back. */
static int take_signals(struct check_runner *runner, sigset_t *mask, struct sigaction *old_action)
{
    static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = SIG_DFL };

    sigemptyset(mask);
    sigaddset(mask, SIGCHLD);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct sigaction had;

        /* As with nohup: what was ignored stays ignored. */
        if (!sigaction(ends[i], NULL, &had) && had.sa_handler != SIG_IGN)
            sigaddset(mask, ends[i]);
    }
    sigaction(SIGCHLD, &action, old_action);
    sigprocmask(SIG_BLOCK, mask, &runner->old_mask);
    runner->signals = signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (runner->signals < 0)
        return dk_command_refuse("check", "cannot take signals: %s", strerror(errno));
    return DK_EXIT_CLEAN;
}

int dk_check_run_all(struct check_result *result, int *signal)
{
    struct check_runner runner = {
        .result = result,
        .null = -1,
        .signals = -1,
        .shows_progress = isatty(STDERR_FILENO) == 1,
    };
    double started = now();
    struct sigaction old_action;
    sigset_t mask;
    int code = take_signals(&runner, &mask, &old_action);

    if (code == DK_EXIT_CLEAN)
        code = prepare(&runner);
    if (code == DK_EXIT_CLEAN)
        code = run_jobs(&runner);
    if (runner.jobs)
        kill_all(&runner);
    if (runner.shows_progress)
        fputs("\r\033[K", stderr);
    if (runner.folder)
        rmdir(runner.folder);
    if (runner.null >= 0)
        close(runner.null);
    if (runner.signals >= 0) {
        /* One that came at the very end counts too. */
        read_signals(&runner);
        close(runner.signals);
    }
    result->seconds = now() - started;
    *signal = runner.interrupted;
    sigprocmask(SIG_SETMASK, &runner.old_mask, NULL);
    sigaction(SIGCHLD, &old_action, NULL);
    dk_release(runner.folder);
    dk_release(runner.polls);
    dk_release(runner.jobs);
    return code;
}
