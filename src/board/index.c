/* SPDX-License-Identifier: MIT */
/*
 * Nodes by path, phandle and alias, and cycles among them.
 */
#include "board/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare_paths(const void *left, const void *right, void *data)
{
    const struct dk_board *board = data;

    return strcmp(board->nodes[*(const unsigned *)left].path, board->nodes[*(const unsigned *)right].path);
}

int dk_tree_read_paths(struct dk_tree *tree)
{
    struct dk_board *board = tree->board;
    unsigned *index = dk_arena_take(tree->arena, board->node_count, sizeof(*index));
    unsigned i;

    if (!index)
        return -ENOMEM;
    for (i = 0; i < board->node_count; i++)
        index[i] = i;
    qsort_r(index, board->node_count, sizeof(*index), compare_paths, board);
    for (i = 1; i < board->node_count; i++)
        if (!strcmp(board->nodes[index[i - 1]].path, board->nodes[index[i]].path))
            return dk_tree_refuse(tree, index[i], "two nodes have this path");
    board->by_path = index;
    return 0;
}

int dk_tree_by_path(const struct dk_board *board, const char *path)
{
    unsigned low = 0, high = board->node_count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        int order = strcmp(path, board->nodes[board->by_path[middle]].path);

        if (!order)
            return (int)board->by_path[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

int dk_tree_child(const struct dk_tree *tree, unsigned parent, const char *name)
{
    char path[DK_TREE_PATH + 1];
    const char *above = tree->board->nodes[parent].path;
    int length = snprintf(path, sizeof(path), "%s/%s", parent ? above : "", name);

    /* A path that does not fit is longer than any node's. */
    if (length < 0 || (size_t)length >= sizeof(path))
        return -1;
    return dk_tree_by_path(tree->board, path);
}

static int compare_phandles(const void *left, const void *right)
{
    const struct dk_tree_phandle *a = left, *b = right;

    if (a->phandle != b->phandle)
        return a->phandle < b->phandle ? -1 : 1;
    return a->node < b->node ? -1 : 1;
}

int dk_tree_read_phandles(struct dk_tree *tree)
{
    struct dk_board *board = tree->board;
    struct dk_tree_phandle *all;
    unsigned i, count = 0;
    int error;

    all = dk_arena_take(tree->scratch, board->node_count, sizeof(*all));
    if (!all)
        return -ENOMEM;
    for (i = 0; i < board->node_count; i++) {
        const char *name = dk_tree_flag(tree, i, "phandle") ? "phandle" : "linux,phandle";

        if (!dk_tree_flag(tree, i, name))
            continue;
        error = dk_tree_cell(tree, i, name, &board->nodes[i].phandle);
        if (error)
            return error;
        if (!board->nodes[i].phandle || board->nodes[i].phandle == ~0u)
            return dk_tree_refuse(tree, i, "its phandle is 0x%x, which is not a phandle",
                                  board->nodes[i].phandle);
        all[count].phandle = board->nodes[i].phandle;
        all[count++].node = i;
    }
    qsort(all, count, sizeof(*all), compare_phandles);
    for (i = 1; i < count; i++)
        if (all[i - 1].phandle == all[i].phandle)
            return dk_tree_refuse(tree, all[i].node, "it has the phandle 0x%x of %s too", all[i].phandle,
                                  board->nodes[all[i - 1].node].path);
    tree->phandles = all;
    tree->phandle_count = count;
    return 0;
}

int dk_tree_by_phandle(const struct dk_tree *tree, u32 phandle)
{
    unsigned low = 0, high = tree->phandle_count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (tree->phandles[middle].phandle == phandle)
            return (int)tree->phandles[middle].node;
        if (phandle < tree->phandles[middle].phandle)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

int dk_tree_find_loop(const int *next, unsigned *seen, unsigned count)
{
    unsigned start;
    int at;

    /* seen[n] is 1 + the start of the walk that first came to n: meeting it again in the same walk is a
     * cycle. */
    for (start = 0; start < count; start++) {
        for (at = (int)start; at >= 0 && !seen[at]; at = next[at])
            seen[at] = start + 1;
        if (at >= 0 && seen[at] == start + 1)
            return at;
    }
    return -1;
}

/* Whether @path names @full when unit addresses may be left out. Both start with '/'. */
static bool matches(const char *path, const char *full)
{
    while (*path && *full) {
        if (*path == *full) {
            path++;
            full++;
            continue;
        }
        if (*path != '/' || *full != '@')
            return false;
        full += strcspn(full, "/");
    }
    return !*path && (!*full || *full == '@') && !strchr(full, '/');
}

int dk_board_find(const struct dk_board *board, const char *path)
{
    int found = -1;
    unsigned i;

    if (*path != '/') {
        for (i = 0; i < board->alias_count; i++)
            if (!strcmp(board->aliases[i].name, path))
                return (int)board->aliases[i].node;
        return -1;
    }
    found = dk_tree_by_path(board, path);
    if (found >= 0)
        return found;
    for (i = 0; i < board->node_count; i++) {
        if (!matches(path, board->nodes[i].path))
            continue;
        if (found >= 0)
            return -1;
        found = (int)i;
    }
    return found;
}
