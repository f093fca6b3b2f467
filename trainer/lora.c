#include "trainer/lora.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "trainer/counter.h"

enum { COUNTER_LORA = 1 }; /* keeps these numbers apart from the shuffle's and dropout's */

static int target_of(const char *name, size_t len)
{
	for (int i = 0; i < MODULES; i++) {
		const char *have = model_module_name((enum module)i);

		if (strlen(have) == len && memcmp(have, name, len) == 0)
			return i;
	}
	return -1;
}

static int unknown_target(const char *name, size_t len, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8], have[160] = "";

	for (int i = 0; i < MODULES; i++) {
		strcat(have, i ? ", " : "");
		strcat(have, model_module_name((enum module)i));
	}
	return err_set(err, EINVAL, "target_modules: \"%s\" not in base (have %s)",
		err_quote(quoted, name, len), have);
}

int lora_targets_parse(const char *text, unsigned *out, struct err *err)
{
	unsigned bits = 0;

	for (const char *p = text;;) {
		size_t len = strcspn(p, ",");
		int i = target_of(p, len);

		if (i < 0)
			return len || *text ? unknown_target(p, len, err)
					    : err_set(err, EINVAL, "target_modules: empty");
		if (bits & 1u << i)
			return err_set(err, EINVAL, "target_modules: \"%s\" twice",
				model_module_name((enum module)i));
		bits |= 1u << i;
		if (!p[len])
			break;
		p += len + 1;
	}
	*out = bits;
	return 0;
}

/* all matrices of the shape, zero */
static struct lora *lora_alloc(const struct model *m, const struct lora_shape *shape)
{
	struct lora *lo = calloc(1, sizeof(*lo));
	size_t n = (size_t)m->layers * MODULES, at = 0;

	if (!lo)
		return NULL;
	lo->rank = shape->rank;
	lo->alpha = shape->alpha;
	lo->dropout = shape->dropout;
	lo->targets = shape->targets;
	lo->identity = true;
	lo->pair = calloc(n, sizeof(*lo->pair));
	for (size_t i = 0; lo->pair && i < n; i++) {
		const struct tensor *w = &m->layer[i / MODULES].w[i % MODULES];

		lo->pair[i].in = (int)w->cols;
		lo->pair[i].out = (int)w->rows;
		if (shape->targets & 1u << i % MODULES)
			lo->params += (uint64_t)shape->rank * (uint64_t)(w->cols + w->rows);
	}
	lo->memory = calloc(lo->params ? lo->params : 1, sizeof(*lo->memory));
	if (!lo->pair || !lo->memory) {
		lora_free(lo);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		if (!(shape->targets & 1u << i % MODULES))
			continue;
		lo->pair[i].a = lo->memory + at;
		at += (size_t)shape->rank * (size_t)lo->pair[i].in;
		lo->pair[i].b = lo->memory + at;
		at += (size_t)shape->rank * (size_t)lo->pair[i].out;
	}
	return lo;
}

int lora_new(const struct model *m, const struct lora_shape *shape, uint64_t seed,
	struct lora **out, struct err *err)
{
	struct lora *lo = lora_alloc(m, shape);

	if (!lo)
		return err_nomem(err);
	for (int i = 0; i < m->layers * MODULES; i++) {
		struct lora_pair *p = &lo->pair[i];
		uint64_t key = counter_mix(
			counter_mix(counter_mix(seed, COUNTER_LORA), (uint64_t)(i / MODULES)),
			(uint64_t)(i % MODULES));
		float bound = 1 / sqrtf((float)p->in);

		for (size_t j = 0; p->a && j < (size_t)lo->rank * (size_t)p->in; j++)
			p->a[j] = (2 * counter_unit(counter_mix(key, j)) - 1) * bound;
	}
	*out = lo;
	return 0;
}

void lora_free(struct lora *lo)
{
	if (!lo)
		return;
	free(lo->pair);
	free(lo->memory);
	free(lo);
}
