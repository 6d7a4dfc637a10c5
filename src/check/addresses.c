/* SPDX-License-Identifier: MIT */
/*
 * What a mapping call was given instead of the machine's memory.
 */
#include "check/check.h"

#include "check/checker.h"
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The host's memory ---- */

/*
 * A program under the address sanitizer may have its locals on a stack of the sanitizer's making, to see
 * their use after return; its run time, where it is linked, says which addresses those are
 * (sanitizer/asan_interface.h).
 */
extern void *__asan_get_current_fake_stack(void) __attribute__((weak));
extern void *__asan_addr_is_in_fake_stack(void *fake_stack, void *address, void **start, void **end)
    __attribute__((weak));

static bool on_sanitizer_stack(uintptr_t address)
{
    void *fake_stack;

    if (!__asan_get_current_fake_stack || !__asan_addr_is_in_fake_stack)
        return false;
    fake_stack = __asan_get_current_fake_stack();
    return fake_stack && __asan_addr_is_in_fake_stack(fake_stack, (void *)address, NULL, NULL);
}

static bool on_own_stack(uintptr_t address)
{
    pthread_attr_t attributes;
    void *start = NULL;
    size_t size = 0;

    if (pthread_getattr_np(pthread_self(), &attributes))
        return false;
    pthread_attr_getstack(&attributes, &start, &size);
    pthread_attr_destroy(&attributes);
    return address >= (uintptr_t)start && address - (uintptr_t)start < size;
}

struct object_search {
    uintptr_t address;
    bool found;
    bool readonly;
};

static int search_object(struct dl_phdr_info *object, size_t size, void *data)
{
    struct object_search *search = data;
    int i;

    (void)size;
    for (i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t start = (uintptr_t)object->dlpi_addr + (uintptr_t)segment->p_vaddr;

        if (search->address < start || search->address - start >= segment->p_memsz)
            continue;
        if (segment->p_type == PT_LOAD) {
            search->found = true;
            search->readonly |= !(segment->p_flags & PF_W);
        } else if (segment->p_type == PT_GNU_RELRO) {
            search->readonly = true;
        }
    }
    return search->found;
}

/* What the kernel's list of the process's memory says of @address. */
static enum { NO_MEMORY, MAIN_STACK, OTHER_MEMORY } process_memory(uintptr_t address)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    int found = NO_MEMORY;

    while (maps && found == NO_MEMORY && fgets(line, sizeof(line), maps)) {
        char *end;
        u64 first = strtoull(line, &end, 16);
        u64 past = *end == '-' ? strtoull(end + 1, &end, 16) : 0;

        if (address >= first && address < past)
            found = strstr(line, "[stack]") ? MAIN_STACK : OTHER_MEMORY;
    }
    if (maps)
        fclose(maps);
    return found;
}

/* ---- Verdicts ---- */

struct verdict {
    enum dk_class class_index;
    const char *is;     /* what the address is */
    const char *advice; /* NULL: the class's */
};

static struct verdict judge_host(const void *cpu)
{
    uintptr_t address = (uintptr_t)cpu;
    struct object_search object = { .address = address };
    int memory = process_memory(address);

    if (on_own_stack(address) || on_sanitizer_stack(address) || memory == MAIN_STACK)
        return (struct verdict){ DK_CLASS_MAPS_STACK, "on a stack", NULL };
    dl_iterate_phdr(search_object, &object);
    if (object.found && object.readonly)
        return (struct verdict){ DK_CLASS_MAPS_RODATA, "code or read-only data", NULL };
    if (object.found)
        return (struct verdict){
            DK_CLASS_MAPS_INVALID_ADDRESS, "a global or static variable",
            "allocate the buffer with kmalloc() when the device is probed, and keep a pointer to "
            "it"
        };
    if (memory == OTHER_MEMORY)
        return (struct verdict){
            DK_CLASS_MAPS_INVALID_ADDRESS, "memory of the host's own allocator, not of the machine",
            "allocate what devices use with kmalloc() or alloc_pages(), not with malloc()"
        };
    return (struct verdict){
        DK_CLASS_MAPS_INVALID_ADDRESS, "a wild pointer: no memory is there at all",
        "find where the pointer comes from: it was not set, or was freed or computed wrongly"
    };
}

static struct verdict judge(const struct device *dev, const void *cpu)
{
    struct dk_memory *memory = NULL;
    phys_addr_t phys = 0;
    enum dk_address_kind kind = dk_address_find(cpu, &memory, &phys);

    if (!cpu)
        return (struct verdict){ DK_CLASS_MAPS_INVALID_ADDRESS, "NULL",
                                 "check what the allocation returned before mapping it" };
    if (kind != DK_ADDRESS_HOST && memory && memory != dk_device_machine(dev)->memory)
        return (
            struct verdict){ DK_CLASS_MAPS_INVALID_ADDRESS, "memory of another machine",
                             "allocate the buffer on the device's own machine: dk_machine_enter() it first" };
    switch (kind) {
    case DK_ADDRESS_HOST:
        return judge_host(cpu);
    case DK_ADDRESS_LINEAR:
        return (struct verdict){ DK_CLASS_MAPS_INVALID_ADDRESS, "memory whose end leaves the machine's RAM",
                                 "give the size of the buffer in bytes, not more than was allocated" };
    case DK_ADDRESS_HOLE:
        return (struct verdict){
            DK_CLASS_MAPS_INVALID_ADDRESS,
            "an address of the machine where no RAM is mapped: a hole, or a no-map region", NULL
        };
    case DK_ADDRESS_UNCACHED:
        return (struct verdict){ DK_CLASS_MAPS_COHERENT_MEMORY,
                                 "part of a coherent buffer, which is no linear map memory", NULL };
    case DK_ADDRESS_VMALLOC:
        return (struct verdict){ DK_CLASS_MAPS_VMALLOC,
                                 "a vmalloc or vmap address, which is no linear map memory", NULL };
    case DK_ADDRESS_REGISTERS:
        return (struct verdict){ DK_CLASS_MAPS_INVALID_ADDRESS, "a device's registers, from ioremap()",
                                 "map registers with dma_map_resource() and their physical address" };
    case DK_ADDRESS_PAGES:
        return (struct verdict){ DK_CLASS_MAPS_INVALID_ADDRESS, "a struct page, not the memory it stands for",
                                 "map pages with dma_map_page()" };
    }
    return judge_host(cpu);
}

static bool all_ram(const struct device *dev, const void *cpu, u64 length)
{
    struct dk_memory *memory = NULL;
    phys_addr_t phys = 0;

    return cpu && dk_address_find(cpu, &memory, &phys) == DK_ADDRESS_LINEAR &&
           memory == dk_device_machine(dev)->memory && dk_memory_is_ram(memory, phys, length ? length : 1);
}

bool dk_check_map_address(struct device *dev, const char *call, const void *cpu, u64 length)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_report_draft draft;
    struct dk_mapping coherent;
    struct verdict verdict;
    u32 stack = 0;

    if (!checker || all_ram(dev, cpu, length))
        return true;
    verdict = judge(dev, cpu);
    /* On some machines coherent memory is remapped. */
    if (verdict.class_index == DK_CLASS_MAPS_COHERENT_MEMORY || verdict.class_index == DK_CLASS_MAPS_VMALLOC)
        stack = dk_coherent_at(checker, cpu, &coherent);
    if (stack)
        verdict = (struct verdict){ DK_CLASS_MAPS_COHERENT_MEMORY, "part of a coherent buffer", NULL };
    dk_draft_begin(&draft, checker, verdict.class_index, dev, call);
    if (stack)
        dk_draft_mapping(&draft, &coherent, stack, (u64)((uintptr_t)cpu - (uintptr_t)coherent.cpu), length);
    if (verdict.advice)
        draft.advice = verdict.advice;
    draft.cpu = (uintptr_t)cpu;
    draft.length = length;
    dk_draft_what(&draft, "%s() was given %llu bytes at 0x%llx, %s", call, length, (u64)(uintptr_t)cpu,
                  verdict.is);
    dk_report_make(checker, &draft);
    return false;
}

bool dk_check_map_page(struct device *dev, const char *call, const struct page *page, u64 offset, u64 length)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_memory *own = dk_device_machine(dev)->memory;
    struct dk_memory *memory = NULL;
    const char *is = NULL;
    const char *advice = "give the struct page that alloc_pages() or virt_to_page() returned";
    struct dk_report_draft draft;
    phys_addr_t phys = 0;

    if (!checker)
        return true;
    if (!page) {
        is = "NULL";
        advice = "check what alloc_pages() returned before mapping it";
    } else if (dk_address_find(page, &memory, &phys) != DK_ADDRESS_PAGES) {
        is = "no struct page of the machine";
    } else if (memory != own) {
        is = "a page of another machine";
        advice = "allocate the page on the device's own machine: dk_machine_enter() it first";
    } else if (!dk_memory_is_ram(own, page_to_phys(page) + offset, length ? length : 1)) {
        is = "a page after which the bytes leave the machine's RAM";
        advice = "give offset and length in bytes, not more than was allocated";
    } else {
        return true;
    }
    dk_draft_begin(&draft, checker, DK_CLASS_MAPS_INVALID_ADDRESS, dev, call);
    draft.advice = advice;
    draft.offset = offset;
    draft.length = length;
    dk_draft_what(&draft, "%s() was given %llu bytes from offset %llu of page 0x%llx, %s", call, length,
                  offset, (u64)(uintptr_t)page, is);
    dk_report_make(checker, &draft);
    return false;
}
