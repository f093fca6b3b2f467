#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/json.h"
#include "base/replace.h"
#include "extract.h"
#include "text.h"

enum {
	BATCH_FILES = 32,
	TICK_MS = 900, /* so that a second never passes in silence */
};

/* what became of a file of the batch */
struct filed {
	size_t file; /* its number */
	struct rag_source src;
	const struct rag_source *old; /* its documents are those; or NULL: */
	uint32_t n_made;
	int rc; /* why it was left out, or 0 */
};

/* a document of the batch */
struct made {
	size_t text, text_len, title, title_len; /* in texts */
	uint64_t from, to;
	uint32_t words;
	unsigned char content[16];
};

void rag_work_tell(struct rag_work *wk)
{
	int64_t now = clock_ms();

	if (!wk->opt->progress || now - wk->told_ms < TICK_MS)
		return;
	wk->told_ms = now;
	wk->opt->progress(wk->opt->arg, wk->done, wk->n_files, wk->bytes);
}

static void content_hash(const void *data, size_t len, unsigned char out[16])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, len));
	memcpy(out, canonical.digest, 16);
}

/* ---- one file ---- */

static int add_made(struct rag_worker *wr, const struct rag_piece *pc, bool is_piece)
{
	struct rag_batch *bt = wr->batch;
	struct made md = {.text = bt->texts.len,
		.text_len = pc->text_len,
		.title_len = pc->title_len,
		.from = pc->from,
		.to = pc->to,
		.words = pc->words};

	if (is_piece)
		content_hash(pc->text, pc->text_len, md.content);
	else
		memcpy(md.content, wr->now->content, sizeof(md.content));
	if (buf_add(&bt->texts, pc->text, pc->text_len) < 0)
		return -ENOMEM;
	md.title = bt->texts.len;
	if (buf_add(&bt->texts, pc->title, pc->title_len) < 0 ||
		buf_add(&bt->made, &md, sizeof(md)) < 0 ||
		rag_table_end(&wr->table, wr->n_docs) < 0)
		return -ENOMEM;
	wr->n_docs++;
	return 0;
}

static int sink_term(void *arg, const char *word, size_t len, uint32_t n)
{
	struct rag_worker *wr = arg;

	return rag_table_term(&wr->table, word, len, n);
}

static int sink_piece(void *arg, const struct rag_piece *pc)
{
	struct rag_worker *wr = arg;

	if (pc->words == 0) {
		rag_table_drop(&wr->table);
		return 0;
	}
	return add_made(wr, pc, true);
}

/* rag-bm25-1: a file is a document, unless it has no word */
static int make_whole(struct rag_worker *wr)
{
	struct rag_piece pc = {.title = ""};

	if (rag_table_text(&wr->table, wr->raw.data, wr->raw.len) < 0)
		return -ENOMEM;
	pc.words = rag_table_words(&wr->table);
	if (pc.words == 0) {
		rag_table_drop(&wr->table);
		return 0;
	}
	pc.text = buf_str(&wr->raw);
	pc.text_len = wr->raw.len;
	if (utf8_check(pc.text, pc.text_len) != pc.text_len) {
		buf_reset(&wr->text);
		if (rag_decode(wr->raw.data, wr->raw.len, &wr->text) < 0)
			return -ENOMEM;
		pc.text = buf_str(&wr->text);
		pc.text_len = wr->text.len;
	}
	return add_made(wr, &pc, false);
}

static int make_pieces(struct rag_worker *wr, const char *path)
{
	const struct rag_mode *mode = wr->wk->mode;
	struct rag_sink sink = {.term = sink_term, .piece = sink_piece, .arg = wr};
	int rc = mode->split(mode, wr->state, path, buf_str(&wr->raw), wr->raw.len, &sink);

	rag_table_drop(&wr->table);
	return rc == -ENOMEM ? rc : 0;
}

/* the documents of a file that may be as it was, or NULL. None that is too large by now; none of a
 * PDF that gave no text, which it can for want of the program or of time */
static const struct rag_source *find_old(struct rag_work *wk, const struct rag_file *file)
{
	const struct rag_source *old =
		wk->prev ? rag_sources_find(&wk->prev->sources, file->name) : NULL;

	if (!old || old->size > wk->max_bytes ||
		(old->n_docs == 0 && rag_kind_of(file->path) == RAG_KIND_PDF))
		return NULL;
	return old;
}

static int make_file(struct rag_worker *wr, size_t number)
{
	struct rag_work *wk = wr->wk;
	const struct rag_file *file = &wk->files[number];
	const struct rag_source *old = find_old(wk, file);
	struct filed fd = {.file = number};
	uint32_t before = wr->n_docs;
	struct stat st;
	int rc = 0;

	if (old && fstatat(wk->rootfd, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		rag_source_same(&wk->prev->sources, old, &st)) {
		fd.old = old;
		fd.src = *old;
		return buf_add(&wr->batch->filed, &fd, sizeof(fd));
	}
	buf_reset(&wr->raw);
	fd.rc = rag_read_stat(wk->rootfd, file->name, wk->max_bytes, &wr->raw, &st);
	if (fd.rc == -ENOMEM)
		return -ENOMEM;
	if (fd.rc == 0) {
		rag_source_set(&fd.src, &st);
		fd.src.size = wr->raw.len;
		content_hash(wr->raw.data, wr->raw.len, fd.src.content);
		wr->now = &fd.src;
		if (old && old->size == fd.src.size &&
			memcmp(old->content, fd.src.content, sizeof(old->content)) == 0)
			fd.old = old;
		else
			rc = wk->mode->split ? make_pieces(wr, file->path) : make_whole(wr);
	}
	fd.n_made = wr->n_docs - before;
	return rc < 0 ? rc : buf_add(&wr->batch->filed, &fd, sizeof(fd));
}

/* ---- handing on ---- */

static void count_left_out(struct rag_built *built, int rc)
{
	if (rc == -EFBIG)
		built->skipped_big++;
	else if (rc == -EINVAL || rc == -ELOOP) /* it was a regular file a moment ago */
		built->skipped_special++;
	else
		built->skipped_unreadable++;
}

static int hand_made(struct rag_batch *bt, const struct made *md, const char *file, struct err *err)
{
	struct rag_worker *wr = bt->wr;
	struct rag_piece piece = {.title = bt->texts.data + md->title,
		.title_len = md->title_len,
		.from = md->from,
		.to = md->to};
	struct rag_writer_doc doc = {.words = md->words,
		.text = bt->texts.data + md->text,
		.text_len = md->text_len,
		.piece = wr->wk->mode->split ? &piece : NULL};
	uint32_t id;
	int rc;

	memcpy(doc.content, md->content, sizeof(doc.content));
	rc = rag_docs_new(wr->wk->docs, &doc, file, &id, err);
	return rc == 0 && buf_add(&wr->map, &id, sizeof(id)) < 0 ? err_nomem(err) : rc;
}

static int hand_file(
	struct rag_batch *bt, struct filed *fd, const struct made **md, struct err *err)
{
	struct rag_work *wk = bt->wr->wk;
	const struct rag_file *file = &wk->files[fd->file];
	uint32_t n = fd->old ? fd->old->n_docs : fd->n_made;
	int rc = 0;

	wk->done++;
	if (fd->rc < 0) {
		count_left_out(&wk->built, fd->rc);
		return 0;
	}
	wk->bytes += fd->src.size;
	if (n == 0)
		wk->built.skipped_empty++;
	if (fd->old)
		wk->built.unchanged++;
	fd->src.first_doc = rag_docs_next(wk->docs);
	fd->src.n_docs = n;
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = fd->old ? rag_docs_old(
				       wk->docs, wk->prev, fd->old->first_doc + i, file->path, err)
			     : hand_made(bt, (*md)++, file->path, err);
	return rc < 0 ? rc : rag_docs_source(wk->docs, &fd->src, file->name, err);
}

/* what there is of a batch; it is its turn */
static int hand_on(struct rag_batch *bt, struct err *err)
{
	struct filed *fd = (struct filed *)(void *)bt->filed.data;
	const struct made *md = (const struct made *)(const void *)bt->made.data;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < bt->filed.len / sizeof(*fd); i++)
		rc = hand_file(bt, &fd[i], &md, err);
	buf_reset(&bt->filed);
	buf_reset(&bt->made);
	if (bt->texts.cap > bt->wr->wk->budget.held / RAG_RING)
		buf_release(&bt->texts);
	buf_reset(&bt->texts);
	rag_work_tell(bt->wr->wk);
	return rc;
}

/* ---- threads ---- */

static void fail(struct rag_work *wk, int rc, const struct err *err)
{
	if (wk->rc == 0) {
		wk->rc = rc;
		wk->err = *err;
	}
	pthread_cond_broadcast(&wk->turned);
}

/* hand on the batch whose turn it is. With the lock, which is given up meanwhile */
static void hand_turn(struct rag_work *wk)
{
	struct rag_batch *bt = &wk->ring[wk->turn % RAG_RING];
	struct err err = ERR_NONE;
	size_t bytes = bt->texts.len;
	int rc;

	wk->is_handing = true;
	pthread_mutex_unlock(&wk->lock);
	rc = hand_on(bt, &err);
	pthread_mutex_lock(&wk->lock);
	wk->is_handing = false;
	if (rc < 0)
		fail(wk, rc, &err);
	if (bt->is_ready) {
		bt->is_ready = false;
		wk->held -= bytes;
		wk->turn++;
	}
	pthread_cond_broadcast(&wk->turned);
}

static bool is_turn_ready(const struct rag_work *wk)
{
	return wk->rc == 0 && !wk->is_handing && wk->ring[wk->turn % RAG_RING].is_ready;
}

/* all of ${batch} is made: hand on what can be */
static int batch_ready(struct rag_worker *wr)
{
	struct rag_work *wk = wr->wk;
	int rc;

	pthread_mutex_lock(&wk->lock);
	wr->batch->is_ready = true;
	wk->held += wr->batch->texts.len;
	while (is_turn_ready(wk))
		hand_turn(wk);
	rc = wk->rc;
	pthread_mutex_unlock(&wk->lock);
	return rc;
}

/* there is much in ${batch} already: wait for its turn and hand that on */
static int batch_part(struct rag_worker *wr, size_t batch)
{
	struct rag_work *wk = wr->wk;
	int rc;

	pthread_mutex_lock(&wk->lock);
	while (wk->rc == 0 && (wk->turn != batch || wk->is_handing)) {
		if (is_turn_ready(wk))
			hand_turn(wk);
		else
			pthread_cond_wait(&wk->turned, &wk->lock);
	}
	if (wk->rc == 0)
		hand_turn(wk);
	rc = wk->rc;
	pthread_mutex_unlock(&wk->lock);
	return rc;
}

/* the next batch: 1; 0 there is none */
static int batch_begin(struct rag_worker *wr, size_t *batch)
{
	struct rag_work *wk = wr->wk;
	int rc;

	pthread_mutex_lock(&wk->lock);
	while (wk->rc == 0 && wk->next != wk->turn &&
		(wk->next - wk->turn == RAG_RING || wk->held > wk->budget.held)) {
		if (is_turn_ready(wk))
			hand_turn(wk);
		else
			pthread_cond_wait(&wk->turned, &wk->lock);
	}
	*batch = wk->next++;
	rc = wk->rc;
	pthread_mutex_unlock(&wk->lock);
	wr->batch = &wk->ring[*batch % RAG_RING];
	wr->batch->wr = wr;
	return rc < 0 ? rc : *batch * BATCH_FILES < wk->n_files;
}

static int spill(struct rag_worker *wr, struct err *err)
{
	uint64_t end;
	int rc;

	if (wr->table.n_terms == 0)
		return 0;
	rc = rag_table_spill(&wr->table, &wr->spool, err);
	end = wr->spool.len;
	return rc == 0 && buf_add(&wr->runs, &end, sizeof(end)) < 0 ? err_nomem(err) : rc;
}

static bool is_table_full(const struct rag_worker *wr)
{
	size_t max = wr->wk->budget.table, docs = (size_t)wr->n_docs * RAG_DOC_BYTES;

	max = docs + RAG_TABLE_BYTES_MIN < max ? max - docs : RAG_TABLE_BYTES_MIN;
	return rag_table_bytes(&wr->table) > max;
}

static int make_batch(struct rag_worker *wr, size_t batch, struct err *err)
{
	size_t from = batch * BATCH_FILES, to = from + BATCH_FILES;
	struct rag_work *wk = wr->wk;
	int rc = 0;

	for (size_t i = from; rc == 0 && i < to && i < wk->n_files; i++) {
		rc = make_file(wr, i);
		if (rc == 0 && is_table_full(wr))
			rc = spill(wr, err);
		if (rc == 0 && wr->batch->texts.len > wk->budget.batch)
			rc = batch_part(wr, batch);
		/* one huge file must not keep its memory */
		if (wr->raw.cap > wk->budget.batch || wr->text.cap > wk->budget.batch) {
			buf_release(&wr->raw);
			buf_release(&wr->text);
		}
	}
	return rc < 0 ? rc : batch_ready(wr);
}

static void *worker_main(void *arg)
{
	struct rag_worker *wr = arg;
	struct rag_work *wk = wr->wk;
	struct err err = ERR_NONE;
	size_t batch;
	int rc;

	while ((rc = batch_begin(wr, &batch)) > 0) {
		rc = make_batch(wr, batch, &err);
		if (rc < 0)
			break;
	}
	if (rc == 0)
		rc = spill(wr, &err);
	if (rc < 0) {
		if (rc == -ENOMEM && err.no == 0)
			err_nomem(&err);
		pthread_mutex_lock(&wk->lock);
		fail(wk, rc, &err);
		pthread_mutex_unlock(&wk->lock);
	}
	wr->n_pairs = wr->table.n_pairs;
	rag_table_release(&wr->table);
	return NULL;
}

static int worker_init(struct rag_worker *wr, struct rag_work *wk)
{
	wr->wk = wk;
	rag_spool_init(&wr->spool, wk->tmpfd);
	if (rag_table_init(&wr->table) < 0)
		return -ENOMEM;
	if (!wk->mode->open)
		return 0;
	wr->state = wk->mode->open(wk->mode);
	return wr->state ? 0 : -ENOMEM;
}

int rag_work_run(struct rag_work *wk, struct rag_worker *workers, size_t n, struct err *err)
{
	size_t started = 0;

	memset(workers, 0, n * sizeof(*workers));
	pthread_mutex_init(&wk->lock, NULL);
	pthread_cond_init(&wk->turned, NULL);
	for (size_t i = 0; i < n && wk->rc == 0; i++)
		if (worker_init(&workers[i], wk) < 0)
			wk->rc = err_nomem(&wk->err);
	/* the caller is the first of them */
	for (size_t i = 1; i < n && wk->rc == 0; i++, started++)
		if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0)
			break;
	if (wk->rc == 0)
		worker_main(&workers[0]);
	for (size_t i = 1; i <= started; i++)
		pthread_join(workers[i].thread, NULL);
	if (wk->rc == 0)
		wk->rc = rag_docs_end(wk->docs, &wk->err);
	pthread_cond_destroy(&wk->turned);
	pthread_mutex_destroy(&wk->lock);
	if (wk->rc < 0 && err)
		*err = wk->err;
	return wk->rc;
}

void rag_workers_release(struct rag_work *wk, struct rag_worker *workers, size_t n)
{
	for (size_t i = 0; i < RAG_RING; i++) {
		buf_release(&wk->ring[i].texts);
		buf_release(&wk->ring[i].made);
		buf_release(&wk->ring[i].filed);
	}
	for (size_t i = 0; i < n; i++) {
		struct rag_worker *wr = &workers[i];

		if (!wr->wk)
			continue;
		rag_table_release(&wr->table);
		rag_spool_release(&wr->spool);
		if (wr->state)
			wr->wk->mode->close(wr->state);
		buf_release(&wr->runs);
		buf_release(&wr->map);
		buf_release(&wr->raw);
		buf_release(&wr->text);
	}
}
