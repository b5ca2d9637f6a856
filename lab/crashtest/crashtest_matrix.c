// SPDX-License-Identifier: GPL-2.0
/*
 * crashtest_matrix: every crash in every context.
 *
 *	cat /dev/crashtest-matrix			contexts, causes, and which of the driver's own locks are held now
 *	echo null-write@timer > /dev/crashtest-matrix	crashes so
 *
 * What crashes is a function without a result (crashtest_cause_*), called from a function of the context. Where the
 * context is an asynchronous one, write(2) waits until it was reached and returns the byte count. Contexts that end
 * with "-armed" do nothing but arm: the next process that comes that way crashes (see crashtest_contexts[]).
 *
 * Adding a cause or a context: one function and one line in a table.
 */
#include <linux/binfmts.h>
#include <linux/bug.h>
#include <linux/cpuidle.h>
#include <linux/delay.h>
#include <linux/etherdevice.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/panic.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>
#include <linux/sched/task.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/task_work.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#define CRASHTEST_FRAME noinline __attribute__((noipa))

void crashtest_matrix_crash(const char *name);

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

#define CAUSE(text, function) { text, crashtest_cause_##function }

static const struct crashtest_cause {
	const char *name;
	void (*crash)(void);
} crashtest_causes[] = {
	CAUSE("null-write", null_write), CAUSE("null-read", null_read), CAUSE("wild-write", wild_write), CAUSE("null-call", null_call),
	CAUSE("data-call", data_call), CAUSE("bug", bug), CAUSE("divide-by-zero", divide_by_zero), CAUSE("invalid-opcode", invalid_opcode),
	CAUSE("general-protection", general_protection), CAUSE("panic", panic), CAUSE("list-poison", list_del),
};

/* What the context that is reached crashes by, and whether it was reached. */
static void (*crashtest_crash)(void);
static bool crashtest_reached, crashtest_armed;

static CRASHTEST_FRAME void crashtest_here(void)
{
	void (*crash)(void) = READ_ONCE(crashtest_crash);

	WRITE_ONCE(crashtest_reached, true);
	crash();
	barrier();
}

static CRASHTEST_FRAME long crashtest_wait(void)
{
	for (int i = 0; i < 400; i++) {
		if (READ_ONCE(crashtest_reached))
			return 0;
		msleep(5);
	}
	return -ETIMEDOUT;
}

/* Contexts of a process. */

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

/* The page fault handler of a user access. */
static vm_fault_t crashtest_fault(struct vm_fault *vmf)
{
	crashtest_here();
	return VM_FAULT_SIGBUS;
}

static void crashtest_vma_open(struct vm_area_struct *vma)
{
	if (xchg(&crashtest_armed, false))
		crashtest_here();
}

static const struct vm_operations_struct crashtest_vm_ops = { .fault = crashtest_fault, .open = crashtest_vma_open };

static int crashtest_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &crashtest_vm_ops;
	return 0;
}

static struct file *crashtest_file;

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
	WRITE_ONCE(crashtest_armed, true);
	return 0;
}

/* execve(2) of a file that begins with "CRSH". */
static int crashtest_load_binary(struct linux_binprm *bprm)
{
	if (!memcmp(bprm->buf, "CRSH", 4) && xchg(&crashtest_armed, false))
		crashtest_here();
	return -ENOEXEC;
}

static struct linux_binfmt crashtest_format = { .module = THIS_MODULE, .load_binary = crashtest_load_binary };

static CRASHTEST_FRAME long crashtest_arm(void)
{
	WRITE_ONCE(crashtest_armed, true);
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_exec(void)
{
	return crashtest_arm();
}

/* The last close of the file, at exit(2) where it is left open. */
static int crashtest_release(struct inode *inode, struct file *file)
{
	if (file->private_data == &crashtest_armed && xchg(&crashtest_armed, false))
		crashtest_here();
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_release(void)
{
	crashtest_file->private_data = &crashtest_armed;
	return crashtest_arm();
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

/* Softirqs. */

static void crashtest_timer_function(struct timer_list *timer)
{
	crashtest_here();
}

static DEFINE_TIMER(crashtest_timer, crashtest_timer_function);

static CRASHTEST_FRAME long crashtest_in_timer(void)
{
	mod_timer(&crashtest_timer, jiffies + 2);
	return crashtest_wait();
}

static void crashtest_tasklet_function(struct tasklet_struct *tasklet)
{
	crashtest_here();
}

static DECLARE_TASKLET(crashtest_tasklet, crashtest_tasklet_function);

static CRASHTEST_FRAME long crashtest_in_tasklet(void)
{
	tasklet_schedule(&crashtest_tasklet);
	return crashtest_wait();
}

static struct net_device *crashtest_device;
static struct napi_struct crashtest_napi;

static int crashtest_poll(struct napi_struct *napi, int budget)
{
	if (!xchg(&crashtest_armed, false)) {
		napi_complete_done(napi, 0);
		return 0;
	}
	crashtest_here();
	return 0;
}

static CRASHTEST_FRAME long crashtest_in_napi(void)
{
	if (!crashtest_device) {
		crashtest_device = alloc_etherdev(0);
		if (!crashtest_device)
			return -ENOMEM;
		netif_napi_add(crashtest_device, &crashtest_napi, crashtest_poll);
		napi_enable(&crashtest_napi);
	}
	crashtest_arm();
	local_bh_disable();
	napi_schedule(&crashtest_napi);
	local_bh_enable();
	return crashtest_wait();
}

static void crashtest_rcu_function(struct rcu_head *head)
{
	crashtest_here();
}

static CRASHTEST_FRAME long crashtest_in_rcu_callback(void)
{
	static struct rcu_head head;

	call_rcu(&head, crashtest_rcu_function);
	return crashtest_wait();
}

/* Hard interrupts. */

static enum hrtimer_restart crashtest_hrtimer_function(struct hrtimer *timer)
{
	crashtest_here();
	return HRTIMER_NORESTART;
}

static struct hrtimer crashtest_hrtimer;

static CRASHTEST_FRAME long crashtest_in_hrtimer(void)
{
	hrtimer_init(&crashtest_hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	crashtest_hrtimer.function = crashtest_hrtimer_function;
	hrtimer_start(&crashtest_hrtimer, ms_to_ktime(5), HRTIMER_MODE_REL);
	return crashtest_wait();
}

static void crashtest_irq_work_function(struct irq_work *work)
{
	crashtest_here();
}

static CRASHTEST_FRAME long crashtest_in_irq_work(void)
{
	static struct irq_work work = IRQ_WORK_INIT_HARD(crashtest_irq_work_function);

	irq_work_queue(&work);
	return crashtest_wait();
}

static void crashtest_ipi_function(void *unused)
{
	crashtest_here();
}

static CRASHTEST_FRAME long crashtest_in_ipi(void)
{
	int other = (raw_smp_processor_id() + 1) % num_online_cpus();

	smp_call_function_single(other, crashtest_ipi_function, NULL, 0);
	return crashtest_wait();
}

/* A real interrupt line: QEMU's "edu" device raises one when it is told to (docs/specs/edu.txt). */
#define EDU_STATUS 0x24
#define EDU_RAISE 0x60
#define EDU_ACKNOWLEDGE 0x64

static struct pci_dev *crashtest_edu;
static void __iomem *crashtest_registers;
static bool crashtest_in_thread;

static irqreturn_t crashtest_irq(int irq, void *device)
{
	u32 status = ioread32(crashtest_registers + EDU_STATUS);

	if (!status)
		return IRQ_NONE;
	iowrite32(status, crashtest_registers + EDU_ACKNOWLEDGE);
	if (READ_ONCE(crashtest_in_thread))
		return IRQ_WAKE_THREAD;
	crashtest_here();
	return IRQ_HANDLED;
}

static irqreturn_t crashtest_irq_thread(int irq, void *device)
{
	crashtest_here();
	return IRQ_HANDLED;
}

static long crashtest_raise(bool thread)
{
	int err;

	if (!crashtest_edu) {
		struct pci_dev *edu = pci_get_device(0x1234, 0x11e8, NULL);

		if (!edu)
			return -ENODEV;
		err = pci_enable_device(edu);
		if (err)
			return err;
		crashtest_registers = pci_iomap(edu, 0, 0);
		if (!crashtest_registers)
			return -ENOMEM;
		err = request_threaded_irq(edu->irq, crashtest_irq, crashtest_irq_thread, IRQF_SHARED, "crashtest", &crashtest_edu);
		if (err)
			return err;
		crashtest_edu = edu;
	}
	WRITE_ONCE(crashtest_in_thread, thread);
	iowrite32(1, crashtest_registers + EDU_RAISE);
	return crashtest_wait();
}

static CRASHTEST_FRAME long crashtest_in_irq(void)
{
	return crashtest_raise(false);
}

static CRASHTEST_FRAME long crashtest_in_irq_thread(void)
{
	return crashtest_raise(true);
}

/* The idle task. */
static int crashtest_idle(struct cpuidle_device *device, struct cpuidle_driver *driver, int index)
{
	if (xchg(&crashtest_armed, false))
		crashtest_here();
	asm volatile("sti; hlt; cli" : : : "memory");
	return index;
}

static struct cpuidle_driver crashtest_idle_driver = {
	.name = "crashtest",
	.owner = THIS_MODULE,
	.state_count = 1,
	.states = { { .enter = crashtest_idle, .name = "crashtest", .desc = "crashes where armed" } },
};

static CRASHTEST_FRAME long crashtest_in_idle(void)
{
	static bool registered;

	if (!registered) {
		int err = cpuidle_register(&crashtest_idle_driver, NULL);

		if (err)
			return err;
		registered = true;
	}
	crashtest_arm();
	return crashtest_wait();
}

#define CONTEXT(text, function) { text, crashtest_in_##function }

static const struct crashtest_context {
	const char *name;
	long (*enter)(void);
} crashtest_contexts[] = {
	CONTEXT("syscall", syscall), CONTEXT("mutex", mutex), CONTEXT("rwsem-read", rwsem_read), CONTEXT("rwsem-write", rwsem_write),
	CONTEXT("semaphore", semaphore), CONTEXT("spinlock", spinlock), CONTEXT("spinlock-irq", spinlock_irq), CONTEXT("spinlock-bh", spinlock_bh),
	CONTEXT("rwlock-write", rwlock_write), CONTEXT("rcu", rcu), CONTEXT("preempt-off", preempt_off), CONTEXT("irqs-off", irqs_off),
	CONTEXT("nested", nested), CONTEXT("fault", fault), CONTEXT("signal", signal), CONTEXT("init", init),
	CONTEXT("kthread", kthread), CONTEXT("work", work), CONTEXT("notifier", notifier), CONTEXT("irq-thread", irq_thread),
	CONTEXT("timer", timer), CONTEXT("tasklet", tasklet), CONTEXT("napi", napi), CONTEXT("rcu-callback", rcu_callback),
	CONTEXT("hrtimer", hrtimer), CONTEXT("irq-work", irq_work), CONTEXT("ipi", ipi), CONTEXT("irq", irq), CONTEXT("idle", idle),
	/* Armed only: the next fork of the writer; its exit or last close; the next execve of a file that begins with "CRSH". */
	CONTEXT("fork", fork), CONTEXT("release", release), CONTEXT("exec", exec),
};

static bool crashtest_choose(const char *cause, size_t length)
{
	for (int i = 0; i < ARRAY_SIZE(crashtest_causes); i++) {
		if (strlen(crashtest_causes[i].name) == length && !strncmp(crashtest_causes[i].name, cause, length)) {
			WRITE_ONCE(crashtest_reached, false);
			WRITE_ONCE(crashtest_armed, false);
			WRITE_ONCE(crashtest_crash, crashtest_causes[i].crash);
			return true;
		}
	}
	return false;
}

/* For contexts that are another module's. */
void crashtest_matrix_crash(const char *name)
{
	if (crashtest_choose(name, strlen(name)))
		crashtest_here();
}
EXPORT_SYMBOL_GPL(crashtest_matrix_crash);

static CRASHTEST_FRAME long crashtest_enter(const struct crashtest_context *context)
{
	long err = context->enter();

	barrier();
	return err;
}

static ssize_t crashtest_matrix_write(struct file *file, const char __user *buf, size_t count, loff_t *ppos)
{
	char text[64], *name, *at;
	long err;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, count))
		return -EFAULT;
	text[count] = 0;
	name = strim(text);
	at = strchr(name, '@');
	if (!at || !crashtest_choose(name, at - name))
		return -EINVAL;
	crashtest_file = file;
	for (int i = 0; i < ARRAY_SIZE(crashtest_contexts); i++) {
		if (strcmp(at + 1, crashtest_contexts[i].name))
			continue;
		err = crashtest_enter(&crashtest_contexts[i]);
		return err < 0 ? err : count;
	}
	return -EINVAL;
}

static bool crashtest_rwlock_is_held(void)
{
	if (!write_trylock(&crashtest_rwlock))
		return true;
	write_unlock(&crashtest_rwlock);
	return false;
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
		length += scnprintf(text + length, PAGE_SIZE - length, " %s", crashtest_contexts[i].name);
	length += scnprintf(text + length, PAGE_SIZE - length, "\ncauses:");
	for (int i = 0; i < ARRAY_SIZE(crashtest_causes); i++)
		length += scnprintf(text + length, PAGE_SIZE - length, " %s", crashtest_causes[i].name);
	length += scnprintf(text + length, PAGE_SIZE - length, "\nheld:%s%s%s%s%s%s\n",
		mutex_is_locked(&crashtest_mutex) ? " mutex" : "", rwsem_is_locked(&crashtest_rwsem) ? " rwsem" : "",
		READ_ONCE(crashtest_semaphore.count) == 1 ? "" : " semaphore", spin_is_locked(&crashtest_spinlock) ? " spinlock" : "",
		spin_is_locked(&crashtest_outer_spinlock) ? " outer-spinlock" : "", crashtest_rwlock_is_held() ? " rwlock" : "");
	copied = simple_read_from_buffer(buf, count, ppos, text, length);
	kfree(text);
	return copied;
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
	register_binfmt(&crashtest_format);
	return misc_register(&crashtest_matrix_device);
}
module_init(crashtest_matrix_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Crashes the kernel by cause and context");
