/* SPDX-License-Identifier: MIT */
/*
 * A board as the document that `dmakit machine --json` prints.
 */
#include "base/alloc.h"
#include "board/board.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct text {
    char *data;
    size_t length, room;
    bool failed;
};

static bool make_room(struct text *text, size_t more)
{
    size_t room;
    char *data;

    if (text->failed)
        return false;
    if (text->room - text->length > more)
        return true;
    room = (text->length + more) * 2 + 4096;
    data = dk_resize(text->data, room, 1);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->room = room;
    return true;
}

static void add(struct text *text, const char *string)
{
    size_t length = strlen(string);

    if (!make_room(text, length))
        return;
    memcpy(text->data + text->length, string, length + 1);
    text->length += length;
}

static __attribute__((format(printf, 2, 3))) void add_format(struct text *text, const char *format, ...)
{
    char piece[256]; /* the formats below hold numbers only */
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(piece, sizeof(piece), format, arguments);
    va_end(arguments);
    add(text, piece);
}

/* Device trees have bytes in no stated encoding: those that are not ASCII are read as Latin-1. */
static void add_string(struct text *text, const char *string)
{
    if (!string) {
        add(text, "null");
        return;
    }
    if (!make_room(text, 6 * strlen(string) + 2))
        return;
    text->data[text->length++] = '"';
    for (; *string; string++) {
        unsigned char c = (unsigned char)*string;

        if (c == '"' || c == '\\') {
            text->data[text->length++] = '\\';
            text->data[text->length++] = (char)c;
        } else if (c < ' ' || c >= 0x7f) {
            text->length += (size_t)snprintf(text->data + text->length, 7, "\\u%04x", c);
        } else {
            text->data[text->length++] = (char)c;
        }
    }
    text->data[text->length++] = '"';
    text->data[text->length] = '\0';
}

/* What stands before element number @index of a list: its elements are on lines of their own. */
static void add_separator(struct text *text, unsigned index)
{
    add(text, index ? ",\n    " : "\n    ");
}

static void add_strings(struct text *text, const char *const *list)
{
    unsigned i;

    add(text, "[");
    for (i = 0; list && list[i]; i++) {
        add(text, i ? ", " : "");
        add_string(text, list[i]);
    }
    add(text, "]");
}

static const char *bool_name(bool value)
{
    return value ? "true" : "false";
}

static void add_memory(struct text *text, const struct dk_board *board)
{
    unsigned i;

    for (i = 0; i < board->memory_count; i++) {
        add_separator(text, i);
        add_format(text, "{\"base\": \"0x%llx\", \"size\": \"0x%llx\"}", board->memory[i].base,
                   board->memory[i].size);
    }
}

static void add_reserved(struct text *text, const struct dk_board *board)
{
    static const char *const kinds[] = {
        [DK_RESERVED_CMA] = "cma",
        [DK_RESERVED_COHERENT] = "coherent",
        [DK_RESERVED_RESTRICTED] = "restricted",
        [DK_RESERVED_NO_MAP] = "no-map",
        [DK_RESERVED_PLAIN] = "reserved",
    };
    unsigned i, count = 0;

    for (i = 0; i < board->reserved_count; i++) {
        const struct dk_reserved *region = &board->reserved[i];

        if (region->disabled)
            continue;
        add_separator(text, count++);
        add(text, "{\"node\": ");
        add_string(text, region->node);
        add_format(text, ", \"kind\": \"%s\", \"base\": \"0x%llx\", \"size\": \"0x%llx\"",
                   kinds[region->kind], region->range.base, region->range.size);
        add_format(text, ", \"default\": %s, \"dynamic\": %s, \"status\": \"%s\", \"reason\": ",
                   bool_name(region->is_default), bool_name(region->dynamic),
                   region->reason ? "failed" : "ok");
        add_string(text, region->reason);
        add(text, "}");
    }
}

static void add_windows(struct text *text, const struct dk_window *windows, unsigned count)
{
    unsigned i;

    add(text, "\"windows\": [");
    for (i = 0; i < count; i++)
        add_format(text, "%s{\"dma\": \"0x%llx\", \"cpu\": \"0x%llx\", \"size\": \"0x%llx\"}", i ? ", " : "",
                   windows[i].dma, windows[i].cpu, windows[i].size);
    add(text, "]");
}

static void add_below(struct text *text, const struct dk_board *board, const struct dk_node *host)
{
    unsigned i;

    add(text, ",\n     \"below\": {");
    add_windows(text, host->below_windows, host->below_window_count);
    add(text, ", \"iommu_map\": [");
    for (i = 0; i < host->below_iommu_count; i++) {
        const struct dk_iommu_row *row = &host->below_iommu[i];

        add_format(text, "%s{\"rid\": \"0x%x\", \"mask\": \"0x%x\", \"iommu\": ", i ? ", " : "", row->rid,
                   host->below_iommu_mask);
        add_string(text, board->nodes[row->iommu].path);
        add_format(text, ", \"id\": \"0x%x\", \"count\": \"0x%x\"}", row->id, row->count);
    }
    add(text, "]}");
}

static void add_regions(struct text *text, const struct dk_node *node)
{
    unsigned i, count = 0;

    add(text, "\"regions\": [");
    for (i = 0; i < node->region_count; i++) {
        if (!node->region_paths[i])
            continue;
        add(text, count++ ? ", " : "");
        add_string(text, node->region_paths[i]);
    }
    add(text, "]");
}

static void add_devices(struct text *text, const struct dk_board *board)
{
    unsigned i, count = 0;

    for (i = 0; i < board->node_count; i++) {
        const struct dk_node *node = &board->nodes[i];

        if (!node->enabled || !node->compatible)
            continue;
        add_separator(text, count++);
        add(text, "{\"node\": ");
        add_string(text, node->path);
        add(text, ", \"compatible\": ");
        add_strings(text, node->compatible);
        add_format(text, ", \"coherent\": %s, \"iommu\": ", bool_name(node->coherent));
        add_string(text, node->iommu < 0 ? NULL : board->nodes[node->iommu].path);
        add(text, ",\n     ");
        add_windows(text, node->windows, node->window_count);
        add(text, ", ");
        add_regions(text, node);
        if (node->pci_host)
            add_below(text, board, node);
        add(text, "}");
    }
}

static void add_dies(struct text *text, const struct dk_board *board)
{
    unsigned i;

    for (i = 0; i < board->die_count; i++) {
        const struct dk_die *die = &board->dies[i];

        add_separator(text, i);
        add(text, "{\"node\": ");
        add_string(text, die->node);
        add_format(text,
                   ", \"mode\": \"%s\", \"sections\": %u, \"base\": \"0x%llx\", \"section_size\": \"0x%llx\"",
                   dk_die_mode(die), die->sections, die->base, die->section_size);
        add_format(text, ", \"stride\": \"0x%llx\", \"partner\": ", die->stride);
        add_string(text, die->partner < 0 ? NULL : board->dies[die->partner].node);
        add(text, "}");
    }
}

char *dk_board_json(const struct dk_board *board)
{
    struct text text = { NULL, 0, 0, false };

    add(&text, "{\"model\": ");
    add_string(&text, board->model);
    add(&text, ", \"compatible\": ");
    add_strings(&text, board->compatible);
    add(&text, ",\n \"memory\": [");
    add_memory(&text, board);
    add(&text, "],\n \"reserved\": [");
    add_reserved(&text, board);
    add(&text, "],\n \"devices\": [");
    add_devices(&text, board);
    if (board->die_count) {
        add(&text, "],\n \"dies\": [");
        add_dies(&text, board);
    }
    add(&text, "]}\n");
    if (!text.failed)
        return text.data;
    dk_release(text.data);
    return NULL;
}
