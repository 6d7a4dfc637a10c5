/* SPDX-License-Identifier: MIT */
/*
 * The user's file of reports that are not to be made (docs/formats.md has its form).
 */
#ifndef DK_CHECK_SUPPRESSIONS_H
#define DK_CHECK_SUPPRESSIONS_H

#include <dmakit/check.h>

struct dk_suppression {
    const char *text;       /* the line as written, without blanks around it */
    const char *class_name; /* may have '*' */
    const char *pattern;    /* NULL: every report of the class */
    unsigned line;
    unsigned long hits; /* reports that it hid; the owner's to count */
};

/* Zeroed: none. */
struct dk_suppressions {
    char *path, *text; /* text owns the strings of entries */
    struct dk_suppression *entries;
    size_t count;
};

/*
 * Reads the file at @path into @suppressions. 0; -EINVAL a line that cannot be read, named with its number in
 * the log; -ENOMEM; else why the file cannot be read, in the log. After an error there is nothing to finish.
 */
int dk_suppressions_read(struct dk_suppressions *suppressions, const char *path);
void dk_suppressions_finish(struct dk_suppressions *suppressions);

/* The first entry that hides @report; NULL: none does. Reads only what never changes. */
struct dk_suppression *dk_suppressions_find(const struct dk_suppressions *suppressions,
                                            const struct dk_report *report);

/* Whether all of @text is as @pattern says, in which '*' stands for any bytes. */
bool dk_pattern_is(const char *pattern, const char *text);

#endif
