/* SPDX-License-Identifier: MIT */
#include "fake-machine.h"

#include <string.h>

static char *const paths[FAKE_DEVICES] = { "/fake/0", "/fake/1", "/fake/2", "/fake/3" };

/* What dk_address_find() searches: the address space is the process's, so there is one list. */
static struct dk_memory *spaces[4];

void fake_silence(const struct dk_report *report, void *data)
{
    (void)report;
    (void)data;
}

void fake_start(struct fake_machine *fake)
{
    unsigned i;

    memset(fake, 0, sizeof(*fake));
    fake->memory.line = 64;
    fake->machine.memory = &fake->memory;
    for (i = 0; i < FAKE_DEVICES; i++) {
        fake->dk[i].machine = &fake->machine;
        fake->dk[i].dev = &fake->devices[i];
        fake->dk[i].path = paths[i];
        fake->devices[i].dk = &fake->dk[i];
        fake->devices[i].dma_parms = &fake->limits[i];
    }
    for (i = 0; i < 4 && spaces[i]; i++)
        continue;
    if (i < 4)
        spaces[i] = &fake->memory;
}

int fake_start_checked(struct fake_machine *fake)
{
    const struct dk_check_options options = { .depth = 1 };
    struct dk_checker *checker;

    fake_start(fake);
    checker = dk_checker_create(&fake->machine, &options);
    if (IS_ERR(checker)) {
        fake_finish(fake);
        return (int)PTR_ERR(checker);
    }
    fake->machine.checker = checker;
    dk_check_set_sink(&fake->machine, fake_silence, NULL);
    return 0;
}

void fake_finish(struct fake_machine *fake)
{
    unsigned i;

    dk_checker_destroy(fake->machine.checker);
    fake->machine.checker = NULL;
    for (i = 0; i < 4; i++) {
        if (spaces[i] == &fake->memory)
            spaces[i] = NULL;
    }
}

void fake_range(struct dk_memory *memory, const void *start, size_t size, enum dk_address_kind kind,
                phys_addr_t phys)
{
    memory->ranges[memory->range_count++] = (struct fake_range){ start, size, kind, memory, phys };
}

/* ---- What the checker asks of lower rooms ---- */

enum dk_address_kind dk_address_find(const void *address, struct dk_memory **memory, phys_addr_t *phys)
{
    unsigned i, j;

    *memory = NULL;
    for (i = 0; i < 4; i++) {
        for (j = 0; spaces[i] && j < spaces[i]->range_count; j++) {
            const struct fake_range *range = &spaces[i]->ranges[j];
            size_t offset = (size_t)((uintptr_t)address - (uintptr_t)range->start);

            if ((uintptr_t)address >= (uintptr_t)range->start && offset < range->size) {
                *memory = range->memory;
                *phys = range->phys + offset;
                return range->kind;
            }
        }
    }
    return DK_ADDRESS_HOST;
}

/* Nothing has a shadow: what depth 3 does with one is the instrumented programs' to test. */
struct dk_section *dk_memory_section(struct dk_memory *memory, phys_addr_t phys)
{
    (void)memory;
    (void)phys;
    return NULL;
}

void *dk_memory_machine(const struct dk_memory *memory)
{
    (void)memory;
    return NULL;
}

unsigned dk_memory_line(const struct dk_memory *memory)
{
    return memory->line;
}

/* RAM has contents where a test gave it some with fake_range(). */
char *dk_memory_cached(struct dk_memory *memory, phys_addr_t phys)
{
    unsigned i;

    for (i = 0; i < memory->range_count; i++) {
        const struct fake_range *range = &memory->ranges[i];

        if (range->kind == DK_ADDRESS_LINEAR && phys >= range->phys && phys - range->phys < range->size)
            return (char *)(uintptr_t)range->start + (phys - range->phys);
    }
    return NULL;
}

char *dk_memory_dram(struct dk_memory *memory, phys_addr_t phys)
{
    char *cached = dk_memory_cached(memory, phys);

    return cached ? cached + memory->dram_offset : NULL;
}

bool dk_memory_two_views(const struct dk_memory *memory)
{
    return memory->dram_offset != 0;
}

bool dk_memory_is_uncached(struct dk_memory *memory, phys_addr_t phys, u64 size)
{
    (void)memory;
    (void)phys;
    (void)size;
    return false;
}

bool dk_memory_is_ram(const struct dk_memory *memory, phys_addr_t phys, u64 size)
{
    (void)memory;
    return phys < FAKE_RAM && size <= FAKE_RAM - phys;
}

/* No lines of a cache are behind it. */
void dk_cache_refills(struct dk_cache *cache, phys_addr_t phys, char *into, u64 size)
{
    (void)cache;
    (void)phys;
    (void)into;
    (void)size;
}

bool dk_cache_is_dirty(struct dk_cache *cache, phys_addr_t phys, u64 size)
{
    (void)cache;
    (void)phys;
    (void)size;
    return false;
}

phys_addr_t page_to_phys(const struct page *page)
{
    struct dk_memory *memory;
    phys_addr_t phys = 0;

    if (dk_address_find(page, &memory, &phys) != DK_ADDRESS_PAGES)
        return (phys_addr_t)-1;
    return (phys_addr_t)page->private_data;
}

uintptr_t dk_slot_shadows[DK_SLOT_COUNT];

bool dk_pasr_any_asleep(const struct dk_memory *memory)
{
    (void)memory;
    return false;
}

bool dk_pasr_run(struct dk_memory *memory, phys_addr_t phys, u64 *run)
{
    (void)phys;
    (void)run;
    return memory->asleep;
}

bool dk_memory_has_page(const struct dk_memory *memory, phys_addr_t phys)
{
    return dk_memory_is_ram(memory, phys, 1);
}

int dk_bus_translate(struct device *dev, dma_addr_t dma, u64 length, phys_addr_t *phys, u64 *run)
{
    (void)dev;
    *phys = dma;
    *run = length;
    return 0;
}

phys_addr_t dk_alias_to_memory(const struct dk_machine *machine, phys_addr_t phys)
{
    (void)machine;
    return phys;
}

bool dk_memory_is_freed(struct dk_memory *memory, phys_addr_t phys)
{
    (void)memory;
    (void)phys;
    return false;
}
