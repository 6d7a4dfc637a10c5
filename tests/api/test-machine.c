/* SPDX-License-Identifier: MIT */
/*
 * Machines: many in one process, current ones, huge ones, forked ones; and their devices.
 */
#include "api.h"

#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

/* A 64-bit board on which every device sees all memory. */
#define WIDE_BOARD                                                                                                          \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"wide\"; compatible = \"dmakit,wide\"; dma-coherent;" \
    " memory@0 { device_type = \"memory\"; reg = <0 0 0 0x4000000>; };"                                                     \
    " nic@0 { compatible = \"dmakit,nic\"; }; aliases { nic = \"/nic@0\"; }; };"

/* ---- Which machine ---- */

static void *kmalloc_succeeds(void *unused)
{
    void *memory = kmalloc(64, GFP_KERNEL);

    (void)unused;
    kfree(memory);
    return memory;
}

/* Whether a thread that entered no machine can allocate. */
static bool another_thread_has_one(void)
{
    pthread_t thread;
    void *memory;

    assert_int_equal(pthread_create(&thread, NULL, kmalloc_succeeds, NULL), 0);
    pthread_join(thread, &memory);
    return memory;
}

static void calls_without_a_device_need_one_machine(void **state)
{
    struct dk_machine *first, *second;
    struct log_lines lines;
    char *here, *there;

    (void)state;
    /* None. */
    assert_null(dk_machine_current());
    keep_log(&lines);
    assert_null(kmalloc(64, GFP_KERNEL));
    drop_log();
    assert_non_null(strstr(lines.text, "kmalloc"));
    assert_null(alloc_pages(GFP_KERNEL, 0));
    assert_false(pfn_valid(0x40000));
    assert_int_equal(PTR_ERR(dk_device_add(NULL, "new")), -ENODEV);
    /* One, whether entered or not, in any thread. */
    assert_int_equal(create_machine(COHERENT_BOARD, NULL, &first), 0);
    assert_ptr_equal(dk_machine_current(), first);
    assert_true(pfn_valid(0x40000));
    assert_true(another_thread_has_one());
    /* Several, and none entered. */
    assert_int_equal(create_machine(WIDE_BOARD, NULL, &second), 0);
    assert_null(dk_machine_current());
    keep_log(&lines);
    assert_null(kmalloc(64, GFP_KERNEL));
    drop_log();
    assert_int_equal(lines.count, 1);
    assert_null(alloc_pages(GFP_KERNEL, 0));
    assert_false(another_thread_has_one());
    /* The one that this thread entered. */
    assert_null(dk_machine_enter(first));
    here = kmalloc(64, GFP_KERNEL);
    assert_true(virt_to_phys(here) >= 0x40000000);
    assert_false(another_thread_has_one());
    assert_ptr_equal(dk_machine_enter(second), first);
    there = kmalloc(64, GFP_KERNEL);
    assert_true(virt_to_phys(there) < 0x4000000);
    /* What is given an address finds its machine by itself. */
    assert_true(virt_to_phys(here) >= 0x40000000);
    assert_true(virt_addr_valid(here));
    kfree(here);
    assert_ptr_equal(dk_machine_enter(NULL), second);
    kfree(there);
    assert_null(dk_machine_current());
    /* The last one left is the current one again. */
    assert_int_equal(dk_machine_destroy(first), 0);
    assert_ptr_equal(dk_machine_current(), second);
    assert_true(another_thread_has_one());
    assert_int_equal(dk_machine_destroy(second), 0);
    assert_null(dk_machine_current());
}

static void a_machine_may_go_while_entered(void **state)
{
    struct dk_machine *first, *second, *third;

    (void)state;
    assert_int_equal(create_machine(COHERENT_BOARD, NULL, &first), 0);
    assert_int_equal(create_machine(COHERENT_BOARD, NULL, &second), 0);
    assert_int_equal(create_machine(WIDE_BOARD, NULL, &third), 0);
    dk_machine_enter(first);
    assert_int_equal(dk_machine_destroy(first), 0);
    assert_null(dk_machine_current());
    assert_null(kmalloc(64, GFP_KERNEL));
    /* What was entered and is gone is not what was entered before. */
    assert_null(dk_machine_enter(second));
    assert_int_equal(dk_machine_destroy(third), 0);
    assert_ptr_equal(dk_machine_current(), second);
    assert_int_equal(dk_machine_destroy(second), 0);
    assert_null(dk_machine_current());
    assert_int_equal(dk_machine_destroy(NULL), 0);
}

/* Devices of one machine do not take the memory of another. */
static void machines_are_apart(void **state)
{
    /* At depth 2 the other device's access would be reported: nothing is mapped for it. */
    const struct dk_machine_options calls = { .size = sizeof(calls), .depth = 1 };
    struct dk_machine *first, *second;
    struct device *dev, *other;
    unsigned char bytes[64];
    struct page *page;
    char *buffer;
    dma_addr_t dma;

    (void)state;
    assert_int_equal(create_machine(WIDE_BOARD, NULL, &first), 0);
    assert_int_equal(create_machine(WIDE_BOARD, &calls, &second), 0);
    dev = dk_device_find(first, "nic");
    other = dk_device_find(second, "nic");
    assert_ptr_equal(dk_device_machine_of(dev), first);
    assert_ptr_equal(dk_device_machine_of(other), second);
    assert_null(dk_device_machine_of(NULL));
    dk_machine_enter(first);
    buffer = kmalloc(64, GFP_KERNEL);
    page = alloc_page(GFP_KERNEL);
    fill(buffer, 64, 1);
    dma = dma_map_single(dev, buffer, 64, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_int_equal(dk_master_read(dev, dma, bytes, 64), 0);
    assert_true(filled(bytes, 64, 1));
    /* The same address on the other machine is other memory. */
    if (dk_master_read(other, dma, bytes, 64) == 0)
        assert_false(filled(bytes, 64, 1));
    dma_unmap_single(dev, dma, 64, DMA_TO_DEVICE);
    assert_int_equal(dk_machine_destroy(second), 0);
    assert_int_equal(create_machine(WIDE_BOARD,
                                    &(struct dk_machine_options){ .size = sizeof(struct dk_machine_options) },
                                    &second),
                     0);
    other = dk_device_find(second, "nic");
    assert_true(dma_map_single(other, buffer, 64, DMA_TO_DEVICE) == DMA_MAPPING_ERROR);
    assert_true(dma_map_page(other, page, 0, 64, DMA_TO_DEVICE) == DMA_MAPPING_ERROR);
    kfree(buffer);
    __free_page(page);
    assert_int_equal(dk_machine_destroy(second), 0);
    assert_int_equal(dk_machine_destroy(first), 0);
}

/* One life of a machine of a thread's own; returns the number of things that went wrong. */
static unsigned long live_once(const struct dk_board *board, unsigned tag)
{
    const struct dk_machine_options options = { .size = sizeof(options), .seed = tag, .depth = 1 };
    struct dk_machine *machine = dk_machine_create(board, &options);
    unsigned char bytes[512];
    unsigned long wrong = 0;
    struct device *dev;
    unsigned i;

    if (IS_ERR(machine))
        return 1;
    dk_machine_enter(machine);
    dev = dk_device_add(NULL, "own");
    if (IS_ERR(dev))
        return 1 + dk_machine_destroy(machine);
    for (i = 0; i < 20; i++) {
        char *buffer = kmalloc(512, GFP_KERNEL);
        dma_addr_t dma, coherent;
        char *cpu = dma_alloc_coherent(dev, 8192, &coherent, GFP_KERNEL);

        if (!buffer || !cpu)
            return wrong + 1;
        fill(buffer, 512, tag + i);
        dma = dma_map_single(dev, buffer, 512, DMA_BIDIRECTIONAL);
        wrong += dma_mapping_error(dev, dma) != 0;
        wrong += dk_master_read(dev, dma, bytes, 512) || !filled(bytes, 512, tag + i);
        wrong += dk_master_write(dev, coherent, bytes, 512) || !filled(cpu, 512, tag + i);
        dma_unmap_single(dev, dma, 512, DMA_BIDIRECTIONAL);
        dma_free_coherent(dev, 8192, cpu, coherent);
        kfree(buffer);
    }
    dk_device_remove(dev);
    return wrong + dk_machine_destroy(machine);
}

struct life {
    const struct dk_board *board;
    unsigned tag;
    unsigned long wrong;
};

static void *live(void *data)
{
    struct life *life = data;
    int i;

    for (i = 0; i < 5; i++)
        life->wrong += live_once(life->board, life->tag + (unsigned)i);
    life->wrong += dk_machine_enter(NULL) != NULL;
    return NULL;
}

static void threads_have_machines_of_their_own(void **state)
{
    struct dk_board *board = board_from(NONCOHERENT_BOARD);
    struct life lives[4];
    pthread_t threads[4];
    unsigned i;

    (void)state;
    assert_false(IS_ERR(board));
    for (i = 0; i < 4; i++) {
        lives[i] = (struct life){ board, 100 * i, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, live, &lives[i]), 0);
    }
    for (i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (i = 0; i < 4; i++)
        assert_int_equal(lives[i].wrong, 0);
    dk_board_free(board);
}

/* ---- Huge ---- */

/* This process's resident memory in bytes. */
static u64 resident(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    unsigned long long kib = 0;
    char line[128];

    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "VmRSS: %llu kB", &kib) == 1)
            break;
    }
    fclose(file);
    assert_true(kib > 0);
    return kib << 10;
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void sixteen_terabytes_cost_what_is_touched(void **state)
{
    const u64 size = 16ull << 40;
    const struct dk_machine_options options = { .size = sizeof(options), .memory = "16T@0x0", .depth = 1 };
    struct dk_machine *machine;
    struct device *dev;
    struct page *top;
    char *buffer, byte = 'x';
    dma_addr_t dma;
    double start;
    u64 before = resident(), after;

    (void)state;
    start = now();
    assert_int_equal(create_machine(WIDE_BOARD, &options, &machine), 0);
    print_message("16 TiB: %.3f s", now() - start);
    dk_machine_enter(machine);
    dev = dk_device_find(machine, "nic");
    buffer = kmalloc(4096, GFP_KERNEL);
    assert_non_null(buffer);
    fill(buffer, 4096, 1);
    assert_int_equal(dma_get_required_mask(dev), size - 1);
    assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);
    dma = dma_map_single(dev, buffer, 4096, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    dma_unmap_single(dev, dma, 4096, DMA_TO_DEVICE);
    assert_null(phys_to_page(size));
    top = phys_to_page(size - PAGE_SIZE);
    assert_non_null(top);
    assert_true(page_to_phys(top) == size - PAGE_SIZE);
    dma = dma_map_page(dev, top, 0, PAGE_SIZE, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_true(dma == size - PAGE_SIZE);
    assert_int_equal(dk_master_write(dev, size - 1, &byte, 1), 0);
    dma_unmap_page(dev, dma, PAGE_SIZE, DMA_FROM_DEVICE);
    assert_int_equal(((char *)page_address(top))[PAGE_SIZE - 1], 'x');
    after = resident();
    print_message(", %lld KiB\n", ((long long)after - (long long)before) >> 10);
    assert_true(after < before + (50ull << 20));
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- Forked ---- */

/* What works in a child although the machine is its parent's: nothing may. Bits of what did. */
static int calls_that_work(struct dk_machine *machine, struct device *dev, char *buffer, dma_addr_t mapped)
{
    char bytes[16];
    dma_addr_t dma;
    int worked = 0;

    worked |= dk_machine_current() ? 1 : 0;
    worked |= kmalloc(64, GFP_KERNEL) ? 2 : 0;
    worked |= alloc_pages(GFP_KERNEL, 0) ? 4 : 0;
    worked |= dma_map_single(dev, buffer, 64, DMA_TO_DEVICE) != DMA_MAPPING_ERROR ? 8 : 0;
    worked |= dma_alloc_coherent(dev, 64, &dma, GFP_KERNEL) ? 16 : 0;
    worked |= dk_master_read(dev, mapped, bytes, 16) != -EFAULT ? 32 : 0;
    worked |= dma_set_mask(dev, DMA_BIT_MASK(64)) != -EIO ? 64 : 0;
    dma_unmap_single(dev, mapped, 64, DMA_TO_DEVICE);
    dma_sync_single_for_cpu(dev, mapped, 64, DMA_TO_DEVICE);
    kfree(buffer);
    worked |= dk_machine_enter(machine) || dk_machine_current() ? 128 : 0;
    return worked;
}

static void calls_fail_after_fork(void **state)
{
    static const char *const boards[] = { COHERENT_BOARD, NONCOHERENT_BOARD };
    int depth, status;
    size_t board;

    (void)state;
    for (board = 0; board < 2; board++) {
        for (depth = 0; depth <= 1; depth++) {
            struct dk_machine *machine = machine_with(boards[board], NULL, 0, depth);
            struct device *dev = dk_device_find(machine, "nic");
            char *buffer = kmalloc(64, GFP_KERNEL), bytes[64];
            dma_addr_t dma;
            pid_t child;

            fill(buffer, 64, 3);
            dma = dma_map_single(dev, buffer, 64, DMA_TO_DEVICE);
            assert_int_equal(dma_mapping_error(dev, dma), 0);
            child = fork();
            assert_true(child >= 0);
            if (!child)
                _exit(calls_that_work(machine, dev, buffer, dma));
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
            /* Here nothing has happened. */
            assert_ptr_equal(dk_machine_current(), machine);
            assert_int_equal(dk_master_read(dev, dma, bytes, 64), 0);
            assert_true(filled(bytes, 64, 3));
            dma_unmap_single(dev, dma, 64, DMA_TO_DEVICE);
            kfree(buffer);
            assert_int_equal(dk_machine_destroy(machine), 0);
        }
    }
}

/* ---- Devices ---- */

#define DEVICES                                                                                                                   \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"devices\"; compatible = \"dmakit,devices\"; dma-coherent;" \
    " memory@0 { device_type = \"memory\"; reg = <0 0x1000000>; }; chosen { dmakit,default-bus = \"/soc/bus@1\"; };"              \
    " soc { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges; dma-ranges = <0x80000000 0 0x1000000>;" \
    "  bus@1 { compatible = \"dmakit,bus\"; }; off@2 { compatible = \"dmakit,nic\"; status = \"disabled\";"                       \
    "   below@0 { compatible = \"dmakit,nic\"; }; }; };"                                                                          \
    " aliases { bus = \"/soc/bus@1\"; off = \"/soc/off@2\"; }; };"

static void devices_are_found_by_path_and_alias(void **state)
{
    struct dk_machine *machine = machine_on(DEVICES);
    struct device *bus = dk_device_find(machine, "/soc/bus@1"), *added, *below;

    (void)state;
    assert_non_null(bus);
    assert_string_equal(dev_name(bus), "bus@1");
    assert_string_equal(dk_device_path(bus), "/soc/bus@1");
    assert_string_equal(dk_device_path(bus->parent), "/soc");
    assert_string_equal(dk_device_path(bus->parent->parent), "/");
    assert_null(bus->parent->parent->parent);
    assert_string_equal(dev_name(NULL), "(null)");
    assert_ptr_equal(dk_device_find(machine, "bus"), bus);
    assert_ptr_equal(dk_device_find(machine, "/"), bus->parent->parent);
    added = dk_device_add(bus, "new");
    below = dk_device_add(added, "below");
    assert_false(IS_ERR(added) || IS_ERR(below));
    assert_string_equal(dk_device_path(below), "/soc/bus@1/new/below");
    assert_ptr_equal(dk_device_find(machine, "/soc/bus@1/new/below"), below);
    assert_ptr_equal(dk_device_find(machine, "bus/new/below"), below);
    /* Disabled, below something disabled, and not there at all. */
    assert_null(dk_device_find(machine, "/soc/off@2"));
    assert_null(dk_device_find(machine, "off"));
    assert_null(dk_device_find(machine, "/soc/off@2/below@0"));
    assert_null(dk_device_find(machine, "/soc/bus@1/new/other"));
    assert_null(dk_device_find(machine, "/soc/bus@1/ne"));
    assert_null(dk_device_find(machine, "bu"));
    assert_null(dk_device_find(machine, "buss"));
    assert_null(dk_device_find(machine, "nothing"));
    assert_null(dk_device_find(machine, ""));
    assert_null(dk_device_find(machine, NULL));
    assert_null(dk_device_find(NULL, "/"));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void devices_are_added_under_rules(void **state)
{
    struct dk_machine *machine = machine_on(DEVICES);
    struct device *bus = dk_device_find(machine, "bus"), *dev, *same, *below;
    struct dma_map_ops const *ops;

    (void)state;
    assert_int_equal(PTR_ERR(dk_device_add(bus, "")), -EINVAL);
    assert_int_equal(PTR_ERR(dk_device_add(bus, "/")), -EINVAL);
    assert_int_equal(PTR_ERR(dk_device_add(bus, "a/b")), -EINVAL);
    assert_int_equal(PTR_ERR(dk_device_add(bus, NULL)), -EINVAL);
    /* No parent: the default bus. */
    dev = dk_device_add(NULL, "dev");
    assert_false(IS_ERR(dev));
    assert_ptr_equal(dev->parent, bus);
    assert_int_equal(PTR_ERR(dk_device_add(bus, "dev")), -EEXIST);
    assert_int_equal(PTR_ERR(dk_device_add(NULL, "dev")), -EEXIST);
    assert_int_equal(PTR_ERR(dk_device_add(bus->parent, "bus@1")), -EEXIST);
    same = dk_device_add(bus->parent, "dev");
    assert_false(IS_ERR(same));
    /* What is inherited, and what is not. */
    ops = bus->dma_ops;
    assert_ptr_equal(dev->dma_ops, ops);
    assert_int_equal(dev->dma_coherent, bus->dma_coherent);
    assert_int_equal(dev->bus_dma_limit, 0x80ffffff);
    assert_int_equal(dma_get_mask(dev), DMA_BIT_MASK(32));
    assert_int_equal(dma_get_max_seg_size(dev), 65536);
    assert_ptr_equal(dk_device_machine_of(dev), machine);
    /* Gone with everything below it; the name is free again, the dead device is none. */
    below = dk_device_add(dev, "below");
    assert_false(IS_ERR(below));
    dk_device_remove(dev);
    assert_null(dk_device_find(machine, "bus/dev"));
    assert_null(dk_device_find(machine, "bus/dev/below"));
    assert_int_equal(PTR_ERR(dk_device_add(dev, "child")), -EINVAL);
    assert_int_equal(PTR_ERR(dk_device_add(below, "child")), -EINVAL);
    assert_int_equal(dma_set_mask(below, DMA_BIT_MASK(64)), -EIO);
    dk_device_remove(dev);
    dk_device_remove(below);
    dk_device_remove(NULL);
    dev = dk_device_add(bus, "dev");
    assert_false(IS_ERR(dev));
    assert_ptr_equal(dk_device_find(machine, "bus/dev"), dev);
    assert_ptr_equal(dk_device_find(machine, "/soc/dev"), same);
    /* A node's device can go too. */
    dk_device_remove(bus);
    assert_null(dk_device_find(machine, "bus"));
    assert_null(dk_device_find(machine, "/soc/bus@1"));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_without_a_device_need_one_machine),
        cmocka_unit_test(a_machine_may_go_while_entered),
        cmocka_unit_test(machines_are_apart),
        cmocka_unit_test(threads_have_machines_of_their_own),
        cmocka_unit_test(sixteen_terabytes_cost_what_is_touched),
        cmocka_unit_test(calls_fail_after_fork),
        cmocka_unit_test(devices_are_found_by_path_and_alias),
        cmocka_unit_test(devices_are_added_under_rules),
    };

    unsetenv("DMAKIT_BOARD");
    unsetenv("DMAKIT_OPTIONS");
    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
