/* crc - CRC-32C of a line of JSON, carried by the line as its last member. */
#include "store/private.h"

#include <string.h>

/* four bits at a time, polynomial 0x82f63b78 (reflected 0x1edc6f41) */
static const uint32_t nibble[16] = {
	0x00000000,
	0x105ec76f,
	0x20bd8ede,
	0x30e349b1,
	0x417b1dbc,
	0x5125dad3,
	0x61c69362,
	0x7198540d,
	0x82f63b78,
	0x92a8fc17,
	0xa24bb5a6,
	0xb21572c9,
	0xc38d26c4,
	0xd3d3e1ab,
	0xe330a81a,
	0xf36e6f75,
};

enum { MEMBER_BYTES = sizeof(",\"crc\":\"01234567\"}") - 1 };

static uint32_t crc32c(uint32_t crc, const char *data, size_t len)
{
	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned char)data[i];
		crc = (crc >> 4) ^ nibble[crc & 15];
		crc = (crc >> 4) ^ nibble[crc & 15];
	}
	return ~crc;
}

int crc_seal(struct buf *out, size_t from)
{
	uint32_t crc;

	if (out->failed)
		return -1;
	crc = crc32c(0, out->data + from, out->len - from);
	out->data[--out->len] = '\0';
	return buf_addf(out, ",\"crc\":\"%08x\"}", crc);
}

bool crc_holds(const char *text, size_t len)
{
	const char *p;
	uint32_t want = 0;

	if (len < MEMBER_BYTES + 1)
		return true;
	p = text + len - MEMBER_BYTES;
	if (memcmp(p, ",\"crc\":\"", 8) != 0 || memcmp(p + 16, "\"}", 2) != 0)
		return true;
	for (int i = 8; i < 16; i++) {
		const char *digit = memchr("0123456789abcdef", p[i], 16);

		if (digit == NULL)
			return true;
		want = want << 4 | (uint32_t)(digit - "0123456789abcdef");
	}
	return crc32c(crc32c(0, text, len - MEMBER_BYTES), "}", 1) == want;
}
