/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of crashtest_matrix share. */
#ifndef CRASHTEST_MATRIX_H
#define CRASHTEST_MATRIX_H

#include <linux/fs.h>
#include <linux/kernel.h>

/* One frame per function, nothing merged, cloned or specialised by the compiler. */
#define CRASHTEST_FRAME noinline __attribute__((noipa))

/* Crashes by the cause that was chosen. What it is called from is the context. */
void crashtest_here(void);

/* Waits until an asynchronous context was reached. */
long crashtest_wait(void);

/* For contexts that others come to: the next one of them that asks may crash. */
enum crashtest_visitor { CRASHTEST_FORK = 1, CRASHTEST_EXEC, CRASHTEST_RELEASE, CRASHTEST_NAPI, CRASHTEST_IDLE };
long crashtest_arm(enum crashtest_visitor visitor);
bool crashtest_is_armed(enum crashtest_visitor visitor);

/* The file that the cell was written to. */
extern struct file *crashtest_file;

struct crashtest_cause {
	const char *name;
	void (*crash)(void);
	/* Called before the context is entered; may be NULL. */
	void (*prepare)(void);
};

struct crashtest_context {
	const char *name;
	long (*enter)(void);
};

/* Each ends with an entry without a name. */
extern const struct crashtest_cause crashtest_causes[], crashtest_hangs[];
extern const struct crashtest_context crashtest_lock_contexts[], crashtest_task_contexts[], crashtest_interrupt_contexts[];

/* matrix_memory.c */
void crashtest_make_cache(void);
void crashtest_cause_double_free(void);
void crashtest_cause_use_after_free(void);
void crashtest_cause_freelist(void);
void crashtest_cause_usercopy(void);

/* matrix_heal.c */
void crashtest_damage_next(void);
void crashtest_damage_prev(void);
void crashtest_damage_own(void);
void crashtest_damage_head(void);
void crashtest_damage_gate(void);
void crashtest_cause_list_delete(void);
void crashtest_cause_list_add(void);
void crashtest_cause_gate(void);

/* What was to be healed is not as it was: told by the device until it is unloaded. */
void crashtest_is_wrong(const char *what);

/* Which of the driver's own locks are held now. */
size_t crashtest_held(char *text, size_t size);
size_t crashtest_hang_held(char *text, size_t size);

extern const struct vm_operations_struct crashtest_vm_ops;
int crashtest_release(struct inode *inode, struct file *file);
void crashtest_register_exec(void);

#endif
