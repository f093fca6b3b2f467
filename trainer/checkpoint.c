/*
 * The file: head, the held-out losses, four arrays of floats, XXH3-64 of all before it.
 */
#include "trainer/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/replace.h"

static const char magic[16] = "kolm-checkpoint";

struct head {
	char magic[16];
	uint64_t run;
	int64_t step;
	int64_t best_epoch;
	double best_loss;
	int64_t judged;
	uint64_t epochs;
	uint64_t n;
};

int checkpoint_write(int dirfd, const struct checkpoint *cp, struct err *err)
{
	struct head hd = {.run = cp->run,
		.step = cp->step,
		.best_epoch = cp->best_epoch,
		.best_loss = cp->best_loss,
		.judged = cp->judged,
		.epochs = cp->epochs,
		.n = cp->n};
	const struct {
		const void *data;
		size_t len;
	} piece[] = {{&hd, sizeof(hd)}, {cp->curve, cp->epochs * sizeof(double)},
		{cp->weights, cp->n * 4}, {cp->m, cp->n * 4}, {cp->v, cp->n * 4},
		{cp->best, cp->n * 4}};
	XXH3_state_t *hash = XXH3_createState();
	uint64_t digest;
	int rc = 0, fd;

	if (!hash)
		return err_nomem(err);
	memcpy(hd.magic, magic, sizeof(magic));
	XXH3_64bits_reset(hash);
	fd = openat(
		dirfd, "state.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		rc = err_sys(err, "cannot create a checkpoint");
		goto out;
	}
	for (size_t i = 0; rc == 0 && i < sizeof(piece) / sizeof(piece[0]); i++) {
		XXH3_64bits_update(hash, piece[i].data, piece[i].len);
		rc = write_all(fd, piece[i].data, piece[i].len, err);
	}
	digest = XXH3_64bits_digest(hash);
	if (rc == 0)
		rc = write_all(fd, &digest, sizeof(digest), err);
	if (rc == 0 && fsync(fd) < 0)
		rc = err_sys(err, "cannot write a checkpoint");
	if (close(fd) < 0 && rc == 0)
		rc = err_sys(err, "cannot write a checkpoint");
	if (rc == 0 && renameat(dirfd, "state.new", dirfd, "state") < 0)
		rc = err_sys(err, "cannot replace the checkpoint");
	if (rc == 0)
		rc = dir_sync(dirfd, err);
	else
		unlinkat(dirfd, "state.new", 0);
out:
	XXH3_freeState(hash);
	return rc;
}

int checkpoint_read(int dirfd, struct checkpoint *cp, struct err *err)
{
	size_t curve = cp->epochs * sizeof(double), at = sizeof(struct head) + curve,
	       body = at + 4 * cp->n * sizeof(float);
	float *const into[] = {cp->weights, cp->m, cp->v, cp->best};
	struct buf data = BUF_INIT;
	struct head hd;
	uint64_t digest;
	int rc = read_file(dirfd, "state", body + sizeof(digest), &data, NULL);

	if (rc < 0 || data.len != body + sizeof(digest)) {
		buf_release(&data);
		return rc == -ENOMEM ? err_nomem(err) : 0; /* none, or of another run */
	}
	memcpy(&hd, data.data, sizeof(hd));
	memcpy(&digest, data.data + body, sizeof(digest));
	rc = memcmp(hd.magic, magic, sizeof(magic)) == 0 && hd.run == cp->run && hd.n == cp->n &&
	     hd.epochs == cp->epochs && XXH3_64bits(data.data, body) == digest;
	if (rc == 1) {
		cp->step = hd.step;
		cp->best_epoch = hd.best_epoch;
		cp->best_loss = hd.best_loss;
		cp->judged = hd.judged;
		memcpy(cp->curve, data.data + sizeof(hd), curve);
		for (size_t i = 0; i < 4; i++, at += cp->n * sizeof(float))
			memcpy(into[i], data.data + at, cp->n * sizeof(float));
	}
	buf_release(&data);
	return rc;
}
