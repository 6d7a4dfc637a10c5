/* SPDX-License-Identifier: MIT */
#ifndef DK_BOARD_PARSE_H
#define DK_BOARD_PARSE_H

#include "board/board.h"

/*
 * dk_board_parse(), with the memory specification @memory (NULL: the tree's own memory) and with @origin,
 * what log lines call the tree as a whole.
 */
struct dk_board *dk_board_parse_from(const char *origin, const void *blob, size_t size, const char *memory);

/* boards/hostile.dts as a blob; generated. */
extern const unsigned char dk_hostile_blob[];
extern const size_t dk_hostile_blob_size;

#endif
