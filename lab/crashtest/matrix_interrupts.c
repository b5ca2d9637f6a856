// SPDX-License-Identifier: GPL-2.0
/* Contexts that belong to no process: softirqs, hard interrupts, the idle task. */
#include <linux/cpuidle.h>
#include <linux/etherdevice.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>
#include <linux/smp.h>
#include <linux/timer.h>

#include "matrix.h"

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
	if (crashtest_is_armed(CRASHTEST_NAPI))
		crashtest_here();
	napi_complete_done(napi, 0);
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
	crashtest_arm(CRASHTEST_NAPI);
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
	if (crashtest_is_armed(CRASHTEST_IDLE))
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
	crashtest_arm(CRASHTEST_IDLE);
	return crashtest_wait();
}

#define CONTEXT(text, function) { text, crashtest_in_##function }

const struct crashtest_context crashtest_interrupt_contexts[] = {
	CONTEXT("timer", timer),
	CONTEXT("tasklet", tasklet),
	CONTEXT("napi", napi),
	CONTEXT("rcu-callback", rcu_callback),
	CONTEXT("hrtimer", hrtimer),
	CONTEXT("irq-work", irq_work),
	CONTEXT("ipi", ipi),
	CONTEXT("irq", irq),
	CONTEXT("irq-thread", irq_thread),
	CONTEXT("idle", idle), {}
};
