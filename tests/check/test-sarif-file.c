/* SPDX-License-Identifier: MIT */
/*
 * A SARIF log as a file takes it: writes that are cut short, and files that are no log, or cannot be one.
 */
#include "check/sarif.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#define END_SIZE (sizeof(DK_SARIF_END) - 1)

static char path[] = "/tmp/dmakit-test-sarif-XXXXXX";
static int fd;
static char text[65536], whole[65536];

static int open_file(void **state)
{
    (void)state;
    memcpy(path + strlen(path) - 6, "XXXXXX", 6);
    fd = mkstemp(path);
    return fd < 0;
}

static int close_file(void **state)
{
    (void)state;
    return close(fd) | unlink(path);
}

static size_t read_file(char *into)
{
    ssize_t size = pread(fd, into, sizeof(text) - 1, 0);

    assert_true(size >= 0);
    into[size] = '\0';
    return (size_t)size;
}

/* ---- Writes that are cut short ---- */

/* In the C library's place: at most @taken bytes a call are written. 0: as many as there are. */
static size_t taken;
static unsigned interrupted;

ssize_t pwritev64(int file, const struct iovec *pieces, int count, off_t at)
{
    size_t left = taken ? taken : SIZE_MAX;
    ssize_t written = 0;
    int i;

    if (interrupted) {
        interrupted--;
        errno = EINTR;
        return -1;
    }
    for (i = 0; i < count && left; i++) {
        size_t size = pieces[i].iov_len < left ? pieces[i].iov_len : left;
        ssize_t now = pwrite(file, pieces[i].iov_base, size, at + written);

        if (now < 0)
            return written ? written : now;
        written += now;
        left -= size;
        if ((size_t)now < size)
            break;
    }
    return written;
}

static void write_log(void)
{
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(dk_sarif_file_start(fd), 0);
    assert_int_equal(dk_sarif_file_add(fd, "{\"first\": 1}", 12), 0);
    assert_int_equal(dk_sarif_file_add(fd, "{\"second\": 22}", 14), 0);
}

static void a_write_goes_on_where_it_was_cut_short(void **state)
{
    size_t size;

    (void)state;
    taken = 0;
    write_log();
    size = read_file(whole);
    assert_true(size > END_SIZE);
    assert_string_equal(whole + size - END_SIZE, DK_SARIF_END);
    assert_non_null(strstr(whole, "[\n{\"first\": 1},\n{\"second\": 22}" DK_SARIF_END));
    for (taken = 1; taken <= 40; taken++) {
        interrupted = 2;
        write_log();
        assert_int_equal(read_file(text), size);
        assert_memory_equal(text, whole, size);
    }
    taken = 0;
}

/* ---- Files that take no more ---- */

/* What adding @result returns, or with NULL starting the log, while no file may have more than @most bytes.
 */
static int call_within(size_t most, const char *result)
{
    struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
    struct rlimit limit, narrow;
    int error;

    assert_int_equal(sigaction(SIGXFSZ, &ignore, &before), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    narrow = limit;
    narrow.rlim_cur = most;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &narrow), 0);
    error = result ? dk_sarif_file_add(fd, result, strlen(result)) : dk_sarif_file_start(fd);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(sigaction(SIGXFSZ, &before, NULL), 0);
    return error;
}

static void what_finds_no_room_leaves_the_log_as_it_was(void **state)
{
    size_t size, room;
    int other;

    (void)state;
    write_log();
    size = read_file(whole);
    for (room = 0; room < 14; room++) {
        assert_int_equal(call_within(size + room, "{\"third\": 333}"), -EFBIG);
        assert_int_equal(read_file(text), size);
        assert_memory_equal(text, whole, size);
    }
    assert_int_equal(dk_sarif_file_add(fd, "{}", 2), 0);
    read_file(text);
    assert_non_null(strstr(text, "{\"second\": 22},\n{}" DK_SARIF_END));
    other = open(path, O_RDWR);
    assert_true(other >= 0);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    close(other);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(call_within(20, NULL), -EFBIG);
    assert_int_equal(read_file(text), 0);
    assert_int_equal(dk_sarif_file_start(fd), 0);
}

static void a_file_that_is_no_log_is_left_alone(void **state)
{
    /* The end alone has nothing before it that a result could be put behind. */
    static const char *const contents[] = { "x", DK_SARIF_END, "[" DK_SARIF_END "\n", "[\n" };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
        size_t size = strlen(contents[i]);

        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, contents[i], size, 0), size);
        assert_int_equal(dk_sarif_file_start(fd), -EINVAL);
        assert_int_equal(dk_sarif_file_add(fd, "{}", 2), -EINVAL);
        assert_int_equal(read_file(text), size);
        assert_string_equal(text, contents[i]);
    }
    /* With one byte before it, it is the end of a list. */
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, "[" DK_SARIF_END, END_SIZE + 1, 0), END_SIZE + 1);
    assert_int_equal(dk_sarif_file_start(fd), 0);
    assert_int_equal(dk_sarif_file_add(fd, "{}", 2), 0);
    read_file(text);
    assert_string_equal(text, "[\n{}" DK_SARIF_END);
}

static void what_cannot_be_a_log_is_refused(void **state)
{
    int ends[2], reader = open(path, O_RDONLY);

    (void)state;
    assert_true(reader >= 0);
    assert_int_equal(dk_sarif_file_start(reader), -EBADF);
    close(reader);
    assert_int_equal(dk_sarif_file_start(-1), -EBADF);
    assert_int_equal(dk_sarif_file_add(-1, "{}", 2), -EBADF);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(dk_sarif_file_start(ends[1]), -ESPIPE);
    assert_int_equal(dk_sarif_file_add(ends[1], "{}", 2), -ESPIPE);
    close(ends[0]);
    close(ends[1]);
}

/* Another process that begins with the same file does not wait for this one's end. */
static void a_log_that_was_started_is_free_for_others(void **state)
{
    int other = open(path, O_RDWR | O_CLOEXEC);
    unsigned i;

    (void)state;
    assert_true(other >= 0);
    for (i = 0; i < 2; i++) {
        assert_int_equal(dk_sarif_file_start(fd), 0);
        assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
        assert_int_equal(flock(other, LOCK_UN), 0);
    }
    close(other);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_file, close_file)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_write_goes_on_where_it_was_cut_short),    CASE(what_finds_no_room_leaves_the_log_as_it_was),
        CASE(a_file_that_is_no_log_is_left_alone),       CASE(what_cannot_be_a_log_is_refused),
        CASE(a_log_that_was_started_is_free_for_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
