/* SPDX-License-Identifier: MIT */
/*
 * The smallest setting that still shows a bug or a failure: its first run is made again with one part of the
 * setting left out at a time, all bugs side by side, and what is not missed stays out.
 */
#include "base/alloc.h"
#include "check.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* The parts of a setting: the board, then words of DMAKIT_OPTIONS. A word beyond these always stays. */
#define MOST_PARTS 64
#define BOARD ((u64)1)
/* So many bugs and failures; the rest keep the setting of their first run. */
#define MOST_SUBJECTS 64
/* The search takes no longer than the runs did, but may take this many seconds. */
#define LEAST_SECONDS 5.0
/* A run that takes so many times longer than the first did, and a second, does not show it. */
#define SLOWER 10

enum stage { STAGE_AGAIN, STAGE_PARTS, STAGE_DEPTH, STAGE_DONE };

/* A bug or a failure on the way to its smallest setting. */
struct subject {
    const struct check_bug *bug; /* NULL: a failure */
    size_t run;                  /* the first that showed it */
    struct check_smallest *smallest;
    enum stage stage;
    char **words; /* all there are, as in "seed=7" */
    size_t word_count;
    u64 parts;       /* those that are still in: BOARD, then a bit for each word */
    u64 out;         /* the one that the next trial leaves out */
    int depth;       /* that the next trial has instead, in the last stage */
    int usual_depth; /* what the parts that are in give */
    struct check_setting trial;
};

struct search {
    const struct check_result *result;
    struct check_request request; /* as the user's, with less time */
    struct subject *subjects;
    size_t count;
    double deadline;
    double longest; /* seconds of the longest first run */
};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static u64 part_of(size_t word)
{
    return word + 1 < MOST_PARTS ? BOARD << (word + 1) : 0;
}

static bool is_key(const char *word, const char *key)
{
    size_t length = strlen(key);

    return !strncmp(word, key, length) && word[length] == '=';
}

/* ---- Settings ---- */

/* Adds @length bytes at @word. 0 or -ENOMEM. */
static int add_word(struct subject *subject, const char *word, size_t length)
{
    char **grown = dk_resize(subject->words, subject->word_count + 1, sizeof(char *));

    if (!grown)
        return -ENOMEM;
    subject->words = grown;
    grown[subject->word_count] = dk_format("%.*s", (int)length, word);
    if (!grown[subject->word_count])
        return -ENOMEM;
    subject->word_count++;
    return 0;
}

/* The run's options, word by word. */
static int split(struct subject *subject, const char *options)
{
    const char *end;
    int error = 0;

    for (; *options && !error; options = *end ? end + 1 : end) {
        end = strchrnul(options, ':');
        if (end > options)
            error = add_word(subject, options, (size_t)(end - options));
    }
    return error;
}

/* Whether there is another word with the key of word @index behind it, which wins. */
static bool is_overridden(const struct subject *subject, size_t index)
{
    const char *equals = strchr(subject->words[index], '=');
    size_t length = equals ? (size_t)(equals - subject->words[index]) + 1 : 0;

    for (size_t i = index + 1; length && i < subject->word_count; i++) {
        if (!strncmp(subject->words[i], subject->words[index], length))
            return true;
    }
    return false;
}

/* Words that change nothing are left out from the start, so that they need no trial. */
static void choose_parts(struct subject *subject, const struct check_board *board)
{
    subject->parts = board->path ? BOARD : 0;
    for (size_t i = 0; i < subject->word_count; i++) {
        const char *word = subject->words[i];

        if (!is_overridden(subject, i) && strcmp(word, "seed=0") != 0)
            subject->parts |= part_of(i);
    }
}

/* Suppressions are not the bug's: they stay. */
static bool may_go(const struct subject *subject, size_t word)
{
    return part_of(word) && !is_key(subject->words[word], "suppressions");
}

/* The words that are in, joined; NULL: out of memory. @depth: -1, or what theirs is to be. */
static char *join(const struct subject *subject, u64 parts, int depth)
{
    char *joined = dk_copy_string("");

    for (size_t i = 0; joined && i < subject->word_count; i++) {
        char *longer;

        if ((part_of(i) && !(parts & part_of(i))) || (depth >= 0 && is_key(subject->words[i], "depth")))
            continue;
        longer = dk_format("%s%s%s", joined, *joined ? ":" : "", subject->words[i]);
        dk_release(joined);
        joined = longer;
    }
    if (joined && depth >= 0) {
        char *longer = dk_format("%s%sdepth=%d", joined, *joined ? ":" : "", depth);

        dk_release(joined);
        joined = longer;
    }
    return joined;
}

static int depth_of(const struct subject *subject)
{
    int depth = 2;

    for (size_t i = 0; i < subject->word_count; i++) {
        if ((subject->parts & part_of(i)) && is_key(subject->words[i], "depth"))
            depth = subject->words[i][6] - '0';
    }
    return depth;
}

/* ---- The search ---- */

/* The next part to leave out behind @subject->out; none: on to depths. */
static void next_part(struct subject *subject)
{
    u64 part = subject->out ? subject->out << 1 : BOARD;

    for (; part; part <<= 1) {
        size_t word = (size_t)__builtin_ctzll(part);

        if (!(subject->parts & part) || (part != BOARD && !may_go(subject, word - 1)))
            continue;
        subject->out = part;
        return;
    }
    subject->out = 0;
    subject->stage = STAGE_DEPTH;
    subject->usual_depth = depth_of(subject);
    /* A report needs a checker; a crash may not. */
    subject->depth = subject->bug ? 1 : 0;
    if (subject->depth >= subject->usual_depth)
        subject->stage = STAGE_DONE;
}

/* Takes in whether the trial showed the bug. */
static void advance(struct subject *subject, bool shown)
{
    switch (subject->stage) {
    case STAGE_AGAIN:
        subject->smallest->steady = shown;
        subject->stage = shown ? STAGE_PARTS : STAGE_DONE;
        if (shown)
            next_part(subject);
        break;
    case STAGE_PARTS:
        if (shown)
            subject->parts &= ~subject->out;
        next_part(subject);
        break;
    case STAGE_DEPTH:
        if (shown || ++subject->depth >= subject->usual_depth)
            subject->stage = STAGE_DONE;
        break;
    case STAGE_DONE:
        break;
    }
}

static bool has_run(const struct check_bug *bug, size_t run)
{
    for (size_t i = 0; i < bug->run_count; i++) {
        if (bug->runs[i] == run)
            return true;
    }
    return false;
}

static bool shows(const struct subject *subject, const struct check_result *trial, size_t run,
                  const struct check_result *result)
{
    if (!subject->bug)
        return dk_check_same_failure(&trial->runs[run], &result->runs[subject->run]);
    for (size_t i = 0; i < trial->found.count; i++) {
        if (!strcmp(trial->found.bugs[i]->key, subject->bug->key))
            return has_run(trial->found.bugs[i], run);
    }
    return false;
}

static int set_trial(struct subject *subject, const struct check_board *board)
{
    u64 parts = subject->parts & ~subject->out;

    dk_release(subject->trial.options);
    subject->trial.board = parts & BOARD ? board->path : NULL;
    subject->trial.options = join(subject, parts, subject->stage == STAGE_DEPTH ? subject->depth : -1);
    return subject->trial.options ? 0 : -ENOMEM;
}

/* One trial for each subject that is not through. 0, -ENOMEM, -EINTR interrupted or another error of running.
 */
static int make_trials(struct search *search, int *signal)
{
    struct check_result trial = { .request = &search->request, .doing = "bisecting: " };
    struct subject **tried = dk_allocate(search->count, sizeof(struct subject *));
    int error = 0;

    trial.runs = dk_allocate(search->count, sizeof(*trial.runs));
    if (!tried || !trial.runs)
        error = -ENOMEM;
    for (size_t i = 0; i < search->count && !error; i++) {
        struct subject *subject = &search->subjects[i];
        size_t board = search->result->runs[subject->run].board;

        if (subject->stage == STAGE_DONE)
            continue;
        error = set_trial(subject, &search->request.boards[board]);
        tried[trial.run_count] = subject;
        trial.runs[trial.run_count++] =
            (struct check_run){ .board = board, .exit = -1, .setting = &subject->trial };
    }
    if (!error && dk_check_run_all(&trial, signal))
        error = *signal ? -EINTR : -EIO;
    for (size_t i = 0; i < trial.run_count && !error; i++)
        advance(tried[i], shows(tried[i], &trial, i, search->result));
    dk_check_result_free(&trial);
    dk_release(tried);
    return error;
}

static bool is_through(const struct search *search)
{
    for (size_t i = 0; i < search->count; i++) {
        if (search->subjects[i].stage != STAGE_DONE)
            return false;
    }
    return true;
}

/* ---- Before and after ---- */

/* One that hangs would take its time-out each time, and a refused board never ran. */
static bool is_worth_it(const struct check_run *run)
{
    return run->status != CHECK_TIMEOUT && run->status != CHECK_REFUSED;
}

static int add_subject(struct search *search, const struct check_bug *bug, size_t run,
                       struct check_smallest *smallest)
{
    const struct check_request *request = search->result->request;
    struct subject *subject = &search->subjects[search->count];
    char *options;
    int error;

    if (search->count == MOST_SUBJECTS || !is_worth_it(&search->result->runs[run]))
        return 0;
    options = dk_check_run_options(request, search->result->runs[run].seed);
    if (!options)
        return -ENOMEM;
    *subject = (struct subject){ .bug = bug, .run = run, .smallest = smallest };
    search->count++;
    error = split(subject, options);
    dk_release(options);
    if (error)
        return error;
    choose_parts(subject, &request->boards[search->result->runs[run].board]);
    if (search->result->runs[run].seconds > search->longest)
        search->longest = search->result->runs[run].seconds;
    return 0;
}

/* What the search came to, if it came to an end. */
static int settle(const struct search *search, const struct subject *subject)
{
    const struct check_run *run = &search->result->runs[subject->run];
    struct check_smallest *smallest = subject->smallest;
    struct check_setting setting = { 0 };
    bool shown_at_depth = subject->depth < subject->usual_depth;

    if (subject->stage != STAGE_DONE)
        return 0;
    smallest->tried = true;
    if (!smallest->steady)
        return 0;
    setting.board = subject->parts & BOARD ? search->request.boards[run->board].path : NULL;
    setting.options = join(subject, subject->parts, -1);
    smallest->line = setting.options ? dk_check_command_line(search->result->request, &setting) : NULL;
    smallest->needs_board = subject->parts & BOARD;
    smallest->options = setting.options;
    smallest->depth = shown_at_depth ? subject->depth : subject->usual_depth;
    return smallest->line ? 0 : -ENOMEM;
}

static void free_subject(struct subject *subject)
{
    for (size_t i = 0; i < subject->word_count; i++)
        dk_release(subject->words[i]);
    dk_release(subject->words);
    dk_release(subject->trial.options);
}

int dk_check_bisect(struct check_result *result, double seconds, int *signal)
{
    struct search search = { .result = result, .request = *result->request };
    int error = 0;

    search.request.format = CHECK_TEXT;
    search.deadline = now() + (seconds > LEAST_SECONDS ? seconds : LEAST_SECONDS);
    search.subjects = dk_allocate(MOST_SUBJECTS, sizeof(*search.subjects));
    if (!search.subjects)
        return -ENOMEM;
    for (size_t i = 0; i < result->found.count && !error; i++) {
        struct check_bug *bug = result->found.bugs[i];

        error = add_subject(&search, bug, bug->runs[0], &bug->smallest);
    }
    for (size_t i = 0; i < result->failure_count && !error; i++) {
        struct check_failure *failure = &result->failures[i];

        error = add_subject(&search, NULL, failure->runs[0], &failure->smallest);
    }
    while (!error && !is_through(&search)) {
        double left = search.deadline - now();
        double most = search.longest * SLOWER + 1;

        if (left <= 0) {
            result->unfinished = true;
            break;
        }
        if (most > left)
            most = left;
        if (most < search.request.timeout)
            search.request.timeout = most;
        error = make_trials(&search, signal);
    }
    for (size_t i = 0; i < search.count; i++) {
        if (!error || error == -EINTR)
            error = settle(&search, &search.subjects[i]) ? -ENOMEM : error;
        free_subject(&search.subjects[i]);
    }
    dk_release(search.subjects);
    return error;
}
