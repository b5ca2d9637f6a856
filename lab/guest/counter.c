// SPDX-License-Identifier: Apache-2.0
/*
 * counter FILE: a process with nothing but state in memory. A hundred times a second it counts, verifies a megabyte of
 * its memory against what it wrote there, and publishes one line in FILE:
 *
 *	<pid> <count> <longest gap between two counts, us> <damaged words seen>
 *
 * A reboot or a kill shows as another pid and a small count, a stall as a gap.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 1 << 17 };

static volatile uint64_t memory[WORDS];

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t expected(uint64_t round, uint64_t i)
{
	return (round + 1) * 0x9e3779b97f4a7c15u ^ i;
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0644) : -1;
	uint64_t count = 0, longest = 0, damaged = 0, last, i;
	char line[128];

	if (fd < 0) {
		perror("counter");
		return 1;
	}
	for (i = 0; i < WORDS; i++)
		memory[i] = expected(i % 64, i);
	last = now_us();
	for (;;) {
		/* A sixty-fourth of the memory at a time: every word is checked and rewritten every 0.64 s. */
		uint64_t part = count % 64, round = count / 64;
		uint64_t t;
		int n;

		for (i = part; i < WORDS; i += 64) {
			damaged += memory[i] != expected(round ? round * 64 + part : part, i);
			memory[i] = expected((round + 1) * 64 + part, i);
		}
		count++;
		t = now_us();
		if (count > 1 && t - last > longest)
			longest = t - last;
		last = t;
		n = snprintf(line, sizeof(line), "%d %llu %llu %llu\n", getpid(), (unsigned long long)count,
			     (unsigned long long)longest, (unsigned long long)damaged);
		if (pwrite(fd, line, (size_t)n, 0) < 0)
			return 1;
		usleep(10000);
	}
}
