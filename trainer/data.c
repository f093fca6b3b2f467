#include "trainer/data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/json.h"
#include "trainer/chat.h"
#include "trainer/counter.h"
#include "trainer/tokenizer.h"

enum { LINE_MAX_BYTES = 16 * 1024 * 1024, COUNTER_SHUFFLE = 2 };

static uint64_t row_hash(const char *prompt, const char *answer)
{
	return XXH3_64bits_withSeed(answer, strlen(answer), XXH3_64bits(prompt, strlen(prompt)));
}

/* prompt, answer and end of turn as tokens. 0 with sm->n = 0 when the row is too long. */
static int render(const struct model *m, const cJSON *row, int max_tokens, struct sample *sm,
	bool *apart, struct err *err)
{
	const char *prompt = json_get_string(row, "prompt"),
		   *answer = json_get_string(row, "answer");
	struct chat_row cr;
	int rc = chat_row(m->chat, m->tokenizer, json_get_string(row, "system"), prompt,
		strlen(prompt), answer, strlen(answer), &cr, err);

	if (rc < 0)
		return rc;
	if (cr.n > (size_t)max_tokens || cr.answer < 1) {
		free(cr.ids);
		return 0;
	}
	sm->token = cr.ids;
	sm->n = (int)cr.n;
	sm->answer = (int)cr.answer;
	sm->hash = row_hash(prompt, answer);
	*apart = cr.apart;
	return 0;
}

static int read_line(const struct model *m, const char *line, size_t len, int max_tokens,
	struct data *dt, size_t *cap, struct err *err)
{
	struct sample sm = {0};
	cJSON *row = NULL;
	bool apart = false;
	int rc = 0;

	if (len <= LINE_MAX_BYTES && json_parse(line, len, &row, NULL) == 0 &&
		cJSON_IsObject(row) && json_get_string(row, "prompt") &&
		json_get_string(row, "answer"))
		rc = render(m, row, max_tokens, &sm, &apart, err);
	cJSON_Delete(row);
	if (rc < 0 && rc != -ENOMEM)
		rc = 0; /* a text the template or the tokenizer refuses: this row is none */
	if (rc < 0)
		return rc;
	if (sm.n == 0) {
		dt->skipped++;
		return 0;
	}
	if ((size_t)dt->n == *cap) {
		size_t more = *cap ? 2 * *cap : 256;
		struct sample *grown = realloc(dt->sample, more * sizeof(*grown));

		if (!grown) {
			free(sm.token);
			return err_nomem(err);
		}
		dt->sample = grown;
		*cap = more;
	}
	int *fit = realloc(sm.token, (size_t)sm.n * sizeof(*fit));

	sm.token = fit ? fit : sm.token;
	sm.index = (uint64_t)dt->n;
	dt->sample[dt->n++] = sm;
	dt->apart += apart;
	return 0;
}

static int split(struct data *dt, struct err *err)
{
	bool hold = dt->n >= HELD_OUT_MIN_ROWS;

	dt->train = calloc((size_t)dt->n, sizeof(struct sample *));
	dt->held = calloc((size_t)dt->n, sizeof(struct sample *));
	if (!dt->train || !dt->held)
		return err_nomem(err);
	for (int i = 0; i < dt->n; i++) {
		const struct sample *sm = &dt->sample[i];

		if (sm->n > dt->longest)
			dt->longest = sm->n;
		if (hold && sm->hash % 10 == 0) {
			dt->held[dt->helds++] = sm;
			continue;
		}
		dt->train[dt->trains++] = sm;
		dt->tokens += sm->n;
	}
	return 0;
}

int data_read(const struct model *m, int fd, int max_tokens, struct data *out, struct err *err)
{
	struct data dt = {0};
	size_t cap = 0, room = 0;
	char *line = NULL;
	ssize_t n;
	int rc = 0, own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	FILE *in = own < 0 ? NULL : fdopen(own, "r");

	if (!in) {
		rc = err_sys(err, "cannot read the training rows");
		if (own >= 0)
			close(own);
		return rc;
	}
	if (max_tokens > m->context)
		max_tokens = m->context;
	while (rc == 0 && (n = getline(&line, &room, in)) > 0) {
		size_t len = (size_t)n - (line[n - 1] == '\n');

		if (len > 0)
			rc = read_line(m, line, len, max_tokens, &dt, &cap, err);
	}
	if (rc == 0 && ferror(in))
		rc = err_sys(err, "cannot read the training rows");
	free(line);
	fclose(in);
	if (rc == 0 && dt.n == 0)
		rc = err_set(err, ENODATA, "no usable captures (%d skipped)", dt.skipped);
	if (rc == 0)
		rc = split(&dt, err);
	if (rc == 0 && dt.trains == 0)
		rc = err_set(err, ENODATA, "all rows are held out: they are the same row");
	if (rc < 0) {
		data_release(&dt);
		return rc;
	}
	*out = dt;
	return 0;
}

void data_release(struct data *dt)
{
	for (int i = 0; i < dt->n; i++)
		free(dt->sample[i].token);
	free(dt->sample);
	free(dt->train);
	free(dt->held);
	*dt = (struct data){0};
}

void data_order(const struct data *dt, uint64_t seed, int epoch, const struct sample **order)
{
	uint64_t key = counter_mix(counter_mix(seed, COUNTER_SHUFFLE), (uint64_t)epoch);

	memcpy(order, dt->train, (size_t)dt->trains * sizeof(struct sample *));
	for (int i = dt->trains - 1; i > 0; i--) {
		int j = (int)counter_below(counter_mix(key, (uint64_t)i), (uint64_t)i + 1);
		const struct sample *t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
}
