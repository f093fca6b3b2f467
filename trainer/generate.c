/*
 * generate - answers, token by token; greedy ones several at a time by copy speculation: what
 * followed the last words when they stood in the text before is tried in one batch, and kept as far
 * as it is what the model would have said. Exact, because a batch gives the bits of single tokens.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "trainer/chat.h"
#include "trainer/constrain.h"
#include "trainer/lm.h"
#include "trainer/tokenizer.h"

enum { PASSED_OVER_MAX = 32 }; /* tokens that leave no room to end, before the straight way home */
enum { ANSWER_TOKENS = 256, DRAFT_MAX = 8, DRAFT_START = 4, DRAFT_KEY_MAX = 3, DRAFT_KEY_MIN = 2 };

struct answer {
	struct lm *lm;
	struct session ss;
	const struct lm_generate *opt;
	int *token; /* prompt and answer so far, owned; room for the most there can be */
	int n;
	int limit; /* of ${n} */
	struct buf text;
	int drafts;	      /* how many tokens to try: more while they are right */
	struct constrain con; /* with opt->grammar */
	bool ended;
};

/* tokens that followed the latest earlier place of the last few; at most ${drafts} */
static int draft(const struct answer *an, int *out)
{
	for (int key = DRAFT_KEY_MAX; key >= DRAFT_KEY_MIN; key--) {
		for (int at = an->n - key - 1; at >= 0; at--) {
			int n = 0;

			if (memcmp(an->token + at, an->token + an->n - key,
				    (size_t)key * sizeof(int)))
				continue;
			for (int i = at + key; i < an->n && n < an->drafts; i++)
				out[n++] = an->token[i];
			return n;
		}
	}
	return 0;
}

/* cut the answer at the first stop text that has appeared; ${from}: where the newest bytes begin */
static bool stopped(struct answer *an, size_t from)
{
	const char *best = NULL;

	if (!an->opt->stop || !an->text.len)
		return false;
	for (const char *const *stop = an->opt->stop; *stop; stop++) {
		size_t len = strlen(*stop), start = from >= len ? from - len + 1 : 0;
		const char *found =
			len && an->text.len > start
				? memmem(an->text.data + start, an->text.len - start, *stop, len)
				: NULL;

		if (found && (!best || found < best))
			best = found;
	}
	if (!best)
		return false;
	an->text.len = (size_t)(best - an->text.data);
	return true;
}

/* one more token of the answer; sets ${ended} when it was the last */
static int accept(struct answer *an, int id, struct err *err)
{
	size_t before = an->text.len;

	if (chat_is_end(an->lm->m->chat, id)) {
		an->ended = true;
		return 0;
	}
	an->token[an->n++] = id;
	if (tokenizer_decode(an->lm->m->tokenizer, &id, 1, &an->text) < 0)
		return err_nomem(err);
	an->ended = stopped(an, before) || an->n == an->limit;
	if (an->opt->grammar) {
		constrain_take(&an->con, id);
		an->ended |= constrain_is_over(&an->con);
	}
	return 0;
}

static int sample(const struct answer *an, const float *logits)
{
	const int vocab = an->lm->m->vocab;

	return an->opt->temperature > 0 ? sample_draw(logits, vocab, an->opt->temperature,
						  an->opt->seed, (uint64_t)(an->n - an->ss.n))
					: sample_greedy(logits, vocab);
}

/* the next token by its logits, which a grammar overwrites where it forbids */
static int pick(struct answer *an, float *logits, int *id, struct err *err)
{
	int left = an->limit - an->n - 1, rc;

	if (!an->opt->grammar) {
		*id = sample(an, logits);
		return 0;
	}
	rc = constrain_mask(&an->con, logits, err);
	if (rc < 0)
		return rc;
	for (int i = 0; i < PASSED_OVER_MAX; i++) {
		*id = sample(an, logits);
		if (constrain_fits(&an->con, *id, left))
			return 0;
		logits[*id] = -INFINITY;
	}
	*id = constrain_home(&an->con);
	return *id >= 0 ? 0 : err_set(err, EILSEQ, "the grammar's answer cannot be ended");
}

static int guess(struct answer *an, int *out)
{
	int n;

	if (an->opt->temperature > 0)
		return 0;
	if (!an->opt->grammar)
		return draft(an, out);
	n = constrain_draft(&an->con, out, an->drafts);
	return n ? n : constrain_follow(&an->con, out, draft(an, out));
}

/* run what is not in the snapshot yet and a draft behind it; accept what the logits say */
static int advance(struct answer *an, struct err *err)
{
	struct kv *kv = an->ss.kv;
	const int fresh = an->n - kv->n, vocab = an->lm->m->vocab;
	int *token = an->token + kv->n, want[1 + DRAFT_MAX], drafted = 0, right = 0, rc;
	struct infer_batch batch = {.token = token, .want = want, .logits = an->lm->logits};

	drafted = guess(an, token + fresh);
	if (drafted > an->limit - an->n)
		drafted = an->limit - an->n;
	batch.n = fresh + drafted;
	for (batch.wants = 0; batch.wants <= drafted; batch.wants++)
		want[batch.wants] = fresh - 1 + batch.wants;
	rc = session_run(an->lm, &an->ss, &batch, err);
	if (rc < 0)
		return rc;
	session_keep(&an->ss, token, fresh);
	for (int i = 0; i <= drafted && rc == 0 && !an->ended; i++) {
		int tried = i < drafted ? an->token[an->n] : -1, id = -1;

		rc = pick(an, an->lm->logits + (long)i * vocab, &id, err);
		if (rc == 0)
			rc = accept(an, id, err);
		if (rc < 0 || id != tried)
			break;
		session_keep(&an->ss, &id, 1);
		right++;
	}
	if (drafted && right == drafted)
		an->drafts = 2 * an->drafts < DRAFT_MAX ? 2 * an->drafts : DRAFT_MAX;
	else if (drafted && !right)
		an->drafts = an->drafts > 1 ? an->drafts / 2 : 1;
	return rc;
}

/* the answer as UTF-8: a character cut off by the limit is dropped, bytes that are none become
 * U+FFFD */
static int put_utf8(struct buf *out, const struct buf *text)
{
	const char *at = buf_str(text);
	size_t left = text->len;

	while (left) {
		size_t good = utf8_check(at, left);

		buf_add(out, at, good);
		at += good;
		left -= good;
		if (!left || (left < 4 && (unsigned char)*at >= 0xc2 &&
				     left < ((unsigned char)*at < 0xe0		? 2u
						    : (unsigned char)*at < 0xf0 ? 3u
										: 4u)))
			break;
		buf_puts(out, "\xef\xbf\xbd");
		at++;
		left--;
	}
	return out->failed ? -ENOMEM : 0;
}

static int run(struct answer *an, struct buf *out, struct err *err)
{
	int most = an->opt->max_tokens > 0 ? an->opt->max_tokens : ANSWER_TOKENS, rc;

	if (most > an->lm->m->context - an->ss.n)
		most = an->lm->m->context - an->ss.n;
	an->limit = an->ss.n + most;
	an->token = malloc(((size_t)an->limit + DRAFT_MAX + 1) * sizeof(int));
	if (!an->token)
		return err_nomem(err);
	memcpy(an->token, an->ss.prompt, (size_t)an->ss.n * sizeof(int));
	an->n = an->ss.n;
	an->drafts = DRAFT_START;
	if (an->opt->grammar) {
		rc = constrain_begin(&an->con, an->opt->grammar, most, err);
		if (rc < 0)
			return rc;
	}
	rc = lm_logit_rows(an->lm, 1 + DRAFT_MAX, err);
	while (rc == 0 && !an->ended)
		rc = advance(an, err);
	if (rc == 0 && put_utf8(out, &an->text) < 0)
		rc = err_nomem(err);
	return rc;
}

int lm_generate(struct lm *lm, const char *prompt, size_t len, const struct lm_generate *opt,
	struct buf *out, struct err *err)
{
	static const struct lm_generate greedy = {0};
	struct answer an = {.lm = lm, .opt = opt ? opt : &greedy, .text = BUF_INIT};
	int rc =
		session_start(lm, &an.ss, an.opt->system, prompt, len, 1, an.opt->deadline_ms, err);

	if (rc < 0)
		return rc;
	rc = run(&an, out, err);
	session_release(&an.ss);
	buf_release(&an.text);
	free(an.token);
	return rc;
}
