// SPDX-License-Identifier: GPL-2.0
/* How to crash by misuse of allocated memory. Each crash has a slab cache of its own, which stays as the crash has left it: nobody else's memory is damaged. */
#include <linux/slab.h>
#include <linux/thread_info.h>

#include "matrix.h"

struct crashtest_object {
	int (*function)(void);
	unsigned long words[7];
};

static struct kmem_cache *crashtest_cache;

/* A cache with a constructor is never merged with another one, and has its free pointers behind the objects. */
static void crashtest_construct(void *object)
{
	memset(object, 0, sizeof(struct crashtest_object));
}

/* Called before the context is entered, because not every context may sleep. */
void crashtest_make_cache(void)
{
	static unsigned int made;
	/* The name has to stay, as the cache does. */
	char *name = kasprintf(GFP_KERNEL, "crashtest-%u", made++);

	crashtest_cache = name ? kmem_cache_create(name, sizeof(struct crashtest_object), sizeof(long), 0, crashtest_construct) : NULL;
}

static CRASHTEST_FRAME int crashtest_method(void)
{
	return 0;
}

/* The allocator's own check: a free pointer that would lead to its own object is a BUG() (CONFIG_SLAB_FREELIST_HARDENED). */
CRASHTEST_FRAME void crashtest_cause_double_free(void)
{
	struct crashtest_object *object = crashtest_cache ? kmem_cache_alloc(crashtest_cache, GFP_ATOMIC) : NULL;

	if (!object)
		return;
	kmem_cache_free(crashtest_cache, object);
	kmem_cache_free(crashtest_cache, object);
	barrier();
}

/* An object that was freed has a new owner, who has written its own into it. */
CRASHTEST_FRAME void crashtest_cause_use_after_free(void)
{
	struct crashtest_object *object = crashtest_cache ? kmem_cache_alloc(crashtest_cache, GFP_ATOMIC) : NULL;

	if (!object)
		return;
	object->function = crashtest_method;
	kmem_cache_free(crashtest_cache, object);
	OPTIMIZER_HIDE_VAR(object);
	memset(object, 0x6b, sizeof(*object));
	READ_ONCE(object->function)();
	barrier();
}

/* The free pointer behind a freed object is overwritten: the allocation after the next one follows it, unless the task was moved to another CPU in between. */
CRASHTEST_FRAME void crashtest_cause_freelist(void)
{
	for (int i = 0; i < 100 && crashtest_cache; i++) {
		struct crashtest_object *object = kmem_cache_alloc(crashtest_cache, GFP_ATOMIC);

		if (!object)
			return;
		kmem_cache_free(crashtest_cache, object);
		OPTIMIZER_HIDE_VAR(object);
		WRITE_ONCE(*(unsigned long *)(object + 1), 0x4141414141414141);
		for (int j = 0; j < 2; j++) {
			object = kmem_cache_alloc(crashtest_cache, GFP_ATOMIC);
			if (!object)
				return;
		}
	}
}

/* What copy_to_user() asks first: nothing of this cache may be copied (CONFIG_HARDENED_USERCOPY). */
CRASHTEST_FRAME void crashtest_cause_usercopy(void)
{
	struct crashtest_object *object = crashtest_cache ? kmem_cache_alloc(crashtest_cache, GFP_ATOMIC) : NULL;

	if (object)
		__check_object_size(object, sizeof(*object), true);
	barrier();
}
