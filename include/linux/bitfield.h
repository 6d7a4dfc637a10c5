/* SPDX-License-Identifier: MIT */
/* <linux/bitfield.h> for driver source: the field that a constant mask names. */
#ifndef DMAKIT_LINUX_BITFIELD_H
#define DMAKIT_LINUX_BITFIELD_H

#include <linux/bits.h>

#define FIELD_PREP(mask, value) (((__typeof__(mask))(value) << __builtin_ctzll(mask)) & (mask))
#define FIELD_GET(mask, word) ((__typeof__(mask))(((word) & (mask)) >> __builtin_ctzll(mask)))
#define FIELD_MAX(mask) ((__typeof__(mask))((mask) >> __builtin_ctzll(mask)))

#endif
