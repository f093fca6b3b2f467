/*
 * measure - what an eval measured, and the arithmetic on it: accuracy, p50, K, the noise of a pair.
 * One place for eval.json and the gate.
 */
#ifndef KOLM_MEASURE_H
#define KOLM_MEASURE_H

#include "artifact/artifact.h"
#include "kolm.h"

struct measured_case {
	bool pass;
	bool returned; /* it has a latency that counts */
	double latency_us;
	struct json_slice json; /* the case's object, borrowed */
};

struct measured {
	struct measured_case *list; /* owned */
	size_t n;
	int passed;
	int egress; /* cases with an attempt */
	double accuracy;
	double p50_us; /* NAN: no case returned */
};

/* measured_add(m, object): one case object of PROTOCOLS section 4 (id, pass, output, expected,
 * error, latency_us, lm_us). */
int measured_add(struct measured *m, struct json_slice object);
void measured_finish(struct measured *m);
void measured_release(struct measured *m);

/* measured_k(m, size, p50_us, out): FORMATS 8.1 with this p50 (NAN: the measured one). */
void measured_k(const struct measured *m, uint64_t size, double p50_us, struct kscore *out);

/* noise of a pair: d = per-case latency differences of cases that returned in both; *${median}
 * their median, return 2 MAD(d)/sqrt(n) (DESIGN section 4). */
double measured_noise(const struct measured *a, const struct measured *b, double *median);

#endif
