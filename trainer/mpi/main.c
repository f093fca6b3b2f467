/*
 * kolm-trainer-mpi - the native training worker over many machines: one rank of a crew (crew.h)
 * that MPI started and connects. `make mpi`; kolm-trainer.1 says how to use it.
 */
#include <errno.h>
#include <limits.h>
#include <mpi.h>
#include <stdlib.h>

#include "trainer/crew.h"
#include "trainer/kolmlm.h"

enum { TAG = 1 };

/* MPI counts in int; its own error handler ends all ranks when one is lost */
static int in_pieces(void *data, size_t bytes, int (*piece)(void *arg, char *at, int n), void *arg)
{
	for (char *at = data; bytes > 0;) {
		int n = bytes > INT_MAX ? INT_MAX : (int)bytes;

		if (piece(arg, at, n) != MPI_SUCCESS)
			return -EIO;
		at += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int send_piece(void *arg, char *at, int n)
{
	(void)arg;
	return MPI_Send(at, n, MPI_BYTE, 0, TAG, MPI_COMM_WORLD);
}

static int receive_piece(void *arg, char *at, int n)
{
	return MPI_Recv(at, n, MPI_BYTE, *(const int *)arg, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static int broadcast_piece(void *arg, char *at, int n)
{
	(void)arg;
	return MPI_Bcast(at, n, MPI_BYTE, 0, MPI_COMM_WORLD);
}

static int crew_send(void *arg, const void *data, size_t bytes)
{
	return in_pieces((void *)(uintptr_t)data, bytes, send_piece, arg);
}

static int crew_receive(void *arg, int rank, void *data, size_t bytes)
{
	(void)arg;
	return in_pieces(data, bytes, receive_piece, &rank);
}

static int crew_broadcast(void *arg, void *data, size_t bytes)
{
	return in_pieces(data, bytes, broadcast_piece, arg);
}

int main(int argc, char **argv)
{
	struct crew cw = {.send = crew_send, .receive = crew_receive, .broadcast = crew_broadcast};
	int rc;

	/* Open MPI would copy between ranks by process_vm_readv, which the walls refuse */
	setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
	if (MPI_Init(&argc, &argv) != MPI_SUCCESS)
		return 64;
	MPI_Comm_rank(MPI_COMM_WORLD, &cw.rank);
	MPI_Comm_size(MPI_COMM_WORLD, &cw.size);
	rc = lm_train_main(argc, argv, &cw);
	if (rc != 0) /* the others wait for what will not come */
		MPI_Abort(MPI_COMM_WORLD, rc);
	MPI_Finalize();
	return 0;
}
