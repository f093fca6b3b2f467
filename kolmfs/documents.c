/*
 * documents - see documents.h.
 */
#include "documents.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rag/kolmrag.h"
#include "replies.h"

enum { TERM_NAME_BYTES = 255 };

/* what is asked of an opened index */
struct look {
	const char *name;
	size_t len;
	enum rag_path kind;
	names_each *fn;
	void *arg;
	int ended; /* ${fn} wanted no more */
};

static int look_at(struct server *sv, const struct place *at, kolm_index_fn *fn, struct look *lk,
	struct buf *out, struct err *err)
{
	struct buf none = BUF_INIT;
	struct err bad = ERR_NONE;
	char key[2 * SLUG_BYTES];
	int rc = kolm_index_read(sv->k, at->index, fn, lk, out ? out : &none, &bad);

	if (rc == -EUCLEAN) { /* a lookup has no other place for its sentence */
		names_key(at, key);
		replies_set(sv, key, bad.text);
	}
	if (rc < 0 && err)
		*err = bad;
	return rc;
}

static int say(int rc, const struct look *lk, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];

	return rc < 0 ? err_set(err, -rc, "cannot show '%s': %s",
				err_quote(quoted, lk->name, lk->len), strerror(-rc))
		      : rc;
}

static int see_kind(const struct rag_index *ix, void *arg, struct buf *out, struct err *err)
{
	struct look *lk = arg;

	(void)out;
	return say(rag_path_look(ix, lk->name, lk->len, &lk->kind), lk, err);
}

CHILD(doc_child)
{
	struct look lk = {0};
	int rc = place_below(at, child, len, out, err);

	if (rc < 0)
		return rc;
	lk.name = out->rest;
	lk.len = strlen(out->rest);
	rc = look_at(sv, at, see_kind, &lk, NULL, err);
	if (rc < 0)
		return rc;
	if (lk.kind == RAG_PATH_NONE)
		return err_set(err, ENOENT, "no such document");
	out->what = lk.kind == RAG_PATH_FILE ? &doc_file : NULL;
	out->folder = lk.kind == RAG_PATH_FILE ? NULL : &doc_folder;
	return 0;
}

static int list_one(void *arg, const char *name, size_t len, bool is_folder)
{
	struct look *lk = arg;

	lk->ended = lk->fn(lk->arg, name, len, is_folder);
	return lk->ended;
}

/* nothing is listed before all that can be damaged was looked at: a second call starts anew */
static int see_names(const struct rag_index *ix, void *arg, struct buf *out, struct err *err)
{
	struct look *lk = arg;
	int rc = rag_path_look(ix, lk->name, lk->len, &lk->kind);

	(void)out;
	if (rc == 0)
		rc = rag_path_each(ix, lk->name, lk->len, list_one, lk);
	return lk->ended ? 0 : say(rc, lk, err);
}

EACH(doc_each)
{
	struct look lk = {.name = at->rest, .len = strlen(at->rest), .fn = fn, .arg = arg};
	int rc = look_at(sv, at, see_names, &lk, NULL, err);

	return lk.ended ? lk.ended : rc;
}

static int see_text(const struct rag_index *ix, void *arg, struct buf *out, struct err *err)
{
	const struct look *lk = arg;

	return say(rag_path_text(ix, lk->name, lk->len, out), lk, err);
}

RENDERER(doc_render)
{
	struct look lk = {.name = at->rest, .len = strlen(at->rest)};

	return look_at(sv, at, see_text, &lk, out, err);
}

/* ---- terms/ ---- */

CHILD(term_child)
{
	(void)sv;
	if (len > TERM_NAME_BYTES)
		return err_set(
			err, ENAMETOOLONG, "no term is longer than %d bytes", TERM_NAME_BYTES);
	*out = *at;
	out->what = &term_file;
	out->folder = NULL;
	memcpy(out->rest, child, len);
	out->rest[len] = '\0';
	return 0;
}

static int see_term(const struct rag_index *ix, void *arg, struct buf *out, struct err *err)
{
	const struct look *lk = arg;

	return say(rag_term(ix, lk->name, lk->len, out), lk, err);
}

RENDERER(term_render)
{
	struct look lk = {.name = at->rest, .len = strlen(at->rest)};

	return look_at(sv, at, see_term, &lk, out, err);
}
