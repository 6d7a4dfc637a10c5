/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

void dk_text_add(struct dk_text *text, const char *format, ...)
{
    size_t left = text->length < text->room ? text->room - text->length : 0;
    va_list arguments;
    int more;

    va_start(arguments, format);
    more = vsnprintf(left ? text->at + text->length : NULL, left, format, arguments);
    va_end(arguments);
    if (more > 0)
        text->length += (size_t)more;
}
