/* SPDX-License-Identifier: MIT */
/*
 * The structure block, read once from front to back. libfdt's own look-ups by path, parent and phandle are
 * not used: each walks the blob again, and time would grow with the square of the tree.
 */
#include "board/tree.h"
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int dk_tree_refuse(const struct dk_tree *tree, unsigned node, const char *format, ...)
{
    char reason[400];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    dk_log(DK_LOG_ERROR, "%s: %s", tree->board->nodes[node].path, reason);
    return -EINVAL;
}

static int refuse_blob(const char *reason)
{
    dk_log(DK_LOG_ERROR, "/: malformed device tree: %s", reason);
    return -EINVAL;
}

/* The name of the property at @offset; NULL when it lies outside the strings block or is too long. */
static const char *property_name(const void *blob, int offset)
{
    const struct fdt_property *property = fdt_offset_ptr(blob, offset, (unsigned)sizeof(*property));
    const char *strings = (const char *)blob + fdt_off_dt_strings(blob);
    u32 size = fdt_size_dt_strings(blob), at, left;

    if (!property)
        return NULL;
    at = fdt32_ld(&property->nameoff);
    if (at >= size)
        return NULL;
    left = size - at;
    return memchr(strings + at, '\0', left < DK_TREE_NAME ? left : DK_TREE_NAME) ? strings + at : NULL;
}

/*
 * Whether the property at @offset ends before @next, where libfdt says that the next tag starts: its sum of
 * offset and length wraps for lengths near 2^32, and @next may even lie before @offset.
 */
static bool property_whole(const void *blob, int offset, int next)
{
    const struct fdt_property *property = fdt_offset_ptr(blob, offset, (unsigned)sizeof(*property));

    return property && next > offset &&
           fdt32_ld(&property->len) <= (u32)next - (u32)offset - sizeof(*property);
}

static bool valid_node_name(const char *name)
{
    size_t length = strnlen(name, DK_TREE_NAME + 1), i;

    if (!length || length > DK_TREE_NAME)
        return false;
    for (i = 0; i < length; i++)
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '/')
            return false;
    return true;
}

static int count_nodes(const void *blob, unsigned *count)
{
    int offset = 0, next;
    u32 tag;

    *count = 0;
    do {
        tag = fdt_next_tag(blob, offset, &next);
        if (next < 0 || (tag == FDT_PROP && !property_whole(blob, offset, next)))
            return refuse_blob("its structure block is truncated or has a bad tag");
        if (tag == FDT_BEGIN_NODE && ++*count > DK_TREE_NODES)
            return refuse_blob("it has more than 262144 nodes");
        offset = next;
    } while (tag != FDT_END);
    return *count ? 0 : refuse_blob("it has no nodes");
}

/* Enters node number @index, whose name is at @offset in the structure block, below @parent. */
static int enter_node(struct dk_tree *tree, unsigned index, int parent, int offset, int properties)
{
    struct dk_node *node = &tree->board->nodes[index];
    const char *name = (const char *)fdt_offset_ptr(tree->blob, offset, FDT_TAGSIZE) + FDT_TAGSIZE;

    node->parent = parent;
    node->iommu = -1;
    node->below_iommu_mask = ~0u;
    tree->nodes[index].properties = properties;
    tree->nodes[index].reserved = -1;
    if (parent < 0) {
        node->path = "/";
        node->name = "";
        return 0;
    }
    if (!valid_node_name(name))
        return dk_tree_refuse(tree, (unsigned)parent,
                              "a child's name is empty, too long, or has a character that names cannot have");
    node->name = name;
    if (strlen(tree->board->nodes[parent].path) + strlen(name) + 1 > DK_TREE_PATH)
        return dk_tree_refuse(tree, (unsigned)parent, "the path of its child %.40s… is too long", name);
    node->path = dk_arena_format(tree->arena, "%s/%s", parent ? tree->board->nodes[parent].path : "", name);
    return node->path ? 0 : -ENOMEM;
}

int dk_tree_read_nodes(struct dk_tree *tree)
{
    int offset = 0, next, at = -1;
    unsigned count, index = 0, depth = 0;
    int error = count_nodes(tree->blob, &count);
    u32 tag;

    if (error)
        return error;
    tree->board->nodes = dk_arena_take(tree->arena, count, sizeof(struct dk_node));
    tree->nodes = dk_arena_take(tree->scratch, count, sizeof(struct dk_tree_node));
    if (!tree->board->nodes || !tree->nodes)
        return -ENOMEM;

    for (;; offset = next) {
        tag = fdt_next_tag(tree->blob, offset, &next);
        switch (tag) {
        case FDT_BEGIN_NODE:
            if (!depth && index)
                return refuse_blob("it has two roots");
            if (++depth > DK_TREE_DEPTH)
                return dk_tree_refuse(tree, (unsigned)at, "nodes are nested more than %u deep",
                                      DK_TREE_DEPTH);
            error = enter_node(tree, index, at, offset, next);
            if (error)
                return error;
            at = (int)index++;
            tree->board->node_count = index;
            break;
        case FDT_END_NODE:
            if (!depth)
                return refuse_blob("a node ends that never began");
            depth--;
            at = tree->board->nodes[at].parent;
            break;
        case FDT_PROP:
            if (!depth)
                return refuse_blob("a property lies outside all nodes");
            if (!property_name(tree->blob, offset))
                return dk_tree_refuse(tree, (unsigned)at,
                                      "a property's name is too long or outside the strings block");
            break;
        case FDT_END:
            return depth ? refuse_blob("its last node does not end") : 0;
        default: /* FDT_NOP: count_nodes() met no other */
            break;
        }
    }
}

const char *dk_tree_next_property(const struct dk_tree *tree, int *cursor, const void **value, u32 *size)
{
    int offset, next = *cursor;
    const struct fdt_property *property;
    u32 tag;

    do {
        offset = next;
        tag = fdt_next_tag(tree->blob, offset, &next);
    } while (tag == FDT_NOP);
    if (tag != FDT_PROP)
        return NULL;
    property = fdt_offset_ptr(tree->blob, offset, (unsigned)sizeof(*property));
    *cursor = next;
    *value = property->data;
    *size = fdt32_ld(&property->len);
    return property_name(tree->blob, offset);
}

const void *dk_tree_property(const struct dk_tree *tree, unsigned node, const char *name, u32 *size)
{
    int cursor = tree->nodes[node].properties;
    const void *value;
    const char *found;
    u32 length;

    while ((found = dk_tree_next_property(tree, &cursor, &value, &length))) {
        if (strcmp(found, name))
            continue;
        if (size)
            *size = length;
        return value;
    }
    return NULL;
}

bool dk_tree_flag(const struct dk_tree *tree, unsigned node, const char *name)
{
    return dk_tree_property(tree, node, name, NULL) != NULL;
}

int dk_tree_cell(const struct dk_tree *tree, unsigned node, const char *name, u32 *value)
{
    u32 size;
    const fdt32_t *cell = dk_tree_property(tree, node, name, &size);

    if (!cell)
        return 0;
    if (size != sizeof(*cell))
        return dk_tree_refuse(tree, node, "%s has %u bytes, not the 4 of one cell", name, size);
    *value = fdt32_ld(cell);
    return 0;
}

static int terminated(const struct dk_tree *tree, unsigned node, const char *name, const char *value,
                      u32 size)
{
    if (size && value[size - 1])
        return dk_tree_refuse(tree, node, "%s is not terminated by a NUL", name);
    return 0;
}

int dk_tree_string(const struct dk_tree *tree, unsigned node, const char *name, const char **value)
{
    u32 size;
    const char *string = dk_tree_property(tree, node, name, &size);

    if (!string)
        return 0;
    *value = size ? string : "";
    return terminated(tree, node, name, string, size);
}

int dk_tree_strings(struct dk_tree *tree, unsigned node, const char *name, const char ***list,
                    unsigned *count)
{
    u32 size = 0, at;
    const char *strings = dk_tree_property(tree, node, name, &size);
    unsigned found = 0;
    int error;

    *list = NULL;
    *count = 0;
    if (!strings)
        return 0;
    error = terminated(tree, node, name, strings, size);
    if (error)
        return error;
    for (at = 0; at < size; at++)
        found += !strings[at];
    *list = dk_arena_take(tree->arena, (size_t)found + 1, sizeof(**list));
    if (!*list)
        return -ENOMEM;
    for (at = 0; *count < found; at += (u32)strlen(strings + at) + 1)
        (*list)[(*count)++] = strings + at;
    return 0;
}

bool dk_tree_list_has(const char *const *list, const char *string)
{
    for (; list && *list; list++)
        if (!strcmp(*list, string))
            return true;
    return false;
}

bool dk_tree_number(const fdt32_t *cells, unsigned count, u64 *value)
{
    u64 number = 0;
    unsigned i;

    for (i = 0; i < count; i++) {
        if (number >> 32)
            return false;
        number = number << 32 | fdt32_ld(&cells[i]);
    }
    *value = number;
    return true;
}
