#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "trainer/safetensors.h"

/* a file of this header and ${data} zero bytes */
static int file_of(const char *header, size_t data, long long len)
{
	int fd = memfd_create("st", MFD_CLOEXEC);
	unsigned long long n = len >= 0 ? (unsigned long long)len : strlen(header);

	cr_assert_eq(write(fd, &n, 8), 8);
	cr_assert_eq(write(fd, header, strlen(header)), (ssize_t)strlen(header));
	cr_assert_eq(ftruncate(fd, (off_t)(8 + strlen(header) + data)), 0);
	return fd;
}

static void refused(const char *header, size_t data, long long len, const char *says)
{
	struct safetensors *st = NULL;
	struct err err = ERR_NONE;
	int fd = file_of(header, data, len);

	cr_expect_eq(safetensors_open(fd, &st, &err), -EBADMSG, "%s", header);
	cr_expect(strstr(err.text, says), "'%s' lacks '%s'", err.text, says);
	close(fd);
}

/* BAD-INPUTS I01 */
Test(lm_safetensors, header_length)
{
	refused("{}", 10, 0, "header length");
	refused("{}", 10, INT64_MAX / 2 + 1, "header length");
	refused("{}", 10, 1000, "header length");
	refused("{}", 10, 200 * 1000 * 1000, "header length");
	refused("{\"a\":", 10, -1, "JSON");
	refused("[1]        ", 10, -1, "not a JSON object");
}

/* BAD-INPUTS I02 */
Test(lm_safetensors, offsets)
{
	refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":"
		"\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
		12, -1, "tensor \"b\": offsets");
	refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":"
		"\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
		12, -1, "tensor \"b\": offsets");
	refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 12, -1,
		"tensor \"a\": offsets");
	refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, -1,
		"tensor \"a\": offsets");
	refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 8, -1,
		"tensor \"a\": offsets");
	refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, -1,
		"offsets");
}

/* BAD-INPUTS I03, I04 */
Test(lm_safetensors, shapes_and_types)
{
	refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]"
		"}}",
		4, -1, "tensor \"a\": shape");
	refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, -1,
		"tensor \"a\": shape");
	refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, -1,
		"tensor \"a\": shape");
	refused("{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, -1,
		"tensor \"a\": dtype");
	refused("{\"a\\u001b\":{\"dtype\":\"F32\",\"shape\":[8,8],\"data_offsets\":[0,96]}}", 96,
		-1, "tensor \"a\\x1b\": 96 bytes for 8x8 F32");
	refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[8,8],\"data_offsets\":[0,96]}}", 96, -1,
		"tensor \"a\": 96 bytes for 8x8 F32");
}

Test(lm_safetensors, what_is_written_is_read)
{
	static const float a[6] = {1, 2, 3, 4, 5, 6}, b[2] = {-0.5f, 1e30f};
	const struct safetensors_put put[] = {{"a", 2, 3, a}, {"b \"quoted\"", 1, 2, b}};
	struct safetensors *st;
	struct err err = ERR_NONE;
	float out[6];
	int fd = memfd_create("st", MFD_CLOEXEC);

	cr_assert_eq(safetensors_write(fd, put, 2, &err), 0);
	cr_assert_eq(safetensors_open(fd, &st, &err), 0, "%s", err.text);
	cr_assert_eq(safetensors_count(st), 2);
	cr_assert_null(safetensors_find(st, "c"));
	const struct safetensors_entry *e = safetensors_find(st, "b \"quoted\"");

	cr_assert(e && e->dims == 2 && e->shape[0] == 1 && e->shape[1] == 2);
	cr_assert_eq(safetensors_floats(e, out), 0);
	cr_assert_arr_eq(out, b, sizeof(b));
	cr_assert_eq(safetensors_floats(safetensors_find(st, "a"), out), 0);
	cr_assert_arr_eq(out, a, sizeof(a));
	safetensors_close(st);
	close(fd);
}

Test(lm_safetensors, halves_become_floats)
{
	static const char header[] =
		"{\"h\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]},\"w\":{\"dtype\":"
		"\"BF16\",\"shape\":[1],\"data_offsets\":[8,10]},"
		"\"i\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[10,12]}}";
	static const unsigned char data[] = {0, 0x3c, 0, 0xc0, 1, 0, 0xff, 0x7b, 0x80, 0x3f, 1, 2};
	struct safetensors *st;
	float out[4];
	int fd = file_of(header, sizeof(data), -1);

	cr_assert_eq(
		pwrite(fd, data, sizeof(data), (off_t)(8 + strlen(header))), (ssize_t)sizeof(data));
	cr_assert_eq(safetensors_open(fd, &st, NULL), 0);
	cr_assert_eq(safetensors_floats(safetensors_find(st, "h"), out), 0);
	cr_assert(out[0] == 1 && out[1] == -2 && out[2] == 0x1p-24f && out[3] == 65504);
	cr_assert_eq(safetensors_floats(safetensors_find(st, "w"), out), 0);
	cr_assert(out[0] == 1);
	cr_assert_eq(safetensors_floats(safetensors_find(st, "i"), out), -EOPNOTSUPP);
	safetensors_close(st);
	close(fd);
}
