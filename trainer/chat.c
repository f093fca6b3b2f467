#include "trainer/chat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/jinja.h"
#include "trainer/tokenizer_load.h"

/*
 * Where the model's own template cannot be run: a form is the text a template renders for one
 * system and one user turn. \1 stands for the system text, \2 for the user's, \3 for BOS, \4 for
 * EOS. Only the form's own text can become control tokens; what a user writes never does.
 */
struct form {
	const char *name;
	const char *marks[3]; /* all stand in the model's template */
	const char *lacks;    /* does not */
	const char *system_form;
	const char *plain_form; /* without a system text */
	const char *end;	/* NULL: EOS */
	bool trim;		/* the template trims what it is given */
};

#define CHATML_USER	   "<|im_start|>user\n\2<|im_end|>\n<|im_start|>assistant\n"
#define CHATML(text)	   "<|im_start|>system\n" text "<|im_end|>\n" CHATML_USER
#define NO_THOUGHT	   "<think>\n\n</think>\n\n"
#define LLAMA3(role, text) "<|start_header_id|>" role "<|end_header_id|>\n\n" text "<|eot_id|>"
#define LLAMA3_ANSWER	   "<|start_header_id|>assistant<|end_header_id|>\n\n"
#define LLAMA31_DATES	   "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"

/* the first that fits; dates are those the templates name when the caller gives none */
static const struct form forms[] = {
	{"smollm2",
		{"<|im_start|>",
			"You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
		NULL, CHATML("\1"),
		CHATML("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
		"<|im_end|>", false},
	{"qwen2.5",
		{"<|im_start|>",
			"You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
		NULL, CHATML("\1"),
		CHATML("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
		"<|im_end|>", false},
	{"qwen3", {"<|im_start|>", "enable_thinking", "<think>"}, "You are",
		CHATML("\1") NO_THOUGHT, CHATML_USER NO_THOUGHT, "<|im_end|>", false},
	{"qwen2", {"<|im_start|>system\\nYou are a helpful assistant.<|im_end|>"}, NULL,
		CHATML("\1"), CHATML("You are a helpful assistant."), "<|im_end|>", false},
	{"qwen2", {"<|im_start|>system\nYou are a helpful assistant.<|im_end|>"}, NULL,
		CHATML("\1"), CHATML("You are a helpful assistant."), "<|im_end|>", false},
	{"chatml", {"<|im_start|>", "<|im_end|>"}, "You are", CHATML("\1"), CHATML_USER,
		"<|im_end|>", false},
	{"llama3", {"<|start_header_id|>", "<|eot_id|>", "Cutting Knowledge Date"}, NULL,
		"\3" LLAMA3("system", LLAMA31_DATES "\1") LLAMA3("user", "\2") LLAMA3_ANSWER,
		"\3" LLAMA3("system", LLAMA31_DATES) LLAMA3("user", "\2") LLAMA3_ANSWER,
		"<|eot_id|>", true},
	{"llama3", {"<|start_header_id|>", "<|eot_id|>"}, NULL,
		"\3" LLAMA3("system", "\1") LLAMA3("user", "\2") LLAMA3_ANSWER,
		"\3" LLAMA3("user", "\2") LLAMA3_ANSWER, "<|eot_id|>", true},
	{"mistral", {"[INST] ", " [/INST]"}, "[SYSTEM_PROMPT]", "\3[INST] \1\n\n\2 [/INST]",
		"\3[INST] \2 [/INST]", NULL, false},
	{"mistral", {"[INST] ", "[/INST]"}, "[SYSTEM_PROMPT]", "\3[INST] \1\n\n\2[/INST]",
		"\3[INST] \2[/INST]", NULL, false},
	{"mistral", {"[INST]", "[/INST]"}, "[SYSTEM_PROMPT]", "\3[INST]\1\n\n\2[/INST]",
		"\3[INST]\2[/INST]", NULL, false},
	{"gemma", {"<start_of_turn>", "<end_of_turn>"}, NULL,
		"\3<start_of_turn>user\n\1\n\n\2<end_of_turn>\n<start_of_turn>model\n",
		"\3<start_of_turn>user\n\2<end_of_turn>\n<start_of_turn>model\n", "<end_of_turn>",
		true},
	{"zephyr", {"<|user|>", "<|assistant|>", "<|system|>"}, NULL,
		"<|system|>\n\1\4\n<|user|>\n\2\4\n<|assistant|>\n",
		"<|user|>\n\2\4\n<|assistant|>\n", NULL, false},
};

static const struct form plain = {
	.name = "plain", .system_form = "\3\1\n\n\2\n", .plain_form = "\3\2\n"};

/* tokens that end an answer in one family or another; those the base has as added tokens do */
static const char *const end_names[] = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>",
	"<|end_of_text|>", "<end_of_turn>", "<|end|>", "</s>"};

enum { ENDS = 2 + sizeof(end_names) / sizeof(end_names[0]) };

struct chat {
	struct jinja *own;	 /* NULL: the form */
	const struct form *form; /* of a built-in */
	bool merges_system; /* the own template has no system turn: it goes before the user's */
	struct buf bos_text, eos_text;
	int bos;
	int eos;
	int end;
	int ends[ENDS]; /* any of them ends generation */
	int n;
};

static const struct form *recognise(const char *jinja)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		bool fits = !(forms[i].lacks && strstr(jinja, forms[i].lacks));

		for (int k = 0; k < 3 && forms[i].marks[k] && fits; k++)
			fits = strstr(jinja, forms[i].marks[k]) != NULL;
		if (fits)
			return &forms[i];
	}
	return NULL;
}

struct render {
	const struct tokenizer *tk;
	struct buf text; /* not yet turned into tokens: neighbours merge across the form's and the
			    user's text */
	struct ids ids;
};

static int flush(struct render *rn, struct err *err)
{
	int rc = 0;

	if (rn->text.failed)
		return err_nomem(err);
	if (rn->text.len)
		rc = tokenizer_append(
			rn->tk, rn->text.data, rn->text.len, false, rn->ids.n == 0, &rn->ids, err);
	buf_reset(&rn->text);
	return rc;
}

static int put_id(struct render *rn, int id, struct err *err)
{
	int rc = flush(rn, err);

	if (rc == 0 && ids_add(&rn->ids, id) < 0)
		rc = err_nomem(err);
	return rc;
}

static void put_text(struct render *rn, const char *text, size_t len, bool trim)
{
	while (trim && len && strchr(" \t\n\r\v\f", text[len - 1]))
		len--;
	while (trim && len && strchr(" \t\n\r\v\f", *text))
		text++, len--;
	buf_add(&rn->text, text, len);
}

static int render_form(const struct chat *ch, struct render *rn, const char *system,
	const char *user, size_t len, struct err *err)
{
	const char *form = system ? ch->form->system_form : ch->form->plain_form;
	size_t n = strlen(form), bytes;
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0;) {
		int id = tokenizer_added(rn->tk, form + i, n - i, &bytes);

		if (id >= 0) {
			rc = put_id(rn, id, err);
			i += bytes;
			continue;
		}
		switch (form[i]) {
		case 1:
			put_text(rn, system, strlen(system), ch->form->trim);
			break;
		case 2:
			put_text(rn, user, len, ch->form->trim);
			break;
		case 3:
			rc = ch->bos >= 0 && (ch->form != &plain || tokenizer_adds_bos(rn->tk))
				     ? put_id(rn, ch->bos, err)
				     : 0;
			break;
		case 4:
			rc = ch->eos >= 0 ? put_id(rn, ch->eos, err) : 0;
			break;
		default:
			buf_putc(&rn->text, form[i]);
		}
		i++;
	}
	return rc < 0 ? rc : flush(rn, err);
}

/* ---- the model's own template ---- */

struct talk {
	const char *system; /* may be NULL */
	const char *user;
	size_t len;
	const char *answer; /* NULL: the prompt for one */
	size_t answer_len;
};

static int run_own(const struct chat *ch, const struct talk *tk, struct buf *text,
	struct buf *taint, struct err *err)
{
	struct jinja_message message[3];
	struct jinja_input in = {.message = message,
		.bos = buf_str(&ch->bos_text),
		.eos = buf_str(&ch->eos_text),
		.add_generation_prompt = !tk->answer};
	struct buf both = BUF_INIT;
	int rc;

	if (tk->system && !ch->merges_system)
		message[in.messages++] =
			(struct jinja_message){"system", tk->system, strlen(tk->system)};
	message[in.messages] = (struct jinja_message){"user", tk->user, tk->len};
	if (tk->system && ch->merges_system) {
		buf_puts(&both, tk->system);
		buf_puts(&both, "\n\n");
		buf_add(&both, tk->user, tk->len);
		message[in.messages] = (struct jinja_message){"user", buf_str(&both), both.len};
	}
	in.messages++;
	if (tk->answer)
		message[in.messages++] =
			(struct jinja_message){"assistant", tk->answer, tk->answer_len};
	rc = both.failed ? err_nomem(err) : jinja_render(ch->own, &in, text, taint, err);
	buf_release(&both);
	return rc;
}

/* the added token that stands at ${at} in the template's own text; -1 none */
static int own_token(const struct tokenizer *tk, const struct buf *text, const struct buf *taint,
	size_t at, size_t *bytes)
{
	int id = taint->data[at] ? -1 : tokenizer_added(tk, text->data + at, text->len - at, bytes);

	return id >= 0 && !memchr(taint->data + at, 1, *bytes) ? id : -1;
}

static int render_own(
	const struct chat *ch, struct render *rn, const struct talk *tk, struct err *err)
{
	struct buf text = BUF_INIT, taint = BUF_INIT;
	int rc = run_own(ch, tk, &text, &taint, err);
	size_t bytes;

	for (size_t i = 0; i < text.len && rc == 0;) {
		int id = own_token(rn->tk, &text, &taint, i, &bytes);

		if (id >= 0) {
			rc = put_id(rn, id, err);
			i += bytes;
		} else {
			buf_putc(&rn->text, text.data[i++]);
		}
	}
	buf_release(&text);
	buf_release(&taint);
	return rc < 0 ? rc : flush(rn, err);
}

static int render(const struct chat *ch, const struct tokenizer *tk, const struct talk *talk,
	struct ids *out, struct err *err)
{
	struct render rn = {.tk = tk, .text = BUF_INIT};
	int rc = ch->own ? render_own(ch, &rn, talk, err)
			 : render_form(ch, &rn, talk->system, talk->user, talk->len, err);

	buf_release(&rn.text);
	if (rc == 0 && rn.ids.n == 0)
		rc = err_set(err, EINVAL, "the prompt is empty");
	if (rc < 0)
		ids_release(&rn.ids);
	else
		*out = rn.ids;
	return rc;
}

/* whether a text comes out of the template at all; its error when it does not run */
static int tries(
	const struct chat *ch, const struct talk *talk, const char *wanted, struct err *err)
{
	struct buf text = BUF_INIT, taint = BUF_INIT;
	int rc = run_own(ch, talk, &text, &taint, err);

	if (rc == 0 && !memmem(text.data, text.len, wanted, strlen(wanted)))
		rc = err_set(err, EOPNOTSUPP, "chat template: it leaves out what is said");
	buf_release(&text);
	buf_release(&taint);
	return rc;
}

/* the token the template puts behind an answer; -1 none */
static int own_end(const struct chat *ch, const struct tokenizer *tk)
{
	const struct talk talk = {.user = "u", .len = 1, .answer = "a", .answer_len = 1};
	struct buf text = BUF_INIT, taint = BUF_INIT;
	size_t bytes, last = 0;
	int id = -1;

	if (run_own(ch, &talk, &text, &taint, NULL) == 0) {
		for (size_t i = 0; i < text.len; i++)
			last = taint.data[i] ? i + 1 : last;
		for (size_t i = last; i < text.len && id < 0; i++)
			id = own_token(tk, &text, &taint, i, &bytes);
	}
	buf_release(&text);
	buf_release(&taint);
	return id;
}

/* can the own template be run? then it is kept */
static int adopt(struct chat *ch, const char *jinja, struct err *err)
{
	static const char system[] = "kolm-system", user[] = "kolm-user";
	const struct talk alone = {.user = user, .len = sizeof(user) - 1},
			  both = {.system = system, .user = user, .len = sizeof(user) - 1};
	int rc = jinja_parse(jinja, strlen(jinja), &ch->own, err);

	if (rc < 0)
		return rc;
	rc = tries(ch, &alone, user, err);
	if (rc == 0 && tries(ch, &both, system, NULL) < 0) {
		ch->merges_system = true;
		rc = tries(ch, &both, system, err);
	}
	if (rc < 0) {
		jinja_free(ch->own);
		ch->own = NULL;
	}
	return rc;
}

/* the tokens that end an answer: the one that is trained first */
static int find_ends(struct chat *ch, const struct tokenizer *tk, struct err *err)
{
	ch->end = ch->own	  ? own_end(ch, tk)
		  : ch->form->end ? tokenizer_find(tk, ch->form->end)
				  : -1;
	if (ch->end < 0)
		ch->end = ch->eos;
	if (ch->end < 0)
		return err_set(err, EOPNOTSUPP, "tokenizer: no token ends an answer");
	ch->ends[ch->n++] = ch->end;
	if (ch->eos >= 0)
		ch->ends[ch->n++] = ch->eos;
	for (size_t i = 0; i < sizeof(end_names) / sizeof(end_names[0]); i++) {
		size_t len = strlen(end_names[i]), bytes = 0;
		int id = tokenizer_added(tk, end_names[i], len, &bytes);

		if (id >= 0 && bytes == len)
			ch->ends[ch->n++] = id;
	}
	return 0;
}

static int choose_template(struct chat *ch, const char *jinja, struct err *err)
{
	struct err own = ERR_NONE;
	int rc;

	if (!jinja) {
		ch->form = &plain;
		return 0;
	}
	rc = adopt(ch, jinja, &own);
	if (rc == 0 || rc == -ENOMEM)
		return rc;
	ch->form = recognise(jinja);
	if (!ch->form)
		return err_set(err, EOPNOTSUPP,
			"%s; and it is none of the built-in ones (smollm2, qwen2, qwen2.5, qwen3, "
			"chatml, llama3, mistral, gemma, zephyr)",
			own.text);
	return 0;
}

int chat_from_template(const char *jinja, struct tokenizer *tk, struct chat **out, struct err *err)
{
	struct chat *ch = calloc(1, sizeof(*ch));
	int rc;

	if (!ch)
		return err_nomem(err);
	ch->bos = tokenizer_bos(tk);
	ch->eos = tokenizer_eos(tk);
	tokenizer_text(tk, ch->bos, &ch->bos_text);
	tokenizer_text(tk, ch->eos, &ch->eos_text);
	rc = ch->bos_text.failed || ch->eos_text.failed ? err_nomem(err)
							: choose_template(ch, jinja, err);
	if (rc == 0)
		rc = find_ends(ch, tk, err);
	if (rc == 0)
		rc = chat_part_turns(ch, tk, err);
	if (rc < 0) {
		chat_free(ch);
		return rc;
	}
	*out = ch;
	return 0;
}

const char *chat_name(const struct chat *ch)
{
	return ch->own ? "own" : ch->form->name;
}

int chat_prompt(const struct chat *ch, const struct tokenizer *tk, const char *system,
	const char *user, size_t len, int **ids, size_t *n, struct err *err)
{
	const struct talk talk = {.system = system, .user = user, .len = len};
	struct ids list = {0};
	int rc = render(ch, tk, &talk, &list, err);

	if (rc < 0)
		return rc;
	*ids = list.id;
	*n = list.n;
	return 0;
}

/* does the template render the whole conversation to tokens that begin with ${row}? */
static int stands_apart(const struct chat *ch, const struct tokenizer *tk, const struct talk *talk,
	const struct ids *row, bool *apart, struct err *err)
{
	struct ids full = {0};
	int rc = render(ch, tk, talk, &full, err);

	if (rc == -EDOM) { /* its own words against an answer in this place */
		*apart = true;
		return 0;
	}
	if (rc < 0)
		return rc;
	*apart = full.n < row->n || memcmp(full.id, row->id, row->n * sizeof(*row->id)) != 0;
	ids_release(&full);
	return 0;
}

int chat_row(const struct chat *ch, const struct tokenizer *tk, const char *system,
	const char *user, size_t len, const char *answer, size_t answer_len, struct chat_row *out,
	struct err *err)
{
	struct talk talk = {.system = system, .user = user, .len = len};
	struct ids list = {0};
	bool apart = false;
	size_t start;
	int rc = render(ch, tk, &talk, &list, err);

	if (rc < 0)
		return rc;
	start = list.n;
	rc = tokenizer_append(tk, answer, answer_len, false, false, &list, err);
	if (rc == 0 && ids_add(&list, ch->end) < 0)
		rc = err_nomem(err);
	talk.answer = answer;
	talk.answer_len = answer_len;
	if (rc == 0 && ch->own)
		rc = stands_apart(ch, tk, &talk, &list, &apart, err);
	if (rc < 0) {
		ids_release(&list);
		return rc;
	}
	*out = (struct chat_row){list.id, list.n, start, apart};
	return 0;
}

int chat_end(const struct chat *ch)
{
	return ch->end;
}

int chat_is_end(const struct chat *ch, int id)
{
	for (int i = 0; i < ch->n; i++)
		if (ch->ends[i] == id)
			return 1;
	return 0;
}

void chat_free(struct chat *ch)
{
	if (!ch)
		return;
	jinja_free(ch->own);
	buf_release(&ch->bos_text);
	buf_release(&ch->eos_text);
	free(ch);
}
