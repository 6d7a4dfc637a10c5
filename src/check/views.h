/* SPDX-License-Identifier: MIT */
/*
 * Reading memory that the program may be storing to at this moment, as a cache does: a race detector has
 * nothing to say there.
 */
#ifndef DK_CHECK_VIEWS_H
#define DK_CHECK_VIEWS_H

#include <dmakit/types.h>

/*
 * The first of @size bytes at or after @from that @cpu has and neither @held nor @written (NULL: there is
 * none) do; @size: there is none. Bytes passed over that @cpu has from @written are copied to @held.
 */
u64 dk_view_changed(const char *cpu, char *held, const char *written, u64 from, u64 size);

/* Whether @cpu and @held have the same @size bytes. */
bool dk_view_same(const char *cpu, const char *held, u64 size);

/* How many of @size bytes at @from on differ so, one after another. */
u64 dk_view_run(const char *cpu, const char *held, const char *written, u64 from, u64 size);

/* memcpy() from what the program may be storing to. */
void dk_view_copy(char *into, const char *from, u64 size);

#endif
