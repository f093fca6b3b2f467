/*
 * artifact_craft - zips for tests, with every field under control, and artifacts signed with a
 * public secret.
 */
#ifndef TEST_ARTIFACT_CRAFT_H
#define TEST_ARTIFACT_CRAFT_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "artifact/private.h"
#include "base/replace.h"

#define SECRET "kolm-public-fixture-v0-1-0"

struct craft {
	const char *name;
	const void *data;
	size_t len;	 /* packed */
	size_t name_len; /* 0: strlen */
	uint32_t size;	 /* 0: len */
	uint32_t attr, crc;
	bool has_crc;
	uint16_t flags, method;
	const char *local_name;
	uint32_t local_size_xor, local_crc_xor;
	long offset; /* -1: none; else the directory points here */
};

static inline uint32_t crc_of(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint32_t c = ~0u;

	for (size_t i = 0; i < len; i++) {
		c ^= p[i];
		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
	}
	return ~c;
}

static inline void put16(struct buf *b, unsigned x)
{
	unsigned char p[2] = {x & 255, x >> 8 & 255};
	buf_add(b, p, 2);
}

static inline void put32(struct buf *b, uint32_t x)
{
	put16(b, x & 0xffff);
	put16(b, x >> 16);
}

static inline void craft_zip(const struct craft *m, size_t n, struct buf *out)
{
	struct buf dir = BUF_INIT;

	for (size_t i = 0; i < n; i++) {
		size_t nl = m[i].name_len ? m[i].name_len : strlen(m[i].name);
		uint32_t size = m[i].size ? m[i].size : (uint32_t)m[i].len,
			 crc = m[i].has_crc ? m[i].crc : crc_of(m[i].data, m[i].len);
		uint32_t at = m[i].offset > 0 ? (uint32_t)m[i].offset - 1 : (uint32_t)out->len;

		buf_add(out, "PK\3\4\24\0", 6);
		put16(out, m[i].flags);
		put16(out, m[i].method);
		put32(out, 0);
		put32(out, crc ^ m[i].local_crc_xor);
		put32(out, (uint32_t)m[i].len);
		put32(out, size ^ m[i].local_size_xor);
		put16(out, (unsigned)nl);
		put16(out, 0);
		buf_add(out, m[i].local_name ? m[i].local_name : m[i].name, nl);
		buf_add(out, m[i].data, m[i].len);
		buf_add(&dir, "PK\1\2\24\3\24\0", 8);
		put16(&dir, m[i].flags);
		put16(&dir, m[i].method);
		put32(&dir, 0);
		put32(&dir, crc);
		put32(&dir, (uint32_t)m[i].len);
		put32(&dir, size);
		put16(&dir, (unsigned)nl);
		put16(&dir, 0);
		put16(&dir, 0);
		put16(&dir, 0);
		put16(&dir, 0);
		put32(&dir, m[i].attr ? m[i].attr : 0100644u << 16);
		put32(&dir, at);
		buf_add(&dir, m[i].name, nl);
	}
	size_t at = out->len;
	buf_add(out, buf_str(&dir), dir.len);
	buf_add(out, "PK\5\6\0\0\0\0", 8);
	put16(out, (unsigned)n);
	put16(out, (unsigned)n);
	put32(out, (uint32_t)dir.len);
	put32(out, (uint32_t)at);
	put16(out, 0);
	buf_release(&dir);
}

/* try_zip(): open the crafted zip; the error must be ${no} and hold ${text} */
static inline void expect_bytes(const char *data, size_t len, int no, const char *text)
{
	struct artifact *af = NULL;
	struct err err = ERR_NONE;
	int rc = artifact_read(data, len, NULL, &af, &err);

	cr_expect_eq(rc, -no, "want %s, got %d %s (%s)", err_name(no), rc, err.text, text);
	cr_expect(strstr(err.text, text) != NULL, "want \"%s\" in \"%s\"", text, err.text);
	artifact_free(af);
}

static inline void expect_zip(const struct craft *m, size_t n, int no, const char *text)
{
	struct buf zip = BUF_INIT;

	craft_zip(m, n, &zip);
	expect_bytes(buf_str(&zip), zip.len, no, text);
	buf_release(&zip);
}

/* a signed artifact of the two oldest generations' kind: six-field hash, no receipt */
struct signed_parts {
	const char *recipes, *evals, *manifest_more; /* manifest_more: ",\"key\":value" */
	const char *spec;
	const void *pack;
	size_t pack_len;
};

static inline void craft_signed(const struct signed_parts *p, struct buf *out)
{
	char recipes[65], evals[65], pack[65], manifest_hash[65], artifact_hash[65], mac[65];
	const char *r = p->recipes ? p->recipes
				   : "{\"recipes\":[{\"id\":\"r\",\"source\":\"function "
				     "generate(i){return i}\"}]}";
	const char *e =
		p->evals ? p->evals : "{\"cases\":[{\"id\":\"a\",\"input\":1,\"expected\":1}]}";
	struct buf m = BUF_INIT, s = BUF_INIT, payload = BUF_INIT;

	sha256_hex(r, strlen(r), recipes);
	sha256_hex(e, strlen(e), evals);
	sha256_hex(p->pack_len ? p->pack : "", p->pack_len, pack);
	buf_addf(&m,
		"{\"spec\":\"%s\",\"job_id\":\"job_t\",\"task\":\"t\",\"eval_score\":1,\"judge_"
		"id\":\"j\"%s,\"hashes\":{\"model_pointer\":\"%s\","
		"\"recipes_json\":\"%s\",\"lora_bin\":\"%s\",\"index_bin\":\"%s\",\"evals_json\":"
		"\"%s\"}}",
		p->spec ? p->spec : "kolm-1", p->manifest_more ? p->manifest_more : "", EMPTY_SHA,
		recipes, pack, EMPTY_SHA, evals);
	sha256_hex(m.data, m.len, manifest_hash);
	artifact_hash_compute(manifest_hash, slice_of(&m), HASH_SIX, artifact_hash);
	buf_addf(&s,
		"{\"spec\":\"kolm-1\",\"job_id\":\"job_t\",\"manifest_hash\":\"%s\",\"artifact_"
		"hash\":\"%s\",\"eval_set_hash\":\"%s\","
		"\"eval_score\":1,\"judge_id\":\"j\"}",
		manifest_hash, artifact_hash, evals);
	cr_assert(signature_payload(slice_of(&s), false, &payload));
	canonical_hmac(SECRET, slice_of(&payload), mac);
	s.len--;
	buf_addf(&s, ",\"hmac_alg\":\"HMAC-SHA256\",\"hmac\":\"%s\"}", mac);
	struct craft list[] = {{.name = "manifest.json", .data = m.data, .len = m.len},
		{.name = "recipes.json", .data = r, .len = strlen(r)},
		{.name = "evals.json", .data = e, .len = strlen(e)},
		{.name = "signature.sig", .data = s.data, .len = s.len},
		{.name = "lora.bin", .data = p->pack, .len = p->pack_len}};
	craft_zip(list, p->pack_len ? 5 : 4, out);
	buf_release(&m);
	buf_release(&s);
	buf_release(&payload);
}

static inline void expect_signed(struct signed_parts p, int no, const char *text)
{
	struct buf zip = BUF_INIT;

	craft_signed(&p, &zip);
	expect_bytes(buf_str(&zip), zip.len, no, text);
	buf_release(&zip);
}

static inline const char *compat(const char *name)
{
	static char path[512];
	const char *shared = getenv("SHARED");

	snprintf(path, sizeof(path), "%s/data/compat/%s", shared ? shared : "../shared", name);
	if (access(path, R_OK) < 0)
		cr_skip_test("skipped: no %s", path);
	return path;
}

static inline struct buf compat_read(const char *name)
{
	struct buf b = BUF_INIT;
	const char *path = compat(name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	cr_assert(fd >= 0 && read_fd(fd, 64 << 20, &b, NULL) >= 0);
	close(fd);
	return b;
}

static inline struct json_slice whole(const struct buf *b)
{
	struct json_slice v = slice_of(b);
	while (v.len && strchr(" \n", v.text[v.len - 1]))
		v.len--;
	return v;
}

#endif
