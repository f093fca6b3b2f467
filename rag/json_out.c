/*
 * json_out - a long file on its way to the disk. One thread beside the caller's: it sleeps until a
 * piece of memory is full, takes its sum, writes it and sleeps again; it ends at rag_out_end().
 */
#include "json_out.h"

#include <errno.h>

#include "base/replace.h"
#include "docs.h"

enum { FLUSH_BYTES = 1 << 20 };

static void *out_main(void *arg)
{
	struct rag_out *o = arg;

	pthread_mutex_lock(&o->lock);
	for (;;) {
		struct err err = ERR_NONE;
		int rc;

		while (!o->is_full && !o->is_over)
			pthread_cond_wait(&o->changed, &o->lock);
		if (!o->is_full)
			break;
		pthread_mutex_unlock(&o->lock);
		rag_sha256_add(o->sum, buf_str(&o->full), o->full.len);
		rc = write_all(o->fd, buf_str(&o->full), o->full.len, &err);
		buf_reset(&o->full);
		pthread_mutex_lock(&o->lock);
		if (rc < 0 && o->rc == 0) {
			o->rc = rc;
			o->err = err;
		}
		o->is_full = false;
		pthread_cond_signal(&o->changed);
	}
	pthread_mutex_unlock(&o->lock);
	return NULL;
}

int rag_out_begin(struct rag_out *o, struct err *err)
{
	o->sum = rag_sha256_new();
	if (!o->sum)
		return err_nomem(err);
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->changed, NULL);
	if (pthread_create(&o->thread, NULL, out_main, o) != 0)
		return err_set(err, EAGAIN, "cannot start a thread");
	o->has_thread = true;
	return 0;
}

int rag_out_end(struct rag_out *o, struct err *err)
{
	if (!o->has_thread)
		return 0;
	pthread_mutex_lock(&o->lock);
	o->is_over = true;
	pthread_cond_signal(&o->changed);
	pthread_mutex_unlock(&o->lock);
	pthread_join(o->thread, NULL);
	pthread_cond_destroy(&o->changed);
	pthread_mutex_destroy(&o->lock);
	o->has_thread = false;
	if (o->rc < 0 && err)
		*err = o->err;
	return o->rc;
}

int rag_out_flush(struct rag_out *o, struct err *err)
{
	struct buf swap;
	int rc;

	if (o->bf.failed)
		return err_nomem(err);
	o->len += o->bf.len;
	o->is_too_long = o->len > RAG_JSON_BYTES_MAX;
	if (o->is_too_long)
		return err_set(err, EFBIG, "index.json is too long for its readers");
	pthread_mutex_lock(&o->lock);
	while (o->is_full)
		pthread_cond_wait(&o->changed, &o->lock);
	rc = o->rc;
	if (rc < 0 && err)
		*err = o->err;
	swap = o->full;
	o->full = o->bf;
	o->bf = swap;
	o->is_full = true;
	pthread_cond_signal(&o->changed);
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
	buf_release(&o->full);
	buf_release(&o->bf);
}
