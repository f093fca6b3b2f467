/*
 * jinja_json - the filter tojson, as transformers has it: tojson(ensure_ascii=false, indent=none).
 */
#include "trainer/jinja_text.h"

#include <errno.h>
#include <string.h>

#include "trainer/jinja_tree.h"

enum { INDENT_MAX = 16 };

struct writer {
	struct run *rn;
	struct buf *text, *taint;
	int64_t indent; /* below 0: on one line */
	int depth;
};

static void put(struct writer *wr, const char *text, const char taint)
{
	buf_puts(wr->text, text);
	for (size_t i = 0; i < strlen(text); i++)
		buf_putc(wr->taint, taint);
}

static void new_line(struct writer *wr)
{
	if (wr->indent < 0)
		return;
	put(wr, "\n", 0);
	for (int64_t i = 0; i < wr->indent * wr->depth; i++)
		put(wr, " ", 0);
}

/* as json.dumps(ensure_ascii=False) spells a text */
static void put_string(struct writer *wr, struct val_str s)
{
	static const char hex[] = "0123456789abcdef";

	put(wr, "\"", 0);
	for (size_t i = 0; i < s.len; i++) {
		char c = s.text[i], taint = s.taint ? s.taint[i] : 0, spelt[8] = {c, 0};

		if (c == '"' || c == '\\') {
			memcpy(spelt, (char[]){'\\', c, 0}, 3);
		} else if (strchr("\b\f\n\r\t", c) && c) {
			char letter = c == '\b'	  ? 'b'
				      : c == '\f' ? 'f'
				      : c == '\n' ? 'n'
				      : c == '\r' ? 'r'
						  : 't';

			memcpy(spelt, (char[]){'\\', letter, 0}, 3);
		} else if ((unsigned char)c < 0x20) {
			memcpy(spelt,
				(char[]){'\\', 'u', '0', '0', hex[(unsigned char)c >> 4],
					hex[c & 15], 0},
				7);
		}
		put(wr, spelt, taint);
	}
	put(wr, "\"", 0);
}

static int put_json(struct writer *wr, const struct val *v);

static int put_items(struct writer *wr, const struct val *v)
{
	const struct val_list *items = v->kind == VAL_LIST ? v->list : &v->dict->value;
	const char *open = v->kind == VAL_LIST ? "[" : "{",
		   *close = v->kind == VAL_LIST ? "]" : "}";
	int rc = 0;

	if (++wr->depth > JINJA_DEPTH)
		return run_fail(wr->rn, E2BIG, "is nested too deep");
	put(wr, open, 0);
	for (size_t i = 0; i < items->n && rc == 0; i++) {
		if (i)
			put(wr, wr->indent < 0 ? ", " : ",", 0);
		new_line(wr);
		if (v->kind == VAL_DICT) {
			rc = put_json(wr, &v->dict->key.item[i]);
			put(wr, ": ", 0);
		}
		if (rc == 0)
			rc = put_json(wr, &items->item[i]);
	}
	wr->depth--;
	if (items->n)
		new_line(wr);
	put(wr, close, 0);
	return rc;
}

static int put_json(struct writer *wr, const struct val *v)
{
	switch (v->kind) {
	case VAL_NONE:
		put(wr, "null", 0);
		break;
	case VAL_BOOL:
		put(wr, v->i ? "true" : "false", 0);
		break;
	case VAL_INT:
		return val_print(wr->rn, v, wr->text, wr->taint);
	case VAL_STR:
		put_string(wr, v->s);
		break;
	case VAL_LIST:
	case VAL_DICT:
		return put_items(wr, v);
	case VAL_FLOAT:
		return run_fail(wr->rn, EOPNOTSUPP, "'tojson' of other than whole numbers");
	default:
		return run_fail(wr->rn, EDOM, "'tojson' of something that has no JSON");
	}
	if (wr->text->len > JINJA_MEMORY)
		return run_fail(wr->rn, E2BIG, "needs too much memory");
	return 0;
}

int text_json(struct run *rn, const struct val *in, const struct args *args, struct val *out)
{
	struct buf text = BUF_INIT, taint = BUF_INIT;
	const struct val *ascii = arg(args, 0, "ensure_ascii"), *indent = arg(args, 1, "indent");
	struct writer wr = {.rn = rn, .text = &text, .taint = &taint, .indent = -1};
	int rc;

	if (ascii && val_true(ascii))
		return run_fail(rn, EOPNOTSUPP, "'tojson' in ASCII is not in the subset");
	if (indent && indent->kind != VAL_NONE) {
		if (indent->kind != VAL_INT || indent->i < 0 || indent->i > INDENT_MAX)
			return run_fail(rn, EOPNOTSUPP, "'tojson' with that indent");
		wr.indent = indent->i;
	}
	rc = put_json(&wr, in);
	return val_from_bufs(rn, rc, &text, &taint, out);
}
