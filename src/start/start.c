/* SPDX-License-Identifier: MIT */
/*
 * Composes a machine from everything below: memory, views, devices, mapping, the checker.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "check/check.h"
#include "check/handover.h"
#include "check/instrument.h"
#include "check/owner.h"
#include "mapping/mapping.h"
#include "mapping/remap.h"
#include "pool/dma-alloc.h"
#include "pool/pool-masters.h"
#include "start/arguments.h"
#include "start/options.h"
#include <dmakit/log.h>
#include <dmakit/slab.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The depth where neither the caller nor DMAKIT_OPTIONS chose one. */
#define DEFAULT_DEPTH 2

/* What the arguments (as on a kernel command line) ask for. */
struct start_arguments {
    u64 highmem;
    slab_flags_t slab_debug;
    struct dk_mapping_config mapping;
};

/* The number at *@at, at most what a machine's memory can be; false when there is none. */
static bool read_slots(const char **at, u64 *slots)
{
    char *after;

    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *slots = strtoull(*at, &after, 0);
    *at = after;
    return !errno && *slots <= ~0u;
}

/* swiotlb=SLOTS[,AREAS][,force], swiotlb=force or swiotlb=noforce. How many areas the pool has it knows
 * itself. */
static int read_bounce(const char *text, struct dk_mapping_config *config)
{
    size_t length;
    const char *value = dk_argument(text, "swiotlb", &length);
    const char *end = value ? value + length : NULL;
    const char *at = value;
    u64 areas;

    if (!value)
        return 0;
    if (*at >= '0' && *at <= '9') {
        if (!read_slots(&at, &config->bounce_slots))
            goto refuse;
        if (at + 1 < end && *at == ',' && at[1] >= '0' && at[1] <= '9') {
            at++;
            if (!read_slots(&at, &areas))
                goto refuse;
        }
        if (at == end)
            return 0;
        if (*at++ != ',')
            goto refuse;
    }
    config->bounce_always = end - at == 5 && !strncmp(at, "force", 5);
    config->bounce_never = end - at == 7 && !strncmp(at, "noforce", 7);
    if (config->bounce_always || config->bounce_never)
        return 0;

refuse:
    dk_log(DK_LOG_ERROR, "argument swiotlb= cannot be \"%.*s\"", (int)length, value);
    return -EINVAL;
}

/* slab_debug=LETTERS, as on a kernel command line (Documentation/mm/slub.rst); for all caches, since none has
 * a name yet. */
static int read_slab_debug(const char *text, slab_flags_t *flags)
{
    static const struct {
        char letter;
        slab_flags_t flag;
    } letters[] = { { 'F', SLAB_CONSISTENCY_CHECKS },
                    { 'Z', SLAB_RED_ZONE },
                    { 'P', SLAB_POISON },
                    { 'U', SLAB_STORE_USER },
                    { '-', 0 } };
    size_t length, i, j;
    const char *value = dk_argument(text, "slab_debug", &length);

    for (i = 0; value && i < length; i++) {
        for (j = 0; j < sizeof(letters) / sizeof(letters[0]); j++) {
            if (value[i] == letters[j].letter)
                break;
        }
        if (j == sizeof(letters) / sizeof(letters[0])) {
            dk_log(DK_LOG_ERROR, "argument slab_debug= cannot be \"%.*s\": letters are F, Z, P, U and -",
                   (int)length, value);
            return -EINVAL;
        }
        *flags |= letters[j].flag;
    }
    return 0;
}

static int read_arguments(const char *text, struct start_arguments *arguments)
{
    bool strict = true;
    int error;

    memset(arguments, 0, sizeof(*arguments));
    error = dk_argument_size(text, "highmem", &arguments->highmem, NULL);
    if (!error)
        error = dk_argument_size(text, "cma", &arguments->mapping.cma_size, &arguments->mapping.cma_base);
    arguments->mapping.cma_map = dk_argument(text, "cma_map", &arguments->mapping.cma_map_length);
    if (!error)
        error = dk_argument_flag(text, "iommu.passthrough", &arguments->mapping.iommu_passthrough);
    if (!error)
        error = dk_argument_flag(text, "iommu.strict", &strict);
    arguments->mapping.iommu_lazy = !strict;
    if (!error)
        error = dk_argument_size(text, "coherent_pool", &arguments->mapping.atomic_size, NULL);
    if (!error)
        error = read_bounce(text, &arguments->mapping);
    if (!error)
        error = read_slab_debug(text, &arguments->slab_debug);
    return error;
}

/* ---- Hooks: what lower rooms tell higher ones ---- */

static void hook_finding(void *data, const struct dk_finding *finding)
{
    dk_check_finding(data, finding);
}

static int hook_device_added(void *data, struct device *dev)
{
    (void)data;
    return dk_mapping_device_added(dev);
}

static void hook_driver_unbound(void *data, struct device *dev)
{
    (void)data;
    dk_check_device_removed(dev);
    dk_pools_driver_unbound(dev);
    dk_remap_device_removed(dev);
}

static void hook_device_removed(void *data, struct device *dev)
{
    (void)data;
    dk_check_device_removed(dev);
    dk_dma_blocks_device_removed(dev);
    dk_pools_device_removed(dev);
    dk_mapping_device_removed(dev);
}

static void hook_memory_taken(void *data, phys_addr_t phys, u64 size)
{
    struct dk_machine *machine = data;

    dk_cache_renew(machine->cache, phys, size);
}

static bool hook_memory_freed(void *data, phys_addr_t phys, u64 size, const char *call, u32 *stack)
{
    return dk_check_freed(data, phys, size, call, stack);
}

static u64 hook_master_access(void *data, const struct dk_master_move *move)
{
    dk_pools_master_access(data, move);
    return 0;
}

/* Not the ordinary case. */
static __attribute__((noinline)) u64 look_at_access(struct dk_machine *machine,
                                                    const struct dk_master_move *move)
{
    u64 held;

    if (!dk_check_access(move, &held) && !dk_pools_hold(machine, move->phys + held)) {
        if (move->from)
            dk_memory_excuse(machine->memory, move->phys + held, move->length - held);
        dk_check_stray(move, held);
    }
    return dk_handover_access(machine, move);
}

/* The same at depth 2 and above, where no access is too many. */
static u64 hook_master_watched(void *data, const struct dk_master_move *move)
{
    struct dk_machine *machine = data;
    u64 ticket;

    if (machine->depth >= 3)
        dk_owner_master_access(move);
    if (dk_pools_watch(machine))
        dk_pools_master_access(machine, move);
    ticket = dk_check_access_right(move);
    return ticket == DK_ACCESS_UNSURE ? look_at_access(machine, move) : ticket;
}

static void hook_bytes_moved(void *data, phys_addr_t phys, u64 length, u64 ticket, bool moved)
{
    dk_handover_written(data, phys, length, ticket, moved);
}

static void hook_register_write(void *data, bool before)
{
    dk_owner_register_write(data, before);
}

static void hook_vacant_stored(void *data, phys_addr_t phys, u64 length, const char *call)
{
    dk_pools_stored(data, phys, length, call);
}

static void hook_master_fault(void *data, struct device *dev, const struct dk_master_fault *fault)
{
    (void)data;
    dk_check_fault(dev, fault);
}

static void hook_master_stale(void *data, struct device *dev, dma_addr_t dma, u64 length, bool write)
{
    (void)data;
    dk_check_stale(dev, dma, length, write);
}

static void hook_master_asleep(void *data, struct device *dev, dma_addr_t dma, phys_addr_t phys, u64 length,
                               bool write)
{
    (void)data;
    dk_check_asleep(dev, dma, phys, length, write);
}

/* ---- Memory ---- */

/*
 * The first address above ZONE_DMA: what every device of the board reaches that has windows at all, as far as
 * that is below 4 GiB. Memory for small masks comes from there.
 */
static u64 zone_dma_end(const struct dk_board *board)
{
    u64 end = 1ull << 32;
    unsigned i, j;

    for (i = 0; i < board->node_count; i++) {
        const struct dk_node *node = &board->nodes[i];
        u64 highest = 0;

        for (j = 0; j < node->window_count; j++) {
            u64 last = node->windows[j].cpu + (node->windows[j].size - 1);

            if (last > highest)
                highest = last;
        }
        if (node->enabled && node->window_count && highest < end - 1)
            end = highest + 1;
    }
    return end & PAGE_MASK;
}

/* Whether any enabled device sees memory past the CPU's caches. */
static bool has_two_views(const struct dk_board *board)
{
    unsigned i;

    for (i = 0; i < board->node_count; i++) {
        if (board->nodes[i].enabled && !board->nodes[i].coherent)
            return true;
    }
    return false;
}

/* Pages kept for requests that must not wait for memory: one in 256, at most 4 MiB. */
#define RESERVE_SHARE 256u
#define RESERVE_MOST 1024u

static u64 reserve_of(const struct dk_memory_range *ranges, unsigned count)
{
    u64 pages = 0;
    unsigned i;

    for (i = 0; i < count; i++)
        pages += ranges[i].size >> PAGE_SHIFT;
    return pages / RESERVE_SHARE < RESERVE_MOST ? pages / RESERVE_SHARE : RESERVE_MOST;
}

/* Of memory, what is in quarantine is at most one part in so many. */
#define QUARANTINE_SHARE 32u

/* What of freed memory is kept out of use: as much as @options say, where the checker looks at memory. */
static size_t quarantine_of(const struct dk_machine *machine, const struct dk_options *options)
{
    const struct dk_board *board = machine->board;
    u64 most = 0;
    unsigned i;

    for (i = 0; machine->depth >= 2 && i < board->memory_count; i++)
        most += board->memory[i].size / QUARANTINE_SHARE;
    if (most > options->quarantine_size)
        most = options->quarantine_size;
    return most > SIZE_MAX / 2 ? SIZE_MAX / 2 : (size_t)most;
}

/* Zones are only cut where there is memory in them: a zone that starts above all RAM holds nothing, and costs
 * nothing. */
static struct dk_memory *make_memory(struct dk_machine *machine, const struct start_arguments *arguments,
                                     const struct dk_options *options)
{
    const struct dk_board *board = machine->board;
    struct dk_memory_range *ranges = dk_allocate(board->memory_count, sizeof(*ranges));
    struct dk_memory *memory;
    unsigned i;

    if (!ranges)
        return ERR_PTR(-ENOMEM);
    for (i = 0; i < board->memory_count; i++)
        ranges[i] = (struct dk_memory_range){ board->memory[i].base, board->memory[i].size };
    memory = dk_memory_create(&(struct dk_memory_config){
        .ranges = ranges,
        .range_count = board->memory_count,
        .two_views = has_two_views(board),
        .line = board->line,
        .zone_dma_end = zone_dma_end(board),
        .zone_dma32_end = 1ull << 32,
        .reserve = reserve_of(ranges, board->memory_count),
        .highmem = arguments->highmem,
        .seed = machine->seed,
        .slab_debug = arguments->slab_debug,
        .quarantine = quarantine_of(machine, options),
        .hooks = &machine->hooks,
        .machine = machine,
    });
    dk_release(ranges);
    return memory;
}

/* The board's dies, of which nothing but the page allocator's free memory is unused yet. */
static int add_dies(struct dk_machine *machine)
{
    const struct dk_board *board = machine->board;
    struct pasr_die **dies = dk_allocate(board->die_count, sizeof(*dies));
    unsigned i, section;
    int error = 0;

    if (!dies)
        return -ENOMEM;
    for (i = 0; i < board->die_count && !error; i++) {
        const struct dk_die *die = &board->dies[i];

        dies[i] = dk_memory_add_die(machine->memory, &(struct dk_pasr_layout){
                                                         .name = die->node,
                                                         .base = die->base,
                                                         .section_size = die->section_size,
                                                         .stride = die->stride,
                                                         .sections = die->sections,
                                                         .mode = die->mode,
                                                     });
        error = PTR_ERR_OR_ZERO(dies[i]);
        for (section = 0;
             !error && die->partner >= 0 && (unsigned)die->partner < i && section < die->sections; section++)
            error = dk_memory_pair_dies(machine->memory, dies[i], section, dies[die->partner], section);
    }
    dk_release(dies);
    return error;
}

/* Reserved regions leave the page allocator before anything is allocated. */
static int reserve_regions(struct dk_machine *machine)
{
    const struct dk_board *board = machine->board;
    unsigned i;

    for (i = 0; i < board->reserved_count; i++) {
        const struct dk_reserved *reserved = &board->reserved[i];
        int error;

        if (reserved->reason || reserved->disabled)
            continue;
        /* A region in the uncached alias takes the memory that the alias shows. */
        error = dk_memory_reserve(machine->memory, dk_alias_to_memory(machine, reserved->range.base),
                                  reserved->range.size, !reserved->no_map);
        if (error) {
            dk_log(DK_LOG_ERROR, "%s: cannot be reserved: %s", reserved->node, strerror(-error));
            return error;
        }
    }
    return 0;
}

/* ---- The machine ---- */

static void finish(struct dk_machine *machine)
{
    /* What devices left in pools is named while the devices have names. */
    dk_device_remove(machine->root);
    /* What goes on below is the end of the machine, not news for it. */
    dk_memory_drop_controllers(machine->memory);
    dk_mapping_finish(machine);
    dk_pools_finish(machine);
    dk_devices_finish(machine);
    dk_interrupts_finish(machine);
    dk_registers_finish(machine);
    dk_checker_destroy(machine->checker);
    dk_cache_destroy(machine->cache);
    dk_memory_destroy(machine->memory);
    pthread_mutex_destroy(&machine->devices_lock);
    dk_board_free((struct dk_board *)(uintptr_t)machine->board);
    dk_release(machine->arguments);
    dk_release(machine);
}

static int make_checker(struct dk_machine *machine, const struct dk_options *options)
{
    const struct dk_check_options check = {
        .depth = machine->depth,
        .format = (enum dk_report_format)options->report_format,
        .colour = (enum dk_report_colour)options->color,
        .report_path = options->report_path,
        .suppressions = options->suppressions,
        .print_suppressed = options->print_suppressed,
        .abort_on_error = options->abort_on_error,
    };
    struct dk_checker *checker;

    if (!machine->depth)
        return 0;
    checker = dk_checker_create(machine, &check);
    if (IS_ERR(checker))
        return (int)PTR_ERR(checker);
    machine->checker = checker;
    return 0;
}

/* Everything after the board, in the order in which each stands on the one before. */
static int bring_up(struct dk_machine *machine, const struct dk_options *options)
{
    struct start_arguments arguments;
    struct dk_memory *memory;
    int error;

    error = read_arguments(machine->arguments, &arguments);
    if (error)
        return error;
    memory = make_memory(machine, &arguments, options);
    if (IS_ERR(memory))
        return (int)PTR_ERR(memory);
    machine->memory = memory;
    arguments.mapping.quarantine = machine->depth >= 2 && options->quarantine_size;
    /* Before anything is reserved: what leaves the page allocator is heard of. */
    error = machine->board->die_count ? add_dies(machine) : 0;
    if (!error)
        error = reserve_regions(machine);
    if (error)
        return error;
    if (dk_memory_two_views(memory)) {
        struct dk_cache *cache = dk_cache_create(memory, machine->seed);

        if (IS_ERR_OR_NULL(cache))
            return -ENOMEM;
        machine->cache = cache;
    }
    error = make_checker(machine, options);
    if (!error)
        error = dk_registers_start(machine);
    if (!error)
        error = dk_interrupts_start(machine);
    if (!error)
        error = dk_mapping_start(machine, &arguments.mapping, zone_dma_end(machine->board) - 1);
    if (!error)
        error = dk_pools_start(machine);
    if (!error)
        error = dk_devices_start(machine);
    return error;
}

/* The board that the caller, the environment or the library itself provides; always one of the machine's own.
 */
static struct dk_board *choose_board(const struct dk_board *given, const char *memory)
{
    const char *path = getenv("DMAKIT_BOARD");
    struct dk_board *board, *copy;

    if (given)
        return dk_board_with_memory(given, memory);
    board = path && *path ? dk_board_load(path) : dk_board_hostile();
    if (IS_ERR(board) || !memory)
        return board;
    copy = dk_board_with_memory(board, memory);
    dk_board_free(board);
    return copy;
}

static struct dk_machine *compose(const struct dk_board *board, const struct dk_machine_options *given,
                                  const struct dk_options *options)
{
    const char *memory = given ? given->memory : options->memory;
    const char *arguments = given ? given->arguments : options->arguments;
    struct dk_machine *machine = dk_allocate(1, sizeof(*machine));
    struct dk_board *own;
    int error;

    if (!machine)
        return ERR_PTR(-ENOMEM);
    own = choose_board(board, memory);
    if (IS_ERR(own)) {
        dk_release(machine);
        return ERR_CAST(own);
    }
    machine->board = own;
    machine->seed = given ? given->seed : options->seed;
    machine->depth = given && given->depth >= 0 ? given->depth : options->depth;
    if (machine->depth < 0)
        machine->depth = DEFAULT_DEPTH;
    machine->depth = dk_instrument_depth(machine->depth);
    machine->hooks = (struct dk_hooks){
        .data = machine,
        .finding = hook_finding,
        .device_added = hook_device_added,
        .driver_unbound = hook_driver_unbound,
        .device_removed = hook_device_removed,
        .memory_taken = hook_memory_taken,
        .memory_freed = machine->depth >= 2 ? hook_memory_freed : NULL,
        .master_access = machine->depth > 1 ? hook_master_watched
                         : machine->depth   ? hook_master_access
                                            : NULL,
        .master_access_idle = machine->depth == 1,
        .bytes_moved = machine->depth > 1 ? hook_bytes_moved : NULL,
        .register_write = machine->depth >= 3 ? hook_register_write : NULL,
        .vacant_stored = machine->depth >= 3 ? hook_vacant_stored : NULL,
        .master_fault = hook_master_fault,
        .master_stale = hook_master_stale,
        .master_asleep = hook_master_asleep,
    };
    INIT_LIST_HEAD(&machine->link);
    pthread_mutex_init(&machine->devices_lock, NULL);
    machine->arguments = dk_copy_string(arguments ? arguments : own->arguments);
    error = machine->arguments ? bring_up(machine, options) : -ENOMEM;
    if (error) {
        finish(machine);
        return ERR_PTR(error);
    }
    return machine;
}

struct dk_machine *dk_machine_create(const struct dk_board *board, const struct dk_machine_options *given)
{
    /* A caller built against an older header has a shorter structure: what it lacks keeps its default. */
    struct dk_machine_options known = { .size = sizeof(known), .depth = -1 };
    struct dk_options options;
    struct dk_machine *machine;
    int error;

    error = dk_options_read(&options, getenv("DMAKIT_OPTIONS"));
    if (error)
        return ERR_PTR(error);
    if (options.log_level >= 0)
        dk_log_set_level(options.log_level);
    if (given && given->size >= sizeof(given->size))
        memcpy(&known, given, given->size < sizeof(known) ? given->size : sizeof(known));
    else if (given)
        known.size = given->size;
    if (known.size < sizeof(known.size) || known.depth < -1 || known.depth > 3) {
        dk_log(DK_LOG_ERROR, "dk_machine_create: options of %zu bytes and depth %d", known.size, known.depth);
        machine = ERR_PTR(-EINVAL);
    } else {
        machine = compose(board, given ? &known : NULL, &options);
    }
    dk_options_finish(&options);
    return machine;
}

unsigned long dk_machine_destroy(struct dk_machine *machine)
{
    unsigned long count;

    if (!machine)
        return 0;
    /* Devices go first: what they leave is reported, and counts. */
    dk_device_remove(machine->root);
    /* And what was stored after its free. */
    dk_memory_end_quarantine(machine->memory, "dk_machine_destroy");
    count = dk_checker_count(machine->checker, NULL);
    finish(machine);
    return count;
}
