/*
 * num - numbers from text and to text. The only place that calls strtod and its kin.
 */
#ifndef KOLM_NUM_H
#define KOLM_NUM_H

#include <stddef.h>
#include <stdint.h>

/*
 * num_whole(text, len, min, max, out): a plain decimal whole number, digits only (one leading '-'
 * when min < 0). -EINVAL when it is not one, -ERANGE when it is outside [min, max] (also when it
 * has too many digits).
 */
int num_whole(const char *text, size_t len, int64_t min, int64_t max, int64_t *out);

/*
 * num_real(text, len, out): a decimal real number in JSON's or C's decimal spelling (no hex, no
 * blanks). -EINVAL not a number; -EDOM nan or infinity in words; -ERANGE overflow, or underflow of
 * a non-zero to zero.
 */
int num_real(const char *text, size_t len, double *out);

enum { NUM_TEXT_BYTES = 32 };

/* num_text(x, out): JavaScript's Number-to-text as FORMATS section 1 says ("null" for NaN and
 * infinities). Returns out. */
const char *num_text(double x, char out[NUM_TEXT_BYTES]);

/* num_round(x, digits): rounded to ${digits} (0..4) decimals on the exact binary value, ties away
 * from zero. */
double num_round(double x, int digits);

/* num_fixed(x, digits, out): num_round() printed with exactly ${digits} decimals. Returns out. */
const char *num_fixed(double x, int digits, char out[NUM_TEXT_BYTES]);

#endif
