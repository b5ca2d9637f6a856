// SPDX-License-Identifier: GPL-2.0
/*
 * crashtest: crashes the kernel by name, for testing what survives it.
 *
 *	cat /dev/crashtest			the names, one a line, with what each does
 *	echo null-write > /dev/crashtest	crashes so
 *
 * Every crash happens at the end of the same chain of calls, each with a frame of its own:
 *
 *	crashtest_write -> crashtest_outer -> crashtest_middle -> crashtest_<name>
 *
 * When the innermost function returns an error (because somebody made it return one), the chain hands it to
 * write(2); when it returns nothing bad, write(2) returns the byte count. Both middle frames keep values in
 * callee-saved registers across the call, which the innermost function overwrites; they check them afterwards, so a
 * return that restores the registers wrongly is seen: write(2) fails with EUCLEAN and the log says "registers lost".
 *
 * Adding a crash: one function and one line in crashtest_list[].
 */
#include <linux/bug.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

/* One frame per function, nothing merged, cloned or specialised by the compiler. */
#define CRASHTEST_FRAME noinline __attribute__((noipa))

/*
 * Overwrites the registers that the function has to have saved. The barrier() after each crash keeps the compiler from
 * restoring them before it.
 */
#define CRASHTEST_USE_REGISTERS() \
	asm volatile("mov $-1, %%rbx; mov $-2, %%r12; mov $-3, %%r13; mov $-4, %%r14; mov $-5, %%r15" \
		     : : : "rbx", "r12", "r13", "r14", "r15", "memory")

struct crashtest {
	const char *name;
	const char *what;
	/* Exactly one of these: the innermost function by its return type. */
	int (*as_int)(void);
	void (*as_void)(void);
	void *(*as_pointer)(void);
};

/* Known to the compiler as variables only, so that nothing is concluded from their values. */
static int *crashtest_null;
static int (*crashtest_null_function)(void);
static int crashtest_zero;
static int crashtest_sink;
/* Canonical, in the kernel half, in the guard hole below the direct map: never mapped. */
static int *crashtest_wild = (int *)0xffff800000000bad;

static CRASHTEST_FRAME int crashtest_null_read(void)
{
	CRASHTEST_USE_REGISTERS();
	crashtest_sink = *READ_ONCE(crashtest_null);
	barrier();
	return 0;
}

static CRASHTEST_FRAME int crashtest_null_write(void)
{
	CRASHTEST_USE_REGISTERS();
	*READ_ONCE(crashtest_null) = 1;
	barrier();
	return 0;
}

static CRASHTEST_FRAME int crashtest_wild_read(void)
{
	CRASHTEST_USE_REGISTERS();
	crashtest_sink = *READ_ONCE(crashtest_wild);
	barrier();
	return 0;
}

/* No barrier: the compiler restores some registers before the read, so this one dies in the middle of its epilogue. */
static CRASHTEST_FRAME int crashtest_epilogue_read(void)
{
	CRASHTEST_USE_REGISTERS();
	crashtest_sink = *READ_ONCE(crashtest_wild);
	return 0;
}

static CRASHTEST_FRAME int crashtest_null_call(void)
{
	int err;

	CRASHTEST_USE_REGISTERS();
	err = READ_ONCE(crashtest_null_function)();
	barrier();
	return err;
}

static CRASHTEST_FRAME int crashtest_bug(void)
{
	CRASHTEST_USE_REGISTERS();
	/* Conditional, so that the compiler keeps the function's epilogue. */
	BUG_ON(READ_ONCE(crashtest_zero) == 0);
	return 0;
}

static CRASHTEST_FRAME int crashtest_divide_by_zero(void)
{
	CRASHTEST_USE_REGISTERS();
	crashtest_sink = 1000 / READ_ONCE(crashtest_zero);
	barrier();
	return 0;
}

static CRASHTEST_FRAME int crashtest_warn(void)
{
	CRASHTEST_USE_REGISTERS();
	WARN(READ_ONCE(crashtest_zero) == 0, "crashtest: a warning\n");
	return 0;
}

static CRASHTEST_FRAME int crashtest_panic(void)
{
	CRASHTEST_USE_REGISTERS();
	if (READ_ONCE(crashtest_zero) == 0)
		panic("crashtest: an explicit panic");
	return 0;
}

static CRASHTEST_FRAME void crashtest_void_null_write(void)
{
	CRASHTEST_USE_REGISTERS();
	*READ_ONCE(crashtest_null) = 1;
	barrier();
}

static CRASHTEST_FRAME void *crashtest_pointer_null_read(void)
{
	CRASHTEST_USE_REGISTERS();
	crashtest_sink = *READ_ONCE(crashtest_null);
	barrier();
	return &crashtest_sink;
}

static CRASHTEST_FRAME int crashtest_stubborn_part(void)
{
	CRASHTEST_USE_REGISTERS();
	*READ_ONCE(crashtest_null) = 1;
	barrier();
	return 0;
}

/* Takes no error for an answer: whoever makes the part return one has the next crash here. */
static CRASHTEST_FRAME int crashtest_stubborn(void)
{
	BUG_ON(crashtest_stubborn_part());
	return 0;
}

/* And neither does whoever calls that. */
static CRASHTEST_FRAME int crashtest_stubborn_twice(void)
{
	BUG_ON(crashtest_stubborn());
	return 0;
}

static const struct crashtest crashtest_list[] = {
	{ "null-read", "reads through a NULL pointer", .as_int = crashtest_null_read },
	{ "null-write", "writes through a NULL pointer", .as_int = crashtest_null_write },
	{ "wild-read", "reads through a wild pointer", .as_int = crashtest_wild_read },
	{ "epilogue-read", "reads through a wild pointer in the middle of a function's epilogue", .as_int = crashtest_epilogue_read },
	{ "null-call", "calls a NULL function pointer", .as_int = crashtest_null_call },
	{ "bug", "BUG()", .as_int = crashtest_bug },
	{ "divide-by-zero", "divides an int by zero", .as_int = crashtest_divide_by_zero },
	{ "warn", "WARN(), after which the kernel goes on", .as_int = crashtest_warn },
	{ "panic", "panic()", .as_int = crashtest_panic },
	{ "void-null-write", "writes through NULL in a function that returns nothing", .as_void = crashtest_void_null_write },
	{ "pointer-null-read", "reads through NULL in a function that returns a pointer", .as_pointer = crashtest_pointer_null_read },
	{ "stubborn", "writes through NULL in a function whose caller has a BUG_ON() for its errors", .as_int = crashtest_stubborn },
	{ "stubborn-twice", "the same, and its caller has another for that", .as_int = crashtest_stubborn_twice },
};

static bool crashtest_registers_lost(unsigned long seed, const unsigned long *v)
{
	if (v[0] == seed + 1 && v[1] == seed * 3 && v[2] == (seed ^ 0x5a5a) && v[3] == ~seed)
		return false;
	pr_err("crashtest: registers lost: %lx %lx %lx %lx, seed %lx\n", v[0], v[1], v[2], v[3], seed);
	return true;
}

/* Four values that the compiler can't recompute after the call: they live in callee-saved registers or spilled. */
#define CRASHTEST_KEEP(seed) \
	unsigned long k0 = (seed) + 1, k1 = (seed) * 3, k2 = (seed) ^ 0x5a5a, k3 = ~(seed); \
	OPTIMIZER_HIDE_VAR(k0); OPTIMIZER_HIDE_VAR(k1); OPTIMIZER_HIDE_VAR(k2); OPTIMIZER_HIDE_VAR(k3)

#define CRASHTEST_LOST(seed) crashtest_registers_lost((seed), (unsigned long[]){ k0, k1, k2, k3 })

static CRASHTEST_FRAME int crashtest_middle(const struct crashtest *c, unsigned long seed)
{
	int err = 0;

	CRASHTEST_KEEP(seed);
	if (c->as_void) {
		c->as_void();
	} else if (c->as_pointer) {
		void *p = c->as_pointer();

		err = IS_ERR_OR_NULL(p) ? (p ? PTR_ERR(p) : -ENODATA) : 0;
	} else {
		err = c->as_int();
	}
	return CRASHTEST_LOST(seed) ? -EUCLEAN : err;
}

static CRASHTEST_FRAME long crashtest_outer(const struct crashtest *c, unsigned long seed)
{
	long err;

	CRASHTEST_KEEP(seed);
	err = crashtest_middle(c, seed + 7);
	return CRASHTEST_LOST(seed) ? -EUCLEAN : err;
}

static ssize_t crashtest_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
{
	char text[64], *name;
	long err;
	int i;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, count))
		return -EFAULT;
	text[count] = 0;
	name = strim(text);
	for (i = 0; i < ARRAY_SIZE(crashtest_list); i++) {
		if (strcmp(name, crashtest_list[i].name))
			continue;
		err = crashtest_outer(&crashtest_list[i], count);
		return err < 0 ? err : count;
	}
	return -EINVAL;
}

static ssize_t crashtest_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	char *text = kmalloc(PAGE_SIZE, GFP_KERNEL);
	size_t length = 0;
	ssize_t copied;
	int i;

	if (!text)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(crashtest_list); i++)
		length += scnprintf(text + length, PAGE_SIZE - length, "%-20s%s\n", crashtest_list[i].name, crashtest_list[i].what);
	copied = simple_read_from_buffer(buf, count, ppos, text, length);
	kfree(text);
	return copied;
}

static const struct file_operations crashtest_fops = {
	.owner = THIS_MODULE,
	.read = crashtest_read,
	.write = crashtest_write,
	.llseek = default_llseek,
};

static struct miscdevice crashtest_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "crashtest",
	.fops = &crashtest_fops,
};
module_misc_device(crashtest_device);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Crashes the kernel by name");
