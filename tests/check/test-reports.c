/* SPDX-License-Identifier: MIT */
/*
 * Reports: made once and counted, handed to one sink, written where the options say.
 */
#include "fake-machine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define THREADS 4
#define ROUNDS 2000

static struct fake_machine fake;
static unsigned delivered;

static void count_delivery(const struct dk_report *report, void *data)
{
    assert_int_equal(report->count, 1);
    __atomic_add_fetch((unsigned *)data, 1, __ATOMIC_RELAXED);
}

static int start(void **state)
{
    (void)state;
    delivered = 0;
    if (fake_start_checked(&fake))
        return -1;
    dk_check_set_sink(&fake.machine, count_delivery, &delivered);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    fake_finish(&fake);
    return 0;
}

__attribute__((noinline)) static void free_nothing(struct device *dev, dma_addr_t dma)
{
    const struct dk_mapping asked = {
        .kind = DK_MAPPING_SINGLE, .dma = dma, .size = 64, .direction = DMA_TO_DEVICE
    };
    struct dk_mapping found;

    dk_check_unmap(dev, "dma_unmap_single", &asked, &found);
}

/* Two bugs at two places, on a device of each thread's own and one that all share. */
static void *misbehave(void *data)
{
    struct device *own = data;
    int i;

    for (i = 0; i < ROUNDS; i++) {
        struct dk_mapping mapping = { .kind = DK_MAPPING_COHERENT,
                                      .size = 64,
                                      .dma = 0x100000 + (dma_addr_t)(own - fake.devices) * 0x1000 };

        free_nothing(&fake.devices[0], 0x10);
        dk_check_mapped(&fake.devices[0], "dma_alloc_coherent", &mapping);
        free_nothing(&fake.devices[0], mapping.dma);
        free_nothing(own, 0x10);
    }
    return NULL;
}

struct each_sum {
    unsigned reports;
    unsigned long count;
};

static void sum_each(const struct dk_report *report, void *data)
{
    struct each_sum *sum = data;

    sum->reports++;
    sum->count += report->count;
    assert_true(report->access.stack.count > 0);
}

static void test_threads(void **state)
{
    struct each_sum sum = { 0, 0 };
    pthread_t threads[THREADS];
    int i;

    (void)state;
    for (i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, misbehave, &fake.devices[i]), 0);
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    dk_check_each(&fake.machine, sum_each, &sum);
    /*
     * Nothing there: once for the shared device's place, and once for each of four devices at the other. The
     * wrong free of an allocation: function and direction.
     */
    assert_int_equal(dk_check_count(&fake.machine, "free-not-allocated"), 2 * THREADS * ROUNDS);
    assert_int_equal(dk_check_count(&fake.machine, "free-wrong-function"), THREADS * ROUNDS);
    assert_int_equal(dk_check_count(&fake.machine, "free-wrong-direction"), THREADS * ROUNDS);
    assert_int_equal(dk_check_count(&fake.machine, "maps-stack"), 0);
    assert_int_equal(dk_check_count(&fake.machine, "no-such-class"), 0);
    assert_int_equal(dk_check_count(&fake.machine, NULL), 4 * THREADS * ROUNDS);
    assert_int_equal(sum.reports, 1 + THREADS + 2);
    assert_int_equal(sum.count, 4 * THREADS * ROUNDS);
    assert_int_equal(delivered, sum.reports);
}

static void note_order(const struct dk_report *report, void *data)
{
    char *order = data;

    order[strlen(order)] = report->device[strlen(report->device) - 1];
}

static void test_each_is_oldest_first(void **state)
{
    char order[16] = "";
    int i;

    (void)state;
    for (i = FAKE_DEVICES - 1; i >= 0; i--)
        free_nothing(&fake.devices[i], 0x10);
    for (i = 0; i < FAKE_DEVICES; i++)
        free_nothing(&fake.devices[i], 0x20);
    dk_check_each(&fake.machine, note_order, order);
    assert_string_equal(order, "32100123");
    dk_check_each(&fake.machine, NULL, NULL);
}

/* ---- What is kept ---- */

static void write_texts(const struct dk_report *report, void *data)
{
    fprintf(data, "%s|%s|%s|%s|%s|%s|%s\n", report->class_name, report->severity, report->device,
            report->what, report->advice, report->access.name, report->picture);
}

/* Whatever is in the strings a report was made of afterwards, and however long each of them is. */
static void test_kept_texts_are_those_handed_over(void **state)
{
    static char memory[64] __attribute__((aligned(16)));
    struct {
        char class_name[32], call[64], what[256], advice[128];
    } texts;
    char *handed = NULL, *kept = NULL;
    size_t handed_size = 0, kept_size = 0;
    FILE *out = open_memstream(&handed, &handed_size);
    size_t i;

    (void)state;
    assert_non_null(out);
    fake_range(&fake.memory, memory, sizeof(memory), DK_ADDRESS_LINEAR, 0x10000);
    dk_check_set_sink(&fake.machine, write_texts, out);
    for (i = 0; i < 64; i++) {
        memset(&texts, 0, sizeof(texts));
        snprintf(texts.class_name, sizeof(texts.class_name), "later-%zu", i);
        memset(texts.call, 'c', i % 33);
        memset(texts.what, 'w', 1 + i * 3);
        memset(texts.advice, 'a', 120 - i);
        dk_check_finding(&fake.machine, &(struct dk_finding){ .class_name = texts.class_name,
                                                              .dev = &fake.devices[i % FAKE_DEVICES],
                                                              .call = texts.call,
                                                              .cpu = i % 2 ? memory + i : NULL,
                                                              .length = 1,
                                                              .what = texts.what,
                                                              .advice = texts.advice });
        memset(&texts, 'x', sizeof(texts));
    }
    fclose(out);
    out = open_memstream(&kept, &kept_size);
    assert_non_null(out);
    dk_check_each(&fake.machine, write_texts, out);
    fclose(out);
    assert_non_null(strstr(handed, "memory there"));
    assert_string_equal(kept, handed);
    free(handed);
    free(kept);
}

/* ---- Sinks that change while threads report ---- */

struct tally {
    unsigned handed; /* reports; atomic */
    bool closed;     /* no report may come any more; atomic */
};

static void hand_over(const struct dk_report *report, void *data)
{
    struct tally *tally = data;

    assert_int_equal(report->count, 1);
    assert_false(__atomic_load_n(&tally->closed, __ATOMIC_ACQUIRE));
    sched_yield();
    __atomic_add_fetch(&tally->handed, 1, __ATOMIC_RELAXED);
    assert_false(__atomic_load_n(&tally->closed, __ATOMIC_ACQUIRE));
}

#define NEW_DEVICES 400

struct reporter {
    struct device devices[NEW_DEVICES];
    struct dk_device dk[NEW_DEVICES];
    char paths[NEW_DEVICES][24];
};

/* A report on each of many devices is a bug of its own each. */
static void *report_on_each(void *data)
{
    struct reporter *reporter = data;
    int i;

    for (i = 0; i < NEW_DEVICES; i++)
        free_nothing(&reporter->devices[i], 0x10);
    return NULL;
}

static void test_changing_sinks(void **state)
{
    static struct reporter reporters[THREADS];
    static struct tally tallies[64];
    pthread_t threads[THREADS];
    struct each_sum sum = { 0, 0 };
    unsigned handed = 0;
    size_t i, j;

    (void)state;
    for (i = 0; i < THREADS; i++) {
        for (j = 0; j < NEW_DEVICES; j++) {
            struct reporter *reporter = &reporters[i];

            snprintf(reporter->paths[j], sizeof(reporter->paths[j]), "/new/%zu/%zu", i, j);
            reporter->dk[j] = (struct dk_device){ .machine = &fake.machine,
                                                  .dev = &reporter->devices[j],
                                                  .path = reporter->paths[j] };
            reporter->devices[j].dk = &reporter->dk[j];
        }
    }
    dk_check_set_sink(&fake.machine, hand_over, &tallies[0]);
    for (i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, report_on_each, &reporters[i]), 0);
    /* When the next sink is set, the one before runs nowhere any more. */
    for (i = 1; i < sizeof(tallies) / sizeof(tallies[0]); i++) {
        dk_check_set_sink(&fake.machine, hand_over, &tallies[i]);
        __atomic_store_n(&tallies[i - 1].closed, true, __ATOMIC_RELEASE);
        sched_yield();
    }
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (i = 0; i < sizeof(tallies) / sizeof(tallies[0]); i++)
        handed += tallies[i].handed;
    assert_int_equal(handed, THREADS * NEW_DEVICES);
    dk_check_each(&fake.machine, sum_each, &sum);
    assert_int_equal(sum.reports, THREADS * NEW_DEVICES);
    assert_int_equal(dk_check_count(&fake.machine, NULL), THREADS * NEW_DEVICES);
}

/* ---- The default sink ---- */

static char path[] = "/tmp/dmakit-test-reports-XXXXXX";
static char text[32768];

static void read_file(void)
{
    FILE *file = fopen(path, "r");
    size_t used;

    assert_non_null(file);
    used = fread(text, 1, sizeof(text) - 1, file);
    text[used] = '\0';
    fclose(file);
}

static void start_with(enum dk_report_format format, bool abort_on_error)
{
    const struct dk_check_options options = {
        .depth = 1, .format = format, .report_path = path, .abort_on_error = abort_on_error
    };

    fake_start(&fake);
    fake.machine.checker = dk_checker_create(&fake.machine, &options);
    assert_false(IS_ERR(fake.machine.checker));
}

static unsigned occurrences(const char *what)
{
    const char *at = text;
    unsigned count = 0;

    while ((at = strstr(at, what))) {
        count++;
        at += strlen(what);
    }
    return count;
}

static int make_file(void **state)
{
    int fd;

    (void)state;
    memcpy(path + strlen(path) - 6, "XXXXXX", 6);
    fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void test_text(void **state)
{
    static const char *const parts[] = {
        "==dmakit== ERROR: free-wrong-size on /fake/0\n",
        "  dma_unmap_single() at 0x2000 unmapped with 64 bytes what was mapped with 128.\n",
        "  bytes: 64 at offset 64, DMA address 0x2040\n",
        "  dma_unmap_single() called from:\n    #0 free_nothing ",
        "  mapping: single, 128 bytes at DMA address 0x2000, to-device, made from:\n    #0 test_text ",
        "  advice: give the size that the mapping was made with.\n",
        "test-reports.c:",
    };
    struct dk_mapping mapping = {
        .kind = DK_MAPPING_SINGLE, .dma = 0x2000, .size = 128, .direction = DMA_TO_DEVICE
    };
    size_t i;
    int round;

    (void)state;
    start_with(DK_REPORT_TEXT, false);
    for (round = 0; round < 2; round++) {
        mapping.number = 0;
        dk_check_mapped(&fake.devices[0], "dma_map_single", &mapping);
        dk_check_mapping_error(&fake.devices[0], mapping.dma);
        free_nothing(&fake.devices[0], mapping.dma);
    }
    free_nothing(&fake.devices[0], ~0ull);
    fake_finish(&fake);
    read_file();
    for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i] && !strstr(text, parts[i]))
            print_error("%s\nis not in\n%s\n", parts[i], text);
        assert_non_null(strstr(text, parts[i]));
    }
    assert_int_equal(occurrences("==dmakit=="), 2);
    assert_int_equal(occurrences("mapping: "), 1);
    /* Another checker adds to the file. */
    start_with(DK_REPORT_JSON, false);
    free_nothing(&fake.devices[0], 0x10);
    dk_check_set_sink(&fake.machine, fake_silence, NULL);
    free_nothing(&fake.devices[0], 0x10);
    free_nothing(&fake.devices[1], 0x10);
    dk_check_set_sink(&fake.machine, NULL, NULL);
    free_nothing(&fake.devices[2], 0x10);
    fake_finish(&fake);
    read_file();
    assert_int_equal(occurrences("==dmakit=="), 2);
    assert_int_equal(occurrences("{\"class\": \"free-not-allocated\""), 2);
    assert_int_equal(occurrences("\"device\": \"/fake/1\""), 0);
}

static void test_print_forms(void **state)
{
    struct dk_report report = { .class_name = "maps-stack",
                                .severity = "warning",
                                .device = "",
                                .what = "What",
                                .advice = "Advice",
                                .bytes = { 0x70, ~0ull, 0, 8 },
                                .access = { .kind = "load", .name = "" },
                                .count = 3 };
    FILE *out = fmemopen(text, sizeof(text), "w");

    (void)state;
    report.access.stack.count = 2;
    report.access.stack.frames[0] = (struct dk_frame){ NULL, NULL, 0, NULL, 0x1234 };
    report.access.stack.frames[1] = (struct dk_frame){ "function", NULL, 0, "/lib/module.so", 0x5678 };
    dk_report_print(&report, out);
    dk_report_print(NULL, out);
    dk_report_print(&report, NULL);
    dk_report_print_json(NULL, out);
    dk_report_print_json(&report, NULL);
    fclose(out);
    assert_string_equal(text, "==dmakit== WARNING: maps-stack\n"
                              "  What.\n"
                              "  bytes: 8, CPU address 0x70\n"
                              "  load from:\n"
                              "    #0 ?? (??, 0x1234)\n"
                              "    #1 function (/lib/module.so, 0x5678)\n"
                              "  advice: Advice.\n"
                              "  seen 3 times so far.\n\n");
}

/* Threads print whole reports, each once, and to a pipe that is full for now too. */
static void test_printing_threads(void **state)
{
    pthread_t threads[THREADS];
    char *line, *next;
    int i;

    (void)state;
    start_with(DK_REPORT_JSON, false);
    for (i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, misbehave, &fake.devices[i]), 0);
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    fake_finish(&fake);
    read_file();
    assert_int_equal(occurrences("\n"), 1 + THREADS + 2);
    for (line = text; *line; line = next) {
        next = strchr(line, '\n') + 1;
        assert_int_equal(strncmp(line, "{\"class\": \"free-", 16), 0);
        assert_int_equal(strncmp(next - 2, "}\n", 2), 0);
    }
}

static void *drain(void *data)
{
    static const struct timespec moment = { 0, 20000000 };
    int fd = *(int *)data;
    size_t used = 0;
    ssize_t got;

    nanosleep(&moment, NULL);
    while ((got = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
        used += (size_t)got;
    text[used] = '\0';
    return NULL;
}

static void test_full_pipe_is_waited_for(void **state)
{
    char *const filling = calloc(1, 1 << 20);
    char number[32];
    pthread_t reader;
    int ends[2];

    (void)state;
    assert_non_null(filling);
    assert_int_equal(pipe(ends), 0);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETPIPE_SZ, 4096);
    memset(filling, '.', 1 << 20);
    while (write(ends[1], filling, 512) > 0)
        continue;
    snprintf(number, sizeof(number), "/proc/self/fd/%d", ends[1]);
    fake_start(&fake);
    fake.machine.checker = dk_checker_create(
        &fake.machine,
        &(struct dk_check_options){ .depth = 1, .format = DK_REPORT_JSON, .report_path = number });
    assert_false(IS_ERR(fake.machine.checker));
    fcntl(fake_checker(&fake)->reports.printer.fd, F_SETFL, O_NONBLOCK);
    assert_int_equal(pthread_create(&reader, NULL, drain, &ends[0]), 0);
    free_nothing(&fake.devices[0], 0x10);
    fake_finish(&fake);
    close(ends[1]);
    pthread_join(reader, NULL);
    close(ends[0]);
    free(filling);
    assert_int_equal(occurrences("{\"class\": \"free-not-allocated\""), 1);
    assert_int_equal(strcmp(text + strlen(text) - 2, "}\n"), 0);
}

static void print_coloured(enum dk_report_colour colour)
{
    fake_start(&fake);
    fake.machine.checker = dk_checker_create(
        &fake.machine, &(struct dk_check_options){ .depth = 1, .colour = colour, .report_path = path });
    assert_false(IS_ERR(fake.machine.checker));
    free_nothing(&fake.devices[0], 0x10);
    fake_finish(&fake);
    read_file();
}

/* A file is no terminal, so colours are there only when asked for. */
static void test_colours(void **state)
{
    (void)state;
    print_coloured(DK_COLOUR_AUTO);
    print_coloured(DK_COLOUR_NEVER);
    assert_int_equal(occurrences("==dmakit=="), 2);
    assert_int_equal(occurrences("\33"), 0);
    print_coloured(DK_COLOUR_ALWAYS);
    assert_int_equal(occurrences("\33[1;31m==dmakit== ERROR: free-not-allocated on /fake/0\33[0m\n"), 1);
}

static void test_path_that_cannot_be_opened(void **state)
{
    const struct dk_check_options options = { .depth = 1, .report_path = "/no/such/folder/reports" };

    (void)state;
    fake_start(&fake);
    assert_int_equal(PTR_ERR(dk_checker_create(&fake.machine, &options)), -ENOENT);
    fake_finish(&fake);
}

static void test_abort(void **state)
{
    int status;
    pid_t child;

    (void)state;
    fflush(stdout);
    child = fork();
    if (!child) {
        signal(SIGABRT, SIG_DFL);
        start_with(DK_REPORT_TEXT, true);
        free_nothing(&fake.devices[0], 0x10);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    read_file();
    assert_int_equal(occurrences("==dmakit=="), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, finish)
#define FILE_CASE(name) cmocka_unit_test_setup_teardown(name, make_file, remove_file)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_threads),
        CASE(test_changing_sinks),
        CASE(test_each_is_oldest_first),
        CASE(test_kept_texts_are_those_handed_over),
        FILE_CASE(test_text),
        FILE_CASE(test_printing_threads),
        cmocka_unit_test(test_full_pipe_is_waited_for),
        FILE_CASE(test_colours),
        cmocka_unit_test(test_print_forms),
        cmocka_unit_test(test_path_that_cannot_be_opened),
        FILE_CASE(test_abort),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
