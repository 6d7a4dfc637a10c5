/* SPDX-License-Identifier: MIT */
/*
 * The picture of a report: the memory around the bytes concerned, and whose each byte is.
 */
#ifndef DK_CHECK_BYTES_H
#define DK_CHECK_BYTES_H

#include <stddef.h>

struct dk_checker;
struct dk_report_draft;

/* Room for any picture. */
#define DK_BYTES_PICTURE 2560

/*
 * Draws the memory around the bytes of @draft into @buffer of @size bytes, lines that end in '\n': 16 bytes a
 * line from a multiple of 16, in hex and as ASCII, with a letter for the owner of each, from the mappings
 * that are live. Where the machine has two views and they differ, the DRAM's byte stands below the CPU's. ""
 * when there are no bytes, or they are not in the machine's memory. Takes the tables' locks; writes nothing
 * but
 * @buffer. Any thread.
 */
void dk_bytes_picture(struct dk_checker *checker, const struct dk_report_draft *draft, char *buffer,
                      size_t size);

#endif
