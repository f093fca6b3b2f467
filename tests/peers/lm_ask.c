/*
 * lm_ask - our engine's side of `make check-peers`.
 *
 *   lm_ask logits BASE ADAPTER|- : a line of token ids in, their logits (n x vocab floats) out
 *   lm_ask answer BASE ADAPTER|- : a JSON text a line in, the greedy answer as a JSON text out
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "trainer/kolmlm.h"

enum { TOKENS_MAX = 512, ANSWER_TOKENS = 24 };

static int fail(const struct err *err)
{
	fprintf(stderr, "lm_ask: %s\n", err->text);
	return 1;
}

static int put_logits(struct lm *lm, char *line, struct err *err)
{
	int token[TOKENS_MAX];
	size_t n = 0;
	float *out;
	int rc;

	for (char *save = NULL, *w = strtok_r(line, " \n", &save); w && n < TOKENS_MAX;
		w = strtok_r(NULL, " \n", &save))
		token[n++] = atoi(w);
	out = calloc(n * (size_t)lm_vocab(lm), sizeof(*out));
	if (!out)
		return err_nomem(err);
	rc = lm_logits(lm, token, n, out, err);
	if (rc == 0)
		fwrite(out, sizeof(*out), n * (size_t)lm_vocab(lm), stdout);
	free(out);
	return rc;
}

static int put_answer(struct lm *lm, const char *line, size_t len, struct err *err)
{
	const struct lm_generate opt = {.max_tokens = ANSWER_TOKENS};
	struct buf prompt = BUF_INIT, text = BUF_INIT, shown = BUF_INIT;
	int rc = json_string((struct json_slice){line, len}, &prompt);

	if (rc == 0)
		rc = lm_generate(lm, buf_str(&prompt), prompt.len, &opt, &text, err);
	if (rc >= 0) {
		json_put_string(&shown, buf_str(&text), text.len);
		puts(buf_str(&shown));
	}
	buf_release(&prompt);
	buf_release(&text);
	buf_release(&shown);
	return rc < 0 ? rc : 0;
}

int main(int argc, char **argv)
{
	struct lm_adapter *ad = NULL;
	struct err err = ERR_NONE;
	char *line = NULL;
	struct lm *lm;
	size_t room = 0;
	ssize_t n;
	int fd, rc;

	if (argc != 4)
		return 64;
	fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	rc = fd < 0 ? err_sys(&err, "cannot open '%s'", argv[2]) : lm_open(fd, NULL, &lm, &err);
	if (rc < 0)
		return fail(&err);
	close(fd);
	if (strcmp(argv[3], "-") != 0) {
		fd = open(argv[3], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = fd < 0 ? err_sys(&err, "cannot open '%s'", argv[3])
			    : lm_adapter_load(lm, fd, &ad, &err);
		if (rc < 0)
			return fail(&err);
		close(fd);
		lm_use(lm, ad);
	}
	while (rc == 0 && (n = getline(&line, &room, stdin)) > 0) {
		size_t len = (size_t)n - (line[n - 1] == '\n');

		rc = strcmp(argv[1], "logits") == 0 ? put_logits(lm, line, &err)
						    : put_answer(lm, line, len, &err);
	}
	free(line);
	lm_adapter_free(ad);
	lm_close(lm);
	return rc < 0 ? fail(&err) : 0;
}
