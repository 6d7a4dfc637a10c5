/* SPDX-License-Identifier: MIT */
/*
 * A copy engine: what its driver and its model share.
 */
#ifndef COPIER_REGS_H
#define COPIER_REGS_H

#define COPIER_VERSION 0x00 /* 32 bits; major version in bits 31 to 16 */
#define COPIER_START 0x04   /* 32 bits; write the number of bytes to copy */
#define COPIER_STATE 0x08   /* 32 bits; COPIER_IDLE */
#define COPIER_FROM 0x10    /* 64 bits */
#define COPIER_TO 0x18      /* 64 bits */
#define COPIER_SIZE 0x100

#define COPIER_MAJOR_MASK 0xffff0000u
#define COPIER_MAJOR 3u
#define COPIER_IDLE 0x1u

struct device;

/* The driver's one service: copies @size bytes through the engine, and a page at most a time. 0 or -errno. */
int copier_copy(struct device *dev, void *to, const void *from, unsigned long size);
/* How many descriptors the engine has run. */
int copier_runs(struct device *dev);

extern struct platform_driver *const dk_module_driver_copier_driver;
extern int (*const dk_module_init_copier_init)(void);
extern void (*const dk_module_exit_copier_exit)(void);

#endif
