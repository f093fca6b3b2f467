#include "trainer/pack.h"

#include <stdlib.h>

#include "trainer/counter.h"

/* inputs are all tokens but the last; the shared part ends before the first supervised position of
 * any row */
static int common_prefix(const struct sample *const *sample, int n, bool share)
{
	int len;

	if (!share || n < 2)
		return 0;
	len = sample[0]->answer - 1;
	for (int i = 1; i < n; i++) {
		int same = 0;

		if (sample[i]->answer - 1 < len)
			len = sample[i]->answer - 1;
		while (same < len && sample[i]->token[same] == sample[0]->token[same])
			same++;
		len = same;
	}
	return len;
}

int pack_tokens(const struct sample *const *sample, int n, bool share)
{
	int prefix = common_prefix(sample, n, share), sum = prefix;

	for (int i = 0; i < n; i++)
		sum += sample[i]->n - 1 - prefix;
	return sum;
}

int pack_supervised(const struct sample *const *sample, int n)
{
	int sum = 0;

	for (int i = 0; i < n; i++)
		sum += sample[i]->n - sample[i]->answer;
	return sum;
}

static void add_tokens(struct pack *pk, const struct sample *sm, int from, int to)
{
	for (int i = from; i < to; i++) {
		int t = pk->tokens++;

		pk->token[t] = sm->token[i];
		pk->pos[t] = i;
		pk->key[t] = counter_mix(counter_mix(0, sm->index), (uint64_t)i);
		if (i + 1 >= sm->answer) {
			pk->at[pk->supervised] = t;
			pk->target[pk->supervised++] = sm->token[i + 1];
		}
	}
}

int pack_make(
	const struct sample *const *sample, int n, bool share, struct pack *out, struct err *err)
{
	int prefix = common_prefix(sample, n, share);
	size_t tokens = (size_t)pack_tokens(sample, n, share),
	       supervised = (size_t)pack_supervised(sample, n);
	struct pack pk = {0};

	pk.memory = malloc(tokens * sizeof(uint64_t) + (size_t)(n + 1) * sizeof(struct segment) +
			   2 * (tokens + supervised) * sizeof(int) + 1);
	if (!pk.memory)
		return err_nomem(err);
	pk.key = pk.memory;
	pk.segment = (struct segment *)(pk.key + tokens);
	pk.token = (int *)(pk.segment + n + 1);
	pk.pos = pk.token + tokens;
	pk.at = pk.pos + tokens;
	pk.target = pk.at + supervised;
	if (prefix > 0) {
		pk.segment[pk.segments++] = (struct segment){0, prefix, 0};
		add_tokens(&pk, sample[0], 0, prefix);
	}
	for (int i = 0; i < n; i++) {
		pk.segment[pk.segments++] =
			(struct segment){pk.tokens, sample[i]->n - 1 - prefix, prefix};
		add_tokens(&pk, sample[i], prefix, sample[i]->n - 1);
	}
	*out = pk;
	return 0;
}

void pack_release(struct pack *pk)
{
	free(pk->memory);
	*pk = (struct pack){0};
}
