/* measure - the arithmetic of an eval; see measure.h. */
#include "loop/measure.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_true(struct json_slice object, const char *key)
{
	struct json_slice v;

	return json_member(object, key, &v) && json_true(v);
}

int measured_add(struct measured *m, struct json_slice object)
{
	struct measured_case *more = realloc(m->list, (m->n + 1) * sizeof(*more)), *c;
	struct json_slice v;

	if (more == NULL)
		return -ENOMEM;
	m->list = more;
	c = &m->list[m->n++];
	*c = (struct measured_case){.json = object, .pass = is_true(object, "pass")};
	c->returned = !json_member(object, "error", &v) || json_kind_of(v) == JSON_NULL;
	if (json_member(object, "latency_us", &v) && json_kind_of(v) == JSON_NUMBER)
		c->latency_us = json_double(v);
	else
		c->returned = false;
	if (json_member(object, "egress", &v) && json_kind_of(v) != JSON_NULL)
		m->egress++;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* the upper median: sorted[floor(n/2)]; sorts in place; NAN of nothing */
static double upper_median(double *list, size_t n)
{
	if (n == 0)
		return NAN;
	qsort(list, n, sizeof(*list), by_value);
	return list[n / 2];
}

void measured_finish(struct measured *m)
{
	double *lat = calloc(m->n + 1, sizeof(*lat));
	size_t n = 0;

	m->passed = 0;
	for (size_t i = 0; i < m->n; i++) {
		m->passed += m->list[i].pass;
		if (m->list[i].returned && lat != NULL)
			lat[n++] = m->list[i].latency_us;
	}
	m->accuracy = m->n > 0 ? (double)m->passed / (double)m->n : 0;
	m->p50_us = lat != NULL ? upper_median(lat, n) : NAN;
	free(lat);
}

void measured_release(struct measured *m)
{
	free(m->list);
	*m = (struct measured){0};
}

void measured_k(const struct measured *m, uint64_t size, double p50_us, struct kscore *out)
{
	struct kscore_in in = {.size_bytes = (double)size,
		.accuracy = m->accuracy,
		.coverage = m->n > 0 ? 1 : 0,
		.p50_latency_us = isnan(p50_us) ? m->p50_us : p50_us,
		.cost_usd = 0};

	kscore_compute(&in, out);
}

double measured_noise(const struct measured *a, const struct measured *b, double *median)
{
	size_t max = a->n < b->n ? a->n : b->n, n = 0;
	double *d = calloc(max + 1, sizeof(*d)), mad;

	*median = NAN;
	if (d == NULL)
		return NAN;
	for (size_t i = 0; i < max; i++)
		if (a->list[i].returned && b->list[i].returned)
			d[n++] = a->list[i].latency_us - b->list[i].latency_us;
	*median = upper_median(d, n);
	for (size_t i = 0; i < n; i++)
		d[i] = fabs(d[i] - *median);
	mad = upper_median(d, n);
	free(d);
	return n > 0 ? 2 * mad / sqrt((double)n) : NAN;
}
