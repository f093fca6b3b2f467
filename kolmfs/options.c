/*
 * options - see options.h.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "names.h"

static const char usage_text[] =
	"usage: kolmfs [-f] [-d] [-o OPTIONS] [STORE [MOUNTPOINT]]\n"
	"Serve the store STORE (default $KOLM_HOME or ~/.kolm) as files at MOUNTPOINT (default "
	"/mnt/kolm).\n"
	"  -f           stay in the foreground\n"
	"  -d           print every request (implies -f)\n"
	"  -o OPTIONS   allow_other: others may read; group=G: only that group may; over: mount on "
	"the\n"
	"               store itself; the usual options of mount are accepted\n"
	"  --names      print every file of the mount with its mode and meaning\n"
	"  --version, --help\n"
	"Exit: 0 serving (or ended well), 1 bad arguments, 3 something is missing (FUSE, a sandbox "
	"layer), 4 failed.\n";

static int set_group(struct options *op, const char *word)
{
	const struct group *gr = getgrnam(word);
	int64_t number;

	if (gr)
		op->group = gr->gr_gid;
	else if (num_whole(word, strlen(word), 0, UINT32_MAX - 1, &number) == 0)
		op->group = (gid_t)number;
	else
		return -1;
	op->has_group = true;
	return 0;
}

/* what mount(8) and fstab pass along and what means nothing to us */
static bool is_ignored(const char *word)
{
	static const char *const words[] = {"rw", "dev", "nodev", "suid", "nosuid", "exec",
		"noexec", "auto", "noauto", "user", "users", "nouser", "owner", "group", "_netdev",
		"nofail", "defaults", "noatime", "relatime", "nodiratime", "default_permissions",
		"async", "sync", "dirsync", "atime", "diratime", "strictatime", "lazytime",
		"nolazytime", "nogroup", "noowner", "nosymfollow"};
	static const char *const begins[] = {
		"x-", "X-", "fsname=", "subtype=", "comment=", "user="};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i], word) == 0)
			return true;
	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		if (strncmp(word, begins[i], strlen(begins[i])) == 0)
			return true;
	return false;
}

static int mount_options(struct options *op, char *text)
{
	char *save = NULL;

	for (char *word = strtok_r(text, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		if (strcmp(word, "allow_other") == 0) {
			op->others = true;
		} else if (strcmp(word, "over") == 0) {
			op->over = true;
		} else if (strncmp(word, "group=", 6) == 0) {
			if (set_group(op, word + 6) < 0) {
				fprintf(stderr, "kolmfs: no group \"%s\"\n", word + 6);
				return -1;
			}
		} else if (strcmp(word, "ro") == 0) {
			fputs("kolmfs: option \"ro\": commands are writes; others than the owner "
			      "cannot write anyway, leave it away\n",
				stderr);
			return -1;
		} else if (!is_ignored(word)) {
			fprintf(stderr, "kolmfs: unknown mount option \"%s\"\n", word);
			return -1;
		}
	}
	return 0;
}

/* STORE MOUNTPOINT, with their defaults */
static int take_places(int argc, char **argv, struct options *op)
{
	struct err err = ERR_NONE;

	if (argc > 2) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	if (argc > 0) {
		if (strlen(argv[0]) >= sizeof(op->store)) {
			fputs("kolmfs: store path too long\n", stderr);
			return EXIT_USAGE;
		}
		memcpy(op->store, argv[0], strlen(argv[0]) + 1);
	} else if (store_default_path(op->store, &err) < 0) {
		fprintf(stderr, "kolmfs: %s\n", err.text);
		return EXIT_RUN;
	}
	op->mountpoint = argc > 1 ? argv[1] : op->over ? op->store : "/mnt/kolm";
	if (op->has_group && !op->others) {
		fputs("kolmfs: group=G says who of the others may read; it needs allow_other\n",
			stderr);
		return EXIT_USAGE;
	}
	return -1;
}

/* what was asked for went to standard output, or not */
static int said(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	fprintf(stderr, "kolmfs: cannot write to standard output: %s\n", strerror(errno));
	return EXIT_RUN;
}

int options_parse(int argc, char **argv, struct options *op)
{
	static const struct option longs[] = {
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{"names", no_argument, NULL, 'N'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "fdo:hVsn", longs, NULL)) != -1) {
		switch (c) {
		case 'd':
			op->debug = true;
			op->foreground = true;
			break;
		case 'f':
			op->foreground = true;
			break;
		case 'o':
			if (mount_options(op, optarg) < 0)
				return EXIT_USAGE;
			break;
		case 's': /* mount(8) may pass them */
		case 'n':
			break;
		case 'h':
			fputs(usage_text, stdout);
			return said();
		case 'V':
			puts("kolmfs " KOLM_VERSION);
			return said();
		case 'N':
			names_print(stdout);
			return said();
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	return take_places(argc - optind, argv + optind, op);
}
