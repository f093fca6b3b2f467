/*
 * fs_command - what is written to a ctl: lines, words, quotes. The verbs here only look at their
 * words. What must hold: the count covers whole lines that ran, a failure has its sentence, and
 * nothing of the input reaches that sentence unescaped.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kolmfs/ctl.h"

static int ran;

static int take(struct ctl_call *call, struct err *err)
{
	for (int i = 0; i < call->argc; i++)
		for (const char *p = call->word[i]; *p; p++)
			if ((unsigned char)*p < 0x20 && *p != '\t')
				abort();
	if (call->argc > 1 && strcmp(call->word[1], "fail") == 0)
		return err_set(err, EBUSY, "asked to");
	ran++;
	return 0;
}

static const struct verb verbs[] = {
	{"step", "[epochs=N]", 0, -1, .run = take},
	{"promote", "vN [force]", 1, 2, .revision = true, .needs = "a revision", .run = take},
	{"set", "KEY VALUE", 2, 2, .needs = "a key and a value", .run = take},
	{.name = NULL},
};

static void check_sentence(const struct err *err)
{
	size_t len = strlen(err->text);

	if (err->no == 0)
		return;
	if (len == 0 || utf8_check(err->text, len) < len)
		abort();
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)err->text[i] < 0x20 || err->text[i] == 0x7f)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf reply = BUF_INIT;
	struct place at = {0};
	struct ctl_call call = {.at = &at, .by = {.comm = "fuzz"}, .reply = &reply};
	struct err err = ERR_NONE;
	ssize_t n;

	ran = 0;
	n = ctl_execute(&call, verbs, (const char *)data, size, &err);
	if (n > (ssize_t)size || n == 0 || (n < 0) != (n == -err.no && err.no != 0))
		abort();
	if (n < 0 && ran > 0) /* then the lines before it count */
		abort();
	if (n > 0 && n < (ssize_t)size && (data[n - 1] != '\n' || err.no == 0))
		abort();
	check_sentence(&err);
	buf_release(&reply);
	return 0;
}
