/*
 * deaf - a worker gone wrong, under the name it is copied to: as kolm-indexer it says three
 * megabytes without a line feed and ends well; as kolm-trainer it closes its output and ends by no
 * signal but SIGKILL; as kolm-runner it answers, but a request with "flood" in it without an end.
 * Whose recipes it ran is a mark in the program, for the script to replace.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NOISE_BYTES = 3 << 20 };
#define MARK "0123456789abcdefghijklmnopqrstuvwxyz------sha256-of-the-artifact"

static int noise(void)
{
	static char text[NOISE_BYTES];

	memset(text, 'a', sizeof(text));
	for (size_t done = 0; done < sizeof(text);) {
		ssize_t n = write(STDOUT_FILENO, text + done, sizeof(text) - done);

		if (n <= 0)
			return -1;
		done += (size_t)n;
	}
	return 0;
}

static int run(void)
{
	char line[65536];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		for (int i = 0; i < 4 && strstr(line, "flood") != NULL; i++)
			if (noise() < 0)
				return 1;
		(void)puts("{\"id\":1,\"ok\":true,\"output\":\"OK\",\"recipe_id\":\"r\",\"recipe_"
			   "name\":"
			   "\"r\",\"latency_us\":1,\"lm_us\":0,\"artifact_sha256\":\"" MARK "\"}");
		(void)fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	(void)argc;
	(void)signal(SIGTERM, SIG_IGN);
	if (strstr(argv[0], "kolm-runner") != NULL)
		return run();
	if (strstr(argv[0], "kolm-trainer") == NULL)
		return noise() < 0;
	(void)close(STDOUT_FILENO);
	(void)close(STDERR_FILENO);
	for (;;)
		(void)pause();
}
