// SPDX-License-Identifier: GPL-2.0
/* crashtest_extra: a module that does next to nothing, to be loaded and unloaded while a guest is watched. */
#include <linux/kernel.h>
#include <linux/module.h>

static int answer = 42;
module_param(answer, int, 0444);

/* Exported so that the module has symbols, types and unwind rows of its own to be found. */
int crashtest_extra_answer(int question);
noinline int crashtest_extra_answer(int question)
{
	return question ? answer : -EINVAL;
}
EXPORT_SYMBOL_GPL(crashtest_extra_answer);

static int __init crashtest_extra_init(void)
{
	pr_info("crashtest_extra: loaded, answer %d\n", crashtest_extra_answer(1));
	return 0;
}
module_init(crashtest_extra_init);

static void __exit crashtest_extra_exit(void)
{
	pr_info("crashtest_extra: unloaded\n");
}
module_exit(crashtest_extra_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A module to load and unload");
