// SPDX-License-Identifier: GPL-2.0
/* How to crash: functions without a result, so that one further out has to say that it failed. */
#include <linux/bug.h>
#include <linux/delay.h>
#include <linux/gcd.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/panic.h>
#include <linux/refcount.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "matrix.h"

static int *crashtest_null;
static int (*crashtest_null_function)(void);
static int crashtest_zero;
static int crashtest_sink;
static int *crashtest_wild = (int *)0xffff800000000bad;
static int *crashtest_noncanonical = (int *)0x0123456789abcdef;
static u64 crashtest_data[4];

/* Causes. */

static CRASHTEST_FRAME void crashtest_cause_null_write(void)
{
	*READ_ONCE(crashtest_null) = 1;
	barrier();
}

static CRASHTEST_FRAME void crashtest_cause_null_read(void)
{
	WRITE_ONCE(crashtest_sink, *READ_ONCE(crashtest_null));
	barrier();
}

static CRASHTEST_FRAME void crashtest_cause_wild_write(void)
{
	*READ_ONCE(crashtest_wild) = 1;
	barrier();
}

static CRASHTEST_FRAME void crashtest_cause_wild_read(void)
{
	WRITE_ONCE(crashtest_sink, *READ_ONCE(crashtest_wild));
	barrier();
}

static CRASHTEST_FRAME void crashtest_cause_wild_call(void)
{
	WRITE_ONCE(crashtest_sink, ((int (*)(void))READ_ONCE(crashtest_wild))());
	barrier();
}

static struct crashtest_operations {
	int (*go)(void);
} crashtest_operations;

/* A table of functions that something has written over. */
static void crashtest_damage_table(void)
{
	memset(&crashtest_operations, 0x5a, sizeof(crashtest_operations));
}

static CRASHTEST_FRAME void crashtest_cause_table(void)
{
	WRITE_ONCE(crashtest_sink, READ_ONCE(crashtest_operations.go)());
	barrier();
}

static CRASHTEST_FRAME void crashtest_cause_null_call(void)
{
	WRITE_ONCE(crashtest_sink, READ_ONCE(crashtest_null_function)());
	barrier();
}

static CRASHTEST_FRAME void crashtest_cause_data_call(void)
{
	int (*function)(void) = (void *)crashtest_data;

	OPTIMIZER_HIDE_VAR(function);
	WRITE_ONCE(crashtest_sink, function());
	barrier();
}

static CRASHTEST_FRAME void crashtest_cause_bug(void)
{
	BUG_ON(READ_ONCE(crashtest_zero) == 0);
}

static CRASHTEST_FRAME void crashtest_cause_divide_by_zero(void)
{
	WRITE_ONCE(crashtest_sink, 1000 / READ_ONCE(crashtest_zero));
	barrier();
}

static CRASHTEST_FRAME void crashtest_cause_invalid_opcode(void)
{
	/* ENCLU without SGX: unlike UD2, no BUG() or WARN() is made of it. */
	asm volatile(".byte 0x0f, 0x01, 0xd7" : : "a" (0) : "rbx", "rcx", "rdx", "memory");
	barrier();
}

static CRASHTEST_FRAME void crashtest_cause_general_protection(void)
{
	WRITE_ONCE(crashtest_sink, *READ_ONCE(crashtest_noncanonical));
	barrier();
}

static CRASHTEST_FRAME void crashtest_cause_panic(void)
{
	if (READ_ONCE(crashtest_zero) == 0)
		panic("crashtest: an explicit panic");
}

static CRASHTEST_FRAME void crashtest_cause_list_del(void)
{
	static struct list_head head, entry;

	INIT_LIST_HEAD(&head);
	list_add(&entry, &head);
	list_del(&entry);
	/* The kernel's own check calls BUG(), or says so and goes on (BUG_ON_DATA_CORRUPTION); what is poisoned is then used. */
	WRITE_ONCE(crashtest_sink, READ_ONCE(*(int *)READ_ONCE(entry.next)));
	barrier();
}

/* The scheduler says so and goes on; a panic where panic_on_warn is set. */
static CRASHTEST_FRAME void crashtest_cause_atomic_sleep(void)
{
	preempt_disable();
	msleep(10);
	preempt_enable();
}

/* A signal that can't be handled, as of a fault in user space: the first process of the system takes the kernel with it. */
static CRASHTEST_FRAME void crashtest_cause_fatal_signal(void)
{
	force_sig(SIGSEGV);
}

/* A panic where panic_on_warn is set. */
static CRASHTEST_FRAME void crashtest_cause_warn(void)
{
	WARN(READ_ONCE(crashtest_zero) == 0, "crashtest: a warning\n");
}

/* An object that nobody counts any more is counted again: a warning, and a panic where panic_on_warn is set. */
static CRASHTEST_FRAME void crashtest_cause_refcount(void)
{
	static refcount_t count;

	refcount_set(&count, 0);
	refcount_inc(&count);
	barrier();
}

/* The canary alone: the return address behind it stays. */
static CRASHTEST_FRAME void crashtest_cause_stack_smash(void)
{
	char small[16];
	volatile char *p = small;

	OPTIMIZER_HIDE_VAR(p);
	for (int i = 0; i < 24; i++)
		p[i] = i;
	barrier();
}

/* Into the guard page: too deep for any stack, and each call does something after it. */
static CRASHTEST_FRAME void crashtest_recurse(int depth)
{
	volatile char frame[32];

	frame[depth & 31] = depth;
	if (depth)
		crashtest_recurse(depth - 1);
	frame[0]++;
}

static CRASHTEST_FRAME void crashtest_cause_stack_overflow(void)
{
	crashtest_recurse(INT_MAX);
	barrier();
}

static const unsigned long crashtest_constant = 42;

static CRASHTEST_FRAME void crashtest_cause_readonly_write(void)
{
	unsigned long *p = (unsigned long *)&crashtest_constant;

	OPTIMIZER_HIDE_VAR(p);
	*p = 1;
	barrier();
}

static CRASHTEST_FRAME int crashtest_victim(int x)
{
	return x * 3 + READ_ONCE(crashtest_zero);
}

/* Writes a byte that begins no instruction over the first instruction behind a function's entry, through a writable alias of its page. */
static void crashtest_damage(void *function, bool in_module)
{
	static const u8 endbr[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	unsigned long at = (unsigned long)function + (memcmp(function, endbr, sizeof(endbr)) ? 5 : 9);
	struct page *page = in_module ? vmalloc_to_page((void *)at) : pfn_to_page(__pa(at) >> PAGE_SHIFT);
	u8 *alias = vmap(&page, 1, VM_MAP, PAGE_KERNEL);

	if (!alias)
		return;
	alias[offset_in_page(at)] = 0x06;
	vunmap(alias);
}

/* Damaged before the context is entered, because not every context may map pages. */
static void crashtest_damage_victim(void)
{
	crashtest_damage(crashtest_victim, true);
}

static void crashtest_damage_gcd(void)
{
	crashtest_damage(gcd, false);
}

/* Whoever heals the code gets the true answer. */
static CRASHTEST_FRAME void crashtest_cause_module_text(void)
{
	int answer = crashtest_victim(14);

	if (answer != 42)
		crashtest_is_wrong("module-text");
}

static CRASHTEST_FRAME void crashtest_cause_kernel_text(void)
{
	unsigned long answer = gcd(READ_ONCE(crashtest_constant), 30);

	if (answer != 6)
		crashtest_is_wrong("kernel-text");
}

#define CAUSE(text, function) { text, crashtest_cause_##function }
#define PREPARED(text, function, prepare) { text, crashtest_cause_##function, prepare }

const struct crashtest_cause crashtest_causes[] = {
	CAUSE("null-write", null_write), CAUSE("null-read", null_read), CAUSE("wild-write", wild_write), CAUSE("wild-read", wild_read), CAUSE("null-call", null_call),
	CAUSE("wild-call", wild_call), CAUSE("data-call", data_call), PREPARED("table-call", table, crashtest_damage_table), CAUSE("bug", bug),
	CAUSE("divide-by-zero", divide_by_zero), CAUSE("invalid-opcode", invalid_opcode), CAUSE("general-protection", general_protection), CAUSE("panic", panic),
	CAUSE("list-poison", list_del), PREPARED("double-free", double_free, crashtest_make_cache), PREPARED("use-after-free", use_after_free, crashtest_make_cache),
	PREPARED("freelist", freelist, crashtest_make_cache), PREPARED("usercopy", usercopy, crashtest_make_cache), CAUSE("fatal-signal", fatal_signal),
	CAUSE("warn", warn), CAUSE("atomic-sleep", atomic_sleep), CAUSE("refcount", refcount), CAUSE("stack-smash", stack_smash),
	CAUSE("stack-overflow", stack_overflow), CAUSE("readonly-write", readonly_write), PREPARED("module-text", module_text, crashtest_damage_victim),
	PREPARED("kernel-text", kernel_text, crashtest_damage_gcd), PREPARED("list-next", list_delete, crashtest_damage_next),
	PREPARED("list-prev", list_delete, crashtest_damage_prev), PREPARED("list-own", list_delete, crashtest_damage_own), PREPARED("list-add", list_add, crashtest_damage_head),
	PREPARED("trap-gate", gate, crashtest_damage_gate), {}
};
