/* SPDX-License-Identifier: MIT */
/*
 * Suppressions: what a line hides, what is refused, and what is said of both.
 */
#include "check/suppressions.h"
#include "fake-machine.h"

#include <dmakit/fail.h>
#include <dmakit/log.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/dmakit-test-suppressions-XXXXXX";
static char report_path[] = "/tmp/dmakit-test-suppressed-XXXXXX";
static char text[32768];
static char log_lines[8192];
static struct fake_machine fake;

static void keep_line(int level, const char *line, void *data)
{
    size_t used = strlen(log_lines);

    (void)level;
    (void)data;
    snprintf(log_lines + used, sizeof(log_lines) - used, "%s\n", line);
}

static int make_files(void **state)
{
    int one, two;

    (void)state;
    log_lines[0] = '\0';
    memcpy(path + strlen(path) - 6, "XXXXXX", 6);
    memcpy(report_path + strlen(report_path) - 6, "XXXXXX", 6);
    one = mkstemp(path);
    two = mkstemp(report_path);
    close(one);
    close(two);
    return one < 0 || two < 0;
}

static int remove_files(void **state)
{
    (void)state;
    return unlink(path) | unlink(report_path);
}

static void write_file(const char *content)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
}

static void read_reports(void)
{
    FILE *file = fopen(report_path, "r");

    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
}

/* ---- Lines ---- */

/* A report of free-wrong-size by nic_done() in src/nic.c of ./nic, of a mapping made by nic_send() in
 * lib/queue.c of /usr/lib/libqueue.so. */
static struct dk_report report = {
    .class_name = "free-wrong-size",
    .severity = "error",
    .access.stack = { 2, { { "nic_done", "src/nic.c", 57, "./nic", 1 }, { NULL, NULL, 0, NULL, 2 } } },
    .mapping = { .kind = "single",
                 .stack = { 1, { { "nic_send", "lib/queue.c", 42, "/usr/lib/libqueue.so", 3 } } } },
};

static void lines_hide_what_they_say(void **state)
{
    static const struct {
        const char *line;
        bool hides;
    } cases[] = {
        { "free-wrong-size", true },
        { "  free-wrong-size\t", true },
        { "free-wrong-size\r", true },
        { "free-wrong-*", true },
        { "*", true },
        { "*-size", true },
        { "f*e-*ong*size*", true },
        { "free-wrong-direction", false },
        { "sync-*", false },
        { "*-direction", false },
        { "free-wrong-size:nic_done", true },
        { "free-wrong-size : nic_done ", true },
        { "free-wrong-size:done", true },
        { "free-wrong-size:nic_done_all", false },
        { "free-wrong-size:^nic_done$", true },
        { "free-wrong-size:^done", false },
        { "free-wrong-size:nic_d$", false },
        { "free-wrong-size:nic_d*e$", true },
        { "free-wrong-size:^n*e$", true },
        { "free-wrong-size:^s*c$", true },
        { "free-wrong-size:^n*x$", false },
        { "free-wrong-size:src/nic.c", true },
        { "free-wrong-size:nic.c$", true },
        { "free-wrong-size:^./nic$", true },
        { "free-wrong-size:nic_send", true },
        { "free-wrong-size:queue.c", true },
        { "free-wrong-size:libqueue.so", true },
        { "free-wrong-size:libother.so", false },
        { "free-wrong-size:NIC", false },
        { "sync-not-mapped:nic_done", false },
        { "*:nic_done", true },
        { "*:*done*", true },
        { "*:a*b*c*d*e*f*g*h*i*j*k*l*m", false },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_suppressions suppressions;
        char line[128];

        snprintf(line, sizeof(line), "# comment\n\n%s\n   # another:one", cases[i].line);
        write_file(line);
        assert_int_equal(dk_suppressions_read(&suppressions, path), 0);
        assert_int_equal(suppressions.count, 1);
        assert_int_equal(suppressions.entries[0].line, 3);
        if (!dk_suppressions_find(&suppressions, &report) == cases[i].hides)
            print_error("%s\n", cases[i].line);
        assert_int_equal(dk_suppressions_find(&suppressions, &report) != NULL, cases[i].hides);
        dk_suppressions_finish(&suppressions);
    }
    assert_string_equal(log_lines, "");
}

static void a_pattern_needs_a_place(void **state)
{
    struct dk_report bare = { .class_name = "maps-stack" };
    struct dk_suppressions suppressions;

    (void)state;
    write_file("maps-stack:a\nmaps-*\n");
    assert_int_equal(dk_suppressions_read(&suppressions, path), 0);
    assert_ptr_equal(dk_suppressions_find(&suppressions, &bare), &suppressions.entries[1]);
    dk_suppressions_finish(&suppressions);
    write_file("");
    assert_int_equal(dk_suppressions_read(&suppressions, path), 0);
    assert_null(dk_suppressions_find(&suppressions, &bare));
    dk_suppressions_finish(&suppressions);
}

/* Up to 250 characters a pattern, and a mebibyte all of it. */
static void the_longest_of_each(void **state)
{
    static char content[(1u << 20) + 2], name[251];
    struct dk_report long_name = { .class_name = "maps-stack",
                                   .access.stack = { 1, { { name, NULL, 0, NULL, 1 } } } };
    struct dk_suppressions suppressions;

    (void)state;
    memset(name, 'x', 250);
    snprintf(content, sizeof(content), "maps-stack:%s", name);
    write_file(content);
    assert_int_equal(dk_suppressions_read(&suppressions, path), 0);
    assert_non_null(dk_suppressions_find(&suppressions, &long_name));
    name[249] = 'y';
    assert_null(dk_suppressions_find(&suppressions, &long_name));
    dk_suppressions_finish(&suppressions);
    snprintf(content, sizeof(content), "maps-stack:%sx", name);
    write_file(content);
    assert_int_equal(dk_suppressions_read(&suppressions, path), -EINVAL);
    assert_non_null(strstr(log_lines, "has a pattern of more than 250 characters"));

    memset(content, '#', 1u << 20);
    content[1u << 20] = '\0';
    write_file(content);
    assert_int_equal(dk_suppressions_read(&suppressions, path), 0);
    dk_suppressions_finish(&suppressions);
    content[1u << 20] = '#';
    content[(1u << 20) + 1] = '\0';
    write_file(content);
    assert_int_equal(dk_suppressions_read(&suppressions, path), -EFBIG);
}

static void bad_lines_are_refused_by_number(void **state)
{
    static const char *const lines[] = {
        "free-wrong-siz",   "Free-Wrong-Size",          ":nic_done",
        "free wrong-size",  "free-wrong-size nic_done", "nothing*",
        "free-wrong-size:", "free-wrong-size: *",       "*:^$",
        "race:nic_done",
    };
    struct dk_suppressions suppressions;
    char content[400], wanted[400];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        snprintf(content, sizeof(content), "sync-not-mapped\n# right so far\n%s\nsync-not-mapped\n",
                 lines[i]);
        write_file(content);
        log_lines[0] = '\0';
        assert_int_equal(dk_suppressions_read(&suppressions, path), -EINVAL);
        snprintf(wanted, sizeof(wanted), "suppressions %s:3: \"%s\" ", path, lines[i]);
        if (strncmp(log_lines, wanted, strlen(wanted)) != 0)
            print_error("%s\n%s\n", wanted, log_lines);
        assert_int_equal(strncmp(log_lines, wanted, strlen(wanted)), 0);
        assert_ptr_equal(strchr(log_lines, '\n'), log_lines + strlen(log_lines) - 1);
    }
    memset(content, 'x', 300);
    memcpy(content, "maps-stack:", 11);
    content[300] = '\0';
    write_file(content);
    assert_int_equal(dk_suppressions_read(&suppressions, path), -EINVAL);
    assert_int_equal(dk_suppressions_read(&suppressions, "/no/such/file"), -ENOENT);
    assert_int_equal(dk_suppressions_read(&suppressions, "/tmp"), -EISDIR);
    assert_int_equal(dk_suppressions_read(&suppressions, "/dev/zero"), -EFBIG);
    assert_non_null(strstr(log_lines, "suppressions /no/such/file: No such file"));
}

/* ---- Reports ---- */

__attribute__((noinline)) static void free_nothing(struct device *dev, dma_addr_t dma)
{
    const struct dk_mapping asked = { .kind = DK_MAPPING_SINGLE, .dma = dma, .size = 64 };
    struct dk_mapping found;

    dk_check_unmap(dev, "dma_unmap_single", &asked, &found);
    __asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) static void free_elsewhere(struct device *dev)
{
    free_nothing(dev, 0x10);
    __asm__ volatile("" ::: "memory");
}

static void start_with(enum dk_report_format format, bool print_suppressed, bool abort_on_error)
{
    const struct dk_check_options options = { .depth = 1,
                                              .format = format,
                                              .report_path = report_path,
                                              .suppressions = path,
                                              .print_suppressed = print_suppressed,
                                              .abort_on_error = abort_on_error };

    fake_start(&fake);
    fake.machine.checker = dk_checker_create(&fake.machine, &options);
    assert_false(IS_ERR(fake.machine.checker));
}

static void count_reports(const struct dk_report *each, void *data)
{
    assert_null(each->suppressed);
    ++*(unsigned *)data;
}

static void misbehave(void)
{
    int i;

    for (i = 0; i < 3; i++)
        free_elsewhere(&fake.devices[0]);
    free_nothing(&fake.devices[0], ~0ull);
    free_nothing(&fake.devices[1], 0x20);
}

static void what_is_hidden_is_counted_and_said(void **state)
{
    char wanted[512];
    unsigned kept = 0;

    (void)state;
    write_file(
        "sync-*\nfree-not-allocated:^free_elsewhere$ # no comment here\nfree-not-allocated:^free_elsewhere$\n");
    start_with(DK_REPORT_TEXT, false, true);
    for (int i = 0; i < 3; i++)
        free_elsewhere(&fake.devices[0]);
    /* abort_on_error has not ended us. */
    assert_int_equal(dk_check_count(&fake.machine, NULL), 0);
    fake_finish(&fake);
    start_with(DK_REPORT_TEXT, false, false);
    misbehave();
    assert_int_equal(dk_check_count(&fake.machine, NULL), 2);
    assert_int_equal(dk_check_count(&fake.machine, "free-not-allocated"), 1);
    dk_check_each(&fake.machine, count_reports, &kept);
    assert_int_equal(kept, 2);
    assert_string_equal(log_lines, "");
    dk_log_set_level(2);
    fake_finish(&fake);
    dk_log_set_level(1);
    read_reports();
    snprintf(wanted, sizeof(wanted),
             "==dmakit== 3 reports were suppressed by %s:\n"
             "==dmakit==        3 by line 3, free-not-allocated:^free_elsewhere$\n",
             path);
    assert_int_equal(strncmp(text, wanted, strlen(wanted)), 0);
    assert_non_null(strstr(text + strlen(wanted), wanted));
    assert_non_null(strstr(text, "ERROR: free-not-allocated on /fake/1"));
    assert_null(strstr(text, "ERROR: free-not-allocated on /fake/0"));
    snprintf(wanted, sizeof(wanted), "suppressions %s:1: \"sync-*\" hid nothing\n", path);
    assert_non_null(strstr(log_lines, wanted));
    assert_null(strstr(log_lines, ":3: "));
}

static unsigned lines_of(const char *what)
{
    unsigned count = 0;
    const char *at;

    read_reports();
    for (at = text; (at = strstr(at, what)); at += strlen(what))
        count++;
    return count;
}

static void machines_read_them_marked_if_asked(void **state)
{
    (void)state;
    write_file("free-not-allocated\n");
    start_with(DK_REPORT_JSON, false, false);
    misbehave();
    fake_finish(&fake);
    assert_int_equal(lines_of("\n"), 1);
    start_with(DK_REPORT_JSON, true, false);
    misbehave();
    fake_finish(&fake);
    assert_int_equal(lines_of("\n"), 4);
    assert_int_equal(lines_of("\"suppressed\": \"free-not-allocated\""), 2);
    /* A program's own sink gets none of them. */
    start_with(DK_REPORT_JSON, true, false);
    dk_check_set_sink(&fake.machine, count_reports, &(unsigned){ 0 });
    misbehave();
    fake_finish(&fake);
    assert_int_equal(lines_of("\n"), 4);
}

/* Where reports do not go out as text for people, the log has what was hidden. */
static void what_was_hidden_is_said_in_the_log_otherwise(void **state)
{
    static const struct {
        enum dk_report_format format;
        bool sink;
    } cases[] = { { DK_REPORT_TEXT, true }, { DK_REPORT_JSON, true }, { DK_REPORT_JSON, false } };
    char wanted[512];
    size_t i;

    (void)state;
    write_file("\nfree-not-allocated\n");
    snprintf(wanted, sizeof(wanted),
             "1 report was suppressed by %s:\n       1 by line 2, free-not-allocated\n", path);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start_with(cases[i].format, false, false);
        if (cases[i].sink)
            dk_check_set_sink(&fake.machine, fake_silence, NULL);
        free_nothing(&fake.devices[0], 0x20);
        log_lines[0] = '\0';
        dk_log_set_level(2);
        fake_finish(&fake);
        dk_log_set_level(1);
        assert_string_equal(log_lines, wanted);
        assert_int_equal(lines_of("dmakit"), 0);
    }
}

static void a_checker_without_its_file_is_refused(void **state)
{
    const struct dk_check_options options = { .depth = 1, .suppressions = "/no/such/file" };

    (void)state;
    fake_start(&fake);
    assert_int_equal(PTR_ERR(dk_checker_create(&fake.machine, &options)), -ENOENT);
    fake_finish(&fake);
}

static void every_allocation_fails(void **state)
{
    const struct dk_check_options options = {
        .depth = 1, .suppressions = path, .report_path = report_path, .format = DK_REPORT_JSON
    };
    unsigned long n = 1, hits = 1;

    (void)state;
    write_file("sync-*\nfree-not-allocated:free_nothing\n# and\nmaps-stack\n");
    for (; hits; n++) {
        struct dk_checker *checker;

        fake_start(&fake);
        dk_fail_nth(n);
        checker = dk_checker_create(&fake.machine, &options);
        if (!IS_ERR(checker)) {
            fake.machine.checker = checker;
            free_nothing(&fake.devices[0], 0x10);
        } else {
            assert_int_equal(PTR_ERR(checker), -ENOMEM);
        }
        hits = dk_fail_hits();
        dk_fail_nth(0);
        if (!hits)
            assert_int_equal(dk_check_count(&fake.machine, NULL), 0);
        fake_finish(&fake);
    }
    assert_true(n > 10);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_files, remove_files)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(lines_hide_what_they_say),
        CASE(a_pattern_needs_a_place),
        CASE(the_longest_of_each),
        CASE(bad_lines_are_refused_by_number),
        CASE(what_is_hidden_is_counted_and_said),
        CASE(machines_read_them_marked_if_asked),
        CASE(what_was_hidden_is_said_in_the_log_otherwise),
        CASE(a_checker_without_its_file_is_refused),
        CASE(every_allocation_fails),
    };

    dk_log_set_sink(keep_line, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
