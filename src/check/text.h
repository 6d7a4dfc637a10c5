/* SPDX-License-Identifier: MIT */
#ifndef DK_CHECK_TEXT_H
#define DK_CHECK_TEXT_H

#include <dmakit/check.h>

/* As dk_report_print(), with a terminal's colours when @colour is set. */
void dk_report_print_text(const struct dk_report *report, bool colour, FILE *out);

#endif
