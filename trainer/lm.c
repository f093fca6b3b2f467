#include "trainer/kolmlm.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "trainer/chat.h"
#include "trainer/constrain.h"
#include "trainer/gemm.h"
#include "trainer/lm.h"
#include "trainer/model_map.h"
#include "trainer/tokenizer.h"

/* snapshots hold this many bytes between calls, or this many rows where those are more: the
 * instruction of a large model is worth keeping, too */
enum { THREADS_MAX = 256, KEPT_BYTES = 64 << 20, KEPT_ROWS = 1024 };

static int usable_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0 ? CPU_COUNT(&set)
										   : 1;
}

static int start_engine(struct lm *lm, const struct lm_options *opt, struct err *err)
{
	const char *name = opt->kernel ? opt->kernel : "auto";
	const struct qkern *kn = qkern_select(name);
	char quoted[ERR_QUOTE_BYTES + 8];
	int n = opt->threads > 0 ? opt->threads : usable_cpus(), rc;

	if (!kn || !gemm_kernel_select(strcmp(name, "auto") == 0 ? "vector" : name))
		return err_set(err, EINVAL,
			"kernel \"%s\" is not available here (auto, avx2, portable)",
			err_quote(quoted, name, strlen(name)));
	lm->kernel = kn->name;
	lm->th = threads_new(n < THREADS_MAX ? n : THREADS_MAX);
	if (!lm->th)
		return err_nomem(err);
	rc = infer_new(lm->m, lm->th, kn, &lm->infer, err);
	if (rc == 0)
		model_drop_pages(lm->m);
	return rc;
}

int lm_open(int fd, const struct lm_options *opt, struct lm **out, struct err *err)
{
	static const struct lm_options usual = {0};
	struct lm *lm = calloc(1, sizeof(*lm));
	int rc;

	if (!lm)
		return err_nomem(err);
	rc = model_open(fd, &lm->m, err);
	if (rc == 0) {
		for (int i = 0; i < LM_SNAPSHOTS; i++)
			kv_init(&lm->snapshot[i], lm->m);
		lm->kept = KEPT_ROWS * kv_row_bytes(&lm->snapshot[0]);
		if (lm->kept < KEPT_BYTES)
			lm->kept = KEPT_BYTES;
		if (!opt || !opt->headers_only)
			rc = start_engine(lm, opt ? opt : &usual, err);
	}
	if (rc < 0) {
		lm_close(lm);
		return rc;
	}
	*out = lm;
	return 0;
}

void lm_close(struct lm *lm)
{
	if (!lm)
		return;
	for (int i = 0; i < LM_SNAPSHOTS; i++)
		kv_release(&lm->snapshot[i]);
	infer_free(lm->infer);
	threads_free(lm->th);
	model_free(lm->m);
	words_free(lm->words);
	free(lm->logits);
	free(lm);
}

const char *lm_arch(const struct lm *lm)
{
	return lm->m->arch;
}

const char *lm_kernel(const struct lm *lm)
{
	return lm->kernel ? lm->kernel : "none";
}

const char *lm_template(const struct lm *lm)
{
	return chat_name(lm->m->chat);
}

int lm_threads(const struct lm *lm)
{
	return lm->th ? threads_count(lm->th) : 0;
}

uint64_t lm_params(const struct lm *lm)
{
	return model_params(lm->m);
}

int lm_vocab(const struct lm *lm)
{
	return lm->m->vocab;
}

int lm_types(const struct lm *lm, struct buf *out)
{
	const struct model_map *mm = lm->m->map;
	const char *before = "";

	buf_putc(out, '{');
	for (;;) { /* by name: there are a dozen of them */
		int next = -1;

		for (int i = 0; i < MODEL_TYPES; i++)
			if (mm->types[i] && strcmp(tensor_type_name(i), before) > 0 &&
				(next < 0 ||
					strcmp(tensor_type_name(i), tensor_type_name(next)) < 0))
				next = i;
		if (next < 0)
			break;
		buf_addf(out, "%s\"%s\":%d", *before ? "," : "", tensor_type_name(next),
			mm->types[next]);
		before = tensor_type_name(next);
	}
	buf_putc(out, '}');
	return out->failed ? -ENOMEM : 0;
}

int lm_logit_rows(struct lm *lm, int n, struct err *err)
{
	float *more;

	if (n <= lm->logit_rows)
		return 0;
	more = realloc(lm->logits, (size_t)n * (size_t)lm->m->vocab * sizeof(float));
	if (!more)
		return err_nomem(err);
	lm->logits = more;
	lm->logit_rows = n;
	return 0;
}

int lm_logits(struct lm *lm, const int *tokens, size_t n, float *out, struct err *err)
{
	const struct infer_adapter *ad =
		lm->adapter && lm->adapter->number ? &lm->adapter->serving : NULL;
	struct infer_batch batch = {.token = tokens, .n = (int)n, .wants = (int)n, .logits = out};
	struct kv kv;
	int *want, rc;

	if (!lm->infer)
		return err_set(err, EINVAL, "the model was opened for its headers only");
	if (n < 1 || n > (size_t)lm->m->context)
		return err_set(err, EMSGSIZE, "%zu tokens do not fit the context of %d", n,
			lm->m->context);
	for (size_t i = 0; i < n; i++)
		if (tokens[i] < 0 || tokens[i] >= lm->m->vocab)
			return err_set(err, EINVAL, "token %d is not in the vocabulary", tokens[i]);
	want = malloc(n * sizeof(*want));
	if (!want)
		return err_nomem(err);
	for (size_t i = 0; i < n; i++)
		want[i] = (int)i;
	batch.want = want;
	kv_init(&kv, lm->m);
	rc = infer_run(lm->infer, &kv, ad, &batch, err);
	kv_release(&kv);
	free(want);
	return rc;
}

int lm_tokenize(struct lm *lm, const char *text, size_t len, bool special, int *out, size_t cap,
	struct err *err)
{
	return tokenizer_encode(lm->m->tokenizer, text, len, special, out, cap, err);
}
