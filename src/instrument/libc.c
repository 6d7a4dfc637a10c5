/* SPDX-License-Identifier: MIT */
/*
 * The C library's functions that read or write buffers, and that no compiler instruments. The link's --wrap
 * sends the program's calls here (src/instrument/meson.build has the list); __real_… is the C library's own.
 *
 * Checks are made for what the function is allowed to touch. What a function touches only as far as it gets
 * (strings, files) is known afterwards, and checked then.
 */
#include "instrument/instrument.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/types.h>

/* Declares what is wrapped and the real one: the names are the linker's. */
#define WRAPPED(type, name, ...)               \
    extern type __real_##name(__VA_ARGS__);    \
    DK_EXPORT type __wrap_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__)

static void reads(const void *address, size_t size, const char *call)
{
    dk_instrument_check_range(address, size, DK_ACCESS_LOAD, call);
}

static void writes(const void *address, size_t size, const char *call)
{
    dk_instrument_check_range(address, size, DK_ACCESS_STORE, call);
}

/* ---- Memory ---- */

WRAPPED(void *, memcpy, void *to, const void *from, size_t size)
{
    reads(from, size, "memcpy");
    writes(to, size, "memcpy");
    return __real_memcpy(to, from, size);
}

WRAPPED(void *, mempcpy, void *to, const void *from, size_t size)
{
    reads(from, size, "mempcpy");
    writes(to, size, "mempcpy");
    return __real_mempcpy(to, from, size);
}

WRAPPED(void *, memmove, void *to, const void *from, size_t size)
{
    reads(from, size, "memmove");
    writes(to, size, "memmove");
    return __real_memmove(to, from, size);
}

WRAPPED(void *, memset, void *to, int value, size_t size)
{
    writes(to, size, "memset");
    return __real_memset(to, value, size);
}

WRAPPED(int, memcmp, const void *one, const void *other, size_t size)
{
    reads(one, size, "memcmp");
    reads(other, size, "memcmp");
    return __real_memcmp(one, other, size);
}

WRAPPED(int, bcmp, const void *one, const void *other, size_t size)
{
    reads(one, size, "bcmp");
    reads(other, size, "bcmp");
    return __real_bcmp(one, other, size);
}

WRAPPED(void *, memchr, const void *in, int value, size_t size)
{
    void *found = __real_memchr(in, value, size);

    reads(in, found ? (size_t)((const char *)found - (const char *)in) + 1 : size, "memchr");
    return found;
}

/* What a program built with _FORTIFY_SOURCE calls. */
WRAPPED(void *, __memcpy_chk, void *to, const void *from, size_t size, size_t room)
{
    reads(from, size, "memcpy");
    writes(to, size, "memcpy");
    return __real___memcpy_chk(to, from, size, room);
}

WRAPPED(void *, __memmove_chk, void *to, const void *from, size_t size, size_t room)
{
    reads(from, size, "memmove");
    writes(to, size, "memmove");
    return __real___memmove_chk(to, from, size, room);
}

WRAPPED(void *, __memset_chk, void *to, int value, size_t size, size_t room)
{
    writes(to, size, "memset");
    return __real___memset_chk(to, value, size, room);
}

/* ---- Strings ---- */

extern size_t __real_strlen(const char *text);
extern size_t __real_strnlen(const char *text, size_t most);

WRAPPED(size_t, strlen, const char *text)
{
    size_t length = __real_strlen(text);

    reads(text, length + 1, "strlen");
    return length;
}

WRAPPED(size_t, strnlen, const char *text, size_t most)
{
    size_t length = __real_strnlen(text, most);

    reads(text, length < most ? length + 1 : most, "strnlen");
    return length;
}

WRAPPED(char *, strcpy, char *to, const char *from)
{
    size_t size = __real_strlen(from) + 1;

    reads(from, size, "strcpy");
    writes(to, size, "strcpy");
    return __real_strcpy(to, from);
}

WRAPPED(char *, strncpy, char *to, const char *from, size_t size)
{
    size_t length = __real_strnlen(from, size);

    reads(from, length < size ? length + 1 : size, "strncpy");
    writes(to, size, "strncpy");
    return __real_strncpy(to, from, size);
}

WRAPPED(char *, strcat, char *to, const char *from)
{
    size_t length = __real_strlen(to), size = __real_strlen(from) + 1;

    reads(to, length + 1, "strcat");
    reads(from, size, "strcat");
    writes(to + length, size, "strcat");
    return __real_strcat(to, from);
}

/* Up to the first difference or the end. */
static size_t compared(const char *one, const char *other, size_t most)
{
    size_t at = 0;

    while (at < most && one[at] == other[at] && one[at])
        at++;
    return at < most ? at + 1 : most;
}

WRAPPED(int, strcmp, const char *one, const char *other)
{
    size_t size = compared(one, other, SIZE_MAX);

    reads(one, size, "strcmp");
    reads(other, size, "strcmp");
    return __real_strcmp(one, other);
}

WRAPPED(int, strncmp, const char *one, const char *other, size_t most)
{
    size_t size = compared(one, other, most);

    reads(one, size, "strncmp");
    reads(other, size, "strncmp");
    return __real_strncmp(one, other, most);
}

WRAPPED(char *, strchr, const char *in, int value)
{
    char *found = __real_strchr(in, value);

    reads(in, found ? (size_t)(found - in) + 1 : __real_strlen(in) + 1, "strchr");
    return found;
}

WRAPPED(char *, __strcpy_chk, char *to, const char *from, size_t room)
{
    size_t size = __real_strlen(from) + 1;

    reads(from, size, "strcpy");
    writes(to, size, "strcpy");
    return __real___strcpy_chk(to, from, room);
}

/* ---- Formatted ---- */

static void wrote_text(const char *to, size_t size, int length, const char *call)
{
    if (length >= 0 && size)
        writes(to, (size_t)length < size ? (size_t)length + 1 : size, call);
}

extern int __real_vsnprintf(char *to, size_t size, const char *format, va_list arguments);

__attribute__((format(printf, 3, 0)))
WRAPPED(int, vsnprintf, char *to, size_t size, const char *format, va_list arguments)
{
    int length = __real_vsnprintf(to, size, format, arguments);

    wrote_text(to, size, length, "vsnprintf");
    return length;
}

DK_EXPORT int __wrap_snprintf(char *to, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int __wrap_snprintf(char *to, size_t size, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = __real_vsnprintf(to, size, format, arguments);
    va_end(arguments);
    wrote_text(to, size, length, "snprintf");
    return length;
}

DK_EXPORT int __wrap___snprintf_chk(char *to, size_t size, int flag, size_t room, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
int __wrap___snprintf_chk(char *to, size_t size, int flag, size_t room, const char *format, ...)
{
    va_list arguments;
    int length;

    (void)flag;
    (void)room;
    va_start(arguments, format);
    length = __real_vsnprintf(to, size, format, arguments);
    va_end(arguments);
    wrote_text(to, size, length, "snprintf");
    return length;
}

/* ---- Files ---- */

static void received(const void *to, ssize_t size, const char *call)
{
    if (size > 0)
        writes(to, (size_t)size, call);
}

WRAPPED(ssize_t, read, int file, void *to, size_t size)
{
    ssize_t got = __real_read(file, to, size);

    received(to, got, "read");
    return got;
}

WRAPPED(ssize_t, pread, int file, void *to, size_t size, off_t offset)
{
    ssize_t got = __real_pread(file, to, size, offset);

    received(to, got, "pread");
    return got;
}

WRAPPED(ssize_t, recv, int socket, void *to, size_t size, int flags)
{
    ssize_t got = __real_recv(socket, to, size, flags);

    received(to, got, "recv");
    return got;
}

WRAPPED(ssize_t, write, int file, const void *from, size_t size)
{
    reads(from, size, "write");
    return __real_write(file, from, size);
}

WRAPPED(ssize_t, pwrite, int file, const void *from, size_t size, off_t offset)
{
    reads(from, size, "pwrite");
    return __real_pwrite(file, from, size, offset);
}

WRAPPED(ssize_t, send, int socket, const void *from, size_t size, int flags)
{
    reads(from, size, "send");
    return __real_send(socket, from, size, flags);
}

WRAPPED(size_t, fread, void *to, size_t size, size_t count, FILE *file)
{
    size_t got = __real_fread(to, size, count, file);

    writes(to, size * got, "fread");
    return got;
}

WRAPPED(size_t, fwrite, const void *from, size_t size, size_t count, FILE *file)
{
    size_t put = __real_fwrite(from, size, count, file);

    reads(from, size * put, "fwrite");
    return put;
}

/* ---- Threads: what orders a thread's accesses ---- */

WRAPPED(int, pthread_mutex_lock, pthread_mutex_t *mutex)
{
    int error = __real_pthread_mutex_lock(mutex);

    dk_instrument_order(__ATOMIC_SEQ_CST);
    return error;
}

WRAPPED(int, pthread_mutex_unlock, pthread_mutex_t *mutex)
{
    dk_instrument_order(__ATOMIC_SEQ_CST);
    return __real_pthread_mutex_unlock(mutex);
}

WRAPPED(int, pthread_cond_wait, pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    int error = __real_pthread_cond_wait(condition, mutex);

    dk_instrument_order(__ATOMIC_SEQ_CST);
    return error;
}

WRAPPED(int, pthread_create, pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
        void *data)
{
    dk_instrument_order(__ATOMIC_SEQ_CST);
    return __real_pthread_create(thread, attributes, run, data);
}

WRAPPED(int, pthread_join, pthread_t thread, void **result)
{
    int error = __real_pthread_join(thread, result);

    dk_instrument_order(__ATOMIC_SEQ_CST);
    return error;
}
