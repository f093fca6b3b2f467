/*
 * jinja_run - statements: a tree and its inputs to text.
 */
#include "trainer/jinja_run.h"

#include <errno.h>
#include <string.h>

const struct val *run_lookup(const struct run *rn, const char *name, size_t len)
{
	for (const struct frame *fr = rn->frame; fr; fr = fr->up) {
		const struct val *v = val_get(&fr->vars, name, len);

		if (v)
			return v;
	}
	return NULL;
}

int run_define(struct run *rn, const char *name, size_t len, struct val value)
{
	struct val key = {.kind = VAL_STR, .s = {name, len, NULL}};

	return val_put(rn, &rn->frame->vars, key, value);
}

/* what a loop goes over: the items of a list, the keys of a dictionary, the characters of a text */
static int items_of(struct run *rn, const struct val *v, struct val *out)
{
	int rc;

	if (v->kind == VAL_LIST) {
		*out = *v;
		return 0;
	}
	rc = val_new_list(rn, out);
	if (v->kind == VAL_DICT)
		*out->list = v->dict->key;
	else if (v->kind == VAL_STR)
		for (size_t i = 0, n = char_count(v->s); i < n && rc == 0; i++)
			rc = val_push(rn, out->list, val_char(v->s, i));
	else if (v->kind != VAL_UNDEFINED)
		rc = run_fail(rn, EDOM, "a loop over something that is no list");
	return rc;
}

static int assign(struct run *rn, const struct node *names, struct val value)
{
	size_t i = 0;
	int rc = 0;

	if (!names->next)
		return run_define(rn, names->text, names->len, value);
	for (; names && rc == 0; names = names->next, i++) {
		if (value.kind != VAL_LIST || i >= value.list->n)
			return run_fail(rn, EDOM, "too few values for the names of a loop");
		rc = run_define(rn, names->text, names->len, value.list->item[i]);
	}
	return rc;
}

static int define_loop(struct run *rn, const struct val_list *items, size_t i)
{
	const struct {
		const char *name;
		struct val value;
	} vars[] = {
		{"index", val_int((int64_t)i + 1)},
		{"index0", val_int((int64_t)i)},
		{"revindex", val_int((int64_t)(items->n - i))},
		{"revindex0", val_int((int64_t)(items->n - i) - 1)},
		{"first", val_bool(i == 0)},
		{"last", val_bool(i + 1 == items->n)},
		{"length", val_int((int64_t)items->n)},
		{"previtem", i > 0 ? items->item[i - 1] : (struct val){0}},
		{"nextitem", i + 1 < items->n ? items->item[i + 1] : (struct val){0}},
	};
	struct val loop;
	int rc = val_new_dict(rn, &loop);

	for (size_t k = 0; k < sizeof(vars) / sizeof(vars[0]) && rc == 0; k++)
		if (vars[k].value.kind != VAL_UNDEFINED)
			rc = val_put(rn, loop.dict, val_text(vars[k].name), vars[k].value);
	return rc < 0 ? rc : run_define(rn, "loop", 4, loop);
}

/* the items a loop's condition lets through */
static int chosen_items(struct run *rn, const struct node *nd, struct val *items)
{
	struct val kept, yes;
	int rc = val_new_list(rn, &kept);

	for (size_t i = 0; i < items->list->n && rc == 0; i++) {
		struct frame frame = {.up = rn->frame};

		rn->frame = &frame;
		rc = assign(rn, nd->names, items->list->item[i]);
		if (rc == 0)
			rc = run_eval(rn, nd->b, &yes);
		rn->frame = frame.up;
		if (rc == 0 && val_true(&yes))
			rc = val_push(rn, kept.list, items->list->item[i]);
	}
	*items = kept;
	return rc;
}

static int run_for(struct run *rn, const struct node *nd)
{
	struct val over, items;
	int rc = run_eval(rn, nd->a, &over);

	if (rc == 0)
		rc = items_of(rn, &over, &items);
	if (rc == 0 && nd->b)
		rc = chosen_items(rn, nd, &items);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < items.list->n && rc == 0; i++) {
		struct frame frame = {.up = rn->frame};

		rn->frame = &frame;
		rc = define_loop(rn, items.list, i);
		if (rc == 0)
			rc = assign(rn, nd->names, items.list->item[i]);
		if (rc == 0)
			rc = run_body(rn, nd->body);
		rn->frame = frame.up;
		if (rn->jump == RUN_BREAK)
			break;
		rn->jump = RUN_ON;
	}
	rn->jump = RUN_ON;
	return rc == 0 && !items.list->n ? run_body(rn, nd->other) : rc;
}

/* a body whose names are its own */
static int run_apart(struct run *rn, const struct node *body)
{
	struct frame frame = {.up = rn->frame};
	int rc;

	rn->frame = &frame;
	rc = run_body(rn, body);
	rn->frame = frame.up;
	return rc;
}

static int run_set(struct run *rn, const struct node *nd)
{
	struct val value;
	const struct val *space;
	int rc;

	if (nd->number) {
		struct buf text = BUF_INIT, taint = BUF_INIT, *was_text = rn->text,
			   *was_taint = rn->taint;

		rn->text = &text;
		rn->taint = &taint;
		rc = run_apart(rn, nd->body);
		rn->text = was_text;
		rn->taint = was_taint;
		rc = val_from_bufs(rn, rc, &text, &taint, &value);
	} else {
		rc = run_eval(rn, nd->a, &value);
	}
	if (rc < 0)
		return rc;
	if (!nd->text)
		return assign(rn, nd->names, value);
	space = run_lookup(rn, nd->names->text, nd->names->len);
	if (!space || space->kind != VAL_DICT || !space->dict->settable)
		return run_fail(
			rn, EDOM, "'%.*s' is no namespace", (int)nd->names->len, nd->names->text);
	return val_put(rn, space->dict, val_span(nd->text, nd->len), value);
}

static int run_print(struct run *rn, const struct node *nd)
{
	struct val v;
	int rc = run_eval(rn, nd->a, &v);

	return rc < 0 ? rc : val_print(rn, &v, rn->text, rn->taint);
}

static int run_if(struct run *rn, const struct node *nd)
{
	struct val v;
	int rc = run_eval(rn, nd->a, &v);

	if (rc < 0)
		return rc;
	return run_body(rn, val_true(&v) ? nd->body : nd->other);
}

static int run_one(struct run *rn, const struct node *nd)
{
	const struct val text = {.kind = VAL_STR, .s = {nd->text, nd->len, NULL}};

	rn->line = nd->line;
	if (++rn->steps > JINJA_STEPS)
		return run_fail(rn, E2BIG, "needs too much work");
	switch (nd->kind) {
	case NODE_TEXT:
		return val_print(rn, &text, rn->text, rn->taint);
	case NODE_PRINT:
		return run_print(rn, nd);
	case NODE_IF:
		return run_if(rn, nd);
	case NODE_FOR:
		return run_for(rn, nd);
	case NODE_SET:
		return run_set(rn, nd);
	case NODE_APART:
		return run_apart(rn, nd->body);
	case NODE_MACRO:
		if (rn->frame != rn->global) /* it would see names that are gone when it runs */
			return run_fail(rn, EOPNOTSUPP, "a macro inside another block");
		return run_define(
			rn, nd->text, nd->len, (struct val){.kind = VAL_MACRO, .macro = nd});
	default:
		rn->jump = nd->kind == NODE_BREAK ? RUN_BREAK : RUN_CONTINUE;
		return 0;
	}
}

int run_body(struct run *rn, const struct node *nd)
{
	int rc = 0;

	if (rn->depth > 4 * JINJA_DEPTH)
		return run_fail(rn, E2BIG, "is nested too deep");
	rn->depth++;
	for (; nd && rc == 0 && rn->jump == RUN_ON; nd = nd->next)
		rc = run_one(rn, nd);
	rn->depth--;
	return rc;
}

static int put_inputs(struct run *rn, const struct jinja_input *in)
{
	const struct val none = {.kind = VAL_NONE};
	struct val messages;
	int rc = val_new_list(rn, &messages);

	for (size_t i = 0; i < in->messages && rc == 0; i++) {
		const struct jinja_message *msg = &in->message[i];
		struct val dict, content;
		char *taint = arena_take(&rn->arena, msg->len + 1);

		if (!taint)
			return run_fail(rn, E2BIG, "needs too much memory");
		memset(taint, 1, msg->len);
		content = (struct val){.kind = VAL_STR, .s = {msg->text, msg->len, taint}};
		rc = val_new_dict(rn, &dict);
		if (rc == 0)
			rc = val_put(rn, dict.dict, val_text("role"), val_text(msg->role));
		if (rc == 0)
			rc = val_put(rn, dict.dict, val_text("content"), content);
		if (rc == 0)
			rc = val_push(rn, messages.list, dict);
	}
	if (rc == 0)
		rc = run_define(rn, "messages", 8, messages);
	if (rc == 0)
		rc = run_define(rn, "bos_token", 9, val_text(in->bos));
	if (rc == 0)
		rc = run_define(rn, "eos_token", 9, val_text(in->eos));
	if (rc == 0)
		rc = run_define(rn, "tools", 5, none);
	if (rc == 0)
		rc = run_define(rn, "documents", 9, none);
	if (rc == 0)
		rc = run_define(rn, "enable_thinking", 15, val_bool(false));
	if (rc == 0)
		rc = run_define(
			rn, "add_generation_prompt", 21, val_bool(in->add_generation_prompt));
	return rc;
}

int jinja_render(const struct jinja *jn, const struct jinja_input *in, struct buf *text,
	struct buf *taint, struct err *err)
{
	struct frame global = {0};
	struct run rn = {
		.err = err, .text = text, .taint = taint, .frame = &global, .global = &global};
	int rc = put_inputs(&rn, in);

	if (rc == 0)
		rc = run_body(&rn, jn->root);
	arena_release(&rn.arena);
	return rc;
}
