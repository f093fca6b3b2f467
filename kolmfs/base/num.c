/* num - numbers from text and to text; see num.h. */
#include "base/num.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int num_whole(const char *text, size_t len, int64_t min, int64_t max, int64_t *out)
{
	bool negative = len > 0 && text[0] == '-', over = false;
	size_t i = negative;
	int64_t x = 0;

	if (i == len)
		return -EINVAL;
	for (; i < len; i++) {
		if (!is_digit(text[i]))
			return -EINVAL;
		if (__builtin_mul_overflow(x, 10, &x) ||
			__builtin_sub_overflow(x, text[i] - '0', &x))
			over = true;
	}
	if (over || (!negative && x == INT64_MIN))
		return -ERANGE;
	x = negative ? x : -x;
	if (x < min || x > max)
		return -ERANGE;
	*out = x;
	return 0;
}

/* [-] digits [. digits] [e [+-] digits], or . digits */
static bool is_decimal(const char *p, size_t len)
{
	size_t i = 0, digits = 0;

	if (i < len && p[i] == '-')
		i++;
	for (; i < len && is_digit(p[i]); i++)
		digits++;
	if (i < len && p[i] == '.')
		for (i++; i < len && is_digit(p[i]); i++)
			digits++;
	if (digits == 0)
		return false;
	if (i < len && (p[i] == 'e' || p[i] == 'E')) {
		size_t from;

		i++;
		if (i < len && (p[i] == '+' || p[i] == '-'))
			i++;
		from = i;
		while (i < len && is_digit(p[i]))
			i++;
		if (i == from)
			return false;
	}
	return i == len;
}

static bool is_word(const char *p, size_t len, const char *word)
{
	if (len > 0 && (p[0] == '-' || p[0] == '+'))
		p++, len--;
	return len == strlen(word) && strncasecmp(p, word, len) == 0;
}

int num_real(const char *text, size_t len, double *out)
{
	char stack[64], *copy = stack;
	double x;

	if (is_word(text, len, "nan") || is_word(text, len, "inf") ||
		is_word(text, len, "infinity"))
		return -EDOM;
	if (!is_decimal(text, len))
		return -EINVAL;
	if (len >= sizeof(stack) && (copy = malloc(len + 1)) == NULL)
		return -ENOMEM;
	memcpy(copy, text, len);
	copy[len] = '\0';
	x = strtod(copy, NULL);
	if (copy != stack)
		free(copy);
	if (!isfinite(x))
		return -ERANGE;
	if (x == 0)
		for (size_t i = 0; i < len && text[i] != 'e' && text[i] != 'E'; i++)
			if (text[i] >= '1' && text[i] <= '9')
				return -ERANGE;
	*out = x;
	return 0;
}

static const uint32_t powers[] = {1, 10, 100, 1000, 10000};

enum { DIGITS_MAX = 4 }; /* of num_round() */
#define SHORT_MAX 1e11	 /* below it a number of ten thousandths has at most 15 digits */

/*
 * How many units of 10^-${digits} are nearest to 0 <= x < SHORT_MAX, ties away from zero: x is a
 * whole number of 53 bits divided by a power of two, so this is exact.
 */
static uint64_t count_units(double x, int digits)
{
	unsigned __int128 whole;
	int shift;

	whole = (unsigned __int128)(uint64_t)ldexp(frexp(x, &shift), 53) * powers[digits];
	shift = 53 - shift;
	if (shift > 120) /* less than half of one */
		return 0;
	return (uint64_t)((whole + ((unsigned __int128)1 << (shift - 1))) >> shift);
}

/*
 * A number of at most four decimals, as scores and rates are: two decimals of fewer than 16 digits
 * never read back as the same double, so its own are the shortest. 0: it is another.
 */
static int few_digits(double x, char digits[24], int *n)
{
	char text[24];
	int count = 0;
	uint64_t units;

	if (x >= SHORT_MAX)
		return 0;
	units = count_units(x, DIGITS_MAX);
	if (units == 0 || (double)units / powers[DIGITS_MAX] != x)
		return 0;
	for (; units > 0; units /= 10)
		text[count++] = (char)('0' + units % 10);
	*n = count - DIGITS_MAX;
	for (int i = 0; i < count; i++)
		digits[i] = text[count - 1 - i];
	return count;
}

static int printed_digits(double x, char digits[24], int *n)
{
	char text[40];
	int count = 0;

	for (int p = 1; p <= 17; p++) {
		(void)snprintf(text, sizeof(text), "%.*e", p - 1, x);
		if (strtod(text, NULL) == x)
			break;
	}
	char *e = strchr(text, 'e');
	for (char *p = text; p < e; p++)
		if (is_digit(*p))
			digits[count++] = *p;
	*n = (int)strtol(e + 1, NULL, 10) + 1;
	return count;
}

/* the shortest digits that read back as x > 0, and the exponent n of 0.ddd x 10^n */
static int shortest_digits(double x, char digits[24], int *n)
{
	int count = few_digits(x, digits, n);

	if (count == 0)
		count = printed_digits(x, digits, n);
	while (count > 1 && digits[count - 1] == '0')
		count--;
	return count;
}

const char *num_text(double x, char out[NUM_TEXT_BYTES])
{
	char digits[24], *p = out;
	int n, k;

	if (!isfinite(x))
		return strcpy(out, "null");
	if (x == 0)
		return strcpy(out, "0");
	if (x < 0)
		*p++ = '-';
	x = fabs(x);
	k = shortest_digits(x, digits, &n);
	if (k <= n && n <= 21) {
		memcpy(p, digits, (size_t)k);
		memset(p + k, '0', (size_t)(n - k));
		p[n] = '\0';
	} else if (0 < n && n <= 21) {
		(void)sprintf(p, "%.*s.%.*s", n, digits, k - n, digits + n);
	} else if (-6 < n && n <= 0) {
		(void)sprintf(p, "0.%.*s%.*s", -n, "000000", k, digits);
	} else if (k == 1) {
		(void)sprintf(p, "%ce%+d", digits[0], n - 1);
	} else {
		(void)sprintf(p, "%c.%.*se%+d", digits[0], k - 1, digits + 1, n - 1);
	}
	return out;
}

/*
 * glibc prints the exact binary value, so 60 decimals show on which side of a tie it lies: an exact
 * tie has nothing but zeros behind the 5 (a double below 2^53 / 10^4 needs at most 1074, but a
 * value with a non-zero digit only past the 60th is not within a double's precision of a 4-decimal
 * tie).
 */
const char *num_fixed(double x, int digits, char out[NUM_TEXT_BYTES])
{
	char exact[400];
	size_t keep;

	if (!isfinite(x) || fabs(x) >= 1e21)
		return num_text(x, out);
	(void)snprintf(exact, sizeof(exact), "%.60f", fabs(x));
	keep = (size_t)(strchr(exact, '.') - exact) + 1 + (size_t)digits;
	bool up = exact[keep] >= '5';
	exact[keep] = '\0';
	for (size_t i = keep; up && i-- > 0;) {
		if (exact[i] == '.')
			continue;
		up = exact[i] == '9';
		exact[i] = up ? '0' : (char)(exact[i] + 1);
	}
	size_t n = strlen(exact);
	if (digits == 0)
		exact[--n] = '\0';
	bool zero = !up && strspn(exact, "0.") == n;
	(void)snprintf(
		out, NUM_TEXT_BYTES, "%s%s%.29s", x < 0 && !zero ? "-" : "", up ? "1" : "", exact);
	return out;
}

double num_round(double x, int digits)
{
	char text[NUM_TEXT_BYTES];

	if (!isfinite(x) || fabs(x) >= 1e15)
		return x;
	if (fabs(x) < SHORT_MAX && digits >= 0 && digits <= DIGITS_MAX) {
		double units = (double)count_units(fabs(x), digits);

		return x < 0 && units > 0 ? -units / powers[digits] : units / powers[digits];
	}
	return strtod(num_fixed(x, digits, text), NULL);
}
