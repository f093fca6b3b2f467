/* artifact_tables - comparators, K-score and source guard against the golden tables. */
#include "artifact_craft.h"

#include <math.h>

/* {"$undefined":true} and {"$num":"-0"}; false: a value JSON cannot carry */
static bool plain(struct json_slice v, struct json_slice *out)
{
	struct json_slice m = member_of(v, "$num");

	*out = v;
	if (member_of(v, "$undefined").len > 0)
		*out = (struct json_slice){NULL, 0};
	else if (m.len > 0 && memmem(m.text, m.len, "-0", 2) != NULL)
		*out = (struct json_slice){"-0", 2};
	else if (m.len > 0 || memmem(v.text, v.len, "$undefined", 10) != NULL)
		return false;
	return true;
}

Test(tables, comparators)
{
	struct buf file = compat_read("golden/comparators.json");
	struct json_slice row, a, e;
	size_t pos = 0, n = 0;

	cr_assert_eq(json_check(file.data, file.len, NULL), 0);
	while (json_next(whole(&file), &pos, NULL, &row)) {
		char *name = member_text(row, "comparator");
		bool want = member_of(row, "scoreCase_pass").text[0] == 't';
		if (plain(member_of(row, "actual"), &a) && plain(member_of(row, "expected"), &e)) {
			cr_expect_eq(
				comparator_match(name, a, e), want, "%.*s", (int)row.len, row.text);
			n++;
		}
		free(name);
	}
	cr_expect_gt(n, 340);
	buf_release(&file);
}

Test(tables, comparator_of_large_objects_is_linear)
{
	struct buf obj = BUF_INIT, arr = BUF_INIT;

	buf_putc(&obj, '{');
	buf_putc(&arr, '[');
	for (int i = 0; i < 50000; i++) {
		buf_addf(&obj, "%s\"%d\":1", i ? "," : "", i);
		buf_addf(&arr, "%s1", i ? "," : "");
	}
	buf_putc(&obj, '}');
	buf_putc(&arr, ']');
	cr_expect(comparator_match("exact", slice_of(&obj), slice_of(&arr)));
	cr_expect(comparator_match("exact", slice_of(&arr), slice_of(&obj)));
	cr_expect(comparator_match("exact", slice_of(&obj), slice_of(&obj)));
	buf_release(&obj);
	buf_release(&arr);
}

Test(tables, normalized_string)
{
	struct buf file = compat_read("golden/normalize_string.json");
	struct json_slice row;
	size_t pos = 0, n = 0;

	while (json_next(whole(&file), &pos, NULL, &row)) {
		cr_expect(comparator_match(
				  "normalized_string", member_of(row, "in"), member_of(row, "out")),
			"%.*s", (int)row.len, row.text);
		n++;
	}
	cr_expect_gt(n, 10);
	buf_release(&file);
}

static double number_or_nan(struct json_slice v)
{
	if (v.len == 0 || v.text[0] == 'n')
		return NAN;
	if (v.text[0] == '{')
		return memmem(v.text, v.len, "Infinity", 8) != NULL ? INFINITY : NAN;
	return json_double(v);
}

static size_t kscores(const char *name, bool envelope)
{
	struct buf file = compat_read(name);
	struct json_slice row;
	size_t pos = 0, n = 0;

	while (json_next(whole(&file), &pos, NULL, &row)) {
		struct json_slice in = member_of(row, "in"), out = member_of(row, "out");
		struct kscore_in x = {number_or_nan(member_of(in, "size_bytes")),
			number_or_nan(member_of(in, "accuracy")),
			number_or_nan(member_of(in, "coverage")),
			number_or_nan(member_of(in, "p50_latency_us")),
			number_or_nan(member_of(in, "cost_usd_per_call"))};
		struct buf have = BUF_INIT, want = BUF_INIT;
		struct kscore k;

		if (member_is(out, "spec", "k-score-1")) {
			kscore_compute(&x, &k);
			kscore_render(&k, envelope, &have);
			json_compact(out, &want);
			cr_expect_str_eq(buf_str(&have), buf_str(&want));
			n++;
		}
		buf_release(&have);
		buf_release(&want);
	}
	buf_release(&file);
	return n;
}

Test(tables, kscore)
{
	cr_expect_eq(kscores("golden/kscore_v1.json", false), 86);
	cr_expect_geq(kscores("golden/kscore_envelope_sample.json", true), 1);
}

Test(tables, source_guard)
{
	struct buf file = compat_read("golden/source_guard.json");
	struct json_slice row;
	size_t pos = 0, n = 0;

	while (json_next(whole(&file), &pos, NULL, &row)) {
		struct json_slice src = member_of(row, "source"),
				  len = member_of(src, "$repeat_len");
		char *reason = member_text(row, "reason");
		struct buf text = BUF_INIT;
		struct err err = ERR_NONE;
		int want = 0, rc;

		if (len.len > 0) {
			while (text.len < (size_t)json_double(len))
				buf_putc(&text, 'x');
		} else {
			json_string(src, &text);
		}
		if (reason != NULL && strstr(reason, "forbidden") != NULL)
			want = -EBADMSG;
		else if (reason != NULL && strstr(reason, "too large") != NULL)
			want = -EMSGSIZE;
		rc = source_guard(buf_str(&text), text.len, &err);
		cr_expect_eq(rc, want, "%.*s: %d %s", (int)src.len, src.text, rc, err.text);
		buf_release(&text);
		free(reason);
		n++;
	}
	cr_expect_gt(n, 50);
	buf_release(&file);
}

Test(tables, guard_counts_units_and_knows_wide_blanks)
{
	struct buf text = BUF_INIT;
	struct err err = ERR_NONE;

	for (int i = 0; i < 32768; i++)
		buf_puts(&text, "\xf0\x9f\x98\x80");
	cr_expect_eq(source_guard(text.data, text.len, &err), 0);
	buf_putc(&text, ' ');
	cr_expect_eq(source_guard(text.data, text.len, &err), -EMSGSIZE);
	cr_expect_eq(source_guard("eval\xc2\xa0(1)", 8, &err), -EBADMSG);
	cr_expect(strstr(err.text, "\"eval\": not allowed") != NULL);
	buf_release(&text);
}

Test(tables, vectors_of_the_format)
{
	char hex[65], cid[80];
	struct buf h = BUF_INIT;
	const char *p =
		"{\"job_id\":\"job_demo\",\"manifest_hash\":\"" EMPTY_SHA "\",\"spec\":\"kolm-1\"}";

	cr_expect_eq(canonical_hmac("example-secret", (struct json_slice){p, strlen(p)}, hex), 0);
	cr_expect_str_eq(hex, "fb784943df2354a8b5a3f5021c3f58cc1c863f933b28372995f55b2aa5353815");
	buf_addf(&h,
		"{\"evals_json\":\"%s\",\"index_bin\":\"%s\",\"lora_bin\":\"%s\",\"model_pointer\":"
		"\"%s\",\"recipes_json\":\"%s\"}",
		EMPTY_SHA, EMPTY_SHA, EMPTY_SHA, EMPTY_SHA, EMPTY_SHA);
	cid_compute(slice_of(&h), cid);
	cr_expect_str_eq(
		cid + 13, "efc154ba0b3c4ac0112f5377568532de2a0cadd7340f86e38ae2e213e06a2c83");
	buf_release(&h);
}
