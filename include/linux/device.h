/* SPDX-License-Identifier: MIT */
/* <linux/device.h> for driver source. */
#ifndef DMAKIT_LINUX_DEVICE_H
#define DMAKIT_LINUX_DEVICE_H

#include <dmakit/device.h>
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/slab.h>

/* Logs that probe failed with @error, and returns @error. */
#define dev_err_probe(dev, error, ...) (dk_device_log(dev, 0, __VA_ARGS__), (error))

/* Nothing is left out here. */
#define dev_err_ratelimited(dev, ...) dev_err(dev, __VA_ARGS__)
#define dev_warn_ratelimited(dev, ...) dev_warn(dev, __VA_ARGS__)
#define dev_err_once(dev, ...) dev_err(dev, __VA_ARGS__)
#define dev_warn_once(dev, ...) dev_warn(dev, __VA_ARGS__)

#endif
