/* SPDX-License-Identifier: MIT */
/*
 * What addresses mean: function, file, line. Read from the process's own debug information, when a report is
 * made and not before.
 */
#ifndef DK_CHECK_SYMBOLS_H
#define DK_CHECK_SYMBOLS_H

#include "check/stack.h"

struct Dwfl;
struct dk_string;

struct dk_symbols {
    pthread_mutex_t lock; /* guards all that follows, and every stack's frames */
    struct Dwfl *dwfl;    /* opened at the first question; NULL: not yet, or it failed */
    char *root;           /* how this library's own sources' paths begin; NULL: unknown */
    uintptr_t own_module; /* where the library's object file is loaded; 0 when it is the program itself */
    bool started;
    struct dk_string *strings; /* what frames point to */
};

void dk_symbols_init(struct dk_symbols *symbols);
void dk_symbols_finish(struct dk_symbols *symbols);

/*
 * The frames of @stack (NULL: none) into *frames, innermost first: inlined calls and tail calls are frames of
 * their own, and leading frames of this library are cut. What is unknown, or did not find memory, is NULL.
 * Strings live as long as @symbols.
 */
void dk_symbols_frames(struct dk_symbols *symbols, struct dk_stack *stack, struct dk_frames *frames);

#endif
