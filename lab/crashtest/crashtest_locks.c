// SPDX-License-Identifier: GPL-2.0
/*
 * crashtest_locks: kernel threads that hold locks, wait for them, and wait for each other, to be found by who looks from outside.
 *
 *	cat /dev/crashtest_locks			the names, one a line, with what each does; then "lock NAME ADDRESS"
 *	echo hold-mutex > /dev/crashtest_locks		starts that one's threads, and returns when they are on their way
 *	echo end-silently > /dev/crashtest_locks	what is waited for comes, and nobody is woken
 *	echo release > /dev/crashtest_locks		ends all of them, deadlocks too
 *
 * Threads are named lk_*. One set at a time.
 */
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/percpu-rwsem.h>
#include <linux/rtmutex.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

static DEFINE_MUTEX(locks_mutex_a);
static DEFINE_MUTEX(locks_mutex_b);
static DECLARE_RWSEM(locks_rwsem);
static struct semaphore locks_semaphore = __SEMAPHORE_INITIALIZER(locks_semaphore, 1);
DEFINE_STATIC_PERCPU_RWSEM(locks_percpu);
static DEFINE_RT_MUTEX(locks_rtmutex);
static DEFINE_SPINLOCK(locks_spinlock);
static DECLARE_COMPLETION(locks_completion);
static DECLARE_WAIT_QUEUE_HEAD(locks_queue);

static unsigned long locks_word;
static struct page *locks_page;

static DEFINE_MUTEX(locks_control);
static DECLARE_WAIT_QUEUE_HEAD(locks_gate);
static DECLARE_COMPLETION(locks_held);
static bool locks_released, locks_spinning;
static struct task_struct *locks_threads[8];
static int locks_count;

/* A holder: says that it holds, and goes on when it is told to. */
static void locks_hold(void)
{
	complete(&locks_held);
	wait_event_interruptible(locks_gate, READ_ONCE(locks_released));
}

/* Nobody may be gone before kthread_stop() asks. */
static int locks_end(void)
{
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule_timeout(HZ / 10);
		__set_current_state(TASK_RUNNING);
		flush_signals(current);
	}
	return 0;
}

#define LOCKS_THREAD(name, lock, body, unlock) \
	static int locks_##name(void *unused) \
	{ \
		allow_signal(SIGKILL); \
		if (!(lock)) { \
			body; \
			unlock; \
		} \
		return locks_end(); \
	}

LOCKS_THREAD(hold_mutex, mutex_lock_killable(&locks_mutex_a), locks_hold(), mutex_unlock(&locks_mutex_a))
LOCKS_THREAD(want_mutex, mutex_lock_killable(&locks_mutex_a), , mutex_unlock(&locks_mutex_a))
LOCKS_THREAD(write_rwsem, down_write_killable(&locks_rwsem), locks_hold(), up_write(&locks_rwsem))
LOCKS_THREAD(want_write, down_write_killable(&locks_rwsem), , up_write(&locks_rwsem))
LOCKS_THREAD(read_rwsem, down_read_killable(&locks_rwsem), locks_hold(), up_read(&locks_rwsem))
LOCKS_THREAD(want_read, down_read_killable(&locks_rwsem), , up_read(&locks_rwsem))
LOCKS_THREAD(hold_semaphore, down_killable(&locks_semaphore), locks_hold(), up(&locks_semaphore))
LOCKS_THREAD(want_semaphore, down_killable(&locks_semaphore), , up(&locks_semaphore))
LOCKS_THREAD(write_percpu, (percpu_down_write(&locks_percpu), 0), locks_hold(), percpu_up_write(&locks_percpu))
LOCKS_THREAD(want_percpu, (percpu_down_read(&locks_percpu), 0), , percpu_up_read(&locks_percpu))
LOCKS_THREAD(read_percpu, (percpu_down_read(&locks_percpu), 0), locks_hold(), percpu_up_read(&locks_percpu))
LOCKS_THREAD(want_percpu_write, (percpu_down_write(&locks_percpu), 0), , percpu_up_write(&locks_percpu))
LOCKS_THREAD(hold_rtmutex, (rt_mutex_lock(&locks_rtmutex), 0), locks_hold(), rt_mutex_unlock(&locks_rtmutex))
LOCKS_THREAD(want_rtmutex, (rt_mutex_lock(&locks_rtmutex), 0), , rt_mutex_unlock(&locks_rtmutex))
LOCKS_THREAD(want_completion, wait_for_completion_killable(&locks_completion), , )
LOCKS_THREAD(want_bit, wait_on_bit(&locks_word, 0, TASK_KILLABLE), , )
LOCKS_THREAD(want_page, folio_lock_killable(page_folio(locks_page)), , unlock_page(locks_page))
LOCKS_THREAD(want_event, wait_event_killable(locks_queue, READ_ONCE(locks_released)), , )

/* Each takes its own lock, waits until both have one, and wants the other's. */
LOCKS_THREAD(a_then_b, mutex_lock_killable(&locks_mutex_a),
	     ({ complete(&locks_held); wait_event_interruptible(locks_gate, mutex_is_locked(&locks_mutex_b) || locks_released);
		if (!mutex_lock_killable(&locks_mutex_b)) mutex_unlock(&locks_mutex_b); }), mutex_unlock(&locks_mutex_a))
LOCKS_THREAD(b_then_a, mutex_lock_killable(&locks_mutex_b),
	     ({ wake_up_all(&locks_gate); if (!mutex_lock_killable(&locks_mutex_a)) mutex_unlock(&locks_mutex_a); }), mutex_unlock(&locks_mutex_b))
LOCKS_THREAD(twice, mutex_lock_killable(&locks_mutex_a),
	     ({ complete(&locks_held); if (!mutex_lock_killable(&locks_mutex_a)) mutex_unlock(&locks_mutex_a); }), mutex_unlock(&locks_mutex_a))

/* Goes without giving it back. */
static int locks_orphan(void *unused)
{
	mutex_lock(&locks_mutex_a);
	complete(&locks_held);
	return 0;
}

/* The second lock waits for the first for ever, with preemption off: the CPU is lost until somebody else unlocks. */
static int locks_spin(void *unused)
{
	spin_lock(&locks_spinlock);
	WRITE_ONCE(locks_spinning, true);
	complete(&locks_held);
	spin_lock(&locks_spinlock);
	spin_unlock(&locks_spinlock);
	preempt_enable();
	return locks_end();
}

/* A workqueue that does one thing at a time, and that one does not end; work and a timer for much later. */
static struct workqueue_struct *locks_wq;

static void locks_work_fn(struct work_struct *work)
{
	wait_event_interruptible(locks_gate, READ_ONCE(locks_released));
}

static void locks_waiting_fn(struct work_struct *work)
{
}

static void locks_delayed_fn(struct work_struct *work)
{
}

static void locks_timer_fn(struct timer_list *timer)
{
}

static DECLARE_WORK(locks_work, locks_work_fn);
static DECLARE_WORK(locks_waiting, locks_waiting_fn);
static DECLARE_DELAYED_WORK(locks_delayed, locks_delayed_fn);
static DEFINE_TIMER(locks_timer, locks_timer_fn);

static int locks_start_work(void)
{
	if (locks_wq)
		return -EBUSY;
	locks_released = false;
	locks_wq = alloc_workqueue("lk_wq", WQ_UNBOUND | WQ_MEM_RECLAIM, 1);
	if (!locks_wq)
		return -ENOMEM;
	queue_work(locks_wq, &locks_work);
	queue_work(locks_wq, &locks_waiting);
	queue_delayed_work(locks_wq, &locks_delayed, 1000 * HZ);
	mod_timer(&locks_timer, jiffies + 2000 * HZ);
	return 0;
}

/* Real-time threads that do nothing but run, until they are told to stop. */
static int locks_run(void *unused)
{
	complete(&locks_held);
	while (!READ_ONCE(locks_released))
		cond_resched();
	return locks_end();
}

struct locks_set {
	const char *name, *what;
	/* The first says when it holds; the others start then. */
	struct {
		const char *name;
		int (*run)(void *);
	} threads[4];
	int cpu;
	bool keeps_nobody;
	/* The first with the priority of real-time threads, the others with the lowest. */
	bool realtime;
};

static const struct locks_set locks_sets[] = {
	{ "hold-mutex", "a mutex is held, two wait", { { "lk_holder", locks_hold_mutex }, { "lk_want1", locks_want_mutex }, { "lk_want2", locks_want_mutex } } },
	{ "hold-rwsem", "an rwsem is held for writing, a reader and a writer wait", { { "lk_holder", locks_write_rwsem }, { "lk_reader", locks_want_read }, { "lk_writer", locks_want_write } } },
	{ "hold-rwsem-read", "an rwsem is held for reading, a writer waits", { { "lk_holder", locks_read_rwsem }, { "lk_writer", locks_want_write } } },
	{ "hold-semaphore", "a semaphore is down, one waits", { { "lk_holder", locks_hold_semaphore }, { "lk_want1", locks_want_semaphore } } },
	{ "hold-percpu-rwsem", "a per-CPU rwsem is held for writing, a reader waits", { { "lk_holder", locks_write_percpu }, { "lk_reader", locks_want_percpu } } },
	{ "hold-percpu-rwsem-read", "a per-CPU rwsem is held for reading, a writer waits", { { "lk_holder", locks_read_percpu }, { "lk_writer", locks_want_percpu_write } } },
	{ "hold-rtmutex", "an rt_mutex is held, one waits", { { "lk_holder", locks_hold_rtmutex }, { "lk_want1", locks_want_rtmutex } } },
	{ "wait-completion", "a completion that nobody completes", { { "lk_want1", locks_want_completion } }, .keeps_nobody = true },
	{ "wait-bit", "a bit that nobody clears", { { "lk_want1", locks_want_bit } }, .keeps_nobody = true },
	{ "wait-page", "a page that nobody unlocks", { { "lk_want1", locks_want_page } }, .keeps_nobody = true },
	{ "wait-event", "a wait queue that nobody wakes", { { "lk_want1", locks_want_event } }, .keeps_nobody = true },
	{ "deadlock-abba-mutex", "two take two mutexes in opposite order", { { "lk_a", locks_a_then_b }, { "lk_b", locks_b_then_a } } },
	{ "deadlock-self-mutex", "one takes a mutex twice", { { "lk_a", locks_twice } } },
	{ "orphan-mutex", "one takes a mutex and exits, one waits", { { "lk_orphan", locks_orphan }, { "lk_want1", locks_want_mutex } } },
	{ "spin-deadlock", "one takes a spinlock twice on CPU 1", { { "lk_spin", locks_spin } }, .cpu = 1 },
	{ "busy-realtime", "two real-time threads run on CPU 1, one of them waits for the other", { { "lk_fifo", locks_run }, { "lk_low", locks_run } }, .cpu = 1, .realtime = true },
};

static int locks_start(const struct locks_set *set)
{
	int i;

	if (locks_count)
		return -EBUSY;
	locks_released = false;
	reinit_completion(&locks_held);
	reinit_completion(&locks_completion);
	set_bit(0, &locks_word);
	if (!locks_page)
		locks_page = alloc_page(GFP_KERNEL);
	if (!locks_page)
		return -ENOMEM;
	set_bit(PG_locked, &locks_page->flags);
	for (i = 0; i < ARRAY_SIZE(set->threads) && set->threads[i].run; i++) {
		struct task_struct *task = kthread_create(set->threads[i].run, NULL, "%s", set->threads[i].name);

		if (IS_ERR(task))
			return PTR_ERR(task);
		if (set->cpu)
			kthread_bind(task, set->cpu);
		if (set->realtime && i == 0)
			sched_set_fifo(task);
		else if (set->realtime)
			sched_set_fifo_low(task);
		get_task_struct(task);
		locks_threads[locks_count++] = task;
		wake_up_process(task);
		if (i == 0 && !set->keeps_nobody)
			wait_for_completion(&locks_held);
	}
	return 0;
}

/* As when whoever should have woken somebody died on the way. */
static void locks_end_silently(void)
{
	WRITE_ONCE(locks_completion.done, 1);
	clear_bit_unlock(0, &locks_word);
	clear_bit_unlock(PG_locked, &locks_page->flags);
}

static void locks_release(void)
{
	int i;

	WRITE_ONCE(locks_released, true);
	complete_all(&locks_completion);
	wake_up_all(&locks_gate);
	wake_up_all(&locks_queue);
	if (READ_ONCE(locks_spinning)) {
		/* What the first spin_lock() took; preemption on that CPU is its own affair. */
		WRITE_ONCE(locks_spinning, false);
		arch_spin_unlock(&locks_spinlock.rlock.raw_lock);
	}
	for (i = 0; i < locks_count; i++)
		send_sig(SIGKILL, locks_threads[i], 1);
	for (i = 0; i < locks_count; i++) {
		kthread_stop(locks_threads[i]);
		put_task_struct(locks_threads[i]);
	}
	locks_count = 0;
	if (locks_wq) {
		cancel_delayed_work_sync(&locks_delayed);
		del_timer_sync(&locks_timer);
		destroy_workqueue(locks_wq);
		locks_wq = NULL;
	}
	/* The orphan's. */
	mutex_init(&locks_mutex_a);
}

static ssize_t locks_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
{
	char text[64], *name;
	int i, err = -EINVAL;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, count))
		return -EFAULT;
	text[count] = 0;
	name = strim(text);
	mutex_lock(&locks_control);
	if (!strcmp(name, "release")) {
		locks_release();
		err = 0;
	}
	if (!strcmp(name, "end-silently") && locks_page) {
		locks_end_silently();
		err = 0;
	}
	if (!strcmp(name, "hold-work"))
		err = locks_start_work();
	for (i = 0; i < ARRAY_SIZE(locks_sets); i++) {
		if (!strcmp(name, locks_sets[i].name))
			err = locks_start(&locks_sets[i]);
	}
	mutex_unlock(&locks_control);
	return err ? err : count;
}

static ssize_t locks_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	char *text = kmalloc(PAGE_SIZE, GFP_KERNEL);
	size_t length = 0;
	ssize_t copied;
	int i;

	if (!text)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(locks_sets); i++)
		length += scnprintf(text + length, PAGE_SIZE - length, "%-24s%s\n", locks_sets[i].name, locks_sets[i].what);
	length += scnprintf(text + length, PAGE_SIZE - length, "%-24s%s\n", "hold-work", "work that does not end, work behind it, work and a timer for later");
#define LOCKS_TELL(lock) length += scnprintf(text + length, PAGE_SIZE - length, "lock " #lock " %px\n", &locks_##lock)
	LOCKS_TELL(mutex_a);
	LOCKS_TELL(mutex_b);
	LOCKS_TELL(rwsem);
	LOCKS_TELL(semaphore);
	LOCKS_TELL(percpu);
	LOCKS_TELL(rtmutex);
	LOCKS_TELL(completion);
	LOCKS_TELL(queue);
	LOCKS_TELL(spinlock);
	LOCKS_TELL(work);
	LOCKS_TELL(waiting);
	LOCKS_TELL(delayed);
	LOCKS_TELL(timer);
	length += scnprintf(text + length, PAGE_SIZE - length, "expires %lu\n", locks_timer.expires);
	copied = simple_read_from_buffer(buf, count, ppos, text, length);
	kfree(text);
	return copied;
}

static const struct file_operations locks_fops = {
	.owner = THIS_MODULE,
	.read = locks_read,
	.write = locks_write,
	.llseek = default_llseek,
};

static struct miscdevice locks_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "crashtest_locks",
	.fops = &locks_fops,
};

static int __init locks_init(void)
{
	return misc_register(&locks_device);
}
module_init(locks_init);

static void __exit locks_exit(void)
{
	misc_deregister(&locks_device);
	mutex_lock(&locks_control);
	locks_release();
	mutex_unlock(&locks_control);
}
module_exit(locks_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Kernel threads that hold locks and wait for them");
