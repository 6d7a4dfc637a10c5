/* SPDX-License-Identifier: MIT */
/*
 * The machine-wide coherent pool: its own interface, what the direct back end takes from it, and machines
 * without an MMU.
 */
#include "api.h"

#include <sys/mman.h>

/* 16 MiB at 0, which the bus sees at 0x80000000; @pools are children of /reserved-memory. */
#define BOARD_WINDOW(chosen, coherence, pools, window)                                                                   \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"pool\"; compatible = \"dmakit,pool\"; " coherence \
    " memory@0 { device_type = \"memory\"; reg = <0 0x1000000>; }; chosen { " chosen " };"                               \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges; " pools " };"                                   \
    " bus@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"                             \
    "  dma-ranges = <0x80000000 0 " window ">; nic: nic@0 { compatible = \"dmakit,nic\"; };"                             \
    "  snooper: snooper@0 { compatible = \"dmakit,nic\"; dma-coherent; }; };"                                            \
    " aliases { nic = &nic; snooper = &snooper; }; };"
#define BOARD(chosen, coherence, pools) BOARD_WINDOW(chosen, coherence, pools, "0x1000000")
#define POOL(at, size)                                                                                    \
    "pool@" #at " { compatible = \"shared-dma-pool\"; no-map; linux,dma-default; reg = <0x" #at " " #size \
    ">; };"

/* 64 KiB at 8 MiB. */
#define POOL_BASE 0x800000u
#define POOL_SIZE 0x10000u
#define OFFSET 0x80000000u
#define WITH_POOL(coherence) BOARD("", coherence, POOL(800000, 0x10000))

static bool in_range(u64 address, u64 base, u64 size)
{
    return address >= base && address - base < size;
}

static bool all_zero(const char *bytes, size_t size)
{
    size_t i;

    for (i = 0; i < size && !bytes[i]; i++)
        ;
    return i == size;
}

/* How many of the pages that the machine has to give lie in [base, base + size). */
static unsigned free_pages_in(u64 base, u64 size)
{
    LIST_HEAD(pages);
    struct page *page, *following;
    unsigned count = 0;

    while ((page = alloc_page(GFP_KERNEL | __GFP_NOWARN))) {
        list_add(&page->lru, &pages);
        count += in_range(page_to_phys(page), base, size);
    }
    list_for_each_entry_safe (page, following, &pages, lru) {
        list_del(&page->lru);
        __free_page(page);
    }
    return count;
}

/* ---- The interface ---- */

static void blocks_are_powers_of_two_until_it_is_full(void **state)
{
    static const struct {
        ssize_t size;
        unsigned order;
    } cases[] = { { 1, 0 },      { 4096, 0 },   { 4097, 1 },   { 8193, 2 },
                  { 0x8000, 3 }, { 0x8001, 4 }, { 0x10000, 4 } };
    struct dk_machine *machine = machine_on(WITH_POOL("dma-noncoherent;"));
    struct device *dev = dk_device_find(machine, "nic");
    unsigned char seen[4096];
    dma_addr_t dma, other;
    char *cpu, *blocks[16], *foreign = kmalloc(4096, GFP_KERNEL);
    size_t i, count;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t block = PAGE_SIZE << cases[i].order;

        /* As many as there is room for, each in a place of its own, cleared of what was there before. */
        for (count = 0;
             (blocks[count] = dma_alloc_from_global_coherent(count & 1 ? dev : NULL, cases[i].size, &dma));) {
            assert_true(count < POOL_SIZE / block);
            assert_true(dma == (count & 1 ? OFFSET : 0) + POOL_BASE + count * block);
            assert_true(all_zero(blocks[count], block));
            fill(blocks[count], block, (unsigned)(i + count));
            assert_int_equal(dk_master_read(dev, OFFSET + POOL_BASE + count * block, seen, 4096), 0);
            assert_true(filled(seen, 4096, (unsigned)(i + count)));
            if (++count == 16) {
                assert_null(dma_alloc_from_global_coherent(NULL, cases[i].size, &dma));
                break;
            }
        }
        assert_int_equal(count, POOL_SIZE / block);
        while (count--) {
            assert_true(filled(blocks[count], block, (unsigned)(i + count)));
            assert_int_equal(dma_release_from_global_coherent((int)cases[i].order, blocks[count]), 1);
        }
    }
    assert_null(dma_alloc_from_global_coherent(NULL, 0x10001, &dma));
    assert_null(dma_alloc_from_global_coherent(NULL, 0, &dma));
    assert_null(dma_alloc_from_global_coherent(NULL, -1, &dma));
    assert_null(dma_alloc_from_global_coherent(NULL, SSIZE_MAX, &dma));
    /* What is not the pool's is not released. */
    cpu = dma_alloc_from_global_coherent(dev, 4096, &dma);
    assert_non_null(cpu);
    assert_int_equal(dma_release_from_global_coherent(0, foreign), 0);
    assert_int_equal(dma_release_from_global_coherent(0, &dma), 0);
    assert_int_equal(dma_release_from_global_coherent(0, NULL), 0);
    assert_int_equal(dma_release_from_global_coherent(-1, cpu), 0);
    assert_int_equal(dma_release_from_global_coherent(5, cpu), 0);
    assert_int_equal(dma_release_from_global_coherent(52, cpu), 0);
    assert_int_equal(dma_release_from_global_coherent(0, cpu + POOL_SIZE), 0);
    blocks[0] = dma_alloc_from_global_coherent(dev, 4096, &other);
    assert_int_equal(other, dma + 4096);
    assert_int_equal(dma_release_from_global_coherent(0, blocks[0]), 1);
    assert_int_equal(dma_release_from_global_coherent(0, cpu), 1);
    kfree(foreign);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void mmap_shows_the_pool_and_nothing_else(void **state)
{
    struct dk_machine *machine = machine_on(WITH_POOL("dma-noncoherent;"));
    struct vm_area_struct vma = { 0 };
    dma_addr_t dma;
    char *cpu = dma_alloc_from_global_coherent(NULL, 8192, &dma), *foreign = kmalloc(8192, GFP_KERNEL);
    char *seen = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int result = 99;

    (void)state;
    assert_non_null(cpu);
    assert_true(seen != MAP_FAILED);
    fill(cpu, 8192, 1);
    vma.vm_start = (unsigned long)(uintptr_t)seen;
    vma.vm_end = vma.vm_start + 8192;
    assert_int_equal(dma_mmap_from_global_coherent(&vma, foreign, 8192, &result), 0);
    assert_int_equal(dma_mmap_from_global_coherent(&vma, &vma, 8192, &result), 0);
    assert_int_equal(dma_mmap_from_global_coherent(&vma, cpu, POOL_SIZE + 1, &result), 0);
    assert_int_equal(result, 99);
    assert_int_equal(dma_mmap_from_global_coherent(&vma, cpu, 8192, &result), 1);
    assert_int_equal(result, 0);
    assert_true(filled(seen, 8192, 1));
    seen[5000] = 'x';
    assert_int_equal(cpu[5000], 'x');
    vma.vm_pgoff = 1;
    assert_int_equal(dma_mmap_from_global_coherent(&vma, cpu, 8192, &result), 1);
    assert_int_equal(result, -ENXIO);
    vma.vm_end -= 4096;
    assert_int_equal(dma_mmap_from_global_coherent(&vma, cpu, 8192, &result), 1);
    assert_int_equal(result, 0);
    assert_memory_equal(seen, cpu + 4096, 4096);
    munmap(seen, 8192);
    assert_int_equal(dma_release_from_global_coherent(1, cpu), 1);
    kfree(foreign);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void without_a_pool_or_a_machine_there_is_nothing(void **state)
{
    struct dk_machine *machine = machine_on(BOARD("", "dma-noncoherent;", "")), *other;
    struct vm_area_struct vma = { 0 };
    dma_addr_t dma;
    char *cpu;
    int result = 99;

    (void)state;
    assert_null(dma_alloc_from_global_coherent(NULL, 4096, &dma));
    assert_null(dma_alloc_from_global_coherent(dk_device_find(machine, "nic"), 4096, &dma));
    assert_int_equal(dma_release_from_global_coherent(0, &dma), 0);
    assert_int_equal(dma_mmap_from_global_coherent(&vma, &dma, 4096, &result), 0);
    assert_int_equal(result, 99);
    assert_int_equal(dk_machine_destroy(machine), 0);
    /* With several machines and none entered, only a device tells which. */
    machine = machine_on(WITH_POOL("dma-noncoherent;"));
    other = machine_on(WITH_POOL("dma-noncoherent;"));
    dk_machine_enter(NULL);
    assert_null(dma_alloc_from_global_coherent(NULL, 4096, &dma));
    assert_int_equal(dma_init_global_coherent(0x100000, 0x1000), -ENODEV);
    cpu = dma_alloc_from_global_coherent(dk_device_find(machine, "nic"), 4096, &dma);
    assert_non_null(cpu);
    assert_int_equal(dma_release_from_global_coherent(0, cpu), 0);
    dk_machine_enter(other);
    assert_int_equal(dma_release_from_global_coherent(0, cpu), 0);
    dk_machine_enter(machine);
    assert_int_equal(dma_release_from_global_coherent(0, cpu), 1);
    assert_int_equal(dk_machine_destroy(other), 0);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* A pool where the device's bus or mask does not lead gives it nothing; and takes nothing out of use. */
static void a_device_that_cannot_reach_it_gets_nothing(void **state)
{
    struct dk_machine *machine = machine_on(WITH_POOL("dma-noncoherent;"));
    struct device *dev = dk_device_find(machine, "nic");
    dma_addr_t dma;
    char *cpu;

    (void)state;
    dev->coherent_dma_mask = OFFSET + POOL_BASE + POOL_SIZE - 2;
    assert_null(dma_alloc_from_global_coherent(dev, POOL_SIZE, &dma));
    dev->coherent_dma_mask++;
    cpu = dma_alloc_from_global_coherent(dev, POOL_SIZE, &dma);
    assert_non_null(cpu);
    assert_int_equal(dma_release_from_global_coherent(4, cpu), 1);
    /* As any other allocation it can be made to fail. */
    dk_fail_nth(1);
    assert_null(dma_alloc_from_global_coherent(dev, 4096, &dma));
    assert_int_equal(dk_fail_hits(), 1);
    dk_fail_nth(0);
    /* Memory that is not RAM, where no window leads. */
    assert_int_equal(dma_init_global_coherent(0x40000000, 0x2000), 0);
    assert_null(dma_alloc_from_global_coherent(dev, 4096, &dma));
    cpu = dma_alloc_from_global_coherent(NULL, 8192, &dma);
    assert_non_null(cpu);
    assert_int_equal(dma, 0x40000000);
    assert_int_equal(dma_release_from_global_coherent(1, cpu), 1);
    assert_int_equal(dk_machine_destroy(machine), 0);
    /* The bus's window ends four pages into the pool. */
    machine = machine_on(BOARD_WINDOW("", "dma-noncoherent;", POOL(800000, 0x10000), "0x804000"));
    dev = dk_device_find(machine, "nic");
    assert_null(dma_alloc_from_global_coherent(dev, 0x8000, &dma));
    cpu = dma_alloc_from_global_coherent(dev, 0x4000, &dma);
    assert_non_null(cpu);
    assert_null(dma_alloc_from_global_coherent(dev, 4096, &dma));
    assert_int_equal(dma_release_from_global_coherent(2, cpu), 1);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* Memory is mapped in sections of 1 GiB, wherever they end up: a block has to lie in one. */
static void no_block_crosses_a_section(void **state)
{
    struct dk_machine *machine = machine_on(WITH_POOL("dma-noncoherent;"));
    dma_addr_t dma, below, above;
    char *cpu, *low, *high;

    (void)state;
    assert_int_equal(dma_init_global_coherent(0x3ffff000, 0x4000), 0);
    cpu = dma_alloc_from_global_coherent(NULL, 0x2000, &dma);
    assert_non_null(cpu);
    assert_int_equal(dma, 0x40001000);
    fill(cpu, 0x2000, 1);
    assert_null(dma_alloc_from_global_coherent(NULL, 0x2000, &dma));
    low = dma_alloc_from_global_coherent(NULL, 0x1000, &below);
    high = dma_alloc_from_global_coherent(NULL, 0x1000, &above);
    assert_true(low && high);
    assert_int_equal(below, 0x3ffff000);
    assert_int_equal(above, 0x40000000);
    assert_int_equal(dma_release_from_global_coherent(0, low), 1);
    assert_int_equal(dma_release_from_global_coherent(0, high), 1);
    assert_true(filled(cpu, 0x2000, 1));
    assert_int_equal(dma_release_from_global_coherent(1, cpu), 1);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- What the direct back end takes from it ---- */

static void devices_that_do_not_snoop_are_served_from_it(void **state)
{
    struct dk_machine *machine = machine_on(WITH_POOL("dma-noncoherent;"));
    struct device *dev = dk_device_find(machine, "nic"), *snooper = dk_device_find(machine, "snooper");
    static const unsigned long bypass[] = { DMA_ATTR_NON_CONSISTENT, DMA_ATTR_NO_KERNEL_MAPPING };
    dma_addr_t dma, more;
    char *cpu, *other;
    size_t i;

    (void)state;
    cpu = dma_alloc_coherent(dev, POOL_SIZE, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    assert_int_equal(dma, OFFSET + POOL_BASE);
    /* Full is full. */
    assert_null(dma_alloc_coherent(dev, 4096, &more, GFP_KERNEL));
    /* What need not be coherent, and what is coherent anyway, comes from elsewhere. */
    for (i = 0; i < 2; i++) {
        other = dma_alloc_attrs(dev, 4096, &more, GFP_KERNEL, bypass[i]);
        assert_non_null(other);
        assert_false(in_range(more, OFFSET + POOL_BASE, POOL_SIZE));
        dma_free_attrs(dev, 4096, other, more, bypass[i]);
    }
    other = dma_alloc_coherent(snooper, 4096, &more, GFP_KERNEL);
    assert_non_null(other);
    assert_false(in_range(more, OFFSET + POOL_BASE, POOL_SIZE));
    dma_free_coherent(snooper, 4096, other, more);
    dma_free_coherent(dev, POOL_SIZE, cpu, dma);
    cpu = dma_alloc_coherent(dev, POOL_SIZE, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    dma_free_coherent(dev, POOL_SIZE, cpu, dma);
    assert_int_equal(free_pages_in(POOL_BASE, POOL_SIZE), 0);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- Which pool ---- */

static void a_redefinition_is_logged_and_takes_over(void **state)
{
    struct dk_machine *machine = machine_on(WITH_POOL("dma-noncoherent;"));
    struct device *dev = dk_device_find(machine, "nic");
    struct log_lines lines;
    dma_addr_t dma, old_dma;
    char *cpu, *old = dma_alloc_coherent(dev, 4096, &old_dma, GFP_KERNEL);

    (void)state;
    assert_non_null(old);
    fill(old, 4096, 1);
    assert_true(free_pages_in(0x400000, 0x8000) > 0);
    assert_non_null(phys_to_virt(0x400000));
    keep_log(&lines);
    assert_int_equal(dma_init_global_coherent(0x400000, 0x8000), 0);
    drop_log();
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.text, "1 the default coherent pool is redefined: now 0x400000 + 0x8000"));
    assert_int_equal(free_pages_in(0x400000, 0x8000), 0);
    /* There is no cached name of it left. */
    assert_null(phys_to_virt(0x400000));
    cpu = dma_alloc_coherent(dev, 0x8000, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    assert_int_equal(dma, OFFSET + 0x400000);
    assert_null(dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL));
    assert_int_equal(dma_release_from_global_coherent(0, old), 0);
    /* What came from the pool before stays what it is; freed, it is nobody else's. */
    assert_true(filled(old, 4096, 1));
    dma_free_coherent(dev, 4096, old, old_dma);
    assert_int_equal(free_pages_in(POOL_BASE, POOL_SIZE), 0);
    dma_free_coherent(dev, 0x8000, cpu, OFFSET + 0x400000);
    /* Once more, and the one before was the program's own. */
    cpu = dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL);
    assert_int_equal(dma_init_global_coherent(0x500000, 0x1000), 0);
    dma_free_coherent(dev, 4096, cpu, dma);
    assert_int_equal(free_pages_in(0x400000, 0x8000), 0);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void a_bad_definition_changes_nothing(void **state)
{
    static const struct {
        phys_addr_t phys;
        size_t size;
        int error;
    } cases[] = {
        { 0x400000, 0, -EINVAL },           { 0x400001, 0x1000, -EINVAL }, { 0x400000, 0x1001, -EINVAL },
        { ~0ull - 0xfff, 0x2000, -EINVAL }, { 0xfff000, 0x2000, -EBUSY },
    };
    struct dk_machine *machine = machine_on(BOARD("", "dma-noncoherent;", ""));
    struct device *dev = dk_device_find(machine, "nic");
    struct page *page = alloc_page(GFP_KERNEL);
    unsigned before = free_pages_in(0, 0x1000000);
    struct log_lines lines;
    unsigned long n = 0;
    dma_addr_t dma;
    size_t i;
    int error;

    (void)state;
    assert_true(before > 3000);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        error = dma_init_global_coherent(cases[i].phys, cases[i].size);
        if (error != cases[i].error)
            fail_msg("0x%llx + 0x%zx: %d", cases[i].phys, cases[i].size, error);
        assert_null(dma_alloc_from_global_coherent(dev, 1, &dma));
    }
    assert_int_equal(dma_init_global_coherent(page_to_phys(page), 0x1000), -EBUSY);
    __free_page(page);
    assert_int_equal(free_pages_in(0, 0x1000000), before + 1);
    /* Out of memory, wherever it happens. */
    keep_log(&lines);
    do {
        dk_fail_nth(++n);
        error = dma_init_global_coherent(0x400000, 0x8000);
        if (error) {
            assert_int_equal(error, -ENOMEM);
            assert_int_equal(dk_fail_hits(), 1);
            dk_fail_nth(0);
            assert_null(dma_alloc_from_global_coherent(dev, 1, &dma));
            assert_int_equal(free_pages_in(0, 0x1000000), before + 1);
        }
    } while (error);
    dk_fail_nth(0);
    drop_log();
    assert_true(n > 2);
    /* The first pool is no redefinition. */
    assert_null(strstr(lines.text, "redefined"));
    assert_int_equal(free_pages_in(0, 0x1000000), before + 1 - 8);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void the_last_of_two_nodes_wins(void **state)
{
    static const char dts[] = BOARD("", "dma-noncoherent;", POOL(800000, 0x10000) POOL(600000, 0x4000));
    struct dk_machine *machine;
    struct log_lines lines;
    dma_addr_t dma;
    void *cpu;

    (void)state;
    keep_log(&lines);
    machine = machine_on(dts);
    drop_log();
    assert_non_null(strstr(lines.text, "linux,dma-default"));
    cpu = dma_alloc_from_global_coherent(NULL, 0x4000, &dma);
    assert_non_null(cpu);
    assert_int_equal(dma, 0x600000);
    assert_null(dma_alloc_from_global_coherent(NULL, 0x1000, &dma));
    assert_int_equal(dma_release_from_global_coherent(2, cpu), 1);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- Without an MMU ---- */

/* The microcontroller's memory and the alias of its last megabyte. */
#define MCU_RAM 0x60000000u
#define MCU_ALIAS 0xa0f00000u
#define MCU_POOL 0x60f00000u
#define MCU_POOL_SIZE 0x100000u

static void an_uncached_alias_makes_memory_coherent(void **state)
{
    struct dk_machine *machine = machine_on("mcu-no-mmu.dts");
    struct device *dev = dk_device_find(machine, "nic");
    unsigned char bytes[8192];
    dma_addr_t dma, cached;
    char *cpu, *other;

    (void)state;
    assert_int_equal(free_pages_in(MCU_POOL, MCU_POOL_SIZE), 0);
    cpu = dma_alloc_coherent(dev, 8192, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    assert_true(in_range(dma, MCU_ALIAS, MCU_POOL_SIZE));
    assert_true(all_zero(cpu, 8192));
    /* Stores are seen at once, both ways, by either of the memory's two names. */
    fill(cpu, 8192, 1);
    assert_int_equal(dk_master_read(dev, dma, bytes, 8192), 0);
    assert_true(filled(bytes, 8192, 1));
    assert_int_equal(dk_master_read(dev, dma - MCU_ALIAS + MCU_POOL, bytes, 8192), 0);
    assert_true(filled(bytes, 8192, 1));
    fill(bytes, 8192, 2);
    assert_int_equal(dk_master_write(dev, dma, bytes, 8192), 0);
    assert_true(filled(cpu, 8192, 2));
    /* Memory that need not be coherent is ordinary memory, and wants its syncs. */
    other = dma_alloc_attrs(dev, 8192, &cached, GFP_KERNEL, DMA_ATTR_NON_CONSISTENT);
    assert_non_null(other);
    assert_true(in_range(cached, MCU_RAM, MCU_POOL - MCU_RAM));
    fill(other, 8192, 3);
    assert_int_equal(dk_master_read(dev, cached, bytes, 8192), 0);
    assert_false(filled(bytes, 8192, 3));
    dma_cache_sync(dev, other, 8192, DMA_TO_DEVICE);
    assert_int_equal(dk_master_read(dev, cached, bytes, 8192), 0);
    assert_true(filled(bytes, 8192, 3));
    dma_free_attrs(dev, 8192, other, cached, DMA_ATTR_NON_CONSISTENT);
    dma_free_coherent(dev, 8192, cpu, dma);
    /* A megabyte, and no more. */
    cpu = dma_alloc_coherent(dev, MCU_POOL_SIZE, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    assert_int_equal(dma, MCU_ALIAS);
    assert_null(dma_alloc_coherent(dev, 4096, &cached, GFP_KERNEL));
    dma_free_coherent(dev, MCU_POOL_SIZE, cpu, dma);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void a_pool_in_the_alias_takes_the_memory_behind_it(void **state)
{
    struct dk_machine *machine = machine_on("mcu-no-mmu.dts");
    struct device *dev = dk_device_find(machine, "nic");
    dma_addr_t dma;
    char *cpu;

    (void)state;
    assert_int_equal(free_pages_in(0x60800000, 0x4000), 4);
    assert_int_equal(dma_init_global_coherent(0xa0800000, 0x4000), 0);
    assert_int_equal(free_pages_in(0x60800000, 0x4000), 0);
    cpu = dma_alloc_coherent(dev, 0x4000, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    assert_int_equal(dma, 0xa0800000);
    dma_free_coherent(dev, 0x4000, cpu, dma);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void without_a_pool_such_a_machine_has_no_coherent_memory(void **state)
{
    struct dk_machine *machine = machine_on(BOARD("dmakit,no-mmu;", "dma-noncoherent;", ""));
    struct device *dev = dk_device_find(machine, "nic"), *snooper = dk_device_find(machine, "snooper");
    struct log_lines lines;
    dma_addr_t dma;
    void *cpu;

    (void)state;
    keep_log(&lines);
    assert_null(dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL));
    drop_log();
    assert_non_null(strstr(lines.text, "linux,dma-default"));
    cpu = dma_alloc_noncoherent(dev, 4096, &dma, DMA_TO_DEVICE, GFP_KERNEL);
    assert_non_null(cpu);
    dma_free_noncoherent(dev, 4096, cpu, dma, DMA_TO_DEVICE);
    cpu = dma_alloc_attrs(dev, 4096, &dma, GFP_KERNEL, DMA_ATTR_NON_CONSISTENT);
    assert_non_null(cpu);
    dma_free_attrs(dev, 4096, cpu, dma, DMA_ATTR_NON_CONSISTENT);
    /* A device that snoops needs no such memory. */
    cpu = dma_alloc_coherent(snooper, 4096, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    dma_free_coherent(snooper, 4096, cpu, dma);
    assert_int_equal(dma_init_global_coherent(0x400000, 0x4000), 0);
    cpu = dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    assert_int_equal(dma, OFFSET + 0x400000);
    dma_free_coherent(dev, 4096, cpu, dma);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_powers_of_two_until_it_is_full),
        cmocka_unit_test(mmap_shows_the_pool_and_nothing_else),
        cmocka_unit_test(without_a_pool_or_a_machine_there_is_nothing),
        cmocka_unit_test(a_device_that_cannot_reach_it_gets_nothing),
        cmocka_unit_test(no_block_crosses_a_section),
        cmocka_unit_test(devices_that_do_not_snoop_are_served_from_it),
        cmocka_unit_test(a_redefinition_is_logged_and_takes_over),
        cmocka_unit_test(a_bad_definition_changes_nothing),
        cmocka_unit_test(the_last_of_two_nodes_wins),
        cmocka_unit_test(an_uncached_alias_makes_memory_coherent),
        cmocka_unit_test(a_pool_in_the_alias_takes_the_memory_behind_it),
        cmocka_unit_test(without_a_pool_such_a_machine_has_no_coherent_memory),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("default-pool", tests, NULL, NULL);
}
