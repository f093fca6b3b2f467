/*
 * kolm - the command line: one verb on a store, with or without a mount, under the same locks as
 * the file server.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"

static volatile sig_atomic_t is_interrupted;

static void on_signal(int sig)
{
	(void)sig;
	is_interrupted = 1;
}

void interrupts_catch(void)
{
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

	(void)sigaction(SIGINT, &act, NULL);
	(void)sigaction(SIGTERM, &act, NULL);
}

bool interrupted(void)
{
	return is_interrupted != 0;
}

static int store_path(struct cli *c, struct err *err)
{
	if (c->store_given == NULL)
		return store_default_path(c->store, err);
	if (strlen(c->store_given) >= sizeof(c->store))
		return usage_error(err, "--store: path too long");
	if (c->store_given[0] == '/') {
		(void)snprintf(c->store, sizeof(c->store), "%s", c->store_given);
		return 0;
	}
	return path_absolute(c->store_given, c->store, err);
}

static int run_verb(struct cli *c, struct err *err)
{
	int rc = store_path(c, err);

	if (rc < 0)
		return strcmp(err->code, "") == 0 ? missing_mark(err) : rc;
	c->by = by_self();
	if (c->verb->needs == NEED_SPAWN) {
		rc = spawner_start(&c->sp, err);
		if (rc < 0)
			return missing_mark(err);
	}
	if (c->verb->needs != NEED_NOTHING)
		rc = kolm_open(c->store, false, c->sp, &c->k, err);
	if (rc == 0)
		rc = c->verb->run(c, err);
	kolm_close(c->k);
	spawner_stop(c->sp);
	return rc;
}

static int report(const struct verb *v, const struct err *err)
{
	char title[40] = "";

	if (v != NULL)
		(void)verb_title(v, title, sizeof(title));
	fflush(stdout);
	fprintf(stderr, "error: [kolm%s%s] ", title[0] != '\0' ? " " : "", title);
	say_text(stderr, err->text[0] != '\0' ? err->text : strerror(err->no));
	fputc('\n', stderr);
	return exit_code(v, err);
}

/* nothing, or only a group, was typed */
static int no_verb(const struct cli *c)
{
	FILE *out = c->help ? stdout : stderr;

	if (c->words > 0)
		help_group(out, c->word[0]);
	else
		help_all(out);
	return c->help ? EXIT_OK : EXIT_USAGE;
}

/* descriptors 0-2 exist, whatever we were started with: nothing of ours may land there. What was
 * closed reads as empty and cannot be written to. */
static void fill_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct cli c = {0};
	struct err err = ERR_NONE;
	int rc;

	fill_descriptors();
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(
		SIGXFSZ, SIG_IGN); /* K02: a write that fails is told, and what it made undone */
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("kolm " KOLM_VERSION);
		return fflush(stdout) == 0 ? EXIT_OK : EXIT_RUN;
	}
	rc = args_parse(&c, argc, argv, &err);
	if (rc == 0 && c.verb == NULL) {
		rc = no_verb(&c);
	} else if (rc == 0 && c.help) {
		help_verb(stdout, c.verb);
	} else {
		if (rc == 0)
			rc = run_verb(&c, &err);
		if (rc < 0)
			rc = report(c.verb, &err);
	}
	/* K14 */
	if ((fflush(stdout) != 0 || ferror(stdout)) && rc == EXIT_OK) {
		fprintf(stderr, "error: [kolm] cannot write to standard output: %s\n",
			strerror(errno));
		rc = EXIT_RUN;
	}
	return rc;
}
