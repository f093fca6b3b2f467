/*
 * deaf - a worker gone wrong, under the name it is copied to: as kolm-indexer it says three
 * megabytes without a line feed and ends well; as kolm-trainer it closes its output and ends by no
 * signal but SIGKILL.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char noise[3 << 20];

	(void)argc;
	(void)signal(SIGTERM, SIG_IGN);
	if (strstr(argv[0], "kolm-trainer") != NULL) {
		(void)close(STDOUT_FILENO);
		(void)close(STDERR_FILENO);
		for (;;)
			(void)pause();
	}
	memset(noise, 'a', sizeof(noise));
	for (size_t done = 0; done < sizeof(noise);) {
		ssize_t n = write(STDOUT_FILENO, noise + done, sizeof(noise) - done);

		if (n <= 0)
			return 1;
		done += (size_t)n;
	}
	return 0;
}
