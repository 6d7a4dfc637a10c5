/* SPDX-License-Identifier: MIT */
#include "board/parse.h"
#include "base/log.h"
#include "board/read.h"

#include <dmakit/error.h>
#include <string.h>

/* libfdt reads trees from version 2 on, but 16 is what all since 2005 are; the layout of older ones differs.
 */
#define OLDEST_VERSION 16

static int read_board(struct dk_tree *tree, const char *memory)
{
    struct dk_placement *placements = NULL;
    int error = dk_tree_read_nodes(tree);

    if (!error)
        error = dk_tree_read_paths(tree);
    if (!error)
        error = dk_tree_read_phandles(tree);
    if (!error)
        error = dk_read_nodes(tree);
    if (!error)
        error = dk_read_aliases(tree);
    if (!error)
        error = dk_read_chosen(tree);
    if (!error)
        error = dk_read_windows(tree);
    if (!error)
        error = dk_read_iommus(tree);
    if (!error)
        error = dk_check_interrupts(tree);
    if (!error)
        error = dk_read_dies(tree);
    if (!error)
        error = dk_read_memory(tree, memory);
    if (!error)
        error = dk_read_reserved(tree, &placements);
    if (!error)
        error = dk_assume_memory(tree, placements);
    if (!error)
        error = dk_place_reserved(tree, placements);
    return error ? error : dk_read_regions(tree);
}

static int refuse(const char *origin, const char *reason)
{
    dk_log(DK_LOG_ERROR, "%s: malformed device tree: %s", origin, reason);
    return -EINVAL;
}

/* Checks @blob's header, and that it is whole. */
static int check_header(const char *origin, const void *blob, size_t size)
{
    int error;

    if (size < sizeof(struct fdt_header))
        return refuse(origin, "it is shorter than its header");
    error = fdt_check_header(blob);
    if (error)
        return refuse(origin,
                      error == -FDT_ERR_BADMAGIC ? "it does not start with 0xd00dfeed" : fdt_strerror(error));
    if (fdt_version(blob) < OLDEST_VERSION)
        return refuse(origin, "its version is older than 16");
    if (fdt_totalsize(blob) > size)
        return refuse(origin, "it is truncated");
    return fdt_totalsize(blob) > DK_TREE_BYTES ? refuse(origin, "it is larger than 64 MiB") : 0;
}

/* An empty board with a copy of @blob, whose header is fine. NULL when out of memory. */
static struct dk_board *new_board(const void *blob)
{
    struct dk_arena *arena = dk_arena_create();
    struct dk_board *board = arena ? dk_arena_take(arena, 1, sizeof(*board)) : NULL;
    void *copy = board ? dk_arena_take(arena, fdt_totalsize(blob), 1) : NULL;

    if (!copy) {
        dk_arena_destroy(arena);
        return NULL;
    }
    memcpy(copy, blob, fdt_totalsize(blob));
    board->arena = arena;
    board->blob = copy;
    board->blob_size = fdt_totalsize(blob);
    return board;
}

struct dk_board *dk_board_parse_from(const char *origin, const void *blob, size_t size, const char *memory)
{
    struct dk_tree tree = { 0 };
    fdt64_t head[(sizeof(struct fdt_header) + 7) / 8] = { 0 };
    struct dk_board *board;
    int error;

    /* The caller's bytes may be aligned to nothing; libfdt wants 8 bytes. */
    if (blob)
        memcpy(head, blob, size < sizeof(head) ? size : sizeof(head));
    error = check_header(origin, head, blob ? size : 0);
    if (error)
        return ERR_PTR(error);
    board = new_board(blob);
    tree.scratch = dk_arena_create();
    if (!board || !tree.scratch) {
        error = -ENOMEM;
    } else {
        tree.blob = board->blob;
        tree.board = board;
        tree.arena = board->arena;
        error = read_board(&tree, memory);
    }
    dk_arena_destroy(tree.scratch);
    if (!error)
        return board;
    dk_board_free(board);
    return ERR_PTR(error);
}

struct dk_board *dk_board_parse(const void *blob, size_t size)
{
    return dk_board_parse_from("/", blob, size, NULL);
}

/* A board never changes, so what would be its copy is one more holder of it. */
struct dk_board *dk_board_with_memory(const struct dk_board *board, const char *spec)
{
    struct dk_board *held = (struct dk_board *)(uintptr_t)board;

    if (!spec) {
        __atomic_fetch_add(&held->holders, 1, __ATOMIC_RELAXED);
        return held;
    }
    return dk_board_parse_from("/", board->blob, board->blob_size, spec);
}

struct dk_board *dk_board_hostile(void)
{
    return dk_board_parse_from("the built-in board", dk_hostile_blob, dk_hostile_blob_size, NULL);
}

void dk_board_free(struct dk_board *board)
{
    if (board && __atomic_fetch_sub(&board->holders, 1, __ATOMIC_ACQ_REL) == 0)
        dk_arena_destroy(board->arena);
}
