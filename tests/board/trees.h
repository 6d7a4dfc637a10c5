/* SPDX-License-Identifier: MIT */
/*
 * Trees from source in the test, and what the log said about them.
 */
#ifndef TREES_H
#define TREES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "board/board.h"

#include <dmakit/error.h>
#include <dmakit/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A root with one cell each, and one GiB of memory at 0x40000000, after @body. */
#define TREE(body) "/dts-v1/; / { #address-cells = <1>; #size-cells = <1>; " body MEMORY " };"
#define MEMORY "memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x40000000>; };"
/* The same with @body inside /reserved-memory. */
#define RESERVED(body) TREE("reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges; " body " };")

/* malloc() that ends the test when it fails. */
void *tree_room(size_t size) __attribute__((malloc, returns_nonnull));

/* The blob of @source, for free(). dtc's own opinion of what is in it is not asked for. */
void *tree_compile(const char *source, size_t *size);

/* dk_board_parse() of @source, with the log kept for tree_logged(). */
struct dk_board *tree_board(const char *source);

/* The log since the last tree_board() or tree_log_start(), one line each. */
const char *tree_log(void);
void tree_log_start(void);

/* Fails the test unless a line of the log starts with @node and ": ", and has @reason in it. */
void tree_logged(const char *name, const char *node, const char *reason);

/* The node at @path; fails the test when there is none. */
const struct dk_node *tree_node(const struct dk_board *board, const char *path);

/* The region of @node; fails the test when there is none. */
const struct dk_reserved *tree_region(const struct dk_board *board, const char *node);

#endif
