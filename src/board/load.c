/* SPDX-License-Identifier: MIT */
/*
 * Boards from files: blobs as they are, source through dtc.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "board/parse.h"
#include "board/tree.h"

#include <dmakit/error.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* dtc takes well below a second for any board; one that takes this long does not end. */
#define DTC_SECONDS 60
#define READ_BYTES ((size_t)65536)
#define MESSAGE_BYTES ((size_t)4096)

struct bytes {
    char *data;
    size_t size, room;
};

/*
 * Reads what is there from @fd to the end of @bytes. 1, 0 at the end, or -errno: -EFBIG above DK_TREE_BYTES.
 */
static int read_some(int fd, struct bytes *bytes)
{
    ssize_t got;

    if (bytes->room - bytes->size < READ_BYTES) {
        size_t room = bytes->room * 2 + READ_BYTES;
        char *data;

        if (bytes->size > DK_TREE_BYTES)
            return -EFBIG;
        data = dk_resize(bytes->data, room, 1);
        if (!data)
            return -ENOMEM;
        bytes->data = data;
        bytes->room = room;
    }
    do {
        got = read(fd, bytes->data + bytes->size, READ_BYTES);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    bytes->size += (size_t)got;
    return got > 0;
}

static int read_file(const char *path, struct bytes *bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), more;

    if (fd < 0)
        return -errno;
    do {
        more = read_some(fd, bytes);
    } while (more > 0);
    close(fd);
    return more;
}

/* Starts `dtc` on @path with its output in *output and its messages in *messages. 0 or -errno. */
static int start_dtc(const char *path, const char *folder, pid_t *child, int *output, int *messages)
{
    char *arguments[] = { "dtc",          "-I", "dts", "-O", "dtb",        "-q", "-i",
                          (char *)folder, "-o", "-",   "--", (char *)path, NULL };
    posix_spawn_file_actions_t actions;
    int out[2] = { -1, -1 }, err[2] = { -1, -1 }, error = ENOMEM;

    if (dk_fault_point() || posix_spawn_file_actions_init(&actions))
        return -ENOMEM;
    if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) {
        error = EMFILE;
        goto out;
    }
    if (posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) ||
        posix_spawn_file_actions_adddup2(&actions, out[1], 1) ||
        posix_spawn_file_actions_adddup2(&actions, err[1], 2))
        goto out;
    error = posix_spawnp(child, "dtc", &actions, NULL, arguments, environ);
out:
    posix_spawn_file_actions_destroy(&actions);
    if (out[1] >= 0)
        close(out[1]);
    if (err[1] >= 0)
        close(err[1]);
    if (!error) {
        *output = out[0];
        *messages = err[0];
        return 0;
    }
    if (out[0] >= 0)
        close(out[0]);
    if (err[0] >= 0)
        close(err[0]);
    return -error;
}

/* Messages beyond what a log line can use are read, so that dtc can go on, and dropped. */
static int read_messages(int fd, char *text, size_t *length)
{
    char dropped[512];
    size_t room = MESSAGE_BYTES - 1 - *length;
    ssize_t got;

    do {
        got = room ? read(fd, text + *length, room) : read(fd, dropped, sizeof(dropped));
    } while (got < 0 && errno == EINTR);
    if (got > 0 && room)
        *length += (size_t)got;
    return got > 0;
}

/* Reads both pipes to their ends. 0 or -errno; -ETIMEDOUT when dtc takes too long. */
static int drain(int output, int messages, struct bytes *bytes, char *text, size_t *length)
{
    struct pollfd polled[2] = { { output, POLLIN, 0 }, { messages, POLLIN, 0 } };
    struct timespec start, now;
    int more = 1;

    clock_gettime(CLOCK_MONOTONIC, &start);
    while (polled[0].fd >= 0 || polled[1].fd >= 0) {
        int ready = poll(polled, 2, 1000);

        if (ready < 0 && errno != EINTR)
            return -errno;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec - start.tv_sec > DTC_SECONDS)
            return -ETIMEDOUT;
        if (ready <= 0)
            continue;
        if (polled[0].revents) {
            more = read_some(output, bytes);
            if (more < 0)
                return more;
            if (!more)
                polled[0].fd = -1;
        }
        if (polled[1].revents && !read_messages(messages, text, length))
            polled[1].fd = -1;
    }
    return 0;
}

/* Waits for @child. Whether it said that all went well; a process that ignores SIGCHLD is not told. */
static bool ended_well(pid_t child)
{
    int status = 0;
    pid_t got;

    do {
        got = waitpid(child, &status, 0);
    } while (got < 0 && errno == EINTR);
    return got < 0 || (WIFEXITED(status) && !WEXITSTATUS(status));
}

/* Compiles the source file @path into @bytes. 0 or -errno, logged. */
static int compile(const char *path, struct bytes *bytes)
{
    const char *slash = strrchr(path, '/');
    char text[MESSAGE_BYTES];
    int output = -1, messages = -1, error;
    size_t length = 0;
    char *folder;
    pid_t child = -1;
    bool well;

    folder = slash ? dk_format("%.*s", slash == path ? 1 : (int)(slash - path), path) : dk_copy_string(".");
    if (!folder)
        return -ENOMEM;
    error = start_dtc(path, folder, &child, &output, &messages);
    dk_release(folder);
    if (error == -ENOENT) {
        dk_log(DK_LOG_ERROR, "%s: this is device tree source, and dtc, which compiles it, is not installed",
               path);
        return -ENOEXEC;
    }
    if (error) {
        dk_log(DK_LOG_ERROR, "%s: dtc can't be started: %s", path, strerror(-error));
        return -ENOMEM; /* no process, descriptor or memory is left */
    }
    error = drain(output, messages, bytes, text, &length);
    close(output);
    close(messages);
    if (error)
        kill(child, SIGKILL);
    well = ended_well(child);
    text[length] = '\0';
    if (error == -EFBIG || error == -ETIMEDOUT) {
        dk_log(DK_LOG_ERROR, "%s: dtc %s", path, error == -EFBIG ? "gives more than 64 MiB" : "does not end");
        return -EINVAL;
    }
    if (!error && !well) {
        text[strcspn(text, "\n")] = '\0';
        dk_log(DK_LOG_ERROR, "%s: dtc refuses it: %s", path, *text ? text : "without a reason");
        return -EINVAL;
    }
    return error;
}

static bool is_blob(const struct bytes *bytes)
{
    static const unsigned char magic[4] = { 0xd0, 0x0d, 0xfe, 0xed };

    return bytes->size >= sizeof(magic) && !memcmp(bytes->data, magic, sizeof(magic));
}

struct dk_board *dk_board_load(const char *path)
{
    struct bytes bytes = { NULL, 0, 0 };
    struct dk_board *board;
    int error = read_file(path, &bytes);

    if (error) {
        dk_log(DK_LOG_ERROR, "%s: %s", path, error == -EFBIG ? "larger than 64 MiB" : strerror(-error));
        if (error == -EMFILE || error == -ENFILE)
            error = -ENOMEM;
        if (error != -ENOENT && error != -EACCES && error != -ENOMEM)
            error = -EINVAL;
    } else if (!is_blob(&bytes)) {
        bytes.size = 0;
        error = compile(path, &bytes);
    }
    board = error ? ERR_PTR(error) : dk_board_parse_from(path, bytes.data, bytes.size, NULL);
    dk_release(bytes.data);
    return board;
}
