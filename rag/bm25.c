#include "bm25.h"

#include <string.h>

#include "mode.h"

/*
 * x = 2^k * (1 + f) with sqrt(2)/2 < 1 + f < sqrt(2); with s = f / (2 + f),
 *   log(1 + f) = f - f*f/2 + s*(f*f/2 + R(s*s))
 * where R is the minimax polynomial of degree 7 in s*s that Sun published with fdlibm ("a log by
 * Remez on [0, 0.1716]", error below 2^-58.45), its odd and even terms summed apart. Rounding
 * follows the operations, so their order is part of the result.
 */
double rag_log(double x)
{
	static const double ln2_high = 6.93147180369123816490e-01,
			    ln2_low = 1.90821492927058770002e-10;
	static const double odd[] = {6.666666666666735130e-01, 2.857142874366239149e-01,
		1.818357216161805012e-01, 1.479819860511658591e-01};
	static const double even[] = {
		3.999999999940941908e-01, 2.222219843214978396e-01, 1.531383769920937332e-01};
	uint64_t bits;
	uint32_t high, step;
	double dk, f, s, z, w, r, half;
	int k;

	memcpy(&bits, &x, sizeof(bits));
	high = (uint32_t)(bits >> 32);
	k = (int)(high >> 20) - 1023;
	high &= 0xfffff;
	step = (high + 0x95f64) &
	       0x100000; /* the mantissa is above sqrt(2): halve it, one more power of two */
	bits = (uint64_t)(high | (step ^ 0x3ff00000)) << 32 | (bits & 0xffffffff);
	k += (int)(step >> 20);
	memcpy(&f, &bits, sizeof(f));
	f -= 1.0;
	dk = (double)k;
	if ((0xfffff & (2 + high)) < 3) { /* |f| < 2^-20: three terms are enough */
		if (f == 0)
			return k == 0 ? 0 : dk * ln2_high + dk * ln2_low;
		r = f * f * (0.5 - 0.33333333333333333 * f);
		return k == 0 ? f - r : dk * ln2_high - ((r - dk * ln2_low) - f);
	}
	s = f / (2.0 + f);
	z = s * s;
	w = z * z;
	r = z * (odd[0] + w * (odd[1] + w * (odd[2] + w * odd[3])));
	r = w * (even[0] + w * (even[1] + w * even[2])) + r;
	/* f*f/2 is kept apart only where f is large enough to lose bits */
	if (((int)(high - 0x6147a) | (int)(0x6b851 - high)) > 0) {
		half = 0.5 * f * f;
		if (k == 0)
			return f - (half - s * (half + r));
		return dk * ln2_high - ((half - (s * (half + r) + dk * ln2_low)) - f);
	}
	if (k == 0)
		return f - s * (f - r);
	return dk * ln2_high - ((s * (f - r) - dk * ln2_low) - f);
}

double rag_idf(uint64_t docs, uint64_t df)
{
	double n = (double)docs, d = (double)df;

	return rag_log(1 + (n - d + 0.5) / (d + 0.5));
}

double rag_norm(const struct rag_bm25 *bm, uint32_t len)
{
	double dl = len ? (double)len : 1;

	return bm->k1 * (1 - bm->b + bm->b * (dl / bm->avgdl));
}

double rag_weight(const struct rag_bm25 *bm, double idf, uint32_t tf, uint32_t len)
{
	double denom = (double)tf + rag_norm(bm, len);

	return idf * ((double)tf * (bm->k1 + 1)) / denom;
}

void rag_mode_bm25(struct rag_mode *out)
{
	*out = (struct rag_mode){
		.analyser = "rag-bm25-1", .spec = "rag-bm25-1", .k1 = RAG_K1, .b = RAG_B};
}
