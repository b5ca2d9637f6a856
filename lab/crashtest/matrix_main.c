// SPDX-License-Identifier: GPL-2.0
/*
 * crashtest_matrix: every crash in every context.
 *
 *	cat /dev/crashtest-matrix			contexts, causes, which of the driver's own locks are held now, and what was healed wrongly
 *	echo null-write@timer > /dev/crashtest-matrix	crashes so
 *
 * What crashes or hangs is a function without a result (matrix_causes.c, matrix_hangs.c), called from a function of the context. Where the context
 * is an asynchronous one, write(2) waits until it was reached and returns the byte count.
 *
 * Adding a cause or a context: one function and one line in a table.
 */
#include <linux/delay.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "matrix.h"

void crashtest_matrix_crash(const char *name);

/* What the context that is reached crashes by, and whether it was reached. */
static void (*crashtest_crash)(void);
static bool crashtest_reached;
static int crashtest_armed;

struct file *crashtest_file;

CRASHTEST_FRAME void crashtest_here(void)
{
	void (*crash)(void) = READ_ONCE(crashtest_crash);

	WRITE_ONCE(crashtest_reached, true);
	crash();
	barrier();
}

CRASHTEST_FRAME long crashtest_wait(void)
{
	for (int i = 0; i < 400; i++) {
		if (READ_ONCE(crashtest_reached))
			return 0;
		msleep(5);
	}
	return -ETIMEDOUT;
}

long crashtest_arm(enum crashtest_visitor visitor)
{
	WRITE_ONCE(crashtest_armed, visitor);
	return 0;
}

bool crashtest_is_armed(enum crashtest_visitor visitor)
{
	return cmpxchg(&crashtest_armed, (int)visitor, 0) == visitor;
}

static const struct crashtest_cause *crashtest_find_cause(const struct crashtest_cause *table, const char *name, size_t length)
{
	for (const struct crashtest_cause *cause = table; cause->name; cause++)
		if (strlen(cause->name) == length && !strncmp(cause->name, name, length))
			return cause;
	return NULL;
}

static bool crashtest_choose(const char *name, size_t length)
{
	const struct crashtest_cause *cause = crashtest_find_cause(crashtest_causes, name, length);

	if (!cause)
		cause = crashtest_find_cause(crashtest_hangs, name, length);
	if (!cause)
		return false;
	WRITE_ONCE(crashtest_reached, false);
	WRITE_ONCE(crashtest_armed, 0);
	if (cause->prepare)
		cause->prepare();
	WRITE_ONCE(crashtest_crash, cause->crash);
	return true;
}

/* For contexts that are another module's. */
void crashtest_matrix_crash(const char *name)
{
	if (crashtest_choose(name, strlen(name)))
		crashtest_here();
}
EXPORT_SYMBOL_GPL(crashtest_matrix_crash);

static const struct crashtest_context *const crashtest_contexts[] = { crashtest_lock_contexts, crashtest_task_contexts, crashtest_interrupt_contexts };

static const struct crashtest_context *crashtest_find_context(const char *name)
{
	for (int i = 0; i < ARRAY_SIZE(crashtest_contexts); i++)
		for (const struct crashtest_context *context = crashtest_contexts[i]; context->name; context++)
			if (!strcmp(context->name, name))
				return context;
	return NULL;
}

static const char *crashtest_wrong;

void crashtest_is_wrong(const char *what)
{
	WRITE_ONCE(crashtest_wrong, what);
}

static CRASHTEST_FRAME long crashtest_enter(const struct crashtest_context *context)
{
	long err = context->enter();

	barrier();
	return err;
}

static ssize_t crashtest_matrix_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
{
	const struct crashtest_context *context;
	char text[64], *name, *at;
	long err;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, count))
		return -EFAULT;
	text[count] = 0;
	name = strim(text);
	at = strchr(name, '@');
	context = at ? crashtest_find_context(at + 1) : NULL;
	if (!context || !crashtest_choose(name, at - name))
		return -EINVAL;
	crashtest_file = file;
	err = crashtest_enter(context);
	return err < 0 ? err : count;
}

static ssize_t crashtest_matrix_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	char *text = kmalloc(PAGE_SIZE, GFP_KERNEL);
	size_t length = 0;
	ssize_t copied;

	if (!text)
		return -ENOMEM;
	length += scnprintf(text + length, PAGE_SIZE - length, "contexts:");
	for (int i = 0; i < ARRAY_SIZE(crashtest_contexts); i++)
		for (const struct crashtest_context *context = crashtest_contexts[i]; context->name; context++)
			length += scnprintf(text + length, PAGE_SIZE - length, " %s", context->name);
	length += scnprintf(text + length, PAGE_SIZE - length, "\ncauses:");
	for (const struct crashtest_cause *cause = crashtest_causes; cause->name; cause++)
		length += scnprintf(text + length, PAGE_SIZE - length, " %s", cause->name);
	for (const struct crashtest_cause *cause = crashtest_hangs; cause->name; cause++)
		length += scnprintf(text + length, PAGE_SIZE - length, " %s", cause->name);
	length += scnprintf(text + length, PAGE_SIZE - length, "\nheld:");
	length += crashtest_held(text + length, PAGE_SIZE - length);
	length += crashtest_hang_held(text + length, PAGE_SIZE - length);
	length += scnprintf(text + length, PAGE_SIZE - length, "\nwrong: %s\n", READ_ONCE(crashtest_wrong) ?: "");
	copied = simple_read_from_buffer(buf, count, ppos, text, length);
	kfree(text);
	return copied;
}

static int crashtest_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &crashtest_vm_ops;
	return 0;
}

static const struct file_operations crashtest_matrix_fops = {
	.owner = THIS_MODULE,
	.read = crashtest_matrix_read,
	.write = crashtest_matrix_write,
	.mmap = crashtest_mmap,
	.release = crashtest_release,
	.llseek = default_llseek,
};

static struct miscdevice crashtest_matrix_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "crashtest-matrix",
	.fops = &crashtest_matrix_fops,
};

/* Never unloaded: what was abandoned may still refer to it. */
static int __init crashtest_matrix_init(void)
{
	crashtest_register_exec();
	return misc_register(&crashtest_matrix_device);
}
module_init(crashtest_matrix_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Crashes the kernel by cause and context");
