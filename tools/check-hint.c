/* SPDX-License-Identifier: MIT */
/*
 * dmakit check: what it may mean that a program without reports is right on some boards and wrong on others.
 */
#include "board/board.h"
#include "check.h"

void dk_check_traits(struct check_board *traits, const struct dk_board *board)
{
    int card = dk_board_find(board, "nic");
    const struct dk_node *node = &board->nodes[card >= 0 ? card : board->default_bus];
    const struct dk_window *windows = card >= 0 ? node->windows : node->below_windows;
    unsigned count = card >= 0 ? node->window_count : node->below_window_count;
    unsigned i;

    traits->snoops = node->coherent;
    for (i = 0; i < count; i++)
        traits->moved = traits->moved || windows[i].dma != windows[i].cpu;
}

/* Whether a run of @board went wrong without a report that would say why. */
static bool is_wrong(const struct check_result *result, size_t board)
{
    struct check_tally tally = dk_check_result_tally(result, board);

    return tally.by_status[CHECK_FAILED] || tally.by_status[CHECK_CRASHED] || tally.by_status[CHECK_TIMEOUT];
}

const char *dk_check_hint(const struct check_result *result)
{
    bool caches = true, addresses = true;
    size_t wrong = 0, right = 0, i;

    for (i = 0; i < result->request->board_count; i++) {
        const struct check_board *board = &result->request->boards[i];
        bool is;

        if (board->refusal)
            continue;
        is = is_wrong(result, i);
        wrong += is;
        right += !is;
        caches = caches && is == !board->snoops;
        addresses = addresses && is == board->moved;
    }
    /* One board alone, or all alike, say nothing. */
    if (!wrong || !right)
        return NULL;
    if (caches)
        return "wrong exactly where devices do not snoop the CPU's caches: look for a dma_sync_single_for_cpu() or "
               "_for_device() that is missing, or for two owners of one cache line";
    if (addresses)
        return "wrong exactly where DMA addresses differ from physical ones: look for an address given to the device "
               "that is not what dma_map_single() or dma_alloc_coherent() returned";
    return NULL;
}
