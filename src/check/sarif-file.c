/* SPDX-License-Identifier: MIT */
#include "check/sarif.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/uio.h>
#include <unistd.h>

#define END_SIZE (sizeof(DK_SARIF_END) - 1)

/* Writes @pieces at @at, in one call unless the file takes less. */
static int write_at(int fd, struct iovec *pieces, int count, off_t at)
{
    while (count) {
        ssize_t written = pwritev(fd, pieces, count, at);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written ? -errno : -EIO;
        at += written;
        while (count && (size_t)written >= pieces->iov_len) {
            written -= (ssize_t)pieces->iov_len;
            pieces++;
            count--;
        }
        if (count) {
            pieces->iov_base = (char *)pieces->iov_base + written;
            pieces->iov_len -= (size_t)written;
        }
    }
    return 0;
}

static struct iovec piece(const char *text, size_t size)
{
    return (struct iovec){ (char *)(uintptr_t)text, size };
}

/* Where the end of the log begins in the file of @size bytes, and the byte before it; negative: -errno. */
static off_t find_end(int fd, off_t size, char *before)
{
    char last[END_SIZE + 1];
    off_t at = size - (off_t)sizeof(last);

    if (at < 0 || pread(fd, last, sizeof(last), at) != (ssize_t)sizeof(last) ||
        memcmp(last + 1, DK_SARIF_END, END_SIZE) != 0)
        return -EINVAL;
    *before = last[0];
    return at + 1;
}

/* Takes what was written behind @size off again. What cannot be undone stays, and later calls refuse it. */
static void cut(int fd, off_t size)
{
    if (ftruncate(fd, size))
        return;
}

static int start(int fd)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    int error;

    if (!out)
        return -ENOMEM;
    dk_sarif_begin(NULL, out);
    fputs(DK_SARIF_END, out);
    error = fclose(out) ? -ENOMEM : write_at(fd, (struct iovec[]){ piece(text, size) }, 1, 0);
    if (error)
        cut(fd, 0);
    free(text);
    return error;
}

/* The file's size with its lock held, or -errno without. */
static off_t lock(int fd)
{
    off_t size;

    while (flock(fd, LOCK_EX)) {
        if (errno != EINTR)
            return -errno;
    }
    size = lseek(fd, 0, SEEK_END);
    if (size < 0) {
        size = -errno;
        flock(fd, LOCK_UN);
    }
    return size;
}

int dk_sarif_file_start(int fd)
{
    off_t size = lock(fd);
    char before;
    int error = 0;

    if (size < 0)
        return (int)size;
    if (!size)
        error = start(fd);
    else if (find_end(fd, size, &before) < 0)
        error = -EINVAL;
    flock(fd, LOCK_UN);
    return error;
}

int dk_sarif_file_add(int fd, const char *text, size_t size)
{
    off_t end = lock(fd);
    char before = 0;
    int error = 0;

    if (end < 0)
        return (int)end;
    end = find_end(fd, end, &before);
    if (end >= 0) {
        const char *separator = before == '[' ? "\n" : ",\n";
        /* The end of the log goes over itself, behind the result. */
        struct iovec pieces[] = { piece(separator, strlen(separator)), piece(text, size),
                                  piece(DK_SARIF_END, END_SIZE) };

        error = write_at(fd, pieces, 3, end);
        /* A log again, without the result: its end has had room there before. */
        if (error && !write_at(fd, (struct iovec[]){ piece(DK_SARIF_END, END_SIZE) }, 1, end))
            cut(fd, end + (off_t)END_SIZE);
    }
    flock(fd, LOCK_UN);
    return end < 0 ? (int)end : error;
}
