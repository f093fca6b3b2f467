/*
 * extract_json - JSON as text: a line `key.path: value` for every text, number and truth value,
 * text values with their own lines. Items of the outermost array, and lines of JSONL, are records.
 * A record's title (or name, subject, question) comes first and is its heading.
 */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "extract.h"
#include "text.h"

enum {
	PATH_BYTES = 240, /* of a key path that is written; deeper keys are left out of it */
	GROWTH_MAX = 16,  /* how many times as long as the file its text may be */
	GROWTH_FREE = 65536,
};

struct render {
	struct rag_extract *ex;
	struct buf path, key;
	size_t max;
};

static int put_text(struct render *rd, struct json_slice value)
{
	struct buf *out = &rd->ex->text;
	size_t start = out->len;

	if (json_string(value, out) < 0)
		return -ENOMEM;
	for (size_t i = start; i < out->len; i++)
		if ((unsigned char)out->data[i] < ' ' && out->data[i] != '\n')
			out->data[i] = ' ';
	return 0;
}

static int put_leaf(struct render *rd, struct json_slice value)
{
	struct buf *out = &rd->ex->text;
	enum json_kind kind = json_kind_of(value);

	if (kind == JSON_NULL)
		return 0;
	if (rd->path.len) {
		buf_add(out, buf_str(&rd->path), rd->path.len);
		buf_puts(out, ": ");
	}
	if (kind == JSON_STRING)
		put_text(rd, value);
	else
		buf_add(out, value.text, value.len);
	buf_putc(out, '\n');
	if (out->failed)
		return -ENOMEM;
	return out->len > rd->max ? -EFBIG : 0;
}

static void push_key(struct render *rd, struct json_slice key)
{
	buf_reset(&rd->key);
	json_string(key, &rd->key);
	if (rd->key.len == 0 || rd->path.len + rd->key.len + 1 > PATH_BYTES)
		return;
	if (rd->path.len)
		buf_putc(&rd->path, '.');
	for (size_t i = 0; i < rd->key.len; i++)
		buf_putc(&rd->path, (unsigned char)rd->key.data[i] < ' ' ? ' ' : rd->key.data[i]);
}

static int put_value(struct render *rd, struct json_slice value)
{
	enum json_kind kind = json_kind_of(value);
	struct json_slice key, item;
	size_t pos = 0, len = rd->path.len;
	int rc = 0;

	if (kind != JSON_OBJECT && kind != JSON_ARRAY)
		return put_leaf(rd, value);
	while (rc == 0 && json_next(value, &pos, &key, &item)) {
		if (kind == JSON_OBJECT)
			push_key(rd, key);
		rc = rd->path.failed ? -ENOMEM : put_value(rd, item);
		rd->path.len = len;
	}
	return rc;
}

static int put_title(struct render *rd, struct json_slice record)
{
	static const char *const keys[] = {"title", "name", "subject", "heading", "question"};
	struct json_slice value;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		size_t start = rd->ex->text.len;

		if (!json_member(record, keys[i], &value) || json_kind_of(value) != JSON_STRING)
			continue;
		if (put_text(rd, value) < 0)
			return -ENOMEM;
		for (size_t at = start; at < rd->ex->text.len; at++)
			if (rd->ex->text.data[at] == '\n')
				rd->ex->text.data[at] = ' ';
		if (rd->ex->text.len == start)
			continue;
		rag_extract_mark(rd->ex, start, rd->ex->text.len - start, 1);
		return buf_putc(&rd->ex->text, '\n');
	}
	return 0;
}

static int put_record(struct render *rd, struct json_slice record)
{
	int rc = rag_extract_mark(rd->ex, rd->ex->text.len, 0, 0);

	if (rc == 0 && json_kind_of(record) == JSON_OBJECT)
		rc = put_title(rd, record);
	if (rc == 0)
		rc = put_value(rd, record);
	if (rc == 0 && rd->ex->text.len)
		rag_extract_break(rd->ex, 2);
	return rc;
}

static void render_init(struct render *rd, struct rag_extract *ex, size_t len)
{
	*rd = (struct render){.ex = ex};
	rd->max = len > (RAG_TEXT_MAX - GROWTH_FREE) / GROWTH_MAX ? RAG_TEXT_MAX
								  : len * GROWTH_MAX + GROWTH_FREE;
}

static void render_release(struct render *rd)
{
	buf_release(&rd->path);
	buf_release(&rd->key);
}

int rag_extract_json(const char *data, size_t len, struct rag_extract *ex)
{
	struct json_slice all = {data, len}, item;
	struct render rd;
	size_t pos = 0;
	int rc = json_check(data, len, NULL);

	if (rc < 0)
		return rc == -ENOMEM ? rc : -EBADMSG;
	while (all.len > 0 && strchr(" \t\r\n", all.text[0])) {
		all.text++;
		all.len--;
	}
	while (all.len > 0 && strchr(" \t\r\n", all.text[all.len - 1]))
		all.len--;
	render_init(&rd, ex, len);
	if (json_kind_of(all) == JSON_ARRAY)
		while (rc == 0 && json_next(all, &pos, NULL, &item))
			rc = put_record(&rd, item);
	else
		rc = put_record(&rd, all);
	render_release(&rd);
	return rc;
}

/* a line that is no JSON is text */
int rag_extract_jsonl(const char *data, size_t len, struct rag_extract *ex)
{
	struct render rd;
	int rc = 0;

	render_init(&rd, ex, len);
	for (size_t pos = 0; rc == 0 && pos < len;) {
		const char *lf = memchr(data + pos, '\n', len - pos);
		struct json_slice line = {data + pos, lf ? (size_t)(lf - data) - pos : len - pos};

		pos += line.len + 1;
		while (line.len > 0 && strchr(" \t\r", line.text[line.len - 1]))
			line.len--;
		while (line.len > 0 && strchr(" \t", line.text[0])) {
			line.text++;
			line.len--;
		}
		if (line.len == 0)
			continue;
		rc = json_check(line.text, line.len, NULL);
		if (rc == 0)
			rc = put_record(&rd, line);
		else if (rc != -ENOMEM)
			rc = rag_extract_mark(ex, ex->text.len, 0, 0) < 0 ||
					     rag_decode(line.text, line.len, &ex->text) < 0 ||
					     buf_puts(&ex->text, "\n\n") < 0
				     ? -ENOMEM
				     : 0;
	}
	render_release(&rd);
	return rc;
}
