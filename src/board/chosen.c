/* SPDX-License-Identifier: MIT */
/*
 * Aliases, and what /chosen says: the arguments and dmakit's own bindings (docs/boards.md).
 */
#include "base/log.h"
#include "board/read.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINE_DEFAULT 64u
#define LINE_LEAST 16u
#define LINE_MOST 4096u

/*
 * An alias to nowhere, or with a name too long to keep, is left out: boards have them, since firmware and
 * overlays remove nodes, and Linux passes over them too.
 */
static void read_alias(struct dk_tree *tree, unsigned aliases, const char *name, const char *path)
{
    struct dk_board *board = tree->board;
    struct dk_alias *alias = &board->aliases[board->alias_count];
    int node = dk_tree_by_path(board, path);

    if (node < 0) {
        dk_log(DK_LOG_INFO, "%s: %s names no node: %.80s", board->nodes[aliases].path, name, path);
        return;
    }
    if (strlen(name) >= sizeof(alias->name)) {
        dk_log(DK_LOG_INFO, "%s: %s is too long a name", board->nodes[aliases].path, name);
        return;
    }
    snprintf(alias->name, sizeof(alias->name), "%s", name);
    alias->node = (unsigned)node;
    board->alias_count++;
}

int dk_read_aliases(struct dk_tree *tree)
{
    int aliases = dk_tree_child(tree, 0, "aliases"), cursor;
    const char *name;
    const void *path;
    unsigned count = 0;
    u32 size;

    if (aliases < 0)
        return 0;
    cursor = tree->nodes[aliases].properties;
    while (dk_tree_next_property(tree, &cursor, &path, &size))
        count++;
    tree->board->aliases = dk_arena_take(tree->arena, count, sizeof(struct dk_alias));
    if (!tree->board->aliases)
        return -ENOMEM;
    cursor = tree->nodes[aliases].properties;
    while ((name = dk_tree_next_property(tree, &cursor, &path, &size))) {
        if (!strcmp(name, "phandle") || !strcmp(name, "linux,phandle"))
            continue;
        if (!size || ((const char *)path)[size - 1])
            return dk_tree_refuse(tree, (unsigned)aliases, "%s is not terminated by a NUL", name);
        read_alias(tree, (unsigned)aliases, name, path);
    }
    return 0;
}

static int read_default_bus(struct dk_tree *tree, unsigned chosen)
{
    const char *path = NULL;
    int error = dk_tree_string(tree, chosen, "dmakit,default-bus", &path);
    int node;

    if (error || !path)
        return error;
    node = dk_board_find(tree->board, path);
    if (node < 0)
        return dk_tree_refuse(tree, chosen, "dmakit,default-bus names no node: %.80s", path);
    if (!tree->board->nodes[node].enabled)
        return dk_tree_refuse(tree, chosen, "dmakit,default-bus is disabled: %.80s", path);
    tree->board->default_bus = node;
    return 0;
}

static bool valid_line(u32 line)
{
    return line >= LINE_LEAST && line <= LINE_MOST && !(line & (line - 1));
}

/* The longest d-cache-line-size of the processors; unusable ones are passed over. */
static u32 processors_line(const struct dk_tree *tree)
{
    int cpus = dk_tree_child(tree, 0, "cpus");
    u32 longest = 0, size;
    const fdt32_t *cell;
    unsigned i;

    for (i = 0; cpus >= 0 && i < tree->board->node_count; i++) {
        if (tree->board->nodes[i].parent != cpus)
            continue;
        cell = dk_tree_property(tree, i, "d-cache-line-size", &size);
        if (cell && size == sizeof(*cell) && valid_line(fdt32_ld(cell)) && fdt32_ld(cell) > longest)
            longest = fdt32_ld(cell);
    }
    return longest;
}

static int read_uncached_alias(struct dk_tree *tree, unsigned chosen)
{
    const unsigned address = tree->nodes[0].address_cells, length = tree->nodes[0].size_cells;
    struct dk_uncached_alias *alias = &tree->board->alias;
    u32 size;
    const fdt32_t *cells = dk_tree_property(tree, chosen, "dmakit,uncached-alias", &size);

    if (!cells)
        return 0;
    if (size != 4 * (2 * address + length))
        return dk_tree_refuse(tree, chosen,
                              "dmakit,uncached-alias has %u bytes, not the %u of base, target and size", size,
                              4 * (2 * address + length));
    if (!dk_tree_number(cells, address, &alias->base) ||
        !dk_tree_number(cells + address, address, &alias->target) ||
        !dk_tree_number(cells + 2 * address, length, &alias->size) ||
        !dk_range_valid((struct dk_range){ alias->base, alias->size }) ||
        !dk_range_valid((struct dk_range){ alias->target, alias->size }))
        return dk_tree_refuse(tree, chosen, "dmakit,uncached-alias is empty or wraps");
    return 0;
}

int dk_read_chosen(struct dk_tree *tree)
{
    int chosen = dk_tree_child(tree, 0, "chosen"), error;
    struct dk_board *board = tree->board;
    u32 line = processors_line(tree);

    board->arguments = "";
    board->line = line ? line : LINE_DEFAULT;
    if (chosen < 0)
        return 0;
    error = dk_tree_string(tree, (unsigned)chosen, "bootargs", &board->arguments);
    if (!error)
        error = read_default_bus(tree, (unsigned)chosen);
    if (!error)
        error = dk_tree_cell(tree, (unsigned)chosen, "dmakit,cache-line", &board->line);
    if (!error && !valid_line(board->line))
        error = dk_tree_refuse(tree, (unsigned)chosen,
                               "dmakit,cache-line is %u, not a power of two from %u to %u", board->line,
                               LINE_LEAST, LINE_MOST);
    if (!error)
        error = read_uncached_alias(tree, (unsigned)chosen);
    board->no_mmu = dk_tree_flag(tree, (unsigned)chosen, "dmakit,no-mmu");
    return error;
}
