// SPDX-License-Identifier: GPL-2.0
/* How to crash by data that something has written over, and of which there is a copy or another direction: whoever heals it loses nothing. All is damaged before the context is entered. */
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>
#include <asm/desc.h>
#include <asm/irq_vectors.h>
#include <asm/pgtable_types.h>

#include "matrix.h"

/* Lists: a ring of four, and one that may be added. */
static struct list_head crashtest_ring, crashtest_elements[4];

static void crashtest_make_ring(void)
{
	INIT_LIST_HEAD(&crashtest_ring);
	for (int i = 0; i < 3; i++) {
		list_add_tail(&crashtest_elements[i], &crashtest_ring);
	}
	INIT_LIST_HEAD(&crashtest_elements[3]);
}

#define GARBAGE ((struct list_head *)0x5a5a5a5a5a5a5a58)

void crashtest_damage_next(void)
{
	crashtest_make_ring();
	crashtest_elements[0].next = GARBAGE;
}

void crashtest_damage_prev(void)
{
	crashtest_make_ring();
	crashtest_elements[2].prev = GARBAGE;
}

void crashtest_damage_own(void)
{
	crashtest_make_ring();
	crashtest_elements[1].next = GARBAGE;
}

void crashtest_damage_head(void)
{
	crashtest_make_ring();
	crashtest_ring.prev = GARBAGE;
}

/* The ring is what it is to be, in both directions. */
static void crashtest_check_ring(int count, const int order[])
{
	struct list_head *at = &crashtest_ring;

	for (int i = 0; i <= count; i++) {
		struct list_head *next = i < count ? &crashtest_elements[order[i]] : &crashtest_ring;

		if (READ_ONCE(at->next) != next || READ_ONCE(next->prev) != at)
			return crashtest_is_wrong("list");
		at = next;
	}
}

/* The middle one goes. */
CRASHTEST_FRAME void crashtest_cause_list_delete(void)
{
	static const int order[] = { 0, 2 };
	struct list_head *entry = &crashtest_elements[1];

	OPTIMIZER_HIDE_VAR(entry);
	list_del(entry);
	crashtest_check_ring(ARRAY_SIZE(order), order);
}

CRASHTEST_FRAME void crashtest_cause_list_add(void)
{
	static const int order[] = { 0, 1, 2, 3 };
	struct list_head *entry = &crashtest_elements[3];

	OPTIMIZER_HIDE_VAR(entry);
	list_add_tail(entry, &crashtest_ring);
	crashtest_check_ring(ARRAY_SIZE(order), order);
}

/* The trap table: a vector that has a handler and that nothing raises. */
static u64 crashtest_nowhere[2];

void crashtest_damage_gate(void)
{
	unsigned long to = (unsigned long)crashtest_nowhere;
	struct desc_ptr table;
	struct page *page;
	gate_desc *alias;

	store_idt(&table);
	page = pfn_to_page(slow_virt_to_phys((void *)table.address) >> PAGE_SHIFT);
	alias = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	if (!alias)
		return;
	alias[X86_PLATFORM_IPI_VECTOR].offset_low = (u16)to;
	alias[X86_PLATFORM_IPI_VECTOR].offset_middle = (u16)(to >> 16);
	alias[X86_PLATFORM_IPI_VECTOR].offset_high = (u32)(to >> 32);
	vunmap(alias);
}

CRASHTEST_FRAME void crashtest_cause_gate(void)
{
	asm volatile("int %0" : : "i" (X86_PLATFORM_IPI_VECTOR) : "memory");
	barrier();
}
