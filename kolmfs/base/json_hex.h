/* json_hex - the four digits of a \u escape; shared by the scanner and the decoder. */
#ifndef KOLM_JSON_HEX_H
#define KOLM_JSON_HEX_H

#include <stddef.h>

/* hex4(p, len, out): -1 when there are not four hex digits */
static inline int hex4(const char *p, size_t len, unsigned *out)
{
	unsigned x = 0;

	if (len < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];

		x <<= 4;
		if (c >= '0' && c <= '9')
			x |= (unsigned)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			x |= (unsigned)((c | 32) - 'a' + 10);
		else
			return -1;
	}
	*out = x;
	return 0;
}

#endif
