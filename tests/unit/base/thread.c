/*
 * What the kernel is told of a thread.
 */
#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmocka.h>

#define NICE 3

/* struct sched_attr of sched_setattr(2): the kernel's header clashes with glibc's. */
struct attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime; /* of SCHED_OTHER: the slice, ns */
    uint64_t deadline;
    uint64_t period;
};

static struct attributes read_attributes(void)
{
    struct attributes now = {0};

    assert_int_equal(syscall(SYS_sched_getattr, 0, &now, sizeof now, 0), 0);
    return now;
}

static bool kernel_knows_slices(void)
{
    struct utsname name;
    int major, minor;

    assert_int_equal(uname(&name), 0);
    assert_int_equal(sscanf(name.release, "%d.%d", &major, &minor), 2);
    return major > 6 || (major == 6 && minor >= 12);
}

static void *be_prompt(void *ret)
{
    setpriority(PRIO_PROCESS, 0, NICE);
    thread_prompt();
    *(struct attributes *)ret = read_attributes();
    return NULL;
}

static void *be_prompt_in_a_batch(void *ret)
{
    const struct sched_param unused = {0};

    assert_int_equal(sched_setscheduler(0, SCHED_BATCH, &unused), 0);
    thread_prompt();
    *(struct attributes *)ret = read_attributes();
    return NULL;
}

static void *be_in_the_background(void *ret)
{
    thread_background();
    *(struct attributes *)ret = read_attributes();
    return NULL;
}

static struct attributes run(void *(*body)(void *))
{
    struct attributes seen = {0};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, body, &seen), 0);
    pthread_join(thread, NULL);
    return seen;
}

static void a_prompt_thread_has_short_slices_and_keeps_its_nice_value(void **state)
{
    struct attributes seen = run(be_prompt);

    (void)state;
    assert_int_equal(seen.policy, SCHED_OTHER);
    assert_int_equal(seen.nice, NICE);
    if (!kernel_knows_slices())
        skip();
    assert_int_equal(seen.runtime, 100000);
    assert_true(read_attributes().runtime > 100000);
}

static void a_class_that_was_chosen_for_a_thread_stays(void **state)
{
    (void)state;
    assert_int_equal(run(be_prompt_in_a_batch).policy, SCHED_BATCH);
}

static void a_background_thread_runs_on_what_others_leave(void **state)
{
    (void)state;
    assert_int_equal(run(be_in_the_background).policy, SCHED_IDLE);
    assert_int_equal(read_attributes().policy, SCHED_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_thread_has_short_slices_and_keeps_its_nice_value),
        cmocka_unit_test(a_class_that_was_chosen_for_a_thread_stays),
        cmocka_unit_test(a_background_thread_runs_on_what_others_leave),
    };

    return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
