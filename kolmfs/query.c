/*
 * query - see query.h.
 */
#include "query.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "base/num.h"
#include "replies.h"
#include "talk.h"

enum { QUERY_TEXT_BYTES = 64 << 10 };

enum {
	HAS_Q = 1,
	HAS_K = 2,
	HAS_FMT = 4,
	HAS_MODE = 8,
	HAS_PATH = 16,
	HAS_AFTER = 32,
	HAS_EXPLAIN = 64
};

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int decode(const char *text, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '%' && i + 2 < len && hex(text[i + 1]) >= 0 &&
			hex(text[i + 2]) >= 0) {
			buf_putc(out, (char)(hex(text[i + 1]) << 4 | hex(text[i + 2])));
			i += 2;
		} else {
			buf_putc(out, text[i] == '+' ? ' ' : text[i]);
		}
	}
	return out->failed ? -ENOMEM : 0;
}

static int check_text(const char *key, const struct buf *text, struct err *err)
{
	size_t bad = utf8_check(buf_str(text), text->len);

	if (bad < text->len)
		return err_set(err, EILSEQ, "%s is not UTF-8 at byte %zu", key, bad);
	if (text->len && memchr(text->data, 0, text->len))
		return err_set(err, EILSEQ, "%s holds a NUL byte", key);
	return 0;
}

static int check_texts(const struct query *qr, struct err *err)
{
	int rc = check_text("q", &qr->text, err);

	if (rc == 0)
		rc = check_text("path", &qr->path, err);
	return rc < 0 ? rc : check_text("mode", &qr->mode, err);
}

static int set_format(struct query *qr, const char *value, size_t len, struct err *err)
{
	static const struct {
		const char *name;
		enum rag_format format;
	} formats[] = {{"text", RAG_TEXT}, {"json", RAG_JSON}, {"paths", RAG_PATHS}};
	char quoted[ERR_QUOTE_BYTES + 8];

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (strlen(formats[i].name) == len && memcmp(formats[i].name, value, len) == 0) {
			qr->format = formats[i].format;
			return 0;
		}
	}
	return err_set(
		err, EINVAL, "fmt: text, json or paths, not \"%s\"", err_quote(quoted, value, len));
}

/* the whole number of a key, ${min} to ${max} */
static int set_number(const char *key, const char *value, size_t len, int64_t min, int64_t max,
	size_t *out, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	int64_t n;
	int rc = num_whole(value, len, min, max, &n);

	/* -1 is a whole number, only not a good one */
	if (rc == -EINVAL && len > 1 && value[0] == '-' &&
		num_whole(value + 1, len - 1, 0, INT64_MAX, &n) == 0)
		rc = -ERANGE;
	if (rc < 0)
		return err_set(err, -rc, "%s: %lld to %lld, not \"%s\"", key, (long long)min,
			(long long)max, err_quote(quoted, value, len));
	*out = (size_t)n;
	return 0;
}

static int set_value(struct query *qr, unsigned bit, const char *value, size_t len, struct err *err)
{
	size_t on = 0;
	int rc;

	switch (bit) {
	case HAS_K:
		return set_number("k", value, len, 1, RAG_K_MAX, &qr->k, err);
	case HAS_AFTER:
		return set_number("after", value, len, 0, RAG_AFTER_MAX, &qr->after, err);
	case HAS_EXPLAIN:
		rc = set_number("explain", value, len, 0, 1, &on, err);
		qr->explain = on == 1;
		return rc;
	case HAS_FMT:
		return set_format(qr, value, len, err);
	case HAS_PATH:
		qr->has_path = true;
		return decode(value, len, &qr->path) < 0 ? err_nomem(err) : 0;
	case HAS_MODE:
		qr->has_mode = true;
		return decode(value, len, &qr->mode) < 0 ? err_nomem(err) : 0;
	default:
		return decode(value, len, &qr->text) < 0 ? err_nomem(err) : 0;
	}
}

/* one key=value; ${seen} collects which there were */
static int set_pair(struct query *qr, const char *pair, size_t len, unsigned *seen, struct err *err)
{
	const char *eq = memchr(pair, '=', len);
	size_t klen = eq ? (size_t)(eq - pair) : len, vlen = eq ? len - klen - 1 : 0;
	char quoted[ERR_QUOTE_BYTES + 8];
	static const struct {
		const char *name;
		unsigned bit;
	} keys[] = {{"q", HAS_Q}, {"k", HAS_K}, {"fmt", HAS_FMT}, {"mode", HAS_MODE},
		{"path", HAS_PATH}, {"after", HAS_AFTER}, {"explain", HAS_EXPLAIN}};
	unsigned bit = 0;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strlen(keys[i].name) == klen && memcmp(keys[i].name, pair, klen) == 0)
			bit = keys[i].bit;
	if (!eq && bit == HAS_Q)
		return err_set(err, EINVAL, "q missing: write q=WORDS");
	if (!bit || !eq)
		return err_set(err, EINVAL,
			"%sunknown key \"%s\"; known: q k fmt mode path after explain",
			*seen & HAS_Q ? "" : "q missing; ", err_quote(quoted, pair, klen));
	if (*seen & bit)
		return err_set(err, EINVAL, "%.*s given twice", (int)klen, pair);
	*seen |= bit;
	return set_value(qr, bit, eq + 1, vlen, err);
}

int query_parse(const char *name, size_t len, struct query *out, struct err *err)
{
	const char *p = memchr(name, '?', len), *end = name + len;
	unsigned seen = 0;
	int rc = 0;

	*out = (struct query){.k = RAG_K_DEFAULT, .format = RAG_TEXT};
	p = p ? p + 1 : end;
	while (rc == 0 && p < end) {
		const char *amp = memchr(p, '&', (size_t)(end - p));
		size_t n = amp ? (size_t)(amp - p) : (size_t)(end - p);

		if (n > 0)
			rc = set_pair(out, p, n, &seen, err);
		p += n + (amp ? 1 : 0);
	}
	if (rc == 0 && !(seen & HAS_Q))
		rc = err_set(err, EINVAL, "q missing: write query?q=WORDS");
	if (rc == 0)
		rc = check_texts(out, err);
	if (rc < 0)
		query_release(out);
	return rc;
}

/* `#k=10 fmt=json path=docs/` */
static int set_options(struct query *qr, const char *line, size_t len, struct err *err)
{
	unsigned seen = HAS_Q;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < len;) {
		size_t n = 0;

		while (i + n < len && line[i + n] != ' ' && line[i + n] != '\t' &&
			line[i + n] != '\r')
			n++;
		if (n > 0)
			rc = set_pair(qr, line + i, n, &seen, err);
		i += n + 1;
	}
	return rc;
}

int query_parse_text(const char *text, size_t len, struct query *out, struct err *err)
{
	int rc = 0;

	*out = (struct query){.k = RAG_K_DEFAULT, .format = RAG_TEXT};
	if (len > QUERY_TEXT_BYTES)
		return err_set(err, EMSGSIZE, "question longer than %d bytes", QUERY_TEXT_BYTES);
	if (len > 0 && text[0] == '#') {
		const char *lf = memchr(text, '\n', len);
		size_t n = lf ? (size_t)(lf - text) : len;

		rc = set_options(out, text + 1, n - 1, err);
		text += n + (lf ? 1 : 0);
		len -= n + (lf ? 1 : 0);
	}
	if (rc == 0 && buf_add(&out->text, text, len) < 0)
		rc = err_nomem(err);
	if (rc == 0)
		rc = check_texts(out, err);
	if (rc < 0)
		query_release(out);
	return rc;
}

void query_release(struct query *qr)
{
	buf_release(&qr->text);
	buf_release(&qr->path);
	buf_release(&qr->mode);
}

static int ask(struct server *sv, const struct place *at, const struct query *qr, struct buf *out,
	struct err *err)
{
	struct rag_request rq = {.text = buf_str(&qr->text),
		.len = qr->text.len,
		.k = qr->k,
		.after = qr->after,
		.form = qr->format,
		.path = qr->has_path ? buf_str(&qr->path) : NULL,
		.path_len = qr->path.len,
		.mode = qr->has_mode ? buf_str(&qr->mode) : NULL,
		.mode_len = qr->mode.len,
		.explain = qr->explain};
	int rc = kolm_query(sv->k, at->index, &rq, out, err);

	if (rc == 0 && qr->format == RAG_JSON)
		buf_putc(out, '\n');
	return rc == 0 && out->failed ? err_nomem(err) : rc;
}

int query_answer(struct server *sv, const struct place *at, const char *text, size_t len,
	struct buf *out, struct err *err)
{
	struct query qr;
	int rc = query_parse_text(text, len, &qr, err);

	if (rc < 0)
		return rc;
	rc = ask(sv, at, &qr, out, err);
	query_release(&qr);
	return rc;
}

int query_render(struct server *sv, const struct place *at, struct buf *out, struct err *err)
{
	struct query qr;
	struct err bad = ERR_NONE;
	char key[2 * SLUG_BYTES];
	int rc = query_parse(at->rest, strlen(at->rest), &qr, &bad);

	if (rc == 0) {
		rc = ask(sv, at, &qr, out, &bad);
		query_release(&qr);
	}
	/* a name that cannot be looked up has no other place for its sentence */
	names_key(at, key);
	replies_set(sv, key, rc < 0 ? bad.text : "ok");
	if (err)
		*err = bad;
	return rc;
}
