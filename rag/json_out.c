/*
 * json_out - a long file on its way to the disk. Two threads beside the caller's, one for the sum
 * and one for the file: they sleep until there is a piece they have not had, and end at
 * rag_out_end().
 */
#include "json_out.h"

#include <errno.h>

#include "direct.h"
#include "docs.h"

enum { FLUSH_BYTES = 1 << 18 };

/* the next piece for a thread that has had ${had}; NULL: there are no more */
static const struct buf *next_piece(struct rag_out *o, const uint64_t *had)
{
	const struct buf *piece = NULL;

	pthread_mutex_lock(&o->lock);
	while (*had == o->put && !o->is_over)
		pthread_cond_wait(&o->changed, &o->lock);
	if (*had < o->put)
		piece = &o->full[*had % RAG_OUT_PIECES];
	pthread_mutex_unlock(&o->lock);
	return piece;
}

static void failed(struct rag_out *o, int rc, const struct err *err)
{
	pthread_mutex_lock(&o->lock);
	if (o->rc == 0) {
		o->rc = rc;
		o->err = *err;
	}
	pthread_mutex_unlock(&o->lock);
}

static void piece_done(struct rag_out *o, uint64_t *had)
{
	pthread_mutex_lock(&o->lock);
	++*had;
	pthread_cond_broadcast(&o->changed);
	pthread_mutex_unlock(&o->lock);
}

static void *sum_main(void *arg)
{
	struct rag_out *o = arg;
	const struct buf *piece;

	while ((piece = next_piece(o, &o->summed))) {
		rag_sha256_add(o->sum, piece->data, piece->len);
		piece_done(o, &o->summed);
	}
	return NULL;
}

static void *write_main(void *arg)
{
	struct rag_out *o = arg;
	struct rag_direct dr = {.fd = o->fd};
	struct err err = ERR_NONE;
	const struct buf *piece;
	int rc = 0;

	while ((piece = next_piece(o, &o->written))) {
		if (rc == 0 && (rc = rag_direct_put(&dr, piece->data, piece->len, &err)) < 0)
			failed(o, rc, &err);
		piece_done(o, &o->written);
	}
	if (rc == 0 && (rc = rag_direct_end(&dr, &err)) < 0)
		failed(o, rc, &err);
	rag_direct_release(&dr);
	return NULL;
}

int rag_out_begin(struct rag_out *o, struct err *err)
{
	o->sum = rag_sha256_new();
	if (!o->sum)
		return err_nomem(err);
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->changed, NULL);
	o->is_begun = true;
	if (pthread_create(&o->summer, NULL, sum_main, o) != 0)
		return err_set(err, EAGAIN, "cannot start a thread");
	o->n_threads++;
	if (pthread_create(&o->writer, NULL, write_main, o) != 0)
		return err_set(err, EAGAIN, "cannot start a thread");
	o->n_threads++;
	return 0;
}

int rag_out_end(struct rag_out *o, struct err *err)
{
	if (!o->is_begun)
		return 0;
	pthread_mutex_lock(&o->lock);
	o->is_over = true;
	pthread_cond_broadcast(&o->changed);
	pthread_mutex_unlock(&o->lock);
	if (o->n_threads > 0)
		pthread_join(o->summer, NULL);
	if (o->n_threads > 1)
		pthread_join(o->writer, NULL);
	pthread_cond_destroy(&o->changed);
	pthread_mutex_destroy(&o->lock);
	o->is_begun = false;
	if (o->rc < 0 && err)
		*err = o->err;
	return o->rc;
}

static bool is_full(const struct rag_out *o)
{
	return o->put - o->summed == RAG_OUT_PIECES || o->put - o->written == RAG_OUT_PIECES;
}

int rag_out_flush(struct rag_out *o, struct err *err)
{
	struct buf swap, *piece;
	int rc;

	if (o->bf.failed)
		return err_nomem(err);
	if (o->bf.len == 0)
		return 0;
	o->len += o->bf.len;
	o->is_too_long = o->len > RAG_JSON_BYTES_MAX;
	if (o->is_too_long)
		return err_set(err, EFBIG, "index.json is too long for its readers");
	pthread_mutex_lock(&o->lock);
	while (is_full(o))
		pthread_cond_wait(&o->changed, &o->lock);
	rc = o->rc;
	if (rc < 0 && err)
		*err = o->err;
	piece = &o->full[o->put % RAG_OUT_PIECES];
	swap = *piece;
	*piece = o->bf;
	o->bf = swap;
	buf_reset(&o->bf);
	o->put++;
	pthread_cond_broadcast(&o->changed);
	pthread_mutex_unlock(&o->lock);
	if (o->tick)
		o->tick(o->arg);
	return rc;
}

int rag_out_flush_some(struct rag_out *o, struct err *err)
{
	return o->bf.failed || o->bf.len >= FLUSH_BYTES ? rag_out_flush(o, err) : 0;
}

void rag_out_release(struct rag_out *o)
{
	rag_sha256_free(o->sum);
	for (size_t i = 0; i < RAG_OUT_PIECES; i++)
		buf_release(&o->full[i]);
	buf_release(&o->bf);
}
