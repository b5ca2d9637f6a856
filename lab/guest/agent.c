// SPDX-License-Identifier: Apache-2.0
/*
 * agent PORT: the lab's way into its own test guests (Panacea itself needs none). One TCP connection, one command:
 *
 *	request		u32 length, then that many bytes of a shell command
 *	answer		u32 length and that many bytes of output (standard output and error together), repeated;
 *			u32 0 and i32 status at the end: the exit status, or 128 + the signal that killed the shell
 *
 * Numbers are little-endian. Each connection has a process of its own, so a command that dies or hangs in the kernel
 * takes no other with it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_COMMAND = 1 << 16 };

static int read_all(int fd, void *to, size_t n)
{
	char *p = to;

	while (n) {
		ssize_t got = read(fd, p, n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -1;
		p += got;
		n -= (size_t)got;
	}
	return 0;
}

static int write_all(int fd, const void *from, size_t n)
{
	const char *p = from;

	while (n) {
		ssize_t put = write(fd, p, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return -1;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

/* Runs one command; a client that goes away doesn't end it: its output is read on and dropped. */
static void serve(int client)
{
	struct { uint32_t length; char data[16384]; } frame;
	char *command = malloc(MAX_COMMAND + 1);
	int out[2], status = 0, gone = 0;
	uint32_t length, end[2];
	ssize_t got;
	pid_t child;

	if (!command || read_all(client, &length, sizeof(length)) || length > MAX_COMMAND ||
	    read_all(client, command, length) || pipe(out))
		return;
	command[length] = 0;
	child = fork();
	if (child == 0) {
		setsid();
		close(0);
		dup2(out[1], 1);
		dup2(out[1], 2);
		close(out[0]);
		close(out[1]);
		close(client);
		signal(SIGPIPE, SIG_DFL);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	if (child < 0)
		return;
	while ((got = read(out[0], frame.data, sizeof(frame.data))) > 0 || (got < 0 && errno == EINTR)) {
		if (got < 0 || gone)
			continue;
		frame.length = (uint32_t)got;
		gone = write_all(client, &frame, sizeof(frame.length) + (size_t)got);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	end[0] = 0;
	end[1] = (uint32_t)(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	write_all(client, end, sizeof(end));
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 7000)) };
	int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 64)) {
		perror("agent");
		return 1;
	}
	for (;;) {
		int client = accept(listener, NULL, NULL);

		if (client < 0)
			continue;
		setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (fork() == 0) {
			close(listener);
			signal(SIGCHLD, SIG_DFL);
			serve(client);
			_exit(0);
		}
		close(client);
	}
}
