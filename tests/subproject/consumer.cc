/* SPDX-License-Identifier: MIT */
/* The C program as C++. */
#include "consumer.c"
