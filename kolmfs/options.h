/*
 * options - the words kolmfs is started with.
 */
#ifndef KOLM_OPTIONS_H
#define KOLM_OPTIONS_H

#include "server.h"

enum { EXIT_USAGE = 1, EXIT_MISSING = 3, EXIT_RUN = 4 };

struct options {
	char store[STORE_PATH_BYTES];
	const char *mountpoint;
	bool foreground, debug;
	bool over;   /* the mount lies on the store itself */
	bool others; /* allow_other */
	bool has_group;
	gid_t group;
	int ready; /* the pipe to who waits for the start, -1 */
};

/* options_parse(argc, argv, out): -1: go on; otherwise the exit status, all was said. */
int options_parse(int argc, char **argv, struct options *out);

#endif
