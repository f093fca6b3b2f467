#include "trainer/adamw.h"

#include <math.h>

double adamw_rate(double lr, int step, int steps)
{
	int warm = (steps + 19) / 20;

	if (step <= warm)
		return lr * step / warm;
	return lr * (steps - step + 1) / (steps - warm);
}

double adamw_clip(float *g, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)g[i] * (double)g[i];
	double norm = sqrt(sum);

	if (norm + 1e-6 > 1) {
		float scale = (float)(1 / (norm + 1e-6));

		for (size_t i = 0; i < n; i++)
			g[i] *= scale;
	}
	return norm;
}

/*
 * m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  w -= rate / (1 - b1^t) * m / (sqrt(v / (1 -
 * b2^t)) + eps)
 */
void adamw_step(float *w, float *m, float *v, const float *g, size_t n, double rate, int step)
{
	const float b1 = 0.9f, b2 = 0.999f, eps = 1e-8f;
	float size = (float)(rate / (1 - pow(0.9, step)));
	float root = (float)sqrt(1 - pow(0.999, step));

	for (size_t i = 0; i < n; i++) {
		m[i] = b1 * m[i] + (1 - b1) * g[i];
		v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
		w[i] -= size * m[i] / (sqrtf(v[i]) / root + eps);
	}
}
