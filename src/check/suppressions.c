/* SPDX-License-Identifier: MIT */
#include "check/suppressions.h"

#include "base/alloc.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file beyond this is no list that anybody wrote. */
#define LARGEST_FILE (1u << 20)

/* ---- Matching ---- */

/* Goes back to the last '*' only, which is enough: an earlier one can take no more that would help. */
static bool match(const char *pattern, const char *text, bool to_end)
{
    const char *star = NULL, *retry = NULL;

    for (;;) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = text;
        } else if (!*pattern && (!to_end || !*text)) {
            return true;
        } else if (*text && *pattern == *text) {
            pattern++;
            text++;
        } else if (star && *retry) {
            pattern = star;
            text = ++retry;
        } else {
            return false;
        }
    }
}

bool dk_pattern_is(const char *pattern, const char *text)
{
    return match(pattern, text, true);
}

/* Whether @pattern is found in @text: anywhere, or from its start with '^', or up to its end with '$'. */
static bool occurs(const char *pattern, const char *text)
{
    size_t length = strlen(pattern);
    bool from_start = *pattern == '^';
    bool to_end = length > from_start && pattern[length - 1] == '$';
    char plain[256];

    if (!text)
        return false;
    pattern += from_start;
    length -= from_start + to_end;
    /* Longer ones are refused when the file is read. */
    if (length >= sizeof(plain))
        return false;
    memcpy(plain, pattern, length);
    plain[length] = '\0';
    if (from_start)
        return match(plain, text, to_end);
    for (;; text++) {
        if (match(plain, text, to_end))
            return true;
        if (!*text)
            return false;
    }
}

static bool occurs_in_stack(const char *pattern, const struct dk_frames *stack)
{
    unsigned i;

    for (i = 0; i < stack->count; i++) {
        const struct dk_frame *frame = &stack->frames[i];

        if (occurs(pattern, frame->function) || occurs(pattern, frame->file) ||
            occurs(pattern, frame->module))
            return true;
    }
    return false;
}

struct dk_suppression *dk_suppressions_find(const struct dk_suppressions *suppressions,
                                            const struct dk_report *report)
{
    size_t i;

    for (i = 0; i < suppressions->count; i++) {
        struct dk_suppression *entry = &suppressions->entries[i];

        if (!dk_pattern_is(entry->class_name, report->class_name))
            continue;
        if (!entry->pattern || occurs_in_stack(entry->pattern, &report->access.stack) ||
            (report->mapping.kind && occurs_in_stack(entry->pattern, &report->mapping.stack)))
            return entry;
    }
    return NULL;
}

/* ---- Reading ---- */

/* All of the file at @path, with a NUL behind it. 0 or -errno. */
static int read_whole(const char *path, char **text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *grown, *read_so_far = NULL;
    size_t used = 0;
    ssize_t got = 1;
    int error = 0;

    if (fd < 0)
        return -errno;
    while (got > 0 && !error) {
        grown = dk_resize(read_so_far, used + 4097, 1);
        if (!grown) {
            error = -ENOMEM;
            break;
        }
        read_so_far = grown;
        do
            got = read(fd, read_so_far + used, 4096);
        while (got < 0 && errno == EINTR);
        if (got < 0)
            error = -errno;
        else
            used += (size_t)got;
        if (used > LARGEST_FILE)
            error = -EFBIG;
    }
    close(fd);
    if (error) {
        dk_release(read_so_far);
        return error;
    }
    read_so_far[used] = '\0';
    *text = read_so_far;
    return strlen(read_so_far) == used ? 0 : -EINVAL;
}

static char *trim(char *line)
{
    static const char blanks[] = " \t\r\f\v";
    size_t length;

    line += strspn(line, blanks);
    length = strlen(line);
    while (length && strchr(blanks, line[length - 1]))
        length--;
    line[length] = '\0';
    return line;
}

static bool is_class(const char *class_name)
{
    const char *const *classes = dk_check_classes();

    for (; *classes; classes++) {
        if (dk_pattern_is(class_name, *classes))
            return true;
    }
    return false;
}

/* What is wrong with @entry; NULL: nothing. */
static const char *fault_of(const struct dk_suppression *entry)
{
    if (!is_class(entry->class_name))
        return "names no class; dmakit check --list-classes has them";
    if (entry->pattern && (!*entry->pattern || !entry->pattern[strspn(entry->pattern, "^*$")]))
        return "has a pattern without a letter; leave out the ':' to suppress the whole class";
    if (entry->pattern && strlen(entry->pattern) > 250)
        return "has a pattern of more than 250 characters";
    return NULL;
}

/* Enters the trimmed @line as number @number. 0, -EINVAL or -ENOMEM. */
static int add_line(struct dk_suppressions *suppressions, char *line, unsigned number)
{
    struct dk_suppression entry = { .line = number };
    struct dk_suppression *grown;
    char *copy = dk_copy_string(line);
    const char *fault;
    char *colon;

    if (!copy)
        return -ENOMEM;
    colon = strchr(line, ':');
    if (colon)
        *colon++ = '\0';
    entry.text = copy;
    entry.class_name = trim(line);
    entry.pattern = colon ? trim(colon) : NULL;
    fault = fault_of(&entry);
    if (fault) {
        dk_log(DK_LOG_ERROR, "suppressions %s:%u: \"%s\" %s", suppressions->path, number, copy, fault);
        dk_release(copy);
        return -EINVAL;
    }
    grown = dk_resize(suppressions->entries, suppressions->count + 1, sizeof(*grown));
    if (!grown) {
        dk_release(copy);
        return -ENOMEM;
    }
    suppressions->entries = grown;
    grown[suppressions->count++] = entry;
    return 0;
}

int dk_suppressions_read(struct dk_suppressions *suppressions, const char *path)
{
    unsigned number = 0;
    char *line, *next;
    int error;

    *suppressions = (struct dk_suppressions){ .path = dk_copy_string(path) };
    error = suppressions->path ? read_whole(path, &suppressions->text) : -ENOMEM;
    if (error && error != -ENOMEM)
        dk_log(DK_LOG_ERROR, "suppressions %s: %s", path, error == -EINVAL ? "is no text" : strerror(-error));
    for (line = suppressions->text; line && !error; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        number++;
        line = trim(line);
        if (*line && *line != '#')
            error = add_line(suppressions, line, number);
    }
    if (error)
        dk_suppressions_finish(suppressions);
    return error;
}

void dk_suppressions_finish(struct dk_suppressions *suppressions)
{
    size_t i;

    for (i = 0; i < suppressions->count; i++)
        dk_release((char *)(uintptr_t)suppressions->entries[i].text);
    dk_release(suppressions->entries);
    dk_release(suppressions->text);
    dk_release(suppressions->path);
    *suppressions = (struct dk_suppressions){ 0 };
}
