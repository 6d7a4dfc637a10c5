/* SPDX-License-Identifier: MIT */
/*
 * DRAM dies: the nodes of jedec,sdram-channel.yaml and jedec,lpddr2.yaml that our own property says the
 * refresh of. `density` (megabits) and `io-width` are the bindings'; those have no place for where the memory
 * lies in the physical addresses, nor for how it is divided: dmakit,… says so.
 */
#include "board/read.h"

#include <errno.h>
#include <string.h>

#define MEBIBYTE (1ull << 20)
/* No page of a host's, huge ones included, lies in two sections. */
#define UNIT (2 * MEBIBYTE)
/* As on a mask register: MR16 and MR17 have a bit for each of eight. */
#define SECTIONS_DEFAULT 8u
/* Far above any part's (the bindings end at 32768 megabits and 128 bits), and small enough that no product
 * overflows.
 */
#define DENSITY_MOST (1u << 20)
#define WIDTH_MOST 1024u

static int read_mode(struct dk_tree *tree, unsigned node, enum pasr_mode *mode)
{
    static const char *const names[] = {
        [PASR_SINGLE_ENDED] = "single-ended",
        [PASR_DOUBLE_ENDED] = "double-ended",
        [PASR_BANK_SELECTIVE] = "bank",
        [PASR_SEGMENT_SELECTIVE] = "segment",
    };
    const char *name = "";
    int error = dk_tree_string(tree, node, "dmakit,pasr", &name);
    unsigned i;

    if (error)
        return error;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name))
            continue;
        *mode = (enum pasr_mode)i;
        return 0;
    }
    return dk_tree_refuse(tree, node,
                          "dmakit,pasr is \"%.40s\", not bank, segment, single-ended or double-ended", name);
}

/*
 * The bytes that the die's mask register rules: a rank of a channel, on which chips stand side by side until
 * they are as wide as the channel.
 */
static int read_size(struct dk_tree *tree, unsigned node, u64 *size)
{
    const int parent = tree->board->nodes[node].parent;
    u32 density = 0, width = 0, channel = 0;
    int error = dk_tree_cell(tree, node, "density", &density);

    if (!error)
        error = dk_tree_cell(tree, node, "io-width", &width);
    if (!error && parent >= 0)
        error = dk_tree_cell(tree, (unsigned)parent, "io-width", &channel);
    if (error)
        return error;
    if (!density || !width)
        return dk_tree_refuse(tree, node, "it has dmakit,pasr, but no density or no io-width");
    if (!channel)
        channel = width;
    if (density > DENSITY_MOST || channel > WIDTH_MOST)
        return dk_tree_refuse(tree, node, "a density of %u megabits or an io-width of %u is none of DRAM's",
                              density, channel);
    if (channel % width)
        return dk_tree_refuse(tree, node, "its io-width of %u does not divide its channel's of %u", width,
                              channel);
    *size = density * MEBIBYTE / 8 * (channel / width);
    return 0;
}

/* Sets die->base, or die->partner to the node that it is interleaved with. */
static int read_place(struct dk_tree *tree, unsigned node, struct dk_die *die, int *with)
{
    const unsigned address = tree->nodes[0].address_cells;
    u32 size, phandle = 0;
    const fdt32_t *cells = dk_tree_property(tree, node, "dmakit,base", &size);
    int error = dk_tree_cell(tree, node, "dmakit,interleaved-with", &phandle);

    if (error)
        return error;
    *with = -1;
    if (dk_tree_flag(tree, node, "dmakit,interleaved-with")) {
        if (cells)
            return dk_tree_refuse(tree, node, "it has dmakit,base and dmakit,interleaved-with");
        *with = dk_tree_by_phandle(tree, phandle);
        return *with >= 0 ? 0
                          : dk_tree_refuse(tree, node,
                                           "dmakit,interleaved-with has the phandle 0x%x, which no node has",
                                           phandle);
    }
    if (!cells || size != 4 * address)
        return dk_tree_refuse(tree, node, "it has no dmakit,base of %u cells, nor dmakit,interleaved-with",
                              address);
    if (!dk_tree_number(cells, address, &die->base))
        return dk_tree_refuse(tree, node, "dmakit,base is wider than 64 bits");
    if (die->base >> DK_DIE_BITS)
        return dk_tree_refuse(tree, node, "dmakit,base is 0x%llx, above 2^%u", die->base, DK_DIE_BITS);
    return 0;
}

static int read_die(struct dk_tree *tree, unsigned node, struct dk_die *die, int *with)
{
    u64 size = 0;
    int error;

    die->node = tree->board->nodes[node].path;
    die->sections = SECTIONS_DEFAULT;
    die->partner = -1;
    error = read_mode(tree, node, &die->mode);
    if (!error)
        error = read_size(tree, node, &size);
    if (!error)
        error = dk_tree_cell(tree, node, "dmakit,sections", &die->sections);
    if (!error)
        error = read_place(tree, node, die, with);
    if (error)
        return error;
    if (!die->sections || die->sections > PASR_MAX_SECTIONS)
        return dk_tree_refuse(tree, node, "dmakit,sections is %u, not 1 to %u", die->sections,
                              PASR_MAX_SECTIONS);
    if ((die->mode == PASR_SINGLE_ENDED || die->mode == PASR_DOUBLE_ENDED) &&
        (die->sections < 8 || (die->sections & (die->sections - 1))))
        return dk_tree_refuse(tree, node, "dmakit,sections is %u; to refresh an eighth takes 8, 16 or 32",
                              die->sections);
    if (size % (die->sections * UNIT) || die->base % UNIT)
        return dk_tree_refuse(tree, node,
                              "its base and its sections (%u of 0x%llx bytes) are not multiples of 2 MiB",
                              die->sections, size);
    die->section_size = size / die->sections;
    die->stride = die->section_size;
    return 0;
}

/* Two dies whose sections alternate from one base on: both have twice the stride, and the second starts one
 * section up. */
static int interleave(struct dk_tree *tree, const unsigned *nodes, unsigned index, int with)
{
    struct dk_die *dies = tree->board->dies, *die = &dies[index], *first;
    unsigned i;

    for (i = 0; i < tree->board->die_count && nodes[i] != (unsigned)with; i++)
        ;
    if (i == tree->board->die_count)
        return dk_tree_refuse(tree, nodes[index],
                              "dmakit,interleaved-with leads to %s, which has no dmakit,pasr",
                              tree->board->nodes[with].path);
    first = &dies[i];
    if (i == index || first->partner >= 0 || dk_tree_flag(tree, nodes[i], "dmakit,interleaved-with"))
        return dk_tree_refuse(tree, nodes[index],
                              "dmakit,interleaved-with leads to %s, which is interleaved already",
                              first->node);
    if (first->sections != die->sections || first->section_size != die->section_size)
        return dk_tree_refuse(tree, nodes[index],
                              "its sections are others than those of %s, with which it is interleaved",
                              first->node);
    first->partner = (int)index;
    die->partner = (int)i;
    first->stride = die->stride = 2 * die->section_size;
    die->base = first->base + die->section_size;
    return 0;
}

/* Where a die, with its partner, lies. */
static struct dk_range extent_of(const struct dk_board *board, const struct dk_die *die)
{
    u64 base = die->base;

    if (die->partner >= 0 && board->dies[die->partner].base < base)
        base = board->dies[die->partner].base;
    return (struct dk_range){ base, die->stride * die->sections };
}

static int check_places(struct dk_tree *tree, const unsigned *nodes)
{
    const struct dk_board *board = tree->board;
    unsigned i, j;

    for (i = 0; i < board->die_count; i++) {
        struct dk_range range = extent_of(board, &board->dies[i]);

        if (range.base + range.size > 1ull << DK_DIE_BITS)
            return dk_tree_refuse(tree, nodes[i], "it ends above 2^%u: 0x%llx bytes at 0x%llx", DK_DIE_BITS,
                                  range.size, range.base);
        for (j = 0; j < i; j++) {
            if (board->dies[i].partner != (int)j &&
                dk_ranges_overlap(range, extent_of(board, &board->dies[j])))
                return dk_tree_refuse(tree, nodes[i], "its memory overlaps that of %s", board->dies[j].node);
        }
    }
    return 0;
}

int dk_read_dies(struct dk_tree *tree)
{
    struct dk_board *board = tree->board;
    unsigned *nodes;
    int *with;
    unsigned i;
    int error = 0;

    for (i = 0; i < board->node_count; i++) {
        if (!board->nodes[i].enabled || !dk_tree_flag(tree, i, "dmakit,pasr"))
            continue;
        if (board->die_count++ == DK_TREE_DIES)
            return dk_tree_refuse(tree, i, "there are more than %u dies", DK_TREE_DIES);
    }
    board->dies = dk_arena_take(tree->arena, board->die_count, sizeof(*board->dies));
    nodes = dk_arena_take(tree->scratch, board->die_count, sizeof(*nodes));
    with = dk_arena_take(tree->scratch, board->die_count, sizeof(*with));
    if (!board->dies || !nodes || !with)
        return -ENOMEM;
    board->die_count = 0;
    for (i = 0; i < board->node_count && !error; i++) {
        if (!board->nodes[i].enabled || !dk_tree_flag(tree, i, "dmakit,pasr"))
            continue;
        nodes[board->die_count] = i;
        error = read_die(tree, i, &board->dies[board->die_count], &with[board->die_count]);
        board->die_count++;
    }
    for (i = 0; i < board->die_count && !error; i++)
        error = with[i] >= 0 ? interleave(tree, nodes, i, with[i]) : 0;
    return error ? error : check_places(tree, nodes);
}

const char *dk_die_mode(const struct dk_die *die)
{
    static const char *const names[] = {
        [PASR_SINGLE_ENDED] = "single-ended",
        [PASR_DOUBLE_ENDED] = "double-ended",
        [PASR_BANK_SELECTIVE] = "bank-selective",
        [PASR_SEGMENT_SELECTIVE] = "segment-selective",
    };

    return names[die->mode];
}
