/* SPDX-License-Identifier: MIT */
/*
 * The shared library as a plugin brings it: loaded, used and gone again while threads that used it live on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <dmakit/dmakit.h>
#include <pthread.h>

struct plugin {
    void *library;
    __typeof__(dk_machine_create) *machine_create;
    __typeof__(dk_machine_destroy) *machine_destroy;
    __typeof__(alloc_pages) *take;
    __typeof__(__free_pages) *give;
    pthread_barrier_t barrier;
    bool used;
};

static void *symbol(const struct plugin *plugin, const char *name)
{
    void *found = dlsym(plugin->library, name);

    assert_non_null(found);
    return found;
}

static void *use_and_live_on(void *data)
{
    struct plugin *plugin = data;
    struct page *page = plugin->take(GFP_KERNEL, 0);

    plugin->used = page;
    plugin->give(page, 0);
    pthread_barrier_wait(&plugin->barrier);
    /* Meanwhile the library goes. */
    pthread_barrier_wait(&plugin->barrier);
    return NULL;
}

static void test_threads_outlive_the_library(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        struct plugin plugin = { .library = dlopen(TEST_LIBRARY, RTLD_NOW | RTLD_LOCAL) };
        struct dk_machine *machine;
        pthread_t thread;

        assert_non_null(plugin.library);
        plugin.machine_create = symbol(&plugin, "dk_machine_create");
        plugin.machine_destroy = symbol(&plugin, "dk_machine_destroy");
        plugin.take = symbol(&plugin, "alloc_pages");
        plugin.give = symbol(&plugin, "__free_pages");
        machine = plugin.machine_create(NULL, NULL);
        assert_false(IS_ERR(machine));
        pthread_barrier_init(&plugin.barrier, NULL, 2);
        assert_int_equal(pthread_create(&thread, NULL, use_and_live_on, &plugin), 0);
        pthread_barrier_wait(&plugin.barrier);
        assert_true(plugin.used);
        assert_int_equal(plugin.machine_destroy(machine), 0);
        dlclose(plugin.library);
        assert_null(dlopen(TEST_LIBRARY, RTLD_NOW | RTLD_NOLOAD));
        /* Its end must not call what is no longer there. */
        pthread_barrier_wait(&plugin.barrier);
        pthread_join(thread, NULL);
        pthread_barrier_destroy(&plugin.barrier);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_outlive_the_library),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
