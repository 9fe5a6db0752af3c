/*
 * Threads: what they are called and how much they matter.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

/* Names the calling thread, for top and perf (15 characters count). */
void thread_name(const char *name);

/* Lets the calling thread yield to those that answer requests when the processors are busy;
 * when they are idle it runs as fast as any. Cannot be taken back. */
void thread_background(void);

/* Lets the calling thread run soon after it wakes, also while others use the processors, but not
 * for longer in all: for one that sleeps after little work that many wait for. Kernels before 6.12
 * take no notice, nor does a thread of another class than SCHED_OTHER. */
void thread_prompt(void);

#endif
