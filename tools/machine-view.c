/* SPDX-License-Identifier: MIT */
#include "machine-view.h"

#include "base/alloc.h"

#include <errno.h>
#include <string.h>

/* What one device, or the functions below a PCI host, reach: the key of a group. */
static struct dk_machine_group reach_of(const struct dk_node *node, bool functions)
{
    struct dk_machine_group reach = { .coherent = node->coherent, .iommu = node->iommu };

    if (functions) {
        reach.windows = node->below_windows;
        reach.window_count = node->below_window_count;
        reach.iommu = node->below_iommu_count ? (int)node->below_iommu[0].iommu : -1;
    } else {
        reach.windows = node->windows;
        reach.window_count = node->window_count;
    }
    return reach;
}

static bool same_reach(const struct dk_machine_group *a, const struct dk_machine_group *b)
{
    if (a->coherent != b->coherent || a->iommu != b->iommu || a->window_count != b->window_count)
        return false;
    for (unsigned i = 0; i < a->window_count; i++) {
        if (a->windows[i].dma != b->windows[i].dma || a->windows[i].cpu != b->windows[i].cpu ||
            a->windows[i].size != b->windows[i].size)
            return false;
    }
    return true;
}

static void add_group(struct dk_machine_view *view, const struct dk_machine_group *reach)
{
    for (unsigned i = 0; i < view->group_count; i++) {
        if (same_reach(&view->groups[i], reach))
            return;
    }
    view->groups[view->group_count++] = *reach;
}

static bool is_device(const struct dk_node *node)
{
    return node->enabled && node->compatible && node->compatible[0];
}

static void add_groups(struct dk_machine_view *view)
{
    for (unsigned n = 0; n < view->board->node_count; n++) {
        const struct dk_node *node = &view->board->nodes[n];

        if (!is_device(node))
            continue;
        for (int functions = 0; functions <= (node->pci_host ? 1 : 0); functions++) {
            struct dk_machine_group reach = reach_of(node, functions);

            add_group(view, &reach);
        }
    }
}

/* Lists the members of @group from @next on. Returns where the list ends. */
static struct dk_machine_member *list_members(const struct dk_board *board, struct dk_machine_group *group,
                                              struct dk_machine_member *next)
{
    group->members = next;
    for (unsigned n = 0; n < board->node_count; n++) {
        const struct dk_node *node = &board->nodes[n];

        if (!is_device(node))
            continue;
        for (int functions = 0; functions <= (node->pci_host ? 1 : 0); functions++) {
            struct dk_machine_group reach = reach_of(node, functions);

            if (!same_reach(group, &reach))
                continue;
            *next++ = (struct dk_machine_member){ n, functions };
            group->member_count++;
        }
    }
    return next;
}

int dk_machine_view_init(struct dk_machine_view *view, const struct dk_board *board)
{
    struct dk_machine_member *next;
    size_t most = 0;

    *view = (struct dk_machine_view){ .board = board };
    for (unsigned i = 0; i < board->memory_count; i++)
        view->memory_size += board->memory[i].size;
    for (unsigned i = 0; i < board->reserved_count; i++) {
        if (board->reserved[i].disabled)
            continue;
        view->region_count++;
        if (board->reserved[i].reason)
            view->failed_count++;
    }
    for (unsigned i = 0; i < board->node_count; i++) {
        if (!is_device(&board->nodes[i]))
            continue;
        view->device_count++;
        most += board->nodes[i].pci_host ? 2 : 1;
    }
    view->groups = dk_allocate(most, sizeof(*view->groups));
    view->members = dk_allocate(most, sizeof(*view->members));
    if (!view->groups || !view->members) {
        dk_machine_view_finish(view);
        return -ENOMEM;
    }
    add_groups(view);
    next = view->members;
    for (unsigned g = 0; g < view->group_count; g++)
        next = list_members(board, &view->groups[g], next);
    return 0;
}

void dk_machine_view_finish(struct dk_machine_view *view)
{
    dk_release(view->groups);
    dk_release(view->members);
    view->groups = NULL;
    view->members = NULL;
    view->group_count = 0;
}

const char *dk_machine_size(char text[DK_SIZE_TEXT], u64 bytes)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned unit = 0;
    u64 tenths;

    while (unit + 1 < sizeof(units) / sizeof(units[0]) && bytes >> (10 * (unit + 1)))
        unit++;
    if (unit == 0) {
        snprintf(text, DK_SIZE_TEXT, "%llu %s", bytes, bytes == 1 ? "byte" : "bytes");
        return text;
    }
    tenths = ((bytes >> (10 * unit)) * 10) + (((bytes >> (10 * (unit - 1))) & 1023) * 10 + 512) / 1024;
    if (tenths % 10)
        snprintf(text, DK_SIZE_TEXT, "%llu.%llu %s", tenths / 10, tenths % 10, units[unit]);
    else
        snprintf(text, DK_SIZE_TEXT, "%llu %s", tenths / 10, units[unit]);
    return text;
}

const char *dk_machine_kind(const struct dk_reserved *region)
{
    switch (region->kind) {
    case DK_RESERVED_CMA:
        return "cma";
    case DK_RESERVED_COHERENT:
        return "coherent";
    case DK_RESERVED_RESTRICTED:
        return "restricted";
    case DK_RESERVED_NO_MAP:
        return "no-map";
    case DK_RESERVED_PLAIN:
        break;
    }
    return "reserved";
}

u64 dk_machine_last(u64 base, u64 size)
{
    if (size == 0)
        return base;
    return size - 1 > UINT64_MAX - base ? UINT64_MAX : base + (size - 1);
}

const char *dk_machine_plain(char *into, size_t size, const char *text)
{
    size_t i = 0;

    for (; text[i] && i + 1 < size; i++)
        into[i] = (char)(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?');
    into[i] = '\0';
    return into;
}
