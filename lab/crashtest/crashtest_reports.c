// SPDX-License-Identifier: GPL-2.0
/*
 * crashtest_reports: makes the kernel complain by name, in all the ways that a distribution kernel can, for samples of
 * console logs. Loaded only where such samples are captured.
 *
 *	cat /dev/crashtest-reports			the names, one a line
 *	echo list-add > /dev/crashtest-reports		provokes that report
 *
 * Every name is the function crashtest_<name>, called from crashtest_provoke(). Many of them leave the kernel damaged.
 *
 * Adding one: one function and one line in crashtest_reports[].
 */
#include <linux/bug.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#define CRASHTEST_FRAME noinline __attribute__((noipa))

/* Known to the compiler as variables only, so that nothing is concluded from their values. */
static int *crashtest_null;
static int crashtest_zero, crashtest_sink;
static unsigned long crashtest_wild = 0xffff800000000bad, crashtest_noncanonical = 0x1122334455667788;
static const unsigned long crashtest_constant = 42;
static int (*crashtest_function)(void);
static size_t crashtest_length = 64;
static char __user *crashtest_user;
static char crashtest_buffer[256];

struct crashtest_entry {
	struct list_head list;
	unsigned long value[6];
};

static CRASHTEST_FRAME void crashtest_list_add(void)
{
	static struct list_head head = LIST_HEAD_INIT(head), entry, other;

	list_add(&other, &head);
	other.prev = &entry;
	list_add(&entry, &head);
}

static CRASHTEST_FRAME void crashtest_list_del(void)
{
	static struct list_head head = LIST_HEAD_INIT(head), entry;

	list_add(&entry, &head);
	list_del(&entry);
	list_del(&entry);
}

/* Follows the next pointer of an entry that was deleted. */
static CRASHTEST_FRAME void crashtest_list_poison(void)
{
	static struct list_head head = LIST_HEAD_INIT(head);
	static struct crashtest_entry entry;

	list_add(&entry.list, &head);
	list_del(&entry.list);
	crashtest_sink = ((struct crashtest_entry *)READ_ONCE(entry.list.next))->value[0];
	barrier();
}

static CRASHTEST_FRAME void crashtest_err_ptr(void)
{
	struct crashtest_entry *e = ERR_PTR(-ENOMEM);

	OPTIMIZER_HIDE_VAR(e);
	e->value[1] = 1;
	barrier();
}

static CRASHTEST_FRAME void crashtest_null_member(void)
{
	struct crashtest_entry *e = (struct crashtest_entry *)READ_ONCE(crashtest_null);

	crashtest_sink = READ_ONCE(e->value[2]);
	barrier();
}

static CRASHTEST_FRAME void crashtest_wild_write(void)
{
	*(int *)READ_ONCE(crashtest_wild) = 1;
	barrier();
}

static CRASHTEST_FRAME void crashtest_wild_call(void)
{
	crashtest_function = (void *)READ_ONCE(crashtest_wild);
	crashtest_sink = READ_ONCE(crashtest_function)();
	barrier();
}

/* Calls data: mapped, not executable. */
static CRASHTEST_FRAME void crashtest_data_call(void)
{
	crashtest_function = (void *)crashtest_buffer;
	crashtest_sink = READ_ONCE(crashtest_function)();
	barrier();
}

static CRASHTEST_FRAME void crashtest_readonly_write(void)
{
	unsigned long *p = (unsigned long *)&crashtest_constant;

	OPTIMIZER_HIDE_VAR(p);
	*p = 1;
	barrier();
}

static CRASHTEST_FRAME void crashtest_user_read(void)
{
	crashtest_sink = *(volatile int __force *)READ_ONCE(crashtest_user);
	barrier();
}

static CRASHTEST_FRAME void crashtest_user_call(void)
{
	crashtest_function = (void __force *)READ_ONCE(crashtest_user);
	crashtest_sink = READ_ONCE(crashtest_function)();
	barrier();
}

static CRASHTEST_FRAME void crashtest_noncanonical_read(void)
{
	crashtest_sink = *(int *)READ_ONCE(crashtest_noncanonical);
	barrier();
}

static CRASHTEST_FRAME void crashtest_stack_segment(void)
{
	asm volatile("push %%rbp; mov %0, %%rbp; mov (%%rbp), %%eax; pop %%rbp" : : "r" (READ_ONCE(crashtest_noncanonical)) : "rax", "memory");
	barrier();
}

static CRASHTEST_FRAME void crashtest_int3(void)
{
	asm volatile("int3");
	barrier();
}

static CRASHTEST_FRAME void crashtest_invalid_opcode(void)
{
	if (READ_ONCE(crashtest_zero) == 0)
		asm volatile("ud2");
	barrier();
}

/* Fails in a function that does what it was told. */
static CRASHTEST_FRAME void crashtest_memcpy(void)
{
	memcpy(crashtest_buffer, READ_ONCE(crashtest_null), READ_ONCE(crashtest_length));
	barrier();
}

static CRASHTEST_FRAME void crashtest_strlen(void)
{
	char *volatile text = (char *)crashtest_wild;

	crashtest_sink = strlen(text);
	barrier();
}

static CRASHTEST_FRAME int crashtest_recurse(int depth)
{
	volatile char frame[512];

	frame[depth & 511] = depth;
	return depth ? crashtest_recurse(depth - 1) + frame[depth & 511] : 0;
}

static CRASHTEST_FRAME void crashtest_stack_overflow(void)
{
	crashtest_sink = crashtest_recurse(1000);
	barrier();
}

static CRASHTEST_FRAME void crashtest_stack_smash(void)
{
	char small[16];
	volatile char *p = small;

	for (int i = 0; i < 40; i++)
		p[i] = i;
	barrier();
}

static CRASHTEST_FRAME void crashtest_refcount_underflow(void)
{
	refcount_t r = REFCOUNT_INIT(0);

	crashtest_sink = refcount_dec_and_test(&r);
	barrier();
}

static CRASHTEST_FRAME void crashtest_refcount_zero(void)
{
	refcount_t r = REFCOUNT_INIT(0);

	refcount_inc(&r);
	barrier();
}

static CRASHTEST_FRAME void crashtest_usercopy(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(p);
	crashtest_length = 1024;
	crashtest_sink = copy_to_user(crashtest_user, p, READ_ONCE(crashtest_length));
	kfree(p);
}

static CRASHTEST_FRAME void crashtest_double_free(void)
{
	void *p = kmalloc(64, GFP_KERNEL);

	kfree(p);
	kfree(p);
	barrier();
}

/* What kfence or slub_debug find, where they are on; else it is not noticed. */
static CRASHTEST_FRAME void crashtest_use_after_free(void)
{
	for (int i = 0; i < 4000; i++) {
		struct crashtest_entry *e = kzalloc(sizeof(*e), GFP_KERNEL);

		kfree(e);
		barrier();
		crashtest_sink += READ_ONCE(e->value[0]);
		usleep_range(100, 200);
	}
}

static CRASHTEST_FRAME void crashtest_out_of_bounds(void)
{
	for (int i = 0; i < 4000; i++) {
		char *p = kzalloc(64, GFP_KERNEL);

		OPTIMIZER_HIDE_VAR(p);
		p[65] = 1;
		kfree(p);
		usleep_range(100, 200);
	}
}

static CRASHTEST_FRAME void crashtest_write_after_free(void)
{
	char *p = kmalloc(64, GFP_KERNEL), *q[64];

	kfree(p);
	OPTIMIZER_HIDE_VAR(p);
	p[32] = 1;
	for (int i = 0; i < ARRAY_SIZE(q); i++)
		q[i] = kmalloc(64, GFP_KERNEL);
	for (int i = 0; i < ARRAY_SIZE(q); i++)
		kfree(q[i]);
}

static CRASHTEST_FRAME void crashtest_bad_page(void)
{
	static struct page *pages[3000];
	struct page *page = alloc_page(GFP_KERNEL);

	/* Looked at when it is freed, or when it is handed out again, or when the processor gives spare ones back. */
	page->mapping = (void *)0xdead000;
	__free_page(page);
	for (int i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = alloc_page(GFP_KERNEL);
	for (int i = 0; i < ARRAY_SIZE(pages); i++)
		__free_page(pages[i]);
}

static CRASHTEST_FRAME void crashtest_order(void)
{
	/* An order that is never to be had once some were taken. */
	for (int i = 0; i < 1000 && alloc_pages(GFP_KERNEL | __GFP_NORETRY, 10); i++)
		;
}

static CRASHTEST_FRAME void crashtest_atomic_sleep(void)
{
	preempt_disable();
	msleep(10);
	preempt_enable();
}

static void crashtest_spin(int seconds)
{
	for (int i = 0; i < seconds * 1000; i++)
		mdelay(1);
}

static CRASHTEST_FRAME void crashtest_soft_lockup(void)
{
	preempt_disable();
	crashtest_spin(9);
	preempt_enable();
}

static CRASHTEST_FRAME void crashtest_irqs_off(void)
{
	unsigned long flags;

	local_irq_save(flags);
	crashtest_spin(9);
	local_irq_restore(flags);
}

static CRASHTEST_FRAME void crashtest_hung(void)
{
	static DEFINE_MUTEX(lock);

	mutex_lock(&lock);
	mutex_lock(&lock);
}

static CRASHTEST_FRAME void crashtest_hung_completion(void)
{
	DECLARE_COMPLETION_ONSTACK(done);

	wait_for_completion(&done);
}

static CRASHTEST_FRAME void crashtest_warn_plain(void)
{
	WARN_ON(READ_ONCE(crashtest_zero) == 0);
}

static void crashtest_timer_function(struct timer_list *timer)
{
	*READ_ONCE(crashtest_null) = 1;
	barrier();
}

static CRASHTEST_FRAME void crashtest_softirq(void)
{
	static DEFINE_TIMER(timer, crashtest_timer_function);

	mod_timer(&timer, jiffies + 2);
	msleep(500);
}

static void crashtest_ipi_function(void *unused)
{
	*READ_ONCE(crashtest_null) = 1;
	barrier();
}

/* A function call interrupt on the other processor, which as a rule idles. */
static CRASHTEST_FRAME void crashtest_hardirq(void)
{
	int other = (raw_smp_processor_id() + 1) % num_online_cpus();

	smp_call_function_single(other, crashtest_ipi_function, NULL, 0);
	msleep(500);
}

static void crashtest_ipi_warn_function(void *unused)
{
	WARN(1, "crashtest: a warning in an interrupt\n");
}

static CRASHTEST_FRAME void crashtest_hardirq_warn(void)
{
	smp_call_function_single((raw_smp_processor_id() + 1) % num_online_cpus(), crashtest_ipi_warn_function, NULL, 1);
}

static int crashtest_thread_function(void *unused)
{
	crashtest_sink = *READ_ONCE(crashtest_null);
	barrier();
	return 0;
}

static CRASHTEST_FRAME void crashtest_thread(void)
{
	kthread_run(crashtest_thread_function, NULL, "crashtest/%d", 7);
	msleep(500);
}

static void crashtest_work_function(struct work_struct *work)
{
	BUG_ON(READ_ONCE(crashtest_zero) == 0);
}

static CRASHTEST_FRAME void crashtest_work(void)
{
	static DECLARE_WORK(work, crashtest_work_function);

	schedule_work(&work);
	msleep(500);
}

#define CRASHTEST(text, function) { text, crashtest_##function }

static const struct {
	const char *name;
	void (*provoke)(void);
} crashtest_reports[] = {
	CRASHTEST("list-add", list_add), CRASHTEST("list-del", list_del), CRASHTEST("list-poison", list_poison),
	CRASHTEST("err-ptr", err_ptr), CRASHTEST("null-member", null_member), CRASHTEST("wild-write", wild_write),
	CRASHTEST("wild-call", wild_call), CRASHTEST("data-call", data_call), CRASHTEST("readonly-write", readonly_write),
	CRASHTEST("user-read", user_read), CRASHTEST("user-call", user_call), CRASHTEST("noncanonical-read", noncanonical_read),
	CRASHTEST("stack-segment", stack_segment), CRASHTEST("int3", int3), CRASHTEST("invalid-opcode", invalid_opcode),
	CRASHTEST("memcpy", memcpy), CRASHTEST("strlen", strlen), CRASHTEST("stack-overflow", stack_overflow),
	CRASHTEST("stack-smash", stack_smash), CRASHTEST("refcount-underflow", refcount_underflow),
	CRASHTEST("refcount-zero", refcount_zero), CRASHTEST("usercopy", usercopy), CRASHTEST("double-free", double_free),
	CRASHTEST("use-after-free", use_after_free), CRASHTEST("out-of-bounds", out_of_bounds),
	CRASHTEST("write-after-free", write_after_free), CRASHTEST("bad-page", bad_page), CRASHTEST("order", order),
	CRASHTEST("atomic-sleep", atomic_sleep), CRASHTEST("soft-lockup", soft_lockup), CRASHTEST("irqs-off", irqs_off),
	CRASHTEST("hung", hung), CRASHTEST("hung-completion", hung_completion), CRASHTEST("warn-plain", warn_plain),
	CRASHTEST("softirq", softirq), CRASHTEST("hardirq", hardirq), CRASHTEST("hardirq-warn", hardirq_warn),
	CRASHTEST("thread", thread), CRASHTEST("work", work),
};

static CRASHTEST_FRAME void crashtest_provoke(int which)
{
	crashtest_reports[which].provoke();
	barrier();
}

static ssize_t crashtest_reports_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
{
	char text[64], *name;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, count))
		return -EFAULT;
	crashtest_user = (char __user *)buf;
	text[count] = 0;
	name = strim(text);
	for (int i = 0; i < ARRAY_SIZE(crashtest_reports); i++) {
		if (strcmp(name, crashtest_reports[i].name))
			continue;
		crashtest_provoke(i);
		return count;
	}
	return -EINVAL;
}

static ssize_t crashtest_reports_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	char text[1024];
	size_t length = 0;

	for (int i = 0; i < ARRAY_SIZE(crashtest_reports); i++)
		length += scnprintf(text + length, sizeof(text) - length, "%s\n", crashtest_reports[i].name);
	return simple_read_from_buffer(buf, count, ppos, text, length);
}

static const struct file_operations crashtest_reports_fops = {
	.owner = THIS_MODULE,
	.read = crashtest_reports_read,
	.write = crashtest_reports_write,
	.llseek = default_llseek,
};

static struct miscdevice crashtest_reports_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "crashtest-reports",
	.fops = &crashtest_reports_fops,
};
module_misc_device(crashtest_reports_device);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Provokes the kernel's reports by name");
