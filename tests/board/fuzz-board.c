/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: any bytes as a blob, and all that the room does with a board. Seeds:
 * tests/board/corpus.py.
 */
#include "board/board.h"

#include <dmakit/error.h>
#include <dmakit/log.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drop(int level, const char *line, void *data)
{
    (void)level;
    (void)data;
    /* The line was formatted from the tree: it must be a string. */
    if (strlen(line) > 4096)
        abort();
}

static void use(const struct dk_board *board)
{
    char *json = dk_board_json(board);
    unsigned i;

    free(json);
    for (i = 0; i < board->node_count && i < 64; i++)
        if (dk_board_find(board, board->nodes[i].path) != (int)i)
            abort();
    dk_board_find(board, "/soc/ethernet");
    dk_board_find(board, "nic");
    for (i = 0; i < board->reserved_count; i++)
        if (!board->reserved[i].reason && !board->reserved[i].disabled &&
            board->reserved[i].range.base + (board->reserved[i].range.size - 1) <
                board->reserved[i].range.base)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dk_board *board, *other;

    dk_log_set_sink(drop, NULL);
    dk_log_set_level(3);
    board = dk_board_parse(data, size);
    if (IS_ERR(board))
        return 0;
    use(board);
    other = dk_board_with_memory(board, "1G@0x0,3G@0x80000000");
    if (!IS_ERR(other)) {
        use(other);
        dk_board_free(other);
    }
    dk_board_free(board);
    return 0;
}
