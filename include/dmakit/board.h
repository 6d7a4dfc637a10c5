/* SPDX-License-Identifier: MIT */
/*
 * A board: a device tree, compiled or source. Pure data; machine.h brings it to life.
 */
#ifndef DMAKIT_BOARD_H
#define DMAKIT_BOARD_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

struct dk_board;

/*
 * Reads the device tree in the file @path: a blob, or source, which `dtc` compiles; told apart by content.
 *
 * Returns the board, or an error pointer: -ENOENT no such file, -EACCES not readable, -EINVAL malformed (the
 * log line names the node and the reason), -ENOEXEC source, but dtc is not installed, -ENOMEM.
 * May sleep. The caller owns the board: dk_board_free().
 */
DK_PUBLIC struct dk_board *dk_board_load(const char *path);

/*
 * The same from memory: @size bytes of blob at @blob, copied. -EINVAL when it is not a well-formed blob.
 */
DK_PUBLIC struct dk_board *dk_board_parse(const void *blob, size_t size);

/* Frees @board. NULL is fine. Machines made from it keep what they need and live on. */
DK_PUBLIC void dk_board_free(struct dk_board *board);

DK_END_DECLS

#endif
