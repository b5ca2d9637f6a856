// SPDX-License-Identifier: GPL-2.0
/* How to hang: functions that never come back. They go on where the stack is taken from under them. */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>

#include "matrix.h"

static DEFINE_SPINLOCK(crashtest_hang_a);
static DEFINE_SPINLOCK(crashtest_hang_b);
static bool crashtest_for_ever = true;

static CRASHTEST_FRAME void crashtest_hang_loop(void)
{
	while (READ_ONCE(crashtest_for_ever))
		cpu_relax();
}

/* What is on top of the stack is not what loops. */
static CRASHTEST_FRAME void crashtest_hang_step(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		barrier();
}

static CRASHTEST_FRAME void crashtest_hang_calling(void)
{
	for (unsigned int i = 0; READ_ONCE(crashtest_for_ever); i++) {
		crashtest_hang_step(i % 1000);
		udelay(5);
	}
}

static CRASHTEST_FRAME void crashtest_hang_spin_twice(void)
{
	spin_lock(&crashtest_hang_a);
	spin_lock(&crashtest_hang_a);
	spin_unlock(&crashtest_hang_a);
	spin_unlock(&crashtest_hang_a);
}

/* Two CPUs, each with a lock that the other wants. */
static CRASHTEST_FRAME int crashtest_hang_b_then_a(void *unused)
{
	spin_lock(&crashtest_hang_b);
	while (!spin_is_locked(&crashtest_hang_a))
		cpu_relax();
	spin_lock(&crashtest_hang_a);
	spin_unlock(&crashtest_hang_a);
	spin_unlock(&crashtest_hang_b);
	return 0;
}

static CRASHTEST_FRAME void crashtest_hang_spin_abba(void)
{
	spin_lock(&crashtest_hang_a);
	while (!spin_is_locked(&crashtest_hang_b))
		cpu_relax();
	spin_lock(&crashtest_hang_b);
	spin_unlock(&crashtest_hang_b);
	spin_unlock(&crashtest_hang_a);
}

static void crashtest_prepare_abba(void)
{
	struct task_struct *task = kthread_create(crashtest_hang_b_then_a, NULL, "crashtest_ba");

	if (IS_ERR(task))
		return;
	kthread_bind(task, raw_smp_processor_id() ? 0 : 1);
	wake_up_process(task);
}

static DEFINE_MUTEX(crashtest_mutex_a);
static DEFINE_MUTEX(crashtest_mutex_b);

static CRASHTEST_FRAME void crashtest_hang_mutex_twice(void)
{
	mutex_lock(&crashtest_mutex_a);
	mutex_lock(&crashtest_mutex_a);
	mutex_unlock(&crashtest_mutex_a);
	mutex_unlock(&crashtest_mutex_a);
}

static CRASHTEST_FRAME int crashtest_hang_mutex_b_then_a(void *unused)
{
	mutex_lock(&crashtest_mutex_b);
	while (!mutex_is_locked(&crashtest_mutex_a))
		msleep(1);
	mutex_lock(&crashtest_mutex_a);
	mutex_unlock(&crashtest_mutex_a);
	mutex_unlock(&crashtest_mutex_b);
	return 0;
}

static CRASHTEST_FRAME void crashtest_hang_mutex_abba(void)
{
	mutex_lock(&crashtest_mutex_a);
	while (!mutex_is_locked(&crashtest_mutex_b))
		msleep(1);
	mutex_lock(&crashtest_mutex_b);
	mutex_unlock(&crashtest_mutex_b);
	mutex_unlock(&crashtest_mutex_a);
}

static void crashtest_prepare_mutex_abba(void)
{
	kthread_run(crashtest_hang_mutex_b_then_a, NULL, "crashtest_ba");
}

/* Ends without giving it back. */
static CRASHTEST_FRAME int crashtest_hang_mutex_owner(void *unused)
{
	mutex_lock(&crashtest_mutex_b);
	return 0;
}

static void crashtest_prepare_mutex_orphan(void)
{
	kthread_run(crashtest_hang_mutex_owner, NULL, "crashtest_owner");
	while (!mutex_is_locked(&crashtest_mutex_b))
		msleep(1);
}

static CRASHTEST_FRAME void crashtest_hang_mutex_orphan(void)
{
	mutex_lock(&crashtest_mutex_b);
	mutex_unlock(&crashtest_mutex_b);
}

size_t crashtest_hang_held(char *text, size_t size)
{
	return scnprintf(text, size, "%s%s%s%s", spin_is_locked(&crashtest_hang_a) ? " hang-a" : "", spin_is_locked(&crashtest_hang_b) ? " hang-b" : "",
		mutex_is_locked(&crashtest_mutex_a) ? " mutex-a" : "", mutex_is_locked(&crashtest_mutex_b) ? " mutex-b" : "");
}

const struct crashtest_cause crashtest_hangs[] = {
	{ "loop", crashtest_hang_loop }, { "calling-loop", crashtest_hang_calling }, { "spin-twice", crashtest_hang_spin_twice },
	{ "spin-abba", crashtest_hang_spin_abba, crashtest_prepare_abba }, { "mutex-twice", crashtest_hang_mutex_twice },
	{ "mutex-abba", crashtest_hang_mutex_abba, crashtest_prepare_mutex_abba }, { "mutex-orphan", crashtest_hang_mutex_orphan, crashtest_prepare_mutex_orphan }, {}
};
