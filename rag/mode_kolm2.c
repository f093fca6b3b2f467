#include "mode_kolm2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze.h"
#include "bm25.h"
#include "chunk.h"
#include "pdf.h"

/* one thread's */
struct state {
	struct rag_analyzer an;
	struct rag_extract ex;
	struct buf field, pages;
	const char *path;
	const struct rag_sink *sink;
	uint32_t words; /* of the piece being made */
};

static int count_term(void *arg, const struct rag_token *tk)
{
	struct state *st = arg;

	st->words += tk->kind == RAG_TOKEN_WORD;
	return st->sink->term(st->sink->arg, tk->term, tk->len, 1);
}

static int put_field(struct state *st, const char *field, const char *term, size_t len)
{
	buf_reset(&st->field);
	buf_puts(&st->field, field);
	buf_add(&st->field, term, len);
	if (st->field.failed)
		return -ENOMEM;
	if (st->field.len > RAG_MODE_TERM_BYTES)
		return 0;
	return st->sink->term(st->sink->arg, st->field.data, st->field.len, 1);
}

static int count_title(void *arg, const struct rag_token *tk)
{
	int rc = count_term(arg, tk);

	if (rc < 0 || tk->kind == RAG_TOKEN_PAIR)
		return rc;
	return put_field(arg, "title:", tk->term, tk->len);
}

/* the name of a file is no part of its length */
static int count_name(void *arg, const struct rag_token *tk)
{
	struct state *st = arg;

	return tk->kind == RAG_TOKEN_PAIR ? 0 : st->sink->term(st->sink->arg, tk->term, tk->len, 1);
}

static int count_path(struct state *st)
{
	const char *name = strrchr(st->path, '/'), *dot;
	char ext[RAG_FIELD_EXT_BYTES];
	size_t len, n;
	int rc;

	name = name ? name + 1 : st->path;
	dot = strrchr(name, '.');
	if (dot == name)
		dot = NULL;
	len = dot ? (size_t)(dot - name) : strlen(name);
	rc = rag_analyze(&st->an, name, len, count_name, st);
	n = dot ? strlen(dot + 1) : 0;
	if (rc < 0 || n == 0 || n >= sizeof(ext))
		return rc;
	for (size_t i = 0; i < n; i++)
		ext[i] = (char)(dot[1 + i] >= 'A' && dot[1 + i] <= 'Z' ? dot[1 + i] | 0x20
								       : dot[1 + i]);
	return put_field(st, "ext:", ext, n);
}

static int make_piece(void *arg, const struct rag_chunk *ck)
{
	struct state *st = arg;
	struct rag_piece pc = {.title = buf_str(ck->title),
		.title_len = ck->title->len,
		.text = buf_str(&st->ex.text) + ck->start,
		.text_len = ck->end - ck->start,
		.from = ck->from,
		.to = ck->to};
	int rc;

	st->words = 0;
	rc = rag_analyze(&st->an, pc.text, pc.text_len, count_term, st);
	if (rc < 0 || st->words == 0)
		return rc;
	rc = rag_analyze(&st->an, pc.title, pc.title_len, count_title, st);
	if (rc == 0)
		rc = count_path(st);
	pc.words = st->words;
	return rc < 0 ? rc : st->sink->piece(st->sink->arg, &pc);
}

/* pages, by a helper; all else here */
static int extract(const struct rag_mode *mode, struct state *st, const char *data, size_t len)
{
	enum rag_kind kind = rag_kind_of(st->path);
	int rc;

	if (kind != RAG_KIND_PDF)
		return rag_extract(kind, data, len, &st->ex);
	buf_reset(&st->pages);
	rc = mode->pdf ? rag_pdf_text(mode->pdf, data, len, &st->pages) : -ENODATA;
	return rc < 0 ? rc : rag_extract(kind, buf_str(&st->pages), st->pages.len, &st->ex);
}

static int split(const struct rag_mode *mode, void *state, const char *path, const char *data,
	size_t len, const struct rag_sink *sink)
{
	struct state *st = state;
	int rc;

	st->path = path;
	st->sink = sink;
	rc = extract(mode, st, data, len);
	if (rc == -EFBIG)
		return -ENODATA;
	if (rc < 0)
		return rc;
	return rag_chunks(&st->ex, make_piece, st);
}

static void close_state(void *state)
{
	struct state *st = state;

	if (!st)
		return;
	rag_analyzer_release(&st->an);
	rag_extract_release(&st->ex);
	buf_release(&st->field);
	buf_release(&st->pages);
	free(st);
}

/* "kolm-2 LANG versions" */
static void *open_state(const struct rag_mode *mode)
{
	struct state *st = calloc(1, sizeof(*st));
	char lang[RAG_LANG_BYTES];

	if (!st)
		return NULL;
	if (rag_analyzer_lang(mode->analyser, lang) < 0 ||
		rag_analyzer_init(&st->an, lang, NULL) < 0) {
		close_state(st);
		return NULL;
	}
	return st;
}

int rag_mode_kolm2(const char *lang, struct rag_mode *out, struct err *err)
{
	struct rag_analyzer an;
	struct rag_mode mode = {.spec = RAG_KOLM2,
		.k1 = RAG_K1,
		.b = RAG_B,
		.open = open_state,
		.close = close_state,
		.split = split};
	char version[64];
	int rc = rag_analyzer_init(&an, lang, err);

	if (rc < 0)
		return rc;
	snprintf(mode.analyser, sizeof(mode.analyser), "%s %s %s", RAG_KOLM2, an.lang,
		rag_analyzer_version(version));
	rag_analyzer_release(&an);
	*out = mode;
	return 0;
}
