/* SPDX-License-Identifier: MIT */
/*
 * cma_map=: which contiguous areas serve a device, by the device's name.
 *
 *   map      = rule *( ";" rule ) [ ";" ]
 *   rule     = pattern *( "," pattern ) "=" area *( "," area )
 *
 * In a pattern '*' stands for any characters and '?' for one. It is compared with the device's path, its
 * name, and its name without the unit address. The first rule that matches is the device's. An area is called
 * as dk_cma_is_called() says, and "default" is the machine's default one.
 */
#include "mapping/mapping.h"

#include "base/alloc.h"
#include "base/log.h"
#include "mm/cma.h"
#include <string.h>

struct dk_contiguous_map {
    size_t count;
    struct dk_contiguous_rule *rules;
    struct cma **areas; /* of all rules */
};

/* ---- Reading ---- */

static size_t count_of(const char *text, size_t length, const char *characters)
{
    size_t count = 0;

    for (size_t i = 0; i < length; i++)
        count += strchr(characters, text[i]) != NULL;
    return count;
}

/* Where the word at @text ends: at @separator or @end. */
static const char *word_end(const char *text, const char *end, char separator)
{
    const char *found = memchr(text, separator, (size_t)(end - text));

    return found ? found : end;
}

static struct cma *find_area(const struct dk_machine *machine, const char *name, size_t length)
{
    if (length == strlen("default") && !memcmp(name, "default", length))
        return machine->mapping->default_cma;
    return dk_cma_find(machine->memory, name, length);
}

/* Reads a comma-separated list of areas into @rule, whose array has room. False: one is unknown. */
static bool read_areas(const struct dk_machine *machine, struct dk_contiguous_rule *rule, const char *text,
                       const char *end)
{
    for (;;) {
        const char *past = word_end(text, end, ',');
        struct cma *area = find_area(machine, text, (size_t)(past - text));

        if (!area) {
            dk_log(DK_LOG_ERROR, "cma_map=: there is no contiguous area \"%.*s\"", (int)(past - text), text);
            return false;
        }
        rule->areas[rule->area_count++] = area;
        if (past == end)
            return true;
        text = past + 1;
    }
}

/* False, with a log line: the rule in [text, end) cannot be read. */
static bool read_rule(const struct dk_machine *machine, struct dk_contiguous_rule *rule, const char *text,
                      const char *end)
{
    const char *equals = word_end(text, end, '='), *at = text;

    if (equals == end || equals == text || equals + 1 == end)
        goto refuse;
    for (;;) {
        const char *past = word_end(at, equals, ',');

        if (past == at)
            goto refuse;
        if (past == equals)
            break;
        at = past + 1;
    }
    rule->patterns = text;
    rule->length = (size_t)(equals - text);
    return read_areas(machine, rule, equals + 1, end);

refuse:
    dk_log(DK_LOG_ERROR, "cma_map=: \"%.*s\" is no rule of the form DEVICE,...=AREA,...", (int)(end - text),
           text);
    return false;
}

struct dk_contiguous_map *dk_contiguous_map_create(struct dk_machine *machine, const char *text,
                                                   size_t length)
{
    const char *end = text + length;
    struct dk_contiguous_map *map = dk_allocate(1, sizeof(*map));
    struct cma **areas;
    int error = -ENOMEM;

    if (!map)
        return ERR_PTR(-ENOMEM);
    map->rules = dk_allocate(count_of(text, length, ";") + 1, sizeof(*map->rules));
    map->areas = dk_allocate(count_of(text, length, ";,") + 1, sizeof(struct cma *));
    if (!map->rules || !map->areas)
        goto destroy;
    areas = map->areas;
    error = -EINVAL;
    while (text < end) {
        struct dk_contiguous_rule *rule = &map->rules[map->count];
        const char *past = word_end(text, end, ';');

        rule->areas = areas;
        if (!read_rule(machine, rule, text, past))
            goto destroy;
        areas += rule->area_count;
        map->count++;
        text = past < end ? past + 1 : end;
    }
    return map;

destroy:
    dk_contiguous_map_destroy(map);
    return ERR_PTR(error);
}

void dk_contiguous_map_destroy(struct dk_contiguous_map *map)
{
    if (!map)
        return;
    dk_release(map->areas);
    dk_release(map->rules);
    dk_release(map);
}

/* ---- Matching ---- */

/* Whether the pattern in [pattern, end) stands for all of @name's @length characters. */
static bool matches(const char *pattern, const char *end, const char *name, size_t length)
{
    const char *past = name + length, *star = NULL, *retry = NULL;

    while (name < past) {
        if (pattern < end && *pattern == '*') {
            star = ++pattern;
            retry = name;
        } else if (pattern < end && (*pattern == '?' || *pattern == *name)) {
            pattern++;
            name++;
        } else if (star) {
            /* The last star takes one more. */
            pattern = star;
            name = ++retry;
        } else {
            return false;
        }
    }
    while (pattern < end && *pattern == '*')
        pattern++;
    return pattern == end;
}

static bool is_for(const struct dk_contiguous_rule *rule, const struct device *dev)
{
    const char *name = dev_name(dev), *path = dev->dk->path;
    const char *at = rule->patterns, *end = rule->patterns + rule->length;

    for (;;) {
        const char *past = word_end(at, end, ',');

        if (matches(at, past, name, strlen(name)) || matches(at, past, name, strcspn(name, "@")) ||
            matches(at, past, path, strlen(path)))
            return true;
        if (past == end)
            return false;
        at = past + 1;
    }
}

const struct dk_contiguous_rule *dk_contiguous_map_find(const struct dk_contiguous_map *map,
                                                        const struct device *dev)
{
    for (size_t i = 0; map && i < map->count; i++) {
        if (is_for(&map->rules[i], dev))
            return &map->rules[i];
    }
    return NULL;
}
