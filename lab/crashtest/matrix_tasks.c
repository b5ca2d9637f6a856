// SPDX-License-Identifier: GPL-2.0
/* Contexts of a process on its way through the kernel, and of the kernel's own threads. */
#include <linux/binfmts.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/sched/task.h>
#include <linux/string.h>
#include <linux/task_work.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "matrix.h"

/* The page fault handler of a user access. */
static vm_fault_t crashtest_fault(struct vm_fault *vmf)
{
	crashtest_here();
	return VM_FAULT_SIGBUS;
}

static void crashtest_vma_open(struct vm_area_struct *vma)
{
	if (crashtest_is_armed(CRASHTEST_FORK))
		crashtest_here();
}

const struct vm_operations_struct crashtest_vm_ops = { .fault = crashtest_fault, .open = crashtest_vma_open };

static CRASHTEST_FRAME long crashtest_in_fault(void)
{
	unsigned long at = vm_mmap(crashtest_file, 0, PAGE_SIZE, PROT_READ, MAP_SHARED, 0);
	int value;

	if (IS_ERR_VALUE(at))
		return at;
	return get_user(value, (int __user *)at);
}

/* fork(2) of the process that writes: its mapping is opened for the child. */
static CRASHTEST_FRAME long crashtest_in_fork(void)
{
	unsigned long at = vm_mmap(crashtest_file, 0, PAGE_SIZE, PROT_READ, MAP_SHARED, 0);

	if (IS_ERR_VALUE(at))
		return at;
	return crashtest_arm(CRASHTEST_FORK);
}

/* execve(2) of a file that begins with "CRSH". */
static int crashtest_load_binary(struct linux_binprm *bprm)
{
	if (!memcmp(bprm->buf, "CRSH", 4) && crashtest_is_armed(CRASHTEST_EXEC))
		crashtest_here();
	return -ENOEXEC;
}

static struct linux_binfmt crashtest_format = { .module = THIS_MODULE, .load_binary = crashtest_load_binary };

void crashtest_register_exec(void)
{
	register_binfmt(&crashtest_format);
}

static CRASHTEST_FRAME long crashtest_in_exec(void)
{
	return crashtest_arm(CRASHTEST_EXEC);
}

/* The last close of the file, at exit(2) where it is left open. */
int crashtest_release(struct inode *inode, struct file *file)
{
	if (file->private_data == &crashtest_file && crashtest_is_armed(CRASHTEST_RELEASE))
		crashtest_here();
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_release(void)
{
	crashtest_file->private_data = &crashtest_file;
	return crashtest_arm(CRASHTEST_RELEASE);
}

/* On the way back to user space, where signals are delivered. */
static void crashtest_task_work(struct callback_head *work)
{
	crashtest_here();
}

static struct callback_head crashtest_signal_work;

static long crashtest_in_task(struct task_struct *task)
{
	static int (*add)(struct task_struct *, struct callback_head *, enum task_work_notify_mode);

	/* Not exported: a probe tells its address. */
	if (!add) {
		struct kprobe probe = { .symbol_name = "task_work_add" };
		int err = register_kprobe(&probe);

		if (err)
			return err;
		add = (void *)probe.addr;
		unregister_kprobe(&probe);
	}
	init_task_work(&crashtest_signal_work, crashtest_task_work);
	return add(task, &crashtest_signal_work, TWA_SIGNAL);
}

static CRASHTEST_FRAME long crashtest_in_signal(void)
{
	return crashtest_in_task(current);
}

static CRASHTEST_FRAME long crashtest_in_init(void)
{
	struct task_struct *task = get_pid_task(find_vpid(1), PIDTYPE_PID);
	long err;

	if (!task)
		return -ESRCH;
	err = crashtest_in_task(task);
	put_task_struct(task);
	return err ?: crashtest_wait();
}

/* Contexts of the kernel's own threads. */

static int crashtest_thread(void *unused)
{
	crashtest_here();
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_kthread(void)
{
	struct task_struct *task = kthread_run(crashtest_thread, NULL, "crashtest_thread");

	return IS_ERR(task) ? PTR_ERR(task) : crashtest_wait();
}

static void crashtest_work_function(struct work_struct *work)
{
	crashtest_here();
}

static CRASHTEST_FRAME long crashtest_in_work(void)
{
	static DECLARE_WORK(work, crashtest_work_function);

	schedule_work(&work);
	return crashtest_wait();
}

static int crashtest_notify(struct notifier_block *block, unsigned long event, void *data)
{
	crashtest_here();
	return NOTIFY_OK;
}

static CRASHTEST_FRAME long crashtest_in_notifier(void)
{
	static BLOCKING_NOTIFIER_HEAD(chain);
	static struct notifier_block block = { .notifier_call = crashtest_notify };
	int said;

	blocking_notifier_chain_register(&chain, &block);
	said = blocking_notifier_call_chain(&chain, 1, NULL);
	blocking_notifier_chain_unregister(&chain, &block);
	return said & NOTIFY_STOP_MASK ? notifier_to_errno(said) : 0;
}

/* Armed only are fork, release and exec: the next fork of the writer, its exit or last close, the next execve of a file that begins with "CRSH". */
#define CONTEXT(text, function) { text, crashtest_in_##function }

const struct crashtest_context crashtest_task_contexts[] = {
	CONTEXT("fault", fault),
	CONTEXT("fork", fork),
	CONTEXT("release", release),
	CONTEXT("exec", exec),
	CONTEXT("signal", signal),
	CONTEXT("init", init),
	CONTEXT("kthread", kthread),
	CONTEXT("work", work),
	CONTEXT("notifier", notifier), {}
};
