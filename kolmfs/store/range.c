/* range - numbers people type, with their limits in the sentence. */
#include "store/config.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/num.h"

int range_whole(
	const char *what, const char *text, int64_t min, int64_t max, int64_t *out, struct err *err)
{
	int64_t x;
	/* a sign is part of a number that is out of range, not a mistake in writing */
	int rc = num_whole(text, strlen(text), INT64_MIN, INT64_MAX, &x);

	if (rc == -EINVAL)
		return err_set(err, EINVAL, "%s: whole number expected", what);
	if (rc < 0 || x < min || x > max)
		return err_set(
			err, ERANGE, "%s: %lld to %lld", what, (long long)min, (long long)max);
	*out = x;
	return 0;
}

int range_real(const char *what, const char *text, double above, double below, double *out,
	struct err *err)
{
	char lo[NUM_TEXT_BYTES], hi[NUM_TEXT_BYTES];
	double x = 0;
	int rc = num_real(text, strlen(text), &x);

	if (rc == -EINVAL)
		return err_set(err, EINVAL, "%s: number expected", what);
	if (rc == -EDOM)
		return err_set(err, EDOM, "%s: finite number expected", what);
	if (rc < 0 || !(x > above && x < below))
		return err_set(err, ERANGE, "%s: above %s and below %s", what, num_text(above, lo),
			num_text(below, hi));
	*out = x;
	return 0;
}
