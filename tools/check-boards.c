/* SPDX-License-Identifier: MIT */
/*
 * The boards of dmakit check: files, folders, and which of them are refused.
 */
#include "base/alloc.h"
#include "board/board.h"
#include "check.h"

#include <dirent.h>
#include <dmakit/board.h>
#include <dmakit/error.h>
#include <dmakit/log.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int dk_check_boards_add(struct check_request *request, const char *path)
{
    struct check_board *grown;
    char *copy = NULL;

    if (path) {
        copy = dk_copy_string(path);
        if (!copy)
            return -ENOMEM;
    }
    grown = dk_resize(request->boards, request->board_count + 1, sizeof(*grown));
    if (!grown) {
        dk_release(copy);
        return -ENOMEM;
    }
    request->boards = grown;
    grown[request->board_count++] = (struct check_board){ .path = copy };
    return 0;
}

static int is_board(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return dot && dot != entry->d_name && (!strcmp(dot, ".dts") || !strcmp(dot, ".dtb"));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int dk_check_boards_add_folder(struct check_request *request, const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_board, by_name);
    size_t length = strlen(folder);
    int error = 0;

    if (count < 0)
        return -errno;
    for (int i = 0; i < count; i++) {
        char *path = error ? NULL
                           : dk_format("%s%s%s", folder, length && folder[length - 1] == '/' ? "" : "/",
                                       entries[i]->d_name);

        if (!error)
            error = path ? dk_check_boards_add(request, path) : -ENOMEM;
        dk_release(path);
        free(entries[i]);
    }
    free(entries);
    return error ? error : count;
}

/* Keeps the first error of a board's log: the reason it is refused. */
struct first_error {
    char line[512];
};

static void keep_first_error(int level, const char *line, void *data)
{
    struct first_error *first = data;

    if (level == 0 && !first->line[0])
        snprintf(first->line, sizeof(first->line), "%s", line);
}

/* The board is named beside the reason anyway. */
static const char *without_path(const char *line, const char *path)
{
    size_t length = strlen(path);

    return !strncmp(line, path, length) && !strncmp(line + length, ": ", 2) ? line + length + 2 : line;
}

/* Sets the refusal of @board when it cannot be loaded. */
static int try_board(struct check_board *board)
{
    struct first_error first = { "" };
    struct dk_board *loaded;
    long error;

    if (access(board->path, F_OK))
        return errno == ENOENT || errno == ENOTDIR ? -ENOENT : 0;
    dk_log_set_sink(keep_first_error, &first);
    loaded = dk_board_load(board->path);
    dk_log_set_sink(NULL, NULL);
    if (!IS_ERR(loaded)) {
        dk_check_traits(board, loaded);
        dk_board_free(loaded);
        return 0;
    }
    error = PTR_ERR(loaded);
    if (error == -ENOMEM)
        return -ENOMEM;
    board->refusal =
        dk_copy_string(first.line[0] ? without_path(first.line, board->path) : strerror((int)-error));
    return board->refusal ? 0 : -ENOMEM;
}

/* The traits of the board that stands in the library. 0 or -ENOMEM. */
static int try_built_in(struct check_board *board)
{
    struct dk_board *loaded = dk_board_hostile();

    if (IS_ERR(loaded))
        return -ENOMEM;
    dk_check_traits(board, loaded);
    dk_board_free(loaded);
    return 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

/* A file's name is label enough unless two boards share it. */
static int label_board(struct check_request *request, struct check_board *board)
{
    const char *label = board->path ? base_name(board->path) : "built-in hostile board";

    for (size_t i = 0; board->path && i < request->board_count; i++) {
        const struct check_board *other = &request->boards[i];

        if (other != board && other->path && !strcmp(base_name(other->path), label)) {
            label = board->path;
            break;
        }
    }
    board->label = dk_copy_string(label);
    return board->label ? 0 : -ENOMEM;
}

int dk_check_boards_settle(struct check_request *request, const char **missing)
{
    int error;

    if (!request->board_count) {
        error = dk_check_boards_add(request, NULL);
        if (error)
            return error;
    }
    for (size_t i = 0; i < request->board_count; i++) {
        struct check_board *board = &request->boards[i];

        error = board->path ? try_board(board) : try_built_in(board);
        if (error) {
            *missing = board->path;
            return error;
        }
        error = label_board(request, board);
        if (error)
            return error;
    }
    return 0;
}

void dk_check_boards_free(struct check_request *request)
{
    for (size_t i = 0; i < request->board_count; i++) {
        dk_release(request->boards[i].path);
        dk_release(request->boards[i].label);
        dk_release(request->boards[i].refusal);
    }
    dk_release(request->boards);
    request->boards = NULL;
    request->board_count = 0;
}
