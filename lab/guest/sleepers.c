// SPDX-License-Identifier: Apache-2.0
/*
 * sleepers N: N tasks that sleep for ever, processes and threads by turns (every process has one more thread). Writes "ready" when all of them are there.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *sleep_for_ever(void *unused)
{
	for (;;)
		pause();
	return unused;
}

int main(int argc, char **argv)
{
	long tasks = argc > 1 ? atol(argv[1]) : 0;
	pthread_attr_t small;
	int done[2];
	char byte;

	if (pipe(done) || pthread_attr_init(&small) || pthread_attr_setstacksize(&small, 16384))
		return 1;
	for (long i = 0; i < tasks; i += 2) {
		pid_t child = fork();

		if (child < 0) {
			perror("sleepers");
			return 1;
		}
		if (child == 0) {
			pthread_t thread;

			byte = i + 1 < tasks && pthread_create(&thread, &small, sleep_for_ever, NULL);
			if (write(done[1], &byte, 1) != 1 || byte)
				_exit(1);
			sleep_for_ever(NULL);
		}
		/* One after the other: a guest that forks them all at once gets to nothing else. */
		if (read(done[0], &byte, 1) != 1 || byte)
			return 1;
	}
	puts("ready");
	fflush(stdout);
	sleep_for_ever(NULL);
}
