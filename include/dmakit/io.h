/* SPDX-License-Identifier: MIT */
/*
 * The driver's half of a device's registers (Documentation/driver-api/device-io.rst).
 */
#ifndef DMAKIT_IO_H
#define DMAKIT_IO_H

#include <dmakit/barrier.h>
#include <dmakit/error.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

struct device;
struct platform_device;

#ifndef __iomem
#define __iomem
#endif

#define IORESOURCE_MEM 0x200ul
#define IORESOURCE_IRQ 0x400ul

struct resource {
    resource_size_t start; /* physical */
    resource_size_t end;   /* the last byte */
    const char *name;      /* the device's path */
    unsigned long flags;   /* IORESOURCE_… */
};

static inline resource_size_t resource_size(const struct resource *resource)
{
    return resource->end - resource->start + 1;
}

/*
 * A cookie for the registers at [@phys, @phys + @size) of the current machine; NULL, with a log line, when no
 * region holds them. It is no pointer to anything: dereferencing it faults. Every ioremap() is undone by one
 * iounmap(); a NULL or foreign
 * @address there is refused with a log line. May sleep.
 */
DK_PUBLIC void __iomem *ioremap(phys_addr_t phys, size_t size);
DK_PUBLIC void iounmap(const volatile void __iomem *address);

/* ioremap() on @dev's machine until @dev loses its driver or is removed. NULL on failure. May sleep. */
DK_PUBLIC void __iomem *devm_ioremap(struct device *dev, phys_addr_t phys, size_t size);
DK_PUBLIC void devm_iounmap(struct device *dev, const volatile void __iomem *address);

/*
 * As devm_ioremap(), and claims the region. Error pointers: -EINVAL @resource is NULL or not memory, -EBUSY
 * it is claimed, -ENOMEM no such registers, or out of memory. May sleep.
 */
DK_PUBLIC void __iomem *devm_ioremap_resource(struct device *dev, const struct resource *resource);
/* The same for the device's region @index. -EINVAL when there is none. */
DK_PUBLIC void __iomem *devm_platform_ioremap_resource(struct platform_device *pdev, unsigned index);

/* The register region @index of @pdev, for @type IORESOURCE_MEM; else NULL. Lives as long as the machine. May
 * sleep. */
DK_PUBLIC struct resource *platform_get_resource(struct platform_device *pdev, unsigned type, unsigned index);

/*
 * One access of @width bytes (1, 2, 4, 8) at @address, not ordered with anything. Reads of what is not
 * mapped, not aligned to @width, or past the region's end give all ones, and such writes go nowhere; each
 * with a log line. Any context.
 */
DK_PUBLIC u64 dk_io_read(const volatile void __iomem *address, unsigned width);
DK_PUBLIC void dk_io_write(volatile void __iomem *address, unsigned width, u64 value);

static inline u8 readb_relaxed(const volatile void __iomem *address)
{
    return (u8)dk_io_read(address, 1);
}
static inline u16 readw_relaxed(const volatile void __iomem *address)
{
    return (u16)dk_io_read(address, 2);
}
static inline u32 readl_relaxed(const volatile void __iomem *address)
{
    return (u32)dk_io_read(address, 4);
}
static inline u64 readq_relaxed(const volatile void __iomem *address)
{
    return dk_io_read(address, 8);
}
static inline void writeb_relaxed(u8 value, volatile void __iomem *address)
{
    dk_io_write(address, 1, value);
}
static inline void writew_relaxed(u16 value, volatile void __iomem *address)
{
    dk_io_write(address, 2, value);
}
static inline void writel_relaxed(u32 value, volatile void __iomem *address)
{
    dk_io_write(address, 4, value);
}
static inline void writeq_relaxed(u64 value, volatile void __iomem *address)
{
    dk_io_write(address, 8, value);
}

/* Ordered: what the device wrote before is seen after a read; what the CPU wrote before is seen by what a
 * write starts. */
static inline u8 readb(const volatile void __iomem *address)
{
    u8 value = readb_relaxed(address);

    rmb();
    return value;
}
static inline u16 readw(const volatile void __iomem *address)
{
    u16 value = readw_relaxed(address);

    rmb();
    return value;
}
static inline u32 readl(const volatile void __iomem *address)
{
    u32 value = readl_relaxed(address);

    rmb();
    return value;
}
static inline u64 readq(const volatile void __iomem *address)
{
    u64 value = readq_relaxed(address);

    rmb();
    return value;
}
static inline void writeb(u8 value, volatile void __iomem *address)
{
    wmb();
    writeb_relaxed(value, address);
}
static inline void writew(u16 value, volatile void __iomem *address)
{
    wmb();
    writew_relaxed(value, address);
}
static inline void writel(u32 value, volatile void __iomem *address)
{
    wmb();
    writel_relaxed(value, address);
}
static inline void writeq(u64 value, volatile void __iomem *address)
{
    wmb();
    writeq_relaxed(value, address);
}

#define ioread8(address) readb(address)
#define ioread16(address) readw(address)
#define ioread32(address) readl(address)
#define ioread64(address) readq(address)
#define iowrite8(value, address) writeb(value, address)
#define iowrite16(value, address) writew(value, address)
#define iowrite32(value, address) writel(value, address)
#define iowrite64(value, address) writeq(value, address)

/* @size bytes between memory and registers, one byte an access, in ascending order. */
static inline void memcpy_fromio(void *to, const volatile void __iomem *from, size_t size)
{
    size_t i;

    for (i = 0; i < size; i++)
        ((u8 *)to)[i] = readb_relaxed((const volatile u8 *)from + i);
    rmb();
}
static inline void memcpy_toio(volatile void __iomem *to, const void *from, size_t size)
{
    size_t i;

    wmb();
    for (i = 0; i < size; i++)
        writeb_relaxed(((const u8 *)from)[i], (volatile u8 *)to + i);
}
static inline void memset_io(volatile void __iomem *to, int value, size_t size)
{
    size_t i;

    wmb();
    for (i = 0; i < size; i++)
        writeb_relaxed((u8)value, (volatile u8 *)to + i);
}

DK_END_DECLS

#endif
