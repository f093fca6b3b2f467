#include "text.h"

#include <string.h>
#include <utf8proc.h>

#include "base/json.h"

/* the bytes a second byte may have decide what is ill-formed; all later ones are 80..BF */
static int lead_shape(unsigned char c, bool wtf, unsigned char *low, unsigned char *high)
{
	*low = 0x80;
	*high = 0xbf;
	if (c >= 0xc2 && c <= 0xdf)
		return 1;
	if (c >= 0xe0 && c <= 0xef) {
		if (c == 0xe0)
			*low = 0xa0;
		if (c == 0xed && !wtf)
			*high = 0x9f;
		return 2;
	}
	if (c >= 0xf0 && c <= 0xf4) {
		if (c == 0xf0)
			*low = 0x90;
		if (c == 0xf4)
			*high = 0x8f;
		return 3;
	}
	return -1;
}

uint32_t rag_rune(const char *text, size_t len, size_t *pos, bool wtf)
{
	const unsigned char *s = (const unsigned char *)text;
	unsigned char low, high, c = s[(*pos)++];
	uint32_t rune;
	int more;

	if (c < 0x80)
		return c;
	more = lead_shape(c, wtf, &low, &high);
	if (more < 0)
		return RAG_REPLACEMENT;
	rune = (uint32_t)c & (0x3fu >> more);
	for (; more > 0; more--) {
		if (*pos >= len || s[*pos] < low || s[*pos] > high)
			return RAG_REPLACEMENT;
		rune = rune << 6 | (s[(*pos)++] & 0x3fu);
		low = 0x80;
		high = 0xbf;
	}
	return rune;
}

int rag_put_rune(struct buf *out, uint32_t r)
{
	char b[4];
	size_t n = 0;

	if (r < 0x80) {
		b[n++] = (char)r;
	} else if (r < 0x800) {
		b[n++] = (char)(0xc0 | r >> 6);
		b[n++] = (char)(0x80 | (r & 0x3f));
	} else if (r < 0x10000) {
		b[n++] = (char)(0xe0 | r >> 12);
		b[n++] = (char)(0x80 | (r >> 6 & 0x3f));
		b[n++] = (char)(0x80 | (r & 0x3f));
	} else {
		b[n++] = (char)(0xf0 | r >> 18);
		b[n++] = (char)(0x80 | (r >> 12 & 0x3f));
		b[n++] = (char)(0x80 | (r >> 6 & 0x3f));
		b[n++] = (char)(0x80 | (r & 0x3f));
	}
	return buf_add(out, b, n);
}

int rag_decode(const char *data, size_t len, struct buf *out)
{
	size_t pos = 0;

	if (buf_reserve(out, len) < 0)
		return -1;
	while (pos < len) {
		size_t good = utf8_check(data + pos, len - pos);

		buf_add(out, data + pos, good);
		pos += good;
		if (pos < len)
			rag_put_rune(out, rag_rune(data, len, &pos, false));
	}
	return out->failed ? -1 : 0;
}

bool rag_is_space(uint32_t r)
{
	if (r < 0x80)
		return r == 0x20 || (r >= 0x09 && r <= 0x0d);
	return r == 0xa0 || r == 0x1680 || (r >= 0x2000 && r <= 0x200a) || r == 0x2028 ||
	       r == 0x2029 || r == 0x202f || r == 0x205f || r == 0x3000 || r == 0xfeff;
}

/* the part of ${rune}, standing at unit ${at}, that lies in [start, end): itself, half of its pair,
 * or nothing */
static bool cut_rune(uint32_t *rune, size_t at, size_t start, size_t end)
{
	if (*rune < 0x10000)
		return at >= start && at < end;
	if (at >= start && at + 1 < end)
		return true;
	if (at >= start && at < end)
		*rune = 0xd800 + ((*rune - 0x10000) >> 10);
	else if (at + 1 >= start && at + 1 < end)
		*rune = 0xdc00 + ((*rune - 0x10000) & 0x3ff);
	else
		return false;
	return true;
}

/* how many of ${n} bytes are ASCII from the first on */
static size_t ascii_run(const char *text, size_t n)
{
	size_t i = 0;
	uint64_t eight;

	for (; i + sizeof(eight) <= n; i += sizeof(eight)) {
		memcpy(&eight, text + i, sizeof(eight));
		if (eight & 0x8080808080808080)
			break;
	}
	while (i < n && !(text[i] & 0x80))
		i++;
	return i;
}

/* a word of ASCII as a whole; its bytes */
static size_t add_ascii(const char *text, size_t n, struct buf *out)
{
	size_t i = 0;

	while (i < n && text[i] > ' ' && !(text[i] & 0x80))
		i++;
	buf_add(out, text, i);
	return i;
}

int rag_slice(const char *text, size_t len, size_t start, size_t end, struct buf *out)
{
	bool has_text = false, has_space = false;
	size_t pos = 0, at = 0;

	while (pos < len && at < end) {
		uint32_t rune;
		size_t width;

		if (at < start && !(text[pos] & 0x80)) {
			size_t n = len - pos < start - at ? len - pos : start - at;

			n = ascii_run(text + pos, n);
			pos += n;
			at += n;
			continue;
		}
		rune = rag_rune(text, len, &pos, false);
		width = rune < 0x10000 ? 1 : 2;

		if (cut_rune(&rune, at, start, end)) {
			if (rag_is_space(rune)) {
				has_space = true;
			} else {
				if (has_space && has_text)
					buf_putc(out, ' ');
				has_space = false;
				has_text = true;
				rag_put_rune(out, rune);
				if (rune < 0x80) {
					size_t n =
						len - pos < end - at - 1 ? len - pos : end - at - 1;

					n = add_ascii(text + pos, n, out);
					pos += n;
					at += n;
				}
			}
		}
		at += width;
	}
	return out->failed ? -1 : 0;
}

static bool is_cased(uint32_t r)
{
	switch (utf8proc_category((utf8proc_int32_t)r)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
		return true;
	default:
		return false;
	}
}

static bool is_case_ignorable(uint32_t r)
{
	switch (utf8proc_category((utf8proc_int32_t)r)) {
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_SK:
		return true;
	default:
		return r == '\'' || r == '.' || r == ':' || r == 0xb7 || r == 0x2019 ||
		       r == 0x2018 || r == 0x2024 || r == 0x2027;
	}
}

static bool cased_follows(const char *text, size_t len, size_t pos)
{
	while (pos < len) {
		uint32_t rune = rag_rune(text, len, &pos, false);

		if (!is_case_ignorable(rune))
			return is_cased(rune);
	}
	return false;
}

int rag_lower(const char *text, size_t len, struct buf *out)
{
	bool cased_before = false;
	size_t pos = 0;

	while (pos < len) {
		uint32_t rune = rag_rune(text, len, &pos, false);

		if (rune == 0x130) {
			buf_puts(out, "i\xcc\x87");
		} else if (rune == 0x3a3) {
			bool is_final = cased_before && !cased_follows(text, len, pos);

			rag_put_rune(out, is_final ? 0x3c2 : 0x3c3);
		} else {
			rag_put_rune(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)rune));
		}
		if (!is_case_ignorable(rune))
			cased_before = is_cased(rune);
	}
	return out->failed ? -1 : 0;
}

static void put_escape(struct buf *out, unsigned char c)
{
	static const char letters[] = "btn?fr"; /* 08 to 0d */

	if (c >= 0x08 && c <= 0x0d && c != 0x0b)
		buf_addf(out, "\\%c", letters[c - 0x08]);
	else if (c < 0x20)
		buf_addf(out, "\\u%04x", c);
	else
		buf_addf(out, "\\%c", c);
}

int rag_put_json(struct buf *out, const char *text, size_t len)
{
	size_t from = 0;

	buf_putc(out, '"');
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == '"' || c == '\\') {
			buf_add(out, text + from, i - from);
			put_escape(out, c);
			from = i + 1;
		} else if (c == 0xed && i + 2 < len && (unsigned char)text[i + 1] >= 0xa0) {
			buf_add(out, text + from, i - from);
			from = i;
			buf_addf(out, "\\u%04x", rag_rune(text, len, &from, true));
			i = from - 1;
		}
	}
	buf_add(out, text + from, len - from);
	buf_putc(out, '"');
	return out->failed ? -1 : 0;
}

static bool is_direction_mark(uint32_t r)
{
	return r == 0x61c || r == 0x200e || r == 0x200f || (r >= 0x202a && r <= 0x202e) ||
	       (r >= 0x2066 && r <= 0x2069);
}

/* printable ASCII as it is; its bytes */
static size_t add_printable(const char *text, size_t n, struct buf *out)
{
	size_t i = 0;

	while (i < n && text[i] >= ' ' && text[i] < 0x7f)
		i++;
	buf_add(out, text, i);
	return i;
}

int rag_put_line(struct buf *out, const char *text, size_t len)
{
	size_t pos = add_printable(text, len, out);

	for (; pos < len; pos += add_printable(text + pos, len - pos, out)) {
		uint32_t rune = rag_rune(text, len, &pos, true);

		if (rune < 0x20 || rune == 0x7f)
			buf_addf(out, "\\x%02x", rune);
		else if ((rune >= 0x80 && rune < 0xa0) || is_direction_mark(rune) ||
			 rune == 0x2028 || rune == 0x2029)
			buf_addf(out, "\\u{%x}", rune);
		else if (rune >= 0xd800 && rune <= 0xdfff)
			rag_put_rune(out, RAG_REPLACEMENT);
		else
			rag_put_rune(out, rune);
	}
	return out->failed ? -1 : 0;
}
