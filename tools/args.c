/*
 * args - the words that were typed, by the verb's table of flags; help from the same table.
 */
#include "tools/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/limits.h"
#include "base/num.h"

static const char usage_code[] = "KOLM_E_USAGE", missing_code[] = "KOLM_E_MISSING";

int usage_mark(struct err *err)
{
	return err_code(err, usage_code);
}

int missing_mark(struct err *err)
{
	return err_code(err, missing_code);
}

int usage_error(struct err *err, const char *fmt, ...)
{
	char text[ERR_TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)err_set(err, EINVAL, "%s", text);
	return usage_mark(err);
}

int exit_code(const struct verb *v, const struct err *err)
{
	if (strcmp(err->code, "K_GATE") == 0)
		return EXIT_GATE;
	if (strcmp(err->code, usage_code) == 0)
		return EXIT_USAGE;
	if (strcmp(err->code, missing_code) == 0 || strncmp(err->text, "sandbox:", 8) == 0 ||
		strncmp(err->text, "base model not found", 20) == 0 ||
		strncmp(err->text, "training library missing", 24) == 0)
		return EXIT_MISSING;
	if (v != NULL && v->fails != 0)
		return v->fails;
	return err->no == ENOENT ? EXIT_NOT_FOUND : EXIT_RUN;
}

/* ---- help ---- */

size_t verb_title(const struct verb *v, char *out, size_t cap)
{
	return (size_t)snprintf(out, cap, "%s%s%s", v->group != NULL ? v->group : "",
		v->group != NULL ? " " : "", v->name);
}

void help_verb(FILE *out, const struct verb *v)
{
	char title[40];

	(void)verb_title(v, title, sizeof(title));
	fprintf(out, "usage: kolm %s%s%s%s\n%s\n", title, v->words[0] != '\0' ? " " : "", v->words,
		v->flags[0].name != NULL ? " [flags]" : "", v->text);
	for (const struct flag *f = v->flags; f->name != NULL; f++) {
		char left[48];

		(void)snprintf(left, sizeof(left), "%s%s%s%s",
			strcmp(f->name, "--artifact") == 0 ? "-a, " : "", f->name,
			f->value != NULL ? " " : "", f->value != NULL ? f->value : "");
		fprintf(out, "  %-24s %s\n", left, f->text);
	}
	fprintf(out, "  %-24s %s\n", "--store DIR", "the store (default $KOLM_HOME or ~/.kolm)");
}

static void help_line(FILE *out, const struct verb *v)
{
	char left[64];
	size_t n = verb_title(v, left, sizeof(left));

	(void)snprintf(
		left + n, sizeof(left) - n, "%s%s", v->words[0] != '\0' ? " " : "", v->words);
	fprintf(out, "  %-26s %s\n", left, v->text);
}

void help_group(FILE *out, const char *group)
{
	fprintf(out, "usage: kolm %s VERB [flags]\n", group);
	for (size_t i = 0; i < verbs_count; i++)
		if (verbs[i].group != NULL && strcmp(verbs[i].group, group) == 0)
			help_line(out, &verbs[i]);
}

void help_all(FILE *out)
{
	fprintf(out, "usage: kolm [--store DIR] VERB [words] [flags]\n");
	for (size_t i = 0; i < verbs_count; i++)
		help_line(out, &verbs[i]);
	fprintf(out, "`kolm VERB --help` tells the flags. Exit: 0 ok, 1 bad arguments, 2 refused "
		     "by the gate, 3 something is missing,\n"
		     "4 failed, 5 not found. See kolm(1).\n");
}

/* ---- words ---- */

static int flag_index(const struct verb *v, const char *word)
{
	if (strcmp(word, "-a") == 0)
		word = "--artifact";
	for (int i = 0; v->flags[i].name != NULL; i++)
		if (strcmp(v->flags[i].name, word) == 0)
			return i;
	return -1;
}

const char *flag_value(const struct cli *c, const char *name)
{
	int i = flag_index(c->verb, name);

	return i < 0 ? NULL : c->value[i];
}

bool flag_on(const struct cli *c, const char *name)
{
	int i = flag_index(c->verb, name);

	return i >= 0 && c->given[i];
}

int flag_timeout(const struct cli *c, int64_t *out, struct err *err)
{
	const char *given = flag_value(c, "--timeout");

	*out = 0;
	if (given == NULL)
		return 0;
	return num_whole(given, strlen(given), 1, LM_CALL_S_MAX, out) < 0
		       ? usage_error(err, "--timeout: seconds, 1 to %d", LM_CALL_S_MAX)
		       : 0;
}

static bool is_group(const char *word)
{
	for (size_t i = 0; i < verbs_count; i++)
		if (verbs[i].group != NULL && strcmp(verbs[i].group, word) == 0)
			return true;
	return false;
}

static const struct verb *verb_find(const char *group, const char *name)
{
	for (size_t i = 0; i < verbs_count; i++)
		if ((group == NULL) == (verbs[i].group == NULL) &&
			(group == NULL || strcmp(verbs[i].group, group) == 0) &&
			strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static bool takes_value(int argc, char **argv, int i)
{
	return i + 1 < argc && (argv[i + 1][0] != '-' || argv[i + 1][1] == '\0');
}

static int unknown_flag(const struct verb *v, const char *word, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	size_t n = strcspn(word, "=");
	char title[40];

	(void)verb_title(v, title, sizeof(title));
	err_quote(quoted, word, strlen(word));
	for (const struct flag *f = v->flags; f->name != NULL; f++) {
		if (word[n] == '=' && strlen(f->name) == n && memcmp(word, f->name, n) == 0)
			return usage_error(err,
				"unknown flag \"%s\"; write %s and the value as the next word",
				quoted, f->name);
		if (strncmp(f->name, word, strlen(word)) == 0 ||
			(n > 3 && strncmp(f->name, word, strlen(f->name)) == 0))
			return usage_error(
				err, "unknown flag \"%s\"; did you mean %s", quoted, f->name);
	}
	return usage_error(err, "unknown flag \"%s\"; `kolm %s --help` lists them", quoted, title);
}

/* one word behind the verb; the index of the last word used */
static int take_word(struct cli *c, int argc, char **argv, int i, struct err *err)
{
	const char *word = argv[i];
	int f;

	if (word[0] != '-' || word[1] == '\0') {
		if (c->words == WORDS_MAX || c->words >= c->verb->words_max) {
			char quoted[ERR_QUOTE_BYTES + 8];

			return usage_error(err, "too many arguments: \"%s\"",
				err_quote(quoted, word, strlen(word)));
		}
		c->word[c->words++] = word;
		return i;
	}
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		c->help = true;
		return i;
	}
	f = flag_index(c->verb, word);
	if (f < 0)
		return unknown_flag(c->verb, word, err);
	if (c->given[f])
		return usage_error(err, "%s given twice", c->verb->flags[f].name);
	c->given[f] = true;
	if (c->verb->flags[f].value == NULL || !takes_value(argc, argv, i))
		return i;
	c->value[f] = argv[i + 1];
	return i + 1;
}

/* --store and --help may stand before the verb; the index behind them */
static int take_globals(struct cli *c, int argc, char **argv, int i, struct err *err)
{
	if (strcmp(argv[i], "--store") != 0)
		return -1;
	if (!takes_value(argc, argv, i) || argv[i + 1][0] == '\0')
		return usage_error(err, "--store: needs a folder");
	if (c->store_given != NULL)
		return usage_error(err, "--store given twice");
	c->store_given = argv[i + 1];
	return i + 2;
}

static int take_verb(struct cli *c, int argc, char **argv, int i, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	const char *group = NULL, *name = argv[i++];

	if (is_group(name)) {
		group = name;
		if (i == argc || strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			c->help = i < argc;
			c->word[c->words++] = group;
			return argc;
		}
		name = argv[i++];
	}
	c->verb = verb_find(group, name);
	if (c->verb != NULL)
		return i;
	err_quote(quoted, name, strlen(name));
	return usage_error(err, "unknown command \"%s%s%s\"; `kolm %s%s--help` lists them",
		group != NULL ? group : "", group != NULL ? " " : "", quoted,
		group != NULL ? group : "", group != NULL ? " " : "");
}

/* the first word is the artifact, unless the verb's words say something else; --artifact says it
 * once more */
static int check_twice(const struct cli *c, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	const char *named = c->verb->words, *word;

	if (flag_value(c, "--artifact") == NULL || c->words < c->verb->words_max ||
		(named[0] != '\0' && strncmp(named, "ARTIFACT", 8) != 0))
		return 0;
	word = c->word[c->words - 1];
	return usage_error(err, "too many arguments: \"%s\"; --artifact names the artifact",
		err_quote(quoted, word, strlen(word)));
}

int args_parse(struct cli *c, int argc, char **argv, struct err *err)
{
	char title[40];
	int i = 1;

	while (i < argc) {
		int rc = take_globals(c, argc, argv, i, err);

		if (rc == -EINVAL)
			return rc;
		if (rc > 0) {
			i = rc;
			continue;
		}
		if (c->verb != NULL) {
			rc = take_word(c, argc, argv, i, err);
			if (rc < 0)
				return rc;
			i = rc + 1;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			c->help = true;
			i++;
		} else if (argv[i][0] == '-') {
			char quoted[ERR_QUOTE_BYTES + 8];

			return usage_error(err,
				"unknown flag \"%s\"; flags of a verb stand behind it",
				err_quote(quoted, argv[i], strlen(argv[i])));
		} else {
			i = take_verb(c, argc, argv, i, err);
			if (i < 0)
				return i;
		}
	}
	if (c->verb != NULL && !c->help && c->words < c->verb->words_min) {
		(void)verb_title(c->verb, title, sizeof(title));
		return usage_error(
			err, "needs %s; usage: kolm %s %s", c->verb->words, title, c->verb->words);
	}
	return c->verb != NULL && !c->help ? check_twice(c, err) : 0;
}
