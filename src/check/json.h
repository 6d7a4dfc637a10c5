/* SPDX-License-Identifier: MIT */
/*
 * JSON's strings.
 */
#ifndef DK_CHECK_JSON_H
#define DK_CHECK_JSON_H

#include <stdio.h>

/* @string as a JSON string; NULL: null. Bytes that are not UTF-8 come out as U+FFFD. */
void dk_json_string(const char *string, FILE *out);
/* The same without the quotes around it. */
void dk_json_characters(const char *string, FILE *out);

#endif
