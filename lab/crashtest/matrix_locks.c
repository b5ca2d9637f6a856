// SPDX-License-Identifier: GPL-2.0
/* Contexts of a process that holds something. */
#include <linux/blkdev.h>
#include <linux/jbd2.h>
#include <linux/kthread.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>
#include <linux/sched/signal.h>
#include <linux/semaphore.h>
#include <linux/spinlock.h>

#include "matrix.h"

static DEFINE_MUTEX(crashtest_mutex);
static DECLARE_RWSEM(crashtest_rwsem);
static struct semaphore crashtest_semaphore = __SEMAPHORE_INITIALIZER(crashtest_semaphore, 1);
static DEFINE_SPINLOCK(crashtest_spinlock);
static DEFINE_SPINLOCK(crashtest_outer_spinlock);
static DEFINE_RWLOCK(crashtest_rwlock);

static CRASHTEST_FRAME long crashtest_in_syscall(void)
{
	crashtest_here();
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_mutex(void)
{
	mutex_lock(&crashtest_mutex);
	crashtest_here();
	mutex_unlock(&crashtest_mutex);
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_rwsem_read(void)
{
	down_read(&crashtest_rwsem);
	crashtest_here();
	up_read(&crashtest_rwsem);
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_rwsem_write(void)
{
	down_write(&crashtest_rwsem);
	crashtest_here();
	up_write(&crashtest_rwsem);
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_semaphore(void)
{
	down(&crashtest_semaphore);
	crashtest_here();
	up(&crashtest_semaphore);
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_spinlock(void)
{
	spin_lock(&crashtest_spinlock);
	crashtest_here();
	spin_unlock(&crashtest_spinlock);
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_spinlock_irq(void)
{
	unsigned long flags;

	spin_lock_irqsave(&crashtest_spinlock, flags);
	crashtest_here();
	spin_unlock_irqrestore(&crashtest_spinlock, flags);
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_spinlock_bh(void)
{
	spin_lock_bh(&crashtest_spinlock);
	crashtest_here();
	spin_unlock_bh(&crashtest_spinlock);
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_rwlock_write(void)
{
	write_lock(&crashtest_rwlock);
	crashtest_here();
	write_unlock(&crashtest_rwlock);
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_rcu(void)
{
	rcu_read_lock();
	crashtest_here();
	rcu_read_unlock();
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_preempt_off(void)
{
	preempt_disable();
	crashtest_here();
	preempt_enable();
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_irqs_off(void)
{
	unsigned long flags;

	local_irq_save(flags);
	crashtest_here();
	local_irq_restore(flags);
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_nested_inner(void)
{
	rcu_read_lock();
	spin_lock(&crashtest_outer_spinlock);
	spin_lock_irq(&crashtest_spinlock);
	crashtest_here();
	spin_unlock_irq(&crashtest_spinlock);
	spin_unlock(&crashtest_outer_spinlock);
	rcu_read_unlock();
	return 0;
}

/* Several at once, in two functions. */
static CRASHTEST_FRAME long crashtest_in_nested(void)
{
	long err;

	mutex_lock(&crashtest_mutex);
	down_write(&crashtest_rwsem);
	err = crashtest_in_nested_inner();
	up_write(&crashtest_rwsem);
	mutex_unlock(&crashtest_mutex);
	return err;
}

/* The journal of a file system that is mounted: its thread was given it. */
static journal_t *crashtest_find_journal(void)
{
	journal_t *journal = NULL;
	struct task_struct *task;

	rcu_read_lock();
	for_each_process(task) {
		if ((task->flags & PF_KTHREAD) && !strncmp(task->comm, "jbd2/", 5))
			journal = kthread_data(task);
	}
	rcu_read_unlock();
	return journal;
}

/* A transaction can't be committed while a handle of it is open: whoever syncs waits. */
static CRASHTEST_FRAME long crashtest_in_journal(void)
{
	journal_t *journal = crashtest_find_journal();
	handle_t *handle;

	if (!journal)
		return -ENODEV;
	handle = jbd2_journal_start(journal, 1);
	if (IS_ERR(handle))
		return PTR_ERR(handle);
	crashtest_here();
	return jbd2_journal_stop(handle);
}

static CRASHTEST_FRAME long crashtest_in_plug(void)
{
	struct blk_plug plug;

	blk_start_plug(&plug);
	crashtest_here();
	blk_finish_plug(&plug);
	return 0;
}

static bool crashtest_rwlock_is_held(void)
{
	if (!write_trylock(&crashtest_rwlock))
		return true;
	write_unlock(&crashtest_rwlock);
	return false;
}

size_t crashtest_held(char *text, size_t size)
{
	return scnprintf(text, size, "%s%s%s%s%s%s",
		mutex_is_locked(&crashtest_mutex) ? " mutex" : "", rwsem_is_locked(&crashtest_rwsem) ? " rwsem" : "",
		READ_ONCE(crashtest_semaphore.count) == 1 ? "" : " semaphore", spin_is_locked(&crashtest_spinlock) ? " spinlock" : "",
		spin_is_locked(&crashtest_outer_spinlock) ? " outer-spinlock" : "", crashtest_rwlock_is_held() ? " rwlock" : "");
}

#define CONTEXT(text, function) { text, crashtest_in_##function }

const struct crashtest_context crashtest_lock_contexts[] = {
	CONTEXT("syscall", syscall),
	CONTEXT("mutex", mutex),
	CONTEXT("rwsem-read", rwsem_read),
	CONTEXT("rwsem-write", rwsem_write),
	CONTEXT("semaphore", semaphore),
	CONTEXT("spinlock", spinlock),
	CONTEXT("spinlock-irq", spinlock_irq),
	CONTEXT("spinlock-bh", spinlock_bh),
	CONTEXT("rwlock-write", rwlock_write),
	CONTEXT("rcu", rcu),
	CONTEXT("preempt-off", preempt_off),
	CONTEXT("irqs-off", irqs_off),
	CONTEXT("nested", nested),
	CONTEXT("journal", journal),
	CONTEXT("plug", plug), {}
};
