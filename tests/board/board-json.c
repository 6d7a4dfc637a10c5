/* SPDX-License-Identifier: MIT */
/* board-json BOARD [MEMORY]: the document of a board, for the comparisons by board-reading.py. */
#include "board/board.h"

#include <dmakit/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments)
{
    struct dk_board *board, *other;
    char *json;

    if (count < 2 || count > 3)
        return 2;
    board = strcmp(arguments[1], "hostile") ? dk_board_load(arguments[1]) : dk_board_hostile();
    if (IS_ERR(board))
        return 1;
    if (count == 3) {
        other = dk_board_with_memory(board, arguments[2]);
        dk_board_free(board);
        if (IS_ERR(other))
            return 1;
        board = other;
    }
    json = dk_board_json(board);
    dk_board_free(board);
    if (!json || fputs(json, stdout) < 0)
        return 1;
    free(json);
    return 0;
}
