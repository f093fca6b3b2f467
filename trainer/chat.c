#include "trainer/chat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/tokenizer_load.h"

/*
 * A form is the text a template renders for one system and one user turn. \1 stands for the system
 * text, \2 for the user's, \3 for BOS, \4 for EOS. Only the form's own text can become control
 * tokens; what a user writes never does.
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

/* tokens that end an answer in one family or another; those the base has as added tokens all end it
 */
static const char *const end_names[] = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>",
	"<|end_of_text|>", "<end_of_turn>", "<|end|>", "</s>"};

enum { ENDS = 2 + sizeof(end_names) / sizeof(end_names[0]) };

struct chat {
	const struct form *form;
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

int chat_from_template(
	const char *jinja, const struct tokenizer *tk, struct chat **out, struct err *err)
{
	const struct form *form = jinja ? recognise(jinja) : &plain;
	char quoted[ERR_QUOTE_BYTES + 8];
	struct chat *ch;

	if (!form)
		return err_set(err, EOPNOTSUPP,
			"chat template \"%s\" is not known (smollm2, qwen2, qwen2.5, qwen3, "
			"chatml, llama3, mistral, "
			"gemma, zephyr are)",
			err_quote(quoted, jinja, strlen(jinja)));
	ch = calloc(1, sizeof(*ch));
	if (!ch)
		return err_nomem(err);
	ch->form = form;
	ch->bos = tokenizer_bos(tk);
	ch->eos = tokenizer_eos(tk);
	ch->end = form->end ? tokenizer_find(tk, form->end) : -1;
	if (ch->end < 0)
		ch->end = ch->eos;
	if (ch->end < 0) {
		free(ch);
		return err_set(err, EOPNOTSUPP, "tokenizer: no token ends an answer");
	}
	ch->ends[ch->n++] = ch->end;
	if (ch->eos >= 0)
		ch->ends[ch->n++] = ch->eos;
	for (size_t i = 0; i < sizeof(end_names) / sizeof(end_names[0]); i++) {
		size_t len = strlen(end_names[i]), bytes = 0;
		int id = tokenizer_added(tk, end_names[i], len, &bytes);

		if (id >= 0 && bytes == len)
			ch->ends[ch->n++] = id;
	}
	*out = ch;
	return 0;
}

const char *chat_name(const struct chat *ch)
{
	return ch->form->name;
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

static int render(const struct chat *ch, struct render *rn, const char *system, const char *user,
	size_t len, struct err *err)
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

int chat_prompt(const struct chat *ch, const struct tokenizer *tk, const char *system,
	const char *user, size_t len, int **ids, size_t *n, struct err *err)
{
	struct render rn = {.tk = tk, .text = BUF_INIT};
	int rc = render(ch, &rn, system, user, len, err);

	buf_release(&rn.text);
	if (rc == 0 && rn.ids.n == 0)
		rc = err_set(err, EINVAL, "the prompt is empty");
	if (rc < 0) {
		ids_release(&rn.ids);
		return rc;
	}
	*ids = rn.ids.id;
	*n = rn.ids.n;
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
	free(ch);
}
