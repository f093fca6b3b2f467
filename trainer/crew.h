/*
 * crew - processes that share the work of one training run: rank 0 .. size - 1, each with the same
 * base, rows and settings. What carries the bytes is the caller's (trainer/mpi/main.c: MPI).
 *
 * The rows of an optimizer step are cut into groups of CREW_GROUP_ROWS whatever the size of the
 * crew; group g is computed by rank g mod size, and rank 0 adds the groups' gradients in the order
 * of the groups. So the adapter has the same bytes for any number of ranks, one included.
 */
#ifndef KOLM_CREW_H
#define KOLM_CREW_H

#include <stddef.h>

enum { CREW_GROUP_ROWS = 4 };

struct crew {
	int rank, size;
	void *arg;
	/* 0, or a negative errno: the run ends. ${rank} of receive: who sent it. */
	int (*send)(void *arg, const void *data, size_t bytes); /* to rank 0 */
	int (*receive)(void *arg, int rank, void *data, size_t bytes);
	int (*broadcast)(void *arg, void *data, size_t bytes); /* rank 0's to all */
};

#endif
