// SPDX-License-Identifier: Apache-2.0
/*
 * recorder FILE: appends numbered records to FILE, each made durable with fsync before its number is printed. Whatever
 * number was printed must be found intact in the file afterwards, whatever happened to the kernel in between.
 *
 * A record is 64 bytes, little-endian: "PNCA", u32 zero, u64 number (from 1), u64 monotonic ns, 32 bytes that repeat
 * (u8)(number * 31 + index), u64 FNV-1a of the 56 bytes before. It goes on from the last record where FILE exists; a
 * last record that is not whole was promised to nobody (the length may reach the disk before the data) and is written again.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct record {
	char magic[4];
	uint32_t zero;
	uint64_t number, ns;
	uint8_t pattern[32];
	uint64_t hash;
};

static uint64_t fnv1a(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t h = 0xcbf29ce484222325u;

	while (n--)
		h = (h ^ *p++) * 0x100000001b3u;
	return h;
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR | O_CREAT, 0644) : -1;
	uint64_t number;
	off_t size;

	if (fd < 0 || (size = lseek(fd, 0, SEEK_END)) < 0) {
		perror("recorder");
		return 1;
	}
	/* Nobody has to listen. */
	signal(SIGPIPE, SIG_IGN);
	number = (uint64_t)size / sizeof(struct record);
	if (number) {
		struct record last;

		if (pread(fd, &last, sizeof(last), (off_t)((number - 1) * sizeof(last))) != (ssize_t)sizeof(last)
		    || last.number != number || last.hash != fnv1a(&last, sizeof(last) - sizeof(last.hash)))
			number--;
	}
	for (;;) {
		struct record r = { .magic = { 'P', 'N', 'C', 'A' }, .number = ++number };
		struct timespec now;
		char line[32];
		int i;

		clock_gettime(CLOCK_MONOTONIC, &now);
		r.ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
		for (i = 0; i < 32; i++)
			r.pattern[i] = (uint8_t)(number * 31 + (uint64_t)i);
		r.hash = fnv1a(&r, sizeof(r) - sizeof(r.hash));
		if (pwrite(fd, &r, sizeof(r), (off_t)((number - 1) * sizeof(r))) != (ssize_t)sizeof(r) || fsync(fd)) {
			/* A write that failed was not promised to anybody: say so, try it again. */
			fprintf(stderr, "recorder: record %llu: %s\n", (unsigned long long)number, strerror(errno));
			number--;
			usleep(100000);
			continue;
		}
		i = snprintf(line, sizeof(line), "%llu\n", (unsigned long long)number);
		if (write(1, line, (size_t)i) < 0)
			errno = 0;
	}
}
