#include "post.h"

static size_t put_number(uint8_t *out, uint64_t x)
{
	size_t n = 0;

	for (; x >= 0x80; x >>= 7)
		out[n++] = (uint8_t)(x | 0x80);
	out[n++] = (uint8_t)x;
	return n;
}

size_t rag_post_put(uint8_t out[RAG_PAIR_BYTES], uint32_t passed, uint32_t tf)
{
	size_t n = put_number(out, (uint64_t)passed << 1 | (tf == 1));

	if (tf != 1)
		n += put_number(out + n, tf - 2);
	return n;
}

void rag_post_init(struct rag_post *ps, const uint8_t *data, size_t len, uint64_t df, uint64_t docs)
{
	*ps = (struct rag_post){.data = data, .len = len, .df = df, .docs = docs};
}

static bool get_number(struct rag_post *ps, uint64_t max, uint64_t *out)
{
	uint64_t x = 0;

	for (unsigned shift = 0; shift < 35 && ps->pos < ps->len; shift += 7) {
		uint8_t c = ps->data[ps->pos++];

		x |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80) {
			*out = x;
			return x <= max;
		}
	}
	return false;
}

bool rag_post_next(struct rag_post *ps)
{
	uint64_t gap, tf = 1;

	if (ps->df == 0)
		return false;
	if (!get_number(ps, (uint64_t)UINT32_MAX << 1 | 1, &gap))
		goto damaged;
	if (!(gap & 1)) {
		if (!get_number(ps, UINT32_MAX - 2, &tf))
			goto damaged;
		tf += 2;
	}
	if (ps->next + (gap >> 1) >= ps->docs)
		goto damaged;
	ps->doc = (uint32_t)(ps->next + (gap >> 1));
	ps->tf = (uint32_t)tf;
	ps->next = (uint64_t)ps->doc + 1;
	ps->df--;
	return true;

damaged:
	ps->is_damaged = true;
	ps->df = 0;
	return false;
}
