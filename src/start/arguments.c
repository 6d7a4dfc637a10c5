/* SPDX-License-Identifier: MIT */
#include "start/arguments.h"

#include "base/log.h"
#include "board/board.h"
#include <dmakit/error.h>
#include <string.h>

static bool is_blank(char character)
{
    return character == ' ' || character == '\t' || character == '\n';
}

const char *dk_argument(const char *arguments, const char *name, size_t *length)
{
    size_t name_length = strlen(name);
    const char *found = NULL;

    while (*arguments) {
        const char *word = arguments;

        while (*arguments && !is_blank(*arguments))
            arguments++;
        if ((size_t)(arguments - word) > name_length && !strncmp(word, name, name_length) &&
            word[name_length] == '=') {
            found = word + name_length + 1;
            *length = (size_t)(arguments - found);
        }
        while (is_blank(*arguments))
            arguments++;
    }
    return found;
}

static int refuse(const char *name, const char *value, size_t length)
{
    dk_log(DK_LOG_ERROR, "argument %s= cannot be \"%.*s\"", name, (int)length, value);
    return -EINVAL;
}

int dk_argument_size(const char *arguments, const char *name, u64 *size, u64 *base)
{
    size_t length;
    const char *value = dk_argument(arguments, name, &length);
    const char *end;
    u64 read_size, read_base = 0;

    if (!value)
        return 0;
    end = dk_board_read_size(value, &read_size);
    if (end && *end == '@' && base)
        end = dk_board_read_size(end + 1, &read_base);
    if (!end || end != value + length)
        return refuse(name, value, length);
    *size = read_size;
    if (base)
        *base = read_base;
    return 0;
}

int dk_argument_flag(const char *arguments, const char *name, bool *flag)
{
    size_t length;
    const char *value = dk_argument(arguments, name, &length);

    if (!value)
        return 0;
    if (length != 1 || (*value != '0' && *value != '1'))
        return refuse(name, value, length);
    *flag = *value == '1';
    return 0;
}
