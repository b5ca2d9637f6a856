// SPDX-License-Identifier: GPL-2.0
/* crashtest_init: crashes in its init or its exit function: insmod crashtest_init.ko cause=null-write at=init (or exit). Needs crashtest_matrix. */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/string.h>

void crashtest_matrix_crash(const char *name);

static char *cause = "null-write";
module_param(cause, charp, 0444);

static char *at = "init";
module_param(at, charp, 0444);

static int __init crashtest_init_init(void)
{
	if (!strcmp(at, "init"))
		crashtest_matrix_crash(cause);
	return 0;
}
module_init(crashtest_init_init);

static void __exit crashtest_init_exit(void)
{
	if (!strcmp(at, "exit"))
		crashtest_matrix_crash(cause);
}
module_exit(crashtest_init_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Crashes while it is loaded or unloaded");
