#include "trainer/tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "trainer/split.h"
#include "trainer/vocab.h"

int ids_add(struct ids *list, int id)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 64;
		int *more = realloc(list->id, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		list->id = more;
		list->cap = cap;
	}
	list->id[list->n++] = id;
	return 0;
}

void ids_release(struct ids *list)
{
	free(list->id);
	*list = (struct ids){0};
}

/* normalised text without added tokens: cut and merged */
static int append_pieces(const struct tokenizer *tk, const char *text, size_t len, bool at_start,
	struct ids *list, struct err *err)
{
	struct spans pieces = {0};
	struct buf prefixed = BUF_INIT;
	int rc;

	if (tk->prefix_space && len && *text != ' ') {
		buf_putc(&prefixed, ' ');
		buf_add(&prefixed, text, len);
		text = buf_str(&prefixed);
		len = prefixed.len;
	}
	rc = prefixed.failed ? err_nomem(err)
			     : split_run(tk->split, tk->splits, text, len, &pieces, err);
	for (size_t i = 0; i < pieces.n && rc == 0; i++) {
		const char *at = text + pieces.span[i].at;
		size_t n = pieces.span[i].len;

		if ((tk->kind == TOKENIZER_BYTES
				    ? bpe_piece(tk, at, n, list)
				    : spm_text(tk, at, n, at_start && at == text, list)) < 0)
			rc = err_nomem(err);
	}
	free(pieces.span);
	buf_release(&prefixed);
	return rc;
}

/* valid UTF-8 without added tokens that stand in text as it comes */
static int append_valid(const struct tokenizer *tk, const char *text, size_t len, bool special,
	bool at_start, struct ids *list, struct err *err)
{
	struct buf bf = BUF_INIT;
	struct added_match mt;
	size_t from = 0;
	int rc = 0;

	if (tk->normal.n) {
		rc = normal_run(&tk->normal, text, len, &bf, err);
		text = buf_str(&bf);
		len = bf.len;
	}
	while (rc == 0 && added_next(&tk->normalized, tk, text, len, from, special, &mt)) {
		rc = append_pieces(
			tk, text + from, mt.start - from, at_start && from == 0, list, err);
		if (rc == 0 && ids_add(list, mt.id) < 0)
			rc = err_nomem(err);
		from = mt.end;
	}
	if (rc == 0)
		rc = append_pieces(tk, text + from, len - from, at_start && from == 0, list, err);
	buf_release(&bf);
	return rc;
}

/* bytes that are not UTF-8 stand alone: no pattern sees them */
static int append_text(const struct tokenizer *tk, const char *text, size_t len, bool special,
	bool at_start, struct ids *list, struct err *err)
{
	int rc = 0;

	while (len && rc == 0) {
		size_t good = utf8_check(text, len);

		if (good)
			rc = append_valid(tk, text, good, special, at_start, list, err);
		if (rc == 0 && good < len) {
			int id = tk->byte_id[(unsigned char)text[good]];

			if (id < 0)
				id = tk->unknown;
			if (id >= 0 && ids_add(list, id) < 0)
				rc = err_nomem(err);
			good++;
		}
		text += good;
		len -= good;
		at_start = false;
	}
	return rc;
}

int tokenizer_added(const struct tokenizer *tk, const char *text, size_t len, size_t *bytes)
{
	return added_find(&tk->added, text, len, bytes);
}

int tokenizer_append(const struct tokenizer *tk, const char *text, size_t len, bool special,
	bool at_start, struct ids *list, struct err *err)
{
	struct added_match mt;
	size_t from = 0;

	while (added_next(&tk->raw, tk, text, len, from, special, &mt)) {
		int rc = append_text(tk, text + from, mt.start - from, special,
			at_start && from == 0, list, err);

		if (rc < 0)
			return rc;
		if (ids_add(list, mt.id) < 0)
			return err_nomem(err);
		from = mt.end;
	}
	return append_text(tk, text + from, len - from, special, at_start && from == 0, list, err);
}

int tokenizer_encode(const struct tokenizer *tk, const char *text, size_t len, bool special,
	int *out, size_t cap, struct err *err)
{
	struct ids list = {0};
	int rc = tokenizer_append(tk, text, len, special, true, &list, err);

	if (rc == 0 && (list.n > cap || list.n > INT32_MAX))
		rc = err_set(
			err, EMSGSIZE, "text has %zu tokens, there is room for %zu", list.n, cap);
	if (rc == 0) {
		if (list.n)
			memcpy(out, list.id, list.n * sizeof(*out));
		rc = (int)list.n;
	}
	ids_release(&list);
	return rc;
}

int tokenizer_decode(const struct tokenizer *tk, const int *ids, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		const struct token *tn;
		const char *text;

		if (ids[i] < 0 || ids[i] >= tk->n)
			continue;
		tn = &tk->token[ids[i]];
		text = buf_str(&tk->text) + tn->at;
		if (tn->kind == TOKEN_CONTROL || tn->kind == TOKEN_UNKNOWN)
			continue;
		for (size_t k = 0; k < tn->len;) {
			if (tk->spell_blanks && tn->kind != TOKEN_BYTE && tn->len - k >= 3 &&
				memcmp(text + k, "\xe2\x96\x81", 3) == 0) {
				buf_putc(out, ' ');
				k += 3;
			} else {
				buf_putc(out, text[k++]);
			}
		}
	}
	return out->failed ? -ENOMEM : 0;
}

int tokenizer_text(const struct tokenizer *tk, int id, struct buf *out)
{
	if (id < 0 || id >= tk->n)
		return 0;
	return buf_add(out, buf_str(&tk->text) + tk->token[id].at, tk->token[id].len);
}

int tokenizer_bos(const struct tokenizer *tk)
{
	return tk->bos;
}

int tokenizer_eos(const struct tokenizer *tk)
{
	return tk->eos;
}

bool tokenizer_adds_bos(const struct tokenizer *tk)
{
	return tk->adds_bos && tk->bos >= 0;
}

int tokenizer_size(const struct tokenizer *tk)
{
	return tk->n;
}

int tokenizer_find(const struct tokenizer *tk, const char *text)
{
	size_t len = strlen(text), bytes = 0;
	int id = len ? tokenizer_added(tk, text, len, &bytes) : -1;

	if (id >= 0 && bytes == len)
		return id;
	return len ? vocab_find(tk, text, len) : -1;
}

void tokenizer_set_ends(struct tokenizer *tk, const char *bos, const char *eos)
{
	if (bos && tokenizer_find(tk, bos) >= 0)
		tk->bos = tokenizer_find(tk, bos);
	if (eos && tokenizer_find(tk, eos) >= 0)
		tk->eos = tokenizer_find(tk, eos);
}

static bool only_blanks(const char *text, size_t len)
{
	static const char lower_block[] = "\xe2\x96\x81";

	for (size_t at = 0; at < len;) {
		if (memchr(" \t\n\r", text[at], 4))
			at++;
		else if (len - at >= 3 && memcmp(text + at, lower_block, 3) == 0)
			at += 3;
		else
			return false;
	}
	return true;
}

bool tokenizer_reserve(struct tokenizer *tk, int id)
{
	struct token *tn = id >= 0 && id < tk->n ? &tk->token[id] : NULL;

	if (!tn || (tn->kind != TOKEN_CONTROL && tn->kind != TOKEN_USER) ||
		only_blanks(buf_str(&tk->text) + tn->at, tn->len))
		return false;
	tn->flags |= ADDED_RESERVED;
	return true;
}

void tokenizer_free(struct tokenizer *tk)
{
	if (!tk)
		return;
	for (int i = 0; i < tk->splits; i++)
		pcre2_code_free(tk->split[i].code);
	free(tk->split);
	free(tk->token);
	buf_release(&tk->text);
	free(tk->map);
	free(tk->merge);
	added_release(&tk->added);
	added_release(&tk->raw);
	added_release(&tk->normalized);
	free(tk);
}
