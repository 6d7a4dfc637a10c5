/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "board/read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GIB (1ull << 30)
/* The default memory grows to hold regions up to this far above its base; what lies further is not RAM. */
#define SPAN_MOST (1ull << 40)

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

const char *dk_board_read_size(const char *text, u64 *value)
{
    static const char suffixes[] = "kmgtpe";
    const char *suffix, *start;
    u64 number = 0;
    int base = 10;

    if (text[0] == '0' && (text[1] | 0x20) == 'x') {
        base = 16;
        text += 2;
    } else if (text[0] == '0') {
        base = 8;
    }
    for (start = text; digit_of(*text) < base; text++)
        if (__builtin_mul_overflow(number, (u64)base, &number) ||
            __builtin_add_overflow(number, (u64)digit_of(*text), &number))
            return NULL;
    if (text == start)
        return NULL;
    suffix = *text ? strchr(suffixes, *text | 0x20) : NULL;
    if (suffix) {
        if (__builtin_mul_overflow(number, 1ull << (10 * (suffix - suffixes + 1)), &number))
            return NULL;
        text++;
    }
    *value = number;
    return text;
}

static int refuse_spec(const char *spec, const char *reason)
{
    dk_log(DK_LOG_ERROR, "memory specification \"%.200s\": %s", spec, reason);
    return -EINVAL;
}

static int compare_ranges(const void *left, const void *right)
{
    const struct dk_range *a = left, *b = right;

    return a->base < b->base ? -1 : a->base > b->base;
}

/* Sorts board->memory. Returns the index of a range that overlaps the one before it, or 0. */
static unsigned sort_memory(struct dk_board *board)
{
    unsigned i;

    qsort(board->memory, board->memory_count, sizeof(*board->memory), compare_ranges);
    for (i = 1; i < board->memory_count; i++)
        if (dk_ranges_overlap(board->memory[i - 1], board->memory[i]))
            return i;
    return 0;
}

static int read_spec(struct dk_tree *tree, const char *spec)
{
    struct dk_board *board = tree->board;
    const char *at = spec;

    for (;;) {
        struct dk_range range;

        if (board->memory_count == DK_TREE_MEMORY)
            return refuse_spec(spec, "it has too many ranges");
        at = dk_board_read_size(at, &range.size);
        if (!at || *at != '@')
            return refuse_spec(spec, "a range is SIZE@BASE, for example 1G@0x40000000");
        at = dk_board_read_size(at + 1, &range.base);
        if (!at || (*at && *at != ','))
            return refuse_spec(spec, "a range is SIZE@BASE, and a comma separates ranges");
        if (!dk_range_valid(range))
            return refuse_spec(spec, "a range is empty or wraps");
        board->memory[board->memory_count++] = range;
        if (!*at++)
            break;
    }
    return sort_memory(board) ? refuse_spec(spec, "two ranges overlap") : 0;
}

/* A range and the node that has it. */
struct owned_range {
    struct dk_range range;
    unsigned node;
};

static int read_node(struct dk_tree *tree, unsigned index, struct owned_range *owners)
{
    const unsigned address = tree->nodes[0].address_cells, length = tree->nodes[0].size_cells;
    const unsigned row = 4 * (address + length);
    struct dk_board *board = tree->board;
    u32 size, i;
    const fdt32_t *cells = dk_tree_property(tree, index, "reg", &size);

    if (!cells)
        return 0;
    if (!length || size % row)
        return dk_tree_refuse(tree, index, "reg has %u bytes, not a multiple of a row's %u", size, row);
    for (i = 0; i < size / row; i++, cells += address + length) {
        struct dk_range range;

        if (!dk_tree_number(cells, address, &range.base) ||
            !dk_tree_number(cells + address, length, &range.size))
            return dk_tree_refuse(tree, index, "row %u of reg is wider than 64 bits", i);
        if (!range.size)
            continue; /* for a boot loader to fill */
        if (!dk_range_valid(range))
            return dk_tree_refuse(tree, index, "row %u of reg wraps: 0x%llx bytes at 0x%llx", i, range.size,
                                  range.base);
        if (board->memory_count == DK_TREE_MEMORY)
            return dk_tree_refuse(tree, index, "memory has more than %u ranges", DK_TREE_MEMORY);
        owners[board->memory_count] = (struct owned_range){ range, index };
        board->memory[board->memory_count++] = range;
    }
    return 0;
}

static bool is_memory(struct dk_tree *tree, unsigned index)
{
    const char *type = "";

    return tree->board->nodes[index].parent == 0 && tree->board->nodes[index].enabled &&
           !dk_tree_string(tree, index, "device_type", &type) && !strcmp(type, "memory");
}

int dk_read_memory(struct dk_tree *tree, const char *spec)
{
    struct dk_board *board = tree->board;
    struct owned_range *owners = dk_arena_take(tree->scratch, DK_TREE_MEMORY, sizeof(*owners));
    unsigned i, last;

    board->memory = dk_arena_take(tree->arena, DK_TREE_MEMORY, sizeof(*board->memory));
    if (!board->memory || !owners)
        return -ENOMEM;
    if (spec)
        return read_spec(tree, spec);
    for (i = 0; i < board->node_count; i++) {
        int error = is_memory(tree, i) ? read_node(tree, i, owners) : 0;

        if (error)
            return error;
    }
    i = sort_memory(board);
    if (!i)
        return 0;
    for (last = board->memory_count - 1; last && owners[last].range.base != board->memory[i].base;)
        last--;
    return dk_tree_refuse(tree, owners[last].node, "memory ranges at 0x%llx and 0x%llx overlap",
                          board->memory[i - 1].base, board->memory[i].base);
}

/* Where a memory node says that RAM starts, although a boot loader is to say how much; false when none says.
 */
static bool stated_base(struct dk_tree *tree, u64 *base)
{
    unsigned i, address = tree->nodes[0].address_cells;

    for (i = 0; i < tree->board->node_count; i++) {
        u32 size;
        const fdt32_t *cells;

        if (!is_memory(tree, i))
            continue;
        cells = dk_tree_property(tree, i, "reg", &size);
        if (cells && size >= 4 * address && dk_tree_number(cells, address, base))
            return true;
    }
    return false;
}

/* A region that the default memory must hold: static ones as they are, of dynamic ones the first
 * alloc-range's start. */
static bool must_hold(const struct dk_reserved *region, const struct dk_placement *placement,
                      struct dk_range *range)
{
    if (region->disabled || region->reason)
        return false;
    if (!region->dynamic) {
        *range = region->range;
        return true;
    }
    if (!placement->range_count)
        return false;
    range->base = placement->ranges[0].base;
    range->size = placement->size;
    return dk_range_valid(*range);
}

int dk_assume_memory(struct dk_tree *tree, const struct dk_placement *placements)
{
    struct dk_board *board = tree->board;
    u64 base = ~0ull, size = GIB, dynamic = 0;
    struct dk_range range;
    bool stated = stated_base(tree, &base);
    unsigned i;

    if (board->memory_count)
        return 0;
    for (i = 0; i < board->reserved_count; i++)
        if (must_hold(&board->reserved[i], &placements[i], &range) && range.base < base &&
            (!stated || (board->reserved[i].kind <= DK_RESERVED_RESTRICTED && base - range.base < SPAN_MOST)))
            base = range.base / GIB * GIB;
    if (base == ~0ull)
        base = 0;
    for (i = 0; i < board->reserved_count; i++) {
        if (board->reserved[i].dynamic && !board->reserved[i].disabled && !board->reserved[i].reason &&
            placements[i].size <= SPAN_MOST)
            dynamic += placements[i].size;
        if (!must_hold(&board->reserved[i], &placements[i], &range) || range.base < base ||
            range.base + (range.size - 1) - base >= SPAN_MOST)
            continue;
        while (size <= range.base + (range.size - 1) - base)
            size *= 2;
    }
    /* As much again stays free as the dynamic regions take. */
    while (size < SPAN_MOST && size / 2 < dynamic)
        size *= 2;
    /* At the end of all addresses it ends there. */
    if (!dk_range_valid((struct dk_range){ base, size }))
        base = 0 - size;
    board->memory[0] = (struct dk_range){ base, size };
    board->memory_count = 1;
    board->memory_assumed = true;
    dk_log(DK_LOG_INFO, "/: the tree has no memory; assuming 0x%llx bytes at 0x%llx", size, base);
    return 0;
}
