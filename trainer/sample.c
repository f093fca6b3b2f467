#include <math.h>

#include "trainer/lm.h"

int sample_greedy(const float *logits, int n)
{
	int best = 0;

	for (int i = 1; i < n; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

/* splitmix64 of (seed, count): uniform in [0, 1) with 53 bits */
static double uniform(uint64_t seed, uint64_t count)
{
	uint64_t z = seed + (count + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

int sample_draw(const float *logits, int n, double temperature, uint64_t seed, uint64_t count)
{
	const int best = sample_greedy(logits, n);
	double sum = 0, at;

	for (int i = 0; i < n; i++)
		sum += exp(((double)logits[i] - (double)logits[best]) / temperature);
	at = uniform(seed, count) * sum;
	for (int i = 0; i < n; i++) {
		at -= exp(((double)logits[i] - (double)logits[best]) / temperature);
		if (at < 0)
			return i;
	}
	return best; /* rounding left nothing */
}
