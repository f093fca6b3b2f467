// loop.c MOUNTPOINT SLUG [ROWS.jsonl] - train on corrected rows, measure, promote if the gate lets
// it. cc -o loop loop.c: links nothing. STEP="step epochs=1" in the environment changes how it
// trains.
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char text[1 << 20];

static int open_it(const char *file, int flags)
{
	int fd = open(file, flags);

	if (fd < 0)
		err(1, "%s", file);
	return fd;
}

/* the rest of an open file, without its last line feed */
static const char *rest(int fd)
{
	ssize_t n = 0, got;

	while ((got = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += got;
	close(fd);
	text[n > 0 && text[n - 1] == '\n' ? n - 1 : n] = 0;
	return text;
}

/* one line to ctl, in one write. 0, or the errno of a refusal; then `error` beside ctl holds the
 * sentence */
static int command(const char *verb, const char *arg)
{
	int fd = open_it("ctl", O_WRONLY),
	    no = dprintf(fd, "%s%s%s\n", verb, *arg ? " " : "", arg) < 0 ? errno : 0;

	close(fd);
	return no;
}

/* start a job and read `wait`, which answers when it is over: "12 step ok rev=v1 k=- pass=-
 * elapsed=31.4" */
static void job(const char *verb, const char *arg, char rev[16])
{
	int no = command(verb, arg);

	puts(rest(open_it(no == 0 ? "wait" : "error", O_RDONLY)));
	if (no != 0 || sscanf(text, "%*s %*s ok rev=%15s", rev) != 1)
		exit(1);
}

int main(int argc, char **argv)
{
	static const char input[] =
		"{\"text\":\"Hello, this is Maria Lopez, order 48213. Where is my parcel?\"}";
	FILE *rows = argc > 3 ? fopen(argv[3], "r") : NULL;
	char rev[16], file[64];
	int fd, no;

	if (argc < 3 || (argc > 3 && !rows) || chdir(argv[1]) < 0 || chdir(argv[2]) < 0)
		err(1, "usage: loop MOUNTPOINT SLUG [ROWS.jsonl]");
	for (fd = open_it("captures.jsonl", O_WRONLY | O_APPEND);
		rows && fgets(text, sizeof(text), rows);)
		if (write(fd, text, strlen(text)) < 0)
			err(1, "captures.jsonl");
	close(fd);
	job(getenv("STEP") ? getenv("STEP") : "step", "", rev);
	job("eval", rev, rev);
	snprintf(file, sizeof(file), "revisions/%s/eval.json", rev);
	rest(open_it(file, O_RDONLY));
	printf("measured: %s\n", strtok(strstr(text, "\"k\": "), ",\n"));
	no = command("promote", rev);
	printf("%s %s\n",
		no == 0	       ? "promoted"
		: no == ERANGE ? "refused by the gate:"
			       : "refused:",
		no == 0 ? rev : rest(open_it("error", O_RDONLY)));
	printf("HEAD is %s\n", rest(open_it("HEAD", O_RDONLY)));
	fd = open_it("run", O_RDWR); /* written and then read on the same open file */
	if (write(fd, input, strlen(input)) < 0)
		err(1, "run");
	puts(rest(fd));
	return no != 0 && no != ERANGE;
}
