/* SPDX-License-Identifier: MIT */
#include "machine-view.h"

#include <string.h>

/* Lists of names are wrapped before this column. */
#define LINE_WIDTH 96
/* Long enough for any path worth reading; longer ones are cut. */
#define NAME_SIZE 512

struct printer {
    FILE *out;
    const struct dk_machine_view *view;
    int digits; /* of an address in a table */
};

static void put_plain(FILE *out, const char *text)
{
    char plain[NAME_SIZE];

    fputs(dk_machine_plain(plain, sizeof(plain), text), out);
}

/* How many hexadecimal digits the highest address of a table takes: 8, or what it needs. */
static int digits_for(u64 highest)
{
    int digits = 8;

    while (digits < 16 && highest >> (4 * digits))
        digits++;
    return digits;
}

static void print_range(const struct printer *printer, u64 base, u64 size)
{
    char text[DK_SIZE_TEXT];

    fprintf(printer->out, "0x%0*llx-0x%0*llx %10s", printer->digits, base, printer->digits,
            dk_machine_last(base, size), dk_machine_size(text, size));
}

static void print_head(const struct printer *printer)
{
    const struct dk_board *board = printer->view->board;

    put_plain(printer->out, *board->model ? board->model : "(a board without a model)");
    putc('\n', printer->out);
    if (board->compatible && board->compatible[0]) {
        fputs("  compatible   ", printer->out);
        for (unsigned i = 0; board->compatible[i]; i++) {
            if (i > 0)
                fputs(", ", printer->out);
            put_plain(printer->out, board->compatible[i]);
        }
        putc('\n', printer->out);
    }
    fprintf(printer->out, "  cache line   %u bytes\n", board->line);
    if (board->no_mmu)
        fputs("  no MMU\n", printer->out);
    if (board->alias.size) {
        char text[DK_SIZE_TEXT];

        fprintf(printer->out, "  uncached     %s at 0x%llx, an alias of 0x%llx\n",
                dk_machine_size(text, board->alias.size), board->alias.base, board->alias.target);
    }
    if (board->default_bus > 0) {
        fputs("  default bus  ", printer->out);
        put_plain(printer->out, board->nodes[board->default_bus].path);
        putc('\n', printer->out);
    }
    if (*board->arguments) {
        fputs("  arguments    ", printer->out);
        put_plain(printer->out, board->arguments);
        putc('\n', printer->out);
    }
}

static void print_memory(const struct printer *printer)
{
    const struct dk_board *board = printer->view->board;
    char text[DK_SIZE_TEXT];

    fprintf(printer->out, "\nMemory: %s in %u range%s\n", dk_machine_size(text, printer->view->memory_size),
            board->memory_count, board->memory_count == 1 ? "" : "s");
    if (board->memory_assumed)
        fputs("  assumed: the tree leaves it to the boot loader; say what is there with --memory\n",
              printer->out);
    for (unsigned i = 0; i < board->memory_count; i++) {
        fputs("  ", printer->out);
        print_range(printer, board->memory[i].base, board->memory[i].size);
        putc('\n', printer->out);
    }
}

static void print_dies(const struct printer *printer)
{
    const struct dk_board *board = printer->view->board;
    char text[DK_SIZE_TEXT];

    if (board->die_count)
        fprintf(printer->out, "\nDies that refresh in part: %u\n", board->die_count);
    for (unsigned i = 0; i < board->die_count; i++) {
        const struct dk_die *die = &board->dies[i];

        fprintf(printer->out, "  0x%0*llx  %s, %u sections of %s  ", printer->digits, die->base,
                dk_die_mode(die), die->sections, dk_machine_size(text, die->section_size));
        put_plain(printer->out, die->node);
        if (die->partner >= 0) {
            fputs(", interleaved with ", printer->out);
            put_plain(printer->out, board->dies[die->partner].node);
        }
        putc('\n', printer->out);
    }
}

static void print_region(const struct printer *printer, const struct dk_reserved *region)
{
    const char *status = region->reason ? "FAILED" : "ok";

    fputs("  ", printer->out);
    if (region->reason && region->dynamic && !region->range.base) {
        char text[DK_SIZE_TEXT];

        fprintf(printer->out, "%-*s %10s", 2 * printer->digits + 5, "(not placed)",
                dk_machine_size(text, region->range.size));
    } else {
        print_range(printer, region->range.base, region->range.size);
    }
    fprintf(printer->out, "  %-10s %-6s  ", dk_machine_kind(region), status);
    put_plain(printer->out, region->node);
    if (region->is_default || region->dynamic)
        fprintf(printer->out, " (%s%s%s)", region->is_default ? "default" : "",
                region->is_default && region->dynamic ? ", " : "", region->dynamic ? "dynamic" : "");
    putc('\n', printer->out);
    if (region->reason) {
        fputs("      ", printer->out);
        put_plain(printer->out, region->reason);
        putc('\n', printer->out);
    }
}

static void print_reserved(const struct printer *printer)
{
    const struct dk_machine_view *view = printer->view;
    const struct dk_board *board = view->board;

    if (!view->region_count) {
        fputs("\nReserved regions: none\n", printer->out);
    } else {
        fprintf(printer->out, "\nReserved regions: %u", view->region_count);
        if (view->failed_count)
            fprintf(printer->out, ", %u FAILED", view->failed_count);
        putc('\n', printer->out);
    }
    for (unsigned i = 0; i < board->reserved_count; i++) {
        if (!board->reserved[i].disabled)
            print_region(printer, &board->reserved[i]);
    }
    for (unsigned i = 0; i < board->reserved_count; i++) {
        if (board->reserved[i].disabled) {
            fputs("  disabled: ", printer->out);
            put_plain(printer->out, board->reserved[i].node);
            putc('\n', printer->out);
        }
    }
}

/* The first member of @group with @group->members[at]'s parent, so that each parent is printed once. */
static bool is_first_of_parent(const struct dk_machine_view *view, const struct dk_machine_group *group,
                               unsigned at)
{
    int parent = view->board->nodes[group->members[at].node].parent;

    for (unsigned i = 0; i < at; i++) {
        if (view->board->nodes[group->members[i].node].parent == parent)
            return false;
    }
    return true;
}

/* "  /soc: serial@0  mmc@1000": the members of @group with the parent @parent, wrapped. */
static void print_siblings(const struct printer *printer, const struct dk_machine_group *group,
                           unsigned first)
{
    const struct dk_node *nodes = printer->view->board->nodes;
    int parent = nodes[group->members[first].node].parent;
    char name[NAME_SIZE];
    size_t column;

    dk_machine_plain(name, sizeof(name), parent < 0 ? "(root)" : nodes[parent].path);
    column = (size_t)fprintf(printer->out, "    %s:", name);
    for (unsigned i = first; i < group->member_count; i++) {
        const struct dk_machine_member *member = &group->members[i];
        const char *suffix = member->functions ? "/*" : "";
        size_t length;

        if (nodes[member->node].parent != parent)
            continue;
        dk_machine_plain(name, sizeof(name), nodes[member->node].name);
        length = strlen(*name ? name : "/") + strlen(suffix) + 2;
        if (column + length > LINE_WIDTH) {
            fputs("\n        ", printer->out);
            column = 8;
        }
        fprintf(printer->out, "  %s%s", *name ? name : "/", suffix);
        column += length;
    }
    putc('\n', printer->out);
}

static void print_windows(const struct printer *printer, const struct dk_machine_group *group)
{
    if (!group->window_count)
        fputs("    window: every address, one to one\n", printer->out);
    for (unsigned w = 0; w < group->window_count; w++) {
        const struct dk_window *window = &group->windows[w];
        char text[DK_SIZE_TEXT];

        fprintf(printer->out, "    window: DMA 0x%0*llx-0x%0*llx  is  physical 0x%0*llx-0x%0*llx  %s\n",
                printer->digits, window->dma, printer->digits, dk_machine_last(window->dma, window->size),
                printer->digits, window->cpu, printer->digits, dk_machine_last(window->cpu, window->size),
                dk_machine_size(text, window->size));
    }
}

/* Behind an IOMMU, windows only bound the addresses on the bus. */
static void print_iommu(const struct printer *printer, const struct dk_machine_group *group)
{
    fputs("    behind the IOMMU ", printer->out);
    put_plain(printer->out, printer->view->board->nodes[group->iommu].path);
    fputs(group->window_count ? "\n" : ", at any IOVA\n", printer->out);
    for (unsigned w = 0; w < group->window_count; w++) {
        const struct dk_window *window = &group->windows[w];
        char text[DK_SIZE_TEXT];

        fprintf(printer->out, "    window: IOVA 0x%0*llx-0x%0*llx  %s\n", printer->digits, window->dma,
                printer->digits, dk_machine_last(window->dma, window->size),
                dk_machine_size(text, window->size));
    }
}

static void print_group(const struct printer *printer, const struct dk_machine_group *group)
{
    fprintf(printer->out, "\n  %s: %u device%s\n", group->coherent ? "Coherent" : "Not coherent",
            group->member_count, group->member_count == 1 ? "" : "s");
    if (group->iommu >= 0)
        print_iommu(printer, group);
    else
        print_windows(printer, group);
    for (unsigned i = 0; i < group->member_count; i++) {
        if (is_first_of_parent(printer->view, group, i))
            print_siblings(printer, group, i);
    }
}

static void print_devices(const struct printer *printer)
{
    const struct dk_machine_view *view = printer->view;
    bool functions = false;

    fprintf(printer->out, "\nDevices: %u", view->device_count);
    if (view->group_count > 1)
        fprintf(printer->out, ", in %u groups by what they reach", view->group_count);
    putc('\n', printer->out);
    for (unsigned g = 0; g < view->group_count; g++) {
        print_group(printer, &view->groups[g]);
        for (unsigned i = 0; i < view->groups[g].member_count; i++)
            functions = functions || view->groups[g].members[i].functions;
    }
    if (functions)
        fputs("\n  NAME/* stands for the PCI functions below a host.\n", printer->out);
}

static void print_region_users(const struct printer *printer)
{
    const struct dk_board *board = printer->view->board;
    bool headed = false;

    for (unsigned n = 0; n < board->node_count; n++) {
        const struct dk_node *node = &board->nodes[n];

        if (!node->enabled || !node->compatible || !node->region_count)
            continue;
        if (!headed)
            fputs("\nRegions of devices (memory-region)\n", printer->out);
        headed = true;
        fputs("  ", printer->out);
        put_plain(printer->out, node->path);
        putc('\n', printer->out);
        for (unsigned r = 0; r < node->region_count; r++) {
            int index = node->regions[r];

            const char *path = index >= 0 ? board->reserved[index].node : node->region_paths[r];

            fprintf(printer->out, "    %u: ", r);
            put_plain(printer->out, path ? path : "none");
            if (node->region_names && node->region_names[r]) {
                fputs(" \"", printer->out);
                put_plain(printer->out, node->region_names[r]);
                putc('"', printer->out);
            }
            if (index >= 0 && (board->reserved[index].reason || board->reserved[index].disabled))
                fprintf(printer->out, " (%s)", board->reserved[index].disabled ? "disabled" : "FAILED");
            if (index < 0 && path)
                fputs(" (not a reserved region)", printer->out);
            putc('\n', printer->out);
        }
    }
}

/* The highest address that any table shows, so that all of them line up. */
static u64 highest_address(const struct dk_machine_view *view)
{
    const struct dk_board *board = view->board;
    u64 highest = 0;

    for (unsigned i = 0; i < board->memory_count; i++)
        highest |= dk_machine_last(board->memory[i].base, board->memory[i].size);
    for (unsigned i = 0; i < board->reserved_count; i++)
        highest |= dk_machine_last(board->reserved[i].range.base, board->reserved[i].range.size);
    return highest;
}

void dk_machine_print(FILE *out, const struct dk_machine_view *view)
{
    struct printer printer = { out, view, digits_for(highest_address(view)) };

    print_head(&printer);
    print_memory(&printer);
    print_dies(&printer);
    print_reserved(&printer);
    print_devices(&printer);
    print_region_users(&printer);
}
