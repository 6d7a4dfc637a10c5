/* SPDX-License-Identifier: MIT */
/*
 * corpus NAME | --all | --list: binds the driver NAME to its device on the board that DMAKIT_BOARD names,
 * uses it and unbinds it; --all does so with each on a machine of its own, and says which it comes to. Exits
 * 0 when the driver saw no error, 1 when it saw one, 2 when it could not run. Reports go where DMAKIT_OPTIONS
 * sends them, and do not change the exit code.
 */
#include "corpus.h"

#include <stdio.h>
#include <sys/mman.h>

/* Each driver's and each model's symbols; corpus-list.h is a line DRIVER(symbol, "name") a driver. */
#define DRIVER(symbol, name_)                                                \
    extern struct platform_driver *const dk_module_driver_##symbol##_driver; \
    extern const struct corpus_model symbol##_model;                         \
    extern int symbol##_use(struct device *dev);
#include "corpus-list.h"
#undef DRIVER

static const struct {
    const char *name;
    struct platform_driver *const *driver;
    const struct corpus_model *model;
    int (*use)(struct device *dev); /* what the layer above the driver would do */
} drivers[] = {
#define DRIVER(symbol, name_) { name_, &dk_module_driver_##symbol##_driver, &symbol##_model, symbol##_use },
#include "corpus-list.h"
#undef DRIVER
};
#define DRIVERS (sizeof(drivers) / sizeof(drivers[0]))

int corpus_fill(struct corpus_device *device, uint64_t address, size_t length, unsigned seed)
{
    uint8_t chunk[64];
    size_t done, i, size;
    int ret = 0;

    for (done = 0; done < length && !ret; done += size) {
        size = length - done < sizeof(chunk) ? length - done : sizeof(chunk);
        for (i = 0; i < size; i++)
            chunk[i] = corpus_byte(seed, done + i);
        ret = dk_master_write(device->dev, address + done, chunk, size);
    }
    return ret;
}

static uint64_t read_register(void *data, uint64_t offset, unsigned width)
{
    struct corpus_device *device = data;
    unsigned reg = (unsigned)offset;

    if (width == 8)
        return corpus_address(device, reg);
    return device->model->read ? device->model->read(device, reg) : device->registers[reg / 4];
}

static void write_register(void *data, uint64_t offset, unsigned width, uint64_t value)
{
    struct corpus_device *device = data;
    unsigned reg = (unsigned)offset;

    device->registers[reg / 4] = (uint32_t)value;
    if (width == 8)
        device->registers[reg / 4 + 1] = (uint32_t)(value >> 32);
    if (device->model->written)
        device->model->written(device, reg, (uint32_t)value);
}

static const struct dk_register_ops registers = { .read = read_register, .write = write_register };

/* Binds the driver, uses it, unbinds it. 0 or what went wrong. */
static int bind_and_use(size_t which, struct device *dev)
{
    int ret = dk_driver_bind(*drivers[which].driver, dev);

    if (ret)
        return ret;
    ret = drivers[which].use(dev);
    dk_driver_unbind(dev);
    return ret;
}

/* The device is there. Its platform data is a page that an application would like to see memory at. */
static int run(size_t which, struct device *dev)
{
    void *page = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct vm_area_struct vma = { .vm_start = (unsigned long)page,
                                  .vm_end = (unsigned long)page + PAGE_SIZE,
                                  .vm_flags = VM_READ | VM_WRITE | VM_SHARED };
    int ret;

    if (page == MAP_FAILED)
        return 2;
    dev->platform_data = &vma;
    ret = bind_and_use(which, dev);
    munmap(page, PAGE_SIZE);
    if (ret)
        fprintf(stderr, "%s: %s\n", drivers[which].name, strerror(-ret));
    return ret ? 1 : 0;
}

static int run_on_machine(size_t which)
{
    struct dk_machine *machine = dk_machine_create(NULL, NULL);
    struct corpus_device device = { .model = drivers[which].model };
    int status = 2;

    if (IS_ERR(machine)) {
        fprintf(stderr, "corpus: no machine: %s\n", strerror((int)-PTR_ERR(machine)));
        return 2;
    }
    dk_machine_enter(machine);
    device.dev = dk_device_add(NULL, drivers[which].name);
    if (!IS_ERR(device.dev) && !dk_registers_add(device.dev, sizeof(device.registers), &registers, &device))
        status = run(which, device.dev);
    else
        fprintf(stderr, "corpus: no device\n");
    dk_machine_destroy(machine);
    return status;
}

int main(int argc, char **argv)
{
    bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
    bool all = argc == 2 && strcmp(argv[1], "--all") == 0;
    int worst = 0, status;
    size_t i;

    for (i = 0; i < DRIVERS; i++) {
        if (list || all)
            puts(drivers[i].name);
        if (all) {
            fflush(stdout); /* so that it is known who crashed */
            status = run_on_machine(i);
            worst = status > worst ? status : worst;
        } else if (argc == 2 && strcmp(argv[1], drivers[i].name) == 0) {
            return run_on_machine(i);
        }
    }
    if (!list && !all)
        fprintf(stderr, "usage: corpus NAME | --all | --list\n");
    return list || all ? worst : 2;
}
