/* SPDX-License-Identifier: MIT */
/* <linux/module.h> for driver source: a driver is linked, not loaded. */
#if __has_include_next(<linux/module.h>)
#include_next <linux/module.h>
#endif

#ifndef DMAKIT_LINUX_MODULE_H
#define DMAKIT_LINUX_MODULE_H

#include <linux/export.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mod_devicetable.h>

#define THIS_MODULE ((struct module *)0)
#ifndef KBUILD_MODNAME
#define KBUILD_MODNAME "driver"
#endif

/* Checked and left out. */
#define MODULE_LICENSE(text) DK_MODULE_TEXT(text)
#define MODULE_AUTHOR(text) DK_MODULE_TEXT(text)
#define MODULE_DESCRIPTION(text) DK_MODULE_TEXT(text)
#define MODULE_VERSION(text) DK_MODULE_TEXT(text)
#define MODULE_ALIAS(text) DK_MODULE_TEXT(text)
#define MODULE_FIRMWARE(text) DK_MODULE_TEXT(text)
#define MODULE_DEVICE_TABLE(bus, table) DK_MODULE_TEXT(#bus)

/* A text, and room for a semicolon. */
#define DK_MODULE_TEXT(text) extern int dk_module_text[sizeof("" text) ? 1 : -1]

/*
 * Nothing registers itself: where Linux would run code at load time, there is a constant for the program that
 * binds the driver. module_platform_driver(nic_driver) makes dk_module_driver_nic_driver:
 *
 *     extern struct platform_driver *const dk_module_driver_nic_driver;
 *     ret = dk_driver_bind(dk_module_driver_nic_driver, dev);
 *
 * module_init(start) makes dk_module_init_start, module_exit(stop) dk_module_exit_stop, both pointers to the
 * function.
 */
#define module_platform_driver(driver_)                              \
    extern struct platform_driver *const dk_module_driver_##driver_; \
    struct platform_driver *const dk_module_driver_##driver_ = &(driver_)
#define builtin_platform_driver(driver_) module_platform_driver(driver_)
#define module_init(function)                            \
    extern int (*const dk_module_init_##function)(void); \
    int (*const dk_module_init_##function)(void) = function
#define module_exit(function)                             \
    extern void (*const dk_module_exit_##function)(void); \
    void (*const dk_module_exit_##function)(void) = function

#endif
