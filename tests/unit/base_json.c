/* base/json, base/num: the tables of the conformance data, and what the strict scanner refuses. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/json.h"
#include "base/num.h"
#include "base/replace.h"

static struct buf golden(const char *name)
{
	struct buf out = BUF_INIT;
	struct err err = ERR_NONE;
	char path[4096];
	const char *shared = getenv("SHARED");

	(void)snprintf(path, sizeof(path), "%s/data/compat/golden/%s",
		shared != NULL ? shared : "../shared", name);
	if (read_file(AT_FDCWD, path, 1 << 24, &out, &err) < 0)
		cr_skip_test("skipped: %s", err.text);
	return out;
}

Test(json, canonical_table)
{
	struct buf text = golden("canonical_json.json");
	struct json_slice table = {text.data, text.len}, row, in, want;
	struct err err = ERR_NONE;
	size_t pos = 0, n = 0;

	cr_assert_eq(json_check(text.data, text.len, &err), 0, "%s", err.text);
	for (; json_next(table, &pos, NULL, &row); n++) {
		struct buf got = BUF_INIT, expected = BUF_INIT;
		struct json_slice odd;

		cr_assert(json_member(row, "in", &in) && json_member(row, "text", &want));
		if (json_member(in, "$num", &odd))
			in = (struct json_slice){"-0", 2};
		cr_assert_eq(json_canonical(in, &got), 0);
		/* the table's text is JSON inside a JSON string; a lone surrogate is an escaped
		 * escape there */
		cr_assert_eq(json_string(want, &expected), 0);
		cr_assert_str_eq(buf_str(&got), buf_str(&expected));
		buf_release(&got);
		buf_release(&expected);
	}
	cr_assert_gt(n, 20);
	buf_release(&text);
}

Test(num, javascript_table)
{
	struct buf text = golden("js_numbers.json");
	struct json_slice table = {text.data, text.len}, row, v;
	size_t pos = 0, n = 0;

	for (; json_next(table, &pos, NULL, &row); n++) {
		struct buf bits = BUF_INIT, want = BUF_INIT;
		unsigned char b[8];
		char got[NUM_TEXT_BYTES];
		double x;

		cr_assert(json_member(row, "bits", &v) && json_string(v, &bits) == 0);
		for (int i = 0; i < 8; i++)
			cr_assert_eq(sscanf(bits.data + 2 * i, "%2hhx", &b[i]), 1);
		memcpy(&x, b, 8);
		cr_assert(json_member(row, "text", &v));
		if (json_kind_of(v) == JSON_STRING)
			cr_assert(json_string(v, &want) == 0);
		if (strstr(buf_str(&want), "N") == NULL && strstr(buf_str(&want), "Inf") == NULL)
			cr_assert_str_eq(num_text(x, got), buf_str(&want));
		buf_reset(&want);
		cr_assert(json_member(row, "toFixed4", &v));
		if (json_kind_of(v) == JSON_STRING) {
			cr_assert(json_string(v, &want) == 0);
			if (strcmp(want.data, "-0.0000") !=
				0) /* JavaScript keeps the sign; r4() reads it back as zero */
				cr_assert_str_eq(num_fixed(x, 4, got), buf_str(&want));
		}
		buf_release(&bits);
		buf_release(&want);
	}
	cr_assert_gt(n, 20);
	buf_release(&text);
}

static void refused(const char *text, size_t len, int no, const char *fragment)
{
	struct err err = ERR_NONE;

	cr_expect_eq(json_check(text, len, &err), -no, "%.40s: %s", text, err.text);
	cr_expect(strstr(err.text, fragment) != NULL, "%.40s: '%s' lacks '%s'", text, err.text,
		fragment);
}

Test(json, refuses_what_the_rules_refuse)
{
	static const char *const bad[] = {"{\"a\":1,}", "[1,]", "[1,,2]", "{'a':1}", "[NaN]",
		"// c\n1", "1 2", "[1", "\"a", "{\"a\" 1}", "{a:1}", "01", "1.", "-", "+1", ".5",
		"1e", "\"\\x\"", "\"\\u12g4\"", "", " ", "tru", "[\"\x01\"]", "\"\xc3(\"",
		"\"\xed\xa0\x80\""};
	struct buf deep = BUF_INIT;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused(bad[i], strlen(bad[i]), EBADMSG, " at byte ");
	refused("\xef\xbb\xbf{}", 5, EBADMSG, "byte order mark");
	refused("{\"a\":1,\"b\":2,\"a\":3}", 19, EBADMSG, "duplicate key");
	refused("{\"a\":1,\"\\u0061\":3}", 18, EBADMSG, "duplicate key");
	refused("\"a\0b\"", 5, EBADMSG, "control character");
	for (int i = 0; i < 100000; i++)
		(void)buf_putc(&deep, '[');
	refused(deep.data, deep.len, EBADMSG, "nested deeper than 256");
	buf_reset(&deep);
	for (int i = 0; i < 1000000; i++)
		(void)buf_putc(&deep, '7');
	refused(deep.data, deep.len, EMSGSIZE, "number longer than");
	buf_release(&deep);
}

Test(json, deep_enough_and_escapes_pass)
{
	struct buf deep = BUF_INIT;
	struct err err = ERR_NONE;
	cJSON *node;

	for (int i = 0; i < 256; i++)
		(void)buf_putc(&deep, '[');
	for (int i = 0; i < 256; i++)
		(void)buf_putc(&deep, ']');
	cr_expect_eq(json_check(deep.data, deep.len, &err), 0, "%s", err.text);
	buf_release(&deep);
	cr_expect_eq(json_check("\"\\ud83d\"", 8, &err), 0);
	cr_expect_eq(json_parse("\"\\ud83d\"", 8, &node, &err), -EBADMSG);
	cr_expect_eq(json_parse("\"\\u0000\"", 8, &node, &err), -EBADMSG);
}

Test(json, members_and_pretty)
{
	const char *text = " { \"b\" : [1, {\"x\":\"]}\"} ] , \"10\":true, \"2\" : null, "
			   "\"\\u0061\":\"t\\\"\" } ";
	struct json_slice v = {text, strlen(text)}, m;
	struct err err = ERR_NONE;
	struct buf out = BUF_INIT;

	cr_assert_eq(json_check(v.text, v.len, &err), 0, "%s", err.text);
	cr_assert(json_member(v, "a", &m));
	cr_assert_eq(json_string(m, &out), 0);
	cr_expect_str_eq(out.data, "t\"");
	cr_expect(!json_member(v, "x", &m));
	buf_reset(&out);
	cr_assert_eq(json_compact(v, &out), 0);
	cr_expect_str_eq(
		out.data, "{\"2\":null,\"10\":true,\"b\":[1,{\"x\":\"]}\"}],\"a\":\"t\\\"\"}");
	buf_reset(&out);
	cr_assert_eq(json_pretty(v, &out), 0);
	cr_expect_str_eq(out.data, "{\n  \"2\": null,\n  \"10\": true,\n  \"b\": [\n    1,\n    "
				   "{\n      \"x\": \"]}\"\n    }\n  ],\n  \"a\": \"t\\\"\"\n}");
	buf_release(&out);
}

Test(num, strict_readers)
{
	int64_t n;
	double x;
	static const char *const kinds[] = {
		"1e1", "0x10", "+1", " 1", "1.0", "\xe0\xa5\xa7", "", "-"};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		cr_expect_eq(num_whole(kinds[i], strlen(kinds[i]), 1, 1000, &n), -EINVAL, "%s",
			kinds[i]);
	cr_expect_eq(num_whole("99999999999999999999", 20, 1, 1000, &n), -ERANGE);
	cr_expect_eq(num_whole("-1", 2, 1, 1000, &n), -ERANGE);
	cr_expect(num_whole("1000", 4, 1, 1000, &n) == 0 && n == 1000);
	cr_expect_eq(num_real("nan", 3, &x), -EDOM);
	cr_expect_eq(num_real("-inf", 4, &x), -EDOM);
	cr_expect_eq(num_real("1e-400", 6, &x), -ERANGE);
	cr_expect_eq(num_real("0x1p3", 5, &x), -EINVAL);
	cr_expect(num_real("2e-4", 4, &x) == 0 && x == 2e-4);
	cr_expect(num_round(0.03125, 4) == 0.0313 && num_round(-0.03125, 4) == -0.0313 &&
		  num_round(0.99995, 4) == 1.0);
	cr_expect(num_round(-0.99995, 4) == -1.0 && num_round(-999.5, 0) == -1000.0);
}

static uint64_t mixed(uint64_t *seed)
{
	*seed += 0x9e3779b97f4a7c15;
	return (*seed ^ *seed >> 29) * 0xbf58476d1ce4e5b9;
}

static int digits_of(const char *text)
{
	int n = 0, last = 0;

	for (; *text && *text != 'e'; text++) {
		n += *text != '.' && *text != '-' && (n > 0 || *text != '0');
		if (*text >= '1' && *text <= '9')
			last = n;
	}
	return last;
}

/* what is done by whole numbers against the same by glibc's printf: of every size, exact ties, and
 * what a rounding has left */
Test(num, whole_numbers_round_and_print_as_printf_does)
{
	uint64_t seed = 6;
	char text[NUM_TEXT_BYTES], fewer[40];

	for (int i = 0; i < 100000; i++) {
		uint64_t bits = mixed(&seed);
		int digits = (int)(mixed(&seed) % 5);
		double x = ldexp((double)(bits >> 11), (int)(mixed(&seed) % 140) - 126), y;

		if (i % 3 == 0) /* a tie, or beside one */
			x = ldexp((double)(bits >> 44), -(int)(bits % 8)) +
			    (bits & 256 ? ldexp(1, -30) : 0);
		x = bits & 512 ? -x : x;
		y = num_round(x, digits);
		cr_assert(fabs(x) >= 1e15 || y == strtod(num_fixed(x, digits, text), NULL),
			"%a, %d digits: %a", x, digits, y);
		cr_assert(!(y == 0 && signbit(y)));
		x = i % 2 ? x : y;
		cr_assert(strtod(num_text(x, text), NULL) == x, "%a is not %s", x, text);
		if (fabs(x) < 1e15 && digits_of(text) > 1) {
			(void)snprintf(fewer, sizeof(fewer), "%.*e", digits_of(text) - 2, x);
			cr_assert(strtod(fewer, NULL) != x, "%s is longer than %s", text, fewer);
		}
	}
}

Test(err, quotes_for_terminals)
{
	char out[ERR_QUOTE_BYTES + 8];
	struct err err = ERR_NONE;
	char big[1000];

	cr_expect_str_eq(err_quote(out, "a\x1b[2J\r", 6), "a\\x1b[2J\\x0d");
	cr_expect_str_eq(err_quote(out, "\xc3(\xe2\x80\xae", 5), "\\xc3(\\u{202e}");
	memset(big, 'v', sizeof(big));
	cr_expect_eq(strlen(err_quote(out, big, sizeof(big))), (size_t)ERR_QUOTE_BYTES);
	cr_expect_eq(err_said(&err, EIO, "no\x1b[2J\n\xe2\x80\xae: caf\xc3\xa9", 17), -EIO);
	cr_expect_str_eq(err.text, "no\\x1b[2J\\x0a\\u{202e}: caf\xc3\xa9");
	(void)err_said(&err, EIO, big, sizeof(big));
	cr_expect_eq(strlen(err.text), ERR_TEXT_BYTES - 1);
}

/* a value is pointer and length: nothing behind it is looked at, here a page that is not there */
Test(json, a_value_ends_where_it_ends)
{
	static const char text[] = "{\"\\u00e9\":\"\\u0001\"}";
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), len = sizeof(text) - 1;
	char *map =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct json_slice value = {map + page - len, len};
	struct buf out = BUF_INIT;

	cr_assert_neq(map, MAP_FAILED);
	memcpy(map + page - len, text, len);
	cr_assert_eq(mprotect(map + page, page, PROT_NONE), 0);
	cr_assert_eq(json_check(value.text, value.len, NULL), 0);
	cr_assert_eq(json_compact(value, &out), 0);
	cr_assert_str_eq(buf_str(&out), "{\"\xc3\xa9\":\"\\u0001\"}");
	buf_release(&out);
	cr_assert_eq(munmap(map, 2 * page), 0);
}

/* text that was not checked gives no sense, but nothing behind it either */
Test(json, a_cut_text_is_not_left)
{
	static const char text[] = "{\"a\":{\"b\\\"\":[1,\"c\",{}]},\"d\":\"\\u00e9\\\\\"}";
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *map =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(map, MAP_FAILED);
	cr_assert_eq(mprotect(map + page, page, PROT_NONE), 0);
	for (size_t len = 1; len < sizeof(text) - 1; len++) {
		struct json_slice cut = {map + page - len, len}, key, value;
		size_t pos = 0;

		memcpy(map + page - len, text, len);
		for (int i = 0; i < 8 && json_next(cut, &pos, &key, &value); i++) {
			cr_assert_leq(value.len, len);
			cr_assert_leq(key.len, len);
			cr_assert(value.text + value.len <= cut.text + len);
		}
		(void)json_member(cut, "d", &value);
	}
	cr_assert_eq(munmap(map, 2 * page), 0);
}
