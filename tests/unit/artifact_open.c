/* artifact_open - the reference's artifacts, their tampered copies, and every row of BAD-INPUTS C.
 */
#include "artifact_craft.h"

#include <sodium.h>
#include <sys/stat.h>
#include <time.h>

#define M                                                                                          \
	{                                                                                          \
		.name = "manifest.json", .data = "{}", .len = 2                                    \
	}

static struct artifact_keys reference_keys(void)
{
	struct buf built = compat_read("golden/built.json");
	char *secret = member_text(whole(&built), "secret");
	struct artifact_keys keys = {.secret = "", .key_dir = "/nonexistent"};

	strcpy(keys.secret, secret);
	free(secret);
	buf_release(&built);
	return keys;
}

static int open_named(
	const char *name, const struct artifact_keys *keys, struct artifact **af, struct err *err)
{
	char path[300];

	snprintf(path, sizeof(path), "artifacts/%s", name);
	return artifact_open(AT_FDCWD, compat(path), keys, af, err);
}

Test(open, every_reference_artifact)
{
	struct artifact_keys keys = reference_keys(), none = {.secret = "another"};
	struct buf built = compat_read("golden/built.json");
	struct json_slice list = member_of(whole(&built), "artifacts"), row;
	size_t pos = 0, n = 0;

	while (json_next(list, &pos, NULL, &row)) {
		char *name = member_text(row, "name"), *sha = member_text(row, "sha256"), file[200];
		struct artifact *af = NULL;
		struct err err = ERR_NONE;

		snprintf(file, sizeof(file), "%s.kolm", name);
		cr_assert_eq(open_named(file, &keys, &af, &err), 0, "%s: %s", name, err.text);
		cr_expect_str_eq(artifact_sha256(af), sha);
		cr_expect_eq(artifact_trust(af), ARTIFACT_HMAC_LOCAL);
		cr_expect_str_eq(artifact_trust_text(af), "hmac-local");
		cr_expect_geq(artifact_recipes(af), 1);
		cr_expect_geq(artifact_cases(af), 1);
		cr_expect(artifact_k_score(af).len > 0);
		artifact_free(af);
		af = NULL;
		/* under a foreign secret the bound Ed25519 signature holds, and without one nothing
		 * does */
		if (strcmp(name, "b02_hmac_only") == 0) {
			cr_expect_eq(open_named(file, &none, &af, &err), -EKEYREJECTED);
			cr_expect_str_eq(err.code, "KOLM_E_SIGNATURE_INVALID");
		} else {
			cr_assert_eq(
				open_named(file, &none, &af, &err), 0, "%s: %s", name, err.text);
			cr_expect_eq(artifact_trust(af), ARTIFACT_ED25519);
			cr_expect(strncmp(artifact_trust_text(af), "ed25519:", 8) == 0);
		}
		artifact_free(af);
		free(name);
		free(sha);
		n++;
	}
	cr_expect_eq(n, 14);
	buf_release(&built);
}

/* the oldest generations carry empty slots, in another order */
Test(open, older_generation_with_empty_slots)
{
	struct buf file = compat_read("artifacts/b02_hmac_only.kolm"), zip = BUF_INIT;
	struct artifact_keys keys = reference_keys();
	struct artifact *af = NULL, *old = NULL;
	struct pack_entry list[16] = {{"lora.bin", BUF_INIT}, {"index.sqlite-vec", BUF_INIT}};
	struct err err = ERR_NONE;
	size_t n = 2;

	cr_assert_eq(artifact_unpack(file.data, file.len, &af, NULL), 0);
	for (size_t i = artifact_entries(af); i-- > 0;) {
		const struct artifact_entry *e = artifact_entry(af, i);

		list[n] = (struct pack_entry){e->name, BUF_INIT};
		if (strcmp(e->name, "credential.json") != 0)
			buf_add(&list[n++].data, e->data, e->len);
	}
	cr_assert_eq(zip_write(list, n, 0, &zip, NULL), 0);
	cr_expect_eq(artifact_read(zip.data, zip.len, &keys, &old, &err), 0, "%s", err.text);
	cr_expect_eq(artifact_pack(old).len, 0);
	cr_expect_str_eq(artifact_runtime_target(old), "js");
	for (size_t i = 0; i < n; i++)
		buf_release(&list[i].data);
	artifact_free(af);
	artifact_free(old);
	buf_release(&file);
	buf_release(&zip);
}

Test(open, contents_of_b03)
{
	struct artifact_keys keys = reference_keys();
	struct artifact *af = NULL;

	cr_assert_eq(open_named("b03_pack_index_params.kolm", &keys, &af, NULL), 0);
	cr_expect_eq(artifact_cases(af), 3);
	cr_expect_str_eq(artifact_case(af, 1)->id, "params");
	cr_expect_eq(artifact_case(af, 0)->params.len, 0);
	cr_expect(json_same(artifact_case(af, 1)->params, (struct json_slice){"{\"p\":1}", 7}));
	cr_expect(json_same(artifact_index(af), (struct json_slice){"{\"by\":{\"k\":\"v\"}}", 16}));
	cr_expect(member_is(artifact_pack(af), "spec", "kolm-pack-1"));
	cr_expect_str_eq(artifact_recipe(af, 0)->id, "rcp_slots");
	cr_expect_str_eq(artifact_job_id(af), "job_b03");
	cr_expect_str_eq(artifact_comparator(af), "exact");
	cr_expect_eq(artifact_input_max(af), 1048576);
	artifact_free(af);
}

Test(open, tampered_copies)
{
	static const struct {
		const char *file;
		int no;
	} rows[] = {
		{"t01_recipes_edited", EKEYREJECTED},
		{"t02_recipes_edited_no_sidecars", EKEYREJECTED},
		{"t03_manifest_edited", EKEYREJECTED},
		{"t04_sig_hmac_flipped", EKEYREJECTED},
		{"t05_manifest_edited_sig_rehashed", EKEYREJECTED},
		{"t06_evals_edited", EKEYREJECTED},
		{"t07_receipt_score_edited", EKEYREJECTED},
		{"t08_no_signature", EKEYREJECTED},
		{"t09_no_recipes", EBADMSG},
		{"t10_receipt_from_other", EKEYREJECTED},
		{"t11_extra_entry", 0},
		{"t12_pack_bad_magic", EBADMSG},
		{"t13_pack_bad_length", EBADMSG},
		{"t14_pack_edited", EKEYREJECTED},
		{"t15_bundle_edited", EKEYREJECTED},
		{"t16_spliced_receipt", 1},
		{"t17_truncated", EBADMSG},
		{"t18_empty", EBADMSG},
		{"t19_not_a_zip", EBADMSG},
		{"t20_bad_crc_central", EBADMSG},
	};
	struct artifact_keys keys = reference_keys();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct artifact *af = NULL;
		struct err err = ERR_NONE;
		char file[100];
		int rc;

		snprintf(file, sizeof(file), "%s.kolm", rows[i].file);
		rc = open_named(file, &keys, &af, &err);
		if (rows[i].no == 1)
			cr_expect(rc < 0);
		else
			cr_expect_eq(rc, -rows[i].no, "%s: %d %s", file, rc, err.text);
		cr_expect(rc == 0 || err.text[0] != '\0');
		artifact_free(af);
	}
}

/* a statement of a million subjects beside a thousand entries: the first that is wrong is enough,
 * and there are no more good ones than entries */
Test(verify, a_long_statement_is_no_work)
{
	enum { ENTRIES = 1000, SUBJECTS = 1000000 };
	static const char *const subjects[] = {"{\"name\":\"none\"}",
		"{\"name\":\"e999\",\"digest\":{\"sha256\":\"" EMPTY_SHA "\"}}"};
	struct artifact af = {.n = ENTRIES, .entries = calloc(ENTRIES, sizeof(*af.entries))};
	char names[ENTRIES][8];

	for (size_t i = 0; i < ENTRIES; i++) {
		snprintf(names[i], sizeof(names[i]), "e%zu", i);
		af.entries[i] = (struct entry){.face = {.name = names[i]}, .sha256 = EMPTY_SHA};
	}
	for (size_t k = 0; k < 2; k++) {
		const size_t n = SUBJECTS / (k == 0 ? 1 : 4);
		struct buf text = BUF_INIT, envelope = BUF_INIT;
		clock_t from;
		char *b64;

		(void)buf_puts(&text, "{\"subject\":[");
		for (size_t i = 0; i < n; i++)
			(void)buf_addf(&text, "%s%s", i > 0 ? "," : "", subjects[k]);
		(void)buf_puts(&text, "]}");
		b64 = malloc(sodium_base64_ENCODED_LEN(text.len, sodium_base64_VARIANT_ORIGINAL));
		sodium_bin2base64(b64,
			sodium_base64_ENCODED_LEN(text.len, sodium_base64_VARIANT_ORIGINAL),
			(const unsigned char *)text.data, text.len, sodium_base64_VARIANT_ORIGINAL);
		(void)buf_addf(&envelope, "{\"payload\":\"%s\"}", b64);
		af.entries[0].face = (struct artifact_entry){
			"provenance.intoto.dsse.json", envelope.data, envelope.len};
		from = clock();
		cr_expect_str_eq(sidecar_check(&af, "provenance.intoto.dsse.json"),
			"lists other bytes than the members have");
		cr_expect_lt(clock() - from, 2 * CLOCKS_PER_SEC, "%zu", k);
		free(b64);
		buf_release(&text);
		buf_release(&envelope);
	}
	free(af.entries);
}

struct lines {
	char text[4096];
};

static void keep(void *arg, const char *check, const char *verdict, const char *detail)
{
	struct lines *l = arg;
	size_t n = strlen(l->text);

	snprintf(l->text + n, sizeof(l->text) - n, "%s: %s: %s\n", check, verdict, detail);
}

Test(verify, integrity_apart_from_readiness)
{
	struct artifact_keys keys = reference_keys();
	struct lines l = {""};
	struct err err = ERR_NONE;

	cr_expect_eq(artifact_verify(AT_FDCWD, compat("artifacts/t11_extra_entry.kolm"), &keys,
			     false, keep, &l, &err),
		0);
	cr_expect(strstr(l.text, "covered entries: warn") != NULL, "%s", l.text);
	cr_expect(strstr(l.text, "signature: pass") != NULL);
	cr_expect(strstr(l.text, "seed gate: warn") != NULL);
	cr_expect(strstr(l.text, "fail") == NULL);
	l.text[0] = '\0';
	cr_expect_eq(artifact_verify(AT_FDCWD, compat("artifacts/b14_seeds.kolm"), &keys, false,
			     keep, &l, &err),
		0);
	cr_expect(strstr(l.text, "provenance.intoto.dsse.json: pass") != NULL &&
			  strstr(l.text, "model.sig.bundle: pass") != NULL,
		"%s", l.text);
	cr_expect(strstr(l.text, "seed gate: pass") != NULL &&
			  strstr(l.text, "production ready: pass") != NULL,
		"%s", l.text);
	l.text[0] = '\0';
	cr_expect_eq(artifact_verify(AT_FDCWD, compat("artifacts/t01_recipes_edited.kolm"), &keys,
			     false, keep, &l, &err),
		-EKEYREJECTED);
	cr_expect(strstr(l.text, "member hashes: fail: \"recipes.json\"") != NULL, "%s", l.text);
	cr_expect(strstr(l.text, "receipt chain: pass") != NULL, "%s", l.text);
	cr_expect(strstr(l.text, "provenance.intoto.dsse.json: warn") != NULL, "%s", l.text);
	l.text[0] = '\0';
	cr_expect_eq(artifact_verify(AT_FDCWD, compat("artifacts/t18_empty.kolm"), &keys, false,
			     keep, &l, &err),
		-EBADMSG);
	cr_expect(strstr(l.text, "zip: fail: not a .kolm file") != NULL, "%s", l.text);
}

Test(open, kinds_of_file)
{
	char dir[] = "/tmp/artifact_open.XXXXXX", path[64];
	struct artifact *af = NULL;
	struct err err = ERR_NONE;

	cr_assert(mkdtemp(dir) != NULL);
	cr_expect_eq(artifact_open(AT_FDCWD, dir, NULL, &af, &err), -EISDIR);
	snprintf(path, sizeof(path), "%s/link", dir);
	cr_assert_eq(symlink("x", path), 0);
	cr_expect_eq(artifact_open(AT_FDCWD, path, NULL, &af, &err), -ELOOP);
	unlink(path);
	cr_expect_eq(artifact_open(AT_FDCWD, path, NULL, &af, &err), -ENOENT);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_expect_eq(artifact_open(AT_FDCWD, path, NULL, &af, &err), -EINVAL);
	cr_expect(strstr(err.text, "not a regular file") != NULL);
	unlink(path);
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	cr_assert_eq(ftruncate(fd, ARTIFACT_BYTES_MAX + 1L), 0);
	close(fd);
	cr_expect_eq(artifact_open(AT_FDCWD, path, NULL, &af, &err), -EFBIG);
	unlink(path);
	rmdir(dir);
}

Test(hostile, c01_c02_not_a_zip)
{
	char text[600];

	memset(text, 'x', sizeof(text));
	expect_bytes("", 0, EBADMSG, "not a .kolm file: too short");
	expect_bytes("P", 1, EBADMSG, "not a .kolm file: too short");
	expect_bytes(text, 21, EBADMSG, "not a .kolm file: too short");
	expect_bytes(text, sizeof(text), EBADMSG, "not a zip");
	memcpy(text, "\x89PNG\r\n\x1a\n", 8);
	expect_bytes(text, sizeof(text), EBADMSG, "not a zip");
	memcpy(text, "\x1f\x8b\x08", 3);
	expect_bytes(text, sizeof(text), EBADMSG, "not a zip");
}

Test(hostile, c03_every_cut)
{
	struct buf file = compat_read("artifacts/b02_hmac_only.kolm");

	for (size_t n = 0; n < file.len; n++) {
		char *cut = malloc(
			n + 1); /* exact size: a sanitizer sees the first byte read behind it */
		struct artifact *af = NULL;
		struct err err = ERR_NONE;

		memcpy(cut, file.data, n);
		cr_expect_eq(artifact_read(cut, n, NULL, &af, &err), -EBADMSG, "cut at %zu", n);
		cr_expect(strstr(err.text, "truncated") || strstr(err.text, "end record not found"),
			"%zu: %s", n, err.text);
		artifact_free(af);
		free(cut);
	}
	buf_release(&file);
}

/* FLIPS of the environment: "one": every byte, "all": every bit of it
 * (tests/fault/artifact-flips.sh) */
static void flips(const char *name, size_t from, size_t step)
{
	const char *wish = getenv("FLIPS");
	const unsigned bits = wish != NULL && strcmp(wish, "all") == 0 ? 8 : 1;
	struct artifact_keys keys = reference_keys();
	struct buf file = compat_read(name);
	struct artifact *good = NULL;

	cr_assert_eq(artifact_read(file.data, file.len, &keys, &good, NULL), 0);
	if (wish != NULL)
		from = 0, step = 1;
	for (size_t k = from * bits; k < file.len * bits; k += step) {
		const size_t i = k / bits;
		struct artifact *af = NULL;
		struct err err = ERR_NONE;
		char was = file.data[i];
		int rc;

		file.data[i] = (char)(was ^ (1 << (bits == 8 ? k % 8 : i % 8)));
		rc = artifact_read(file.data, file.len, &keys, &af, &err);
		file.data[i] = was;
		if (rc < 0) {
			cr_expect(rc == -EBADMSG || rc == -EKEYREJECTED, "byte %zu: %d %s", i, rc,
				err.text);
			cr_expect(err.text[0] != '\0');
			continue;
		}
		cr_assert_eq(artifact_entries(af), artifact_entries(good));
		for (size_t e = 0; e < artifact_entries(af); e++) {
			const struct artifact_entry *x = artifact_entry(af, e),
						    *y = artifact_entry(good, e);
			cr_expect(strcmp(x->name, y->name) == 0 && x->len == y->len &&
					  memcmp(x->data, y->data, x->len) == 0,
				"byte %zu", i);
		}
		artifact_free(af);
	}
	artifact_free(good);
	buf_release(&file);
}

Test(hostile, c04_every_byte_flipped_hmac, .timeout = 1000)
{
	flips("artifacts/b02_hmac_only.kolm", 0, 1);
}

Test(hostile, c04_every_byte_flipped_ed25519, .timeout = 1000)
{
	flips("artifacts/b01_plain.kolm", 1, 5);
}

Test(hostile, c05_unsafe_names)
{
	static const struct {
		const char *name;
		size_t len;
	} bad[] = {{"../x", 0}, {"/etc/x", 0}, {"a/../../x", 0}, {"C:\\x", 0}, {"a\0b", 3},
		{"a//b", 0}, {"./a", 0}, {"a\\b", 0}, {"\xff", 0}, {"a\nb", 0}, {"/", 0},
		{"c:x", 0}};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct craft m[] = {
			M, {.name = bad[i].name, .name_len = bad[i].len, .data = "x", .len = 1}};
		expect_zip(m, 2, EBADMSG, "unsafe entry name");
	}
}

Test(hostile, c06_c07_c08_kinds_and_twins)
{
	struct craft link[] = {M, {.name = "l", .data = "x", .len = 1, .attr = 0120777u << 16}};
	struct craft dev[] = {M, {.name = "l", .data = "x", .len = 1, .attr = 0020666u << 16}};
	struct craft dir[] = {M, {.name = "d/", .data = "", .len = 0}};
	struct craft twice[] = {M, {.name = "recipes.json", .data = "1", .len = 1},
		{.name = "recipes.json", .data = "2", .len = 1}};
	struct craft letter[] = {M, {.name = "Recipes.json", .data = "1", .len = 1},
		{.name = "recipes.JSON", .data = "2", .len = 1}};
	struct craft accent[] = {M, {.name = "\xc3\x89", .data = "1", .len = 1},
		{.name = "\xc3\xa9", .data = "2", .len = 1}};

	expect_zip(link, 2, EBADMSG, "entry is not a regular file");
	expect_zip(dev, 2, EBADMSG, "entry is not a regular file");
	expect_zip(dir, 2, EBADMSG, "entry is not a regular file");
	expect_zip(twice, 3, EBADMSG, "duplicate entry \"recipes.json\"");
	expect_zip(letter, 3, EBADMSG, "ambiguous entry");
	expect_zip(accent, 3, EBADMSG, "ambiguous entry");
}

Test(hostile, c09_c10_headers)
{
	struct craft name[] = {M, {.name = "a", .local_name = "b", .data = "x", .len = 1}};
	struct craft size[] = {M, {.name = "a", .data = "x", .len = 1, .local_size_xor = 4}};
	struct craft crc[] = {M, {.name = "a", .data = "x", .len = 1, .local_crc_xor = 4}};
	struct craft desc[] = {M, {.name = "a", .data = "x", .len = 1, .flags = 8}};
	struct craft same[] = {M, {.name = "a", .data = "x", .len = 1, .offset = 1}};
	struct buf inner = BUF_INIT, zip = BUF_INIT;

	expect_zip(name, 2, EBADMSG, "headers disagree");
	expect_zip(size, 2, EBADMSG, "headers disagree");
	expect_zip(crc, 2, EBADMSG, "headers disagree");
	expect_zip(desc, 2, EBADMSG, "headers disagree");
	expect_zip(same, 2, EBADMSG, "entries overlap");
	/* the second entry lies inside the first one's data */
	struct craft in[] = {{.name = "b", .data = "xyz", .len = 3}};
	craft_zip(in, 1, &inner);
	struct craft quoted[] = {{.name = "a", .data = inner.data, .len = 34},
		{.name = "b", .data = "xyz", .len = 3, .offset = 32}};
	craft_zip(quoted, 2, &zip);
	/* drop the unreferenced local "b", which would only be extra bytes */
	size_t tail = 31 + 34;
	memmove(zip.data + tail, zip.data + tail + 34, zip.len - tail - 34);
	zip.len -= 34;
	uint32_t at = (uint32_t)tail;
	memcpy(zip.data + zip.len - 6, &at, 4);
	expect_bytes(zip.data, zip.len, EBADMSG, "entries overlap");
	buf_release(&inner);
	buf_release(&zip);
}

Test(hostile, c11_c12_c13_sizes)
{
	static char body[300000];
	struct craft bomb[] = {M,
		{.name = "a", .data = body, .len = sizeof(body), .size = 300u << 20, .method = 8}};
	struct craft many[20] = {M};
	struct craft claim[] = {M, {.name = "a", .data = "x", .len = 1, .size = 2}};
	struct craft ratio[] = {
		M, {.name = "a", .data = "\3\0", .len = 2, .size = 1 << 20, .method = 8}};
	struct craft zip64[] = {M, {.name = "a", .data = "x", .len = 1, .size = UINT32_MAX}};
	struct buf list = BUF_INIT;
	struct pack_entry big = {"z", BUF_INIT};

	static char names[20][8];
	for (int i = 1; i < 20; i++) {
		snprintf(names[i], 8, "n%d", i);
		many[i] = (struct craft){.name = names[i],
			.data = body,
			.len = 20000,
			.size = 15u << 20,
			.method = 8};
	}
	expect_zip(bomb, 2, EFBIG, "expands past 256 MiB");
	expect_zip(many, 20, EFBIG, "expands past 256 MiB");
	expect_zip(claim, 2, EBADMSG, "size does not match");
	expect_zip(ratio, 2, EBADMSG, "size does not match");
	expect_zip(zip64, 2, EFBIG, "too large");
	/* a stream longer, then shorter, than both headers say */
	for (int k = 0; k < 2; k++) {
		static const uint32_t says[2] = {1000, 200000};
		buf_reset(&big.data);
		buf_add(&big.data, body, 100000);
		buf_reset(&list);
		cr_assert_eq(zip_write(&big, 1, 0, &list, NULL), 0);
		memcpy(list.data + 22, &says[k], 4);
		memcpy(memmem(list.data, list.len, "PK\1\2", 4) + 24, &says[k], 4);
		expect_bytes(list.data, list.len, EBADMSG, "size does not match");
	}
	buf_release(&big.data);
	buf_reset(&list);
	buf_puts(&list, "PK\3\4");
	buf_add(&list, body, 50000);
	buf_add(&list, "PK\5\6\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0", 22);
	expect_bytes(list.data, list.len, EFBIG, "more than 1024 entries");
	buf_release(&list);
}

/* a small file whose manifest is a deep block of zeros: two seconds, or refused (contract 4) */
Test(hostile, a_large_manifest_is_no_work)
{
	for (size_t mib = 1; mib <= 8; mib *= 8) {
		struct buf more = BUF_INIT, zip = BUF_INIT;
		struct err err = ERR_NONE;
		struct artifact *af = NULL;
		clock_t from;
		int rc;

		(void)buf_puts(&more, ",\"moe\":");
		for (int i = 0; i < 250; i++)
			(void)buf_putc(&more, '[');
		(void)buf_putc(&more, '0');
		while (more.len < mib << 20)
			(void)buf_puts(&more, ",0");
		for (int i = 0; i < 250; i++)
			(void)buf_putc(&more, ']');
		craft_signed(&(struct signed_parts){.manifest_more = more.data}, &zip);
		from = clock();
		rc = artifact_read(zip.data, zip.len, NULL, &af, &err);
		cr_expect_lt(clock() - from, 2 * CLOCKS_PER_SEC, "%zu MiB", mib);
		cr_expect_eq(rc, mib == 1 ? 0 : -EFBIG, "%zu MiB: %s", mib, err.text);
		if (rc < 0)
			cr_expect_str_eq(err.text, "manifest.json is larger than 2 MiB");
		artifact_free(af);
		buf_release(&more);
		buf_release(&zip);
	}
}

Test(hostile, c14_c15_c16_streams)
{
	static char text[2000];
	struct craft method[] = {M, {.name = "a", .data = "x", .len = 1, .method = 99}};
	struct craft locked[] = {M, {.name = "a", .data = "x", .len = 1, .flags = 1}};
	struct craft table[] = {
		M, {.name = "a", .data = "\7\0\0\0", .len = 4, .size = 10, .method = 8}};
	struct craft back[] = {
		M, {.name = "a", .data = "\3\2\0", .len = 3, .size = 3, .method = 8}};
	struct craft early[] = {M, {.name = "a",
					   .data = "\0\x05\0\xfa\xff"
						   "abc",
					   .len = 8,
					   .size = 5,
					   .method = 8}};
	struct craft stop[] = {M, {.name = "a",
					  .data = "\0\x03\0\xfc\xff"
						  "abc",
					  .len = 8,
					  .size = 5,
					  .method = 8}};
	struct craft crc[] = {
		M, {.name = "a", .data = text, .len = 100, .has_crc = true, .crc = 1}};

	expect_zip(method, 2, EOPNOTSUPP, "compression method 99");
	expect_zip(locked, 2, EOPNOTSUPP, "encrypted");
	expect_zip(table, 2, EBADMSG, "damaged deflate data");
	expect_zip(back, 2, EBADMSG, "damaged deflate data");
	expect_zip(early, 2, EBADMSG, "damaged deflate data");
	expect_zip(stop, 2, EBADMSG, "damaged deflate data");
	expect_zip(crc, 2, EBADMSG, "checksum");
}

Test(hostile, c17_extra_bytes)
{
	struct craft m[] = {M};
	struct buf zip = BUF_INIT, more = BUF_INIT;

	craft_zip(m, 1, &zip);
	buf_puts(&more, "#!/bin/sh\n");
	buf_add(&more, zip.data, zip.len);
	expect_bytes(more.data, more.len, EBADMSG, "extra bytes");
	buf_putc(&zip, 'x');
	expect_bytes(zip.data, zip.len, EBADMSG, "extra bytes");
	buf_release(&zip);
	buf_release(&more);
}

Test(hostile, c18_to_c21_contents)
{
	static const char *const lists[] = {"[]", "null", "\"x\"", "{}", "{\"recipes\":{}}"};
	struct signed_parts none = {0};
	struct craft m[] = {{.name = "manifest.json",
		.data = "{\"spec\":\"kolm-1\",\"job_id\":\"j\",\"task\":\"t\",\"hashes\":{}}",
		.len = 54}};
	struct craft passport[] = {{.name = "passport.json", .data = "{}", .len = 2}};
	struct buf zip = BUF_INIT;
	struct artifact *af = NULL;

	m[0].len = strlen(m[0].data);
	craft_signed(&none, &zip);
	cr_expect_eq(artifact_read(zip.data, zip.len, NULL, &af, NULL), 0);
	cr_expect_eq(artifact_trust(af), ARTIFACT_HMAC_PUBLIC);
	cr_expect_str_eq(artifact_trust_text(af), "hmac-public-fixture");
	artifact_free(af);
	buf_release(&zip);
	expect_zip(m, 1, EBADMSG, "recipes.json missing");
	expect_zip(passport, 1, EBADMSG, "manifest.json missing");
	for (size_t i = 0; i < 5; i++)
		expect_signed((struct signed_parts){.recipes = lists[i]}, EBADMSG,
			"recipes: array expected");
	expect_signed((struct signed_parts){.recipes = "{\"recipes\":[{\"id\":\"r\"}]}"}, EBADMSG,
		"recipe 0: source");
	expect_signed(
		(struct signed_parts){.recipes = "{\"recipes\":[{\"id\":\"r\",\"source\":5}]}"},
		EBADMSG, "recipe 0: source");
	expect_signed((struct signed_parts){.spec = "kolm-99"}, EOPNOTSUPP, "spec \"kolm-99\"");
	expect_signed((struct signed_parts){.evals = "{\"cases\":[{\"id\":\"a\",\"input\":1}]}"},
		EBADMSG, "case 0: expected missing");
	expect_signed(
		(struct signed_parts){.evals = "{\"cases\":[{\"id\":\"a\",\"input\":1,\"expected\":"
					       "1},{\"id\":\"a\",\"input\":1,\"expected\":1}]}"},
		EBADMSG, "duplicate case id");
	expect_signed((struct signed_parts){.pack = "KOLMPACK\1\3\0\0\0{}", .pack_len = 15},
		EBADMSG, "3 bytes announced");
	expect_signed((struct signed_parts){.pack = "KOLMPACK\1\2\0\0\0{}x", .pack_len = 16},
		EBADMSG, "lora.bin");
	expect_signed(
		(struct signed_parts){.manifest_more = ",\"policy\":{\"require_ed25519\":true}"},
		EKEYREJECTED, "requires an Ed25519");
	expect_signed((struct signed_parts){.manifest_more = ",\"cid\":\"cidv1:sha256:0\""},
		EKEYREJECTED, "cid does not match");
}

/* b02 with one member changed by ${edit}: the text ${from} becomes ${to} */
static void expect_edit(const char *name, const char *member, const char *from, const char *to,
	int no, const char *text)
{
	struct artifact_keys keys = reference_keys();
	struct buf file = compat_read(name), zip = BUF_INIT, edited = BUF_INIT;
	struct artifact *af = NULL, *got = NULL;
	struct pack_entry list[32];
	struct err err = ERR_NONE;
	size_t n = 0;

	cr_assert_eq(artifact_unpack(file.data, file.len, &af, NULL), 0);
	for (size_t i = 0; i < artifact_entries(af); i++) {
		const struct artifact_entry *e = artifact_entry(af, i);
		list[n] = (struct pack_entry){e->name, BUF_INIT};
		const char *hit = strcmp(e->name, member) == 0 ? strstr(e->data, from) : NULL;
		if (strcmp(e->name, member) == 0)
			cr_assert(hit != NULL, "%s", from);
		size_t before = hit ? (size_t)(hit - e->data) : e->len;
		buf_add(&list[n].data, e->data, before);
		if (hit) {
			buf_puts(&list[n].data, to);
			buf_add(&list[n].data, hit + strlen(from), e->len - before - strlen(from));
		}
		n++;
	}
	cr_assert_eq(zip_write(list, n, 0, &zip, NULL), 0);
	int rc = artifact_read(zip.data, zip.len, &keys, &got, &err);
	cr_expect_eq(rc, -no, "%s -> %s: %d %s", from, to, rc, err.text);
	cr_expect(strstr(err.text, text) != NULL, "want \"%s\" in \"%s\"", text, err.text);
	for (size_t i = 0; i < n; i++)
		buf_release(&list[i].data);
	artifact_free(af);
	artifact_free(got);
	buf_release(&file);
	buf_release(&zip);
	buf_release(&edited);
}

Test(hostile, c22_c23_c24_signatures)
{
	static const char b01[] = "artifacts/b01_plain.kolm",
			  b02[] = "artifacts/b02_hmac_only.kolm";
	struct artifact_keys keys = reference_keys();
	struct artifact *af = NULL;
	struct err err = ERR_NONE;

	cr_expect_eq(open_named("t10_receipt_from_other.kolm", &keys, &af, &err), -EKEYREJECTED);
	cr_expect(strstr(err.text, "receipt is for") != NULL, "%s", err.text);
	cr_expect_eq(open_named("t08_no_signature.kolm", &keys, &af, &err), -EKEYREJECTED);
	cr_expect(strstr(err.text, "signature missing") != NULL, "%s", err.text);
	expect_edit(b02, "signature.sig", "HMAC-SHA256", "HMAC-MD5", EKEYREJECTED, "algorithm");
	expect_edit(
		b02, "signature.sig", "\"hmac\": \"", "\"hmac\": \"0", EKEYREJECTED, "signature");
	expect_edit(
		b02, "signature.sig", "\"hmac\":", "\"hmak\":", EKEYREJECTED, "signature missing");
	expect_edit(b02, "receipt.json", "\"signature_alg\": \"hmac-sha256\"",
		"\"signature_alg\": \"none\"", EKEYREJECTED, "signature");
	/* C24 */
	expect_edit(b02, "receipt.json", "\"step\": \"seeds\"", "\"step\": \"evals\"", EKEYREJECTED,
		"chain breaks at step seeds");
	expect_edit(b02, "receipt.json", "\"step\": \"package\"", "\"step\": \"p\"", EKEYREJECTED,
		"chain breaks at step package");
	expect_edit(b02, "receipt.json", "\"anchors\": []", "\"anchors\": [1]", EKEYREJECTED,
		"signature of the receipt");
	expect_edit(
		b02, "credential.json", "kolm.tier", "kolm.teer", EKEYREJECTED, "the credential");
	expect_edit(b01, "receipt.json", "\"signature_ed25519\"", "\"signature_x\"", EKEYREJECTED,
		"signature");
	expect_edit(b01, "receipt.json", "\"key_fingerprint\": \"3923",
		"\"key_fingerprint\": \"4923", EKEYREJECTED, "key_fingerprint");
	expect_edit(b01, "receipt.json", "\"signature\": \"gVFp", "\"signature\": \"hVFp",
		EKEYREJECTED, "Ed25519 signature");
	expect_edit(
		b01, "manifest.json", "upper-case", "lower-case", EKEYREJECTED, "manifest_hash");
}

Test(hostile, c25_to_c28_json)
{
	static const struct {
		const char *json;
		const char *text;
	} bad[] = {{"{\"recipes\":[],}", "JSON: "}, {"{} // x", "at byte"},
		{"{'recipes':[]}", "JSON: "}, {"{\"recipes\":NaN}", "JSON: "},
		{"\xef\xbb\xbf{\"recipes\":[]}", "at byte"}, {"{} {}", "at byte"},
		{"{\"recipes\":[],\"recipes\":[]}", "duplicate key"}};
	struct buf deep = BUF_INIT;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_signed((struct signed_parts){.recipes = bad[i].json}, EBADMSG, bad[i].text);
	for (int i = 0; i < 100000; i++)
		buf_putc(&deep, '[');
	expect_signed(
		(struct signed_parts){.recipes = deep.data}, EBADMSG, "nested deeper than 256");
	buf_reset(&deep);
	for (int i = 0; i < 1000000; i++)
		buf_putc(&deep, '1');
	expect_signed((struct signed_parts){.recipes = deep.data}, EMSGSIZE, "number longer than");
	buf_reset(&deep);
	buf_putc(&deep, '"');
	for (int i = 0; i < (64 << 20) + 10; i += 16)
		buf_puts(&deep, "xxxxxxxxxxxxxxxx");
	buf_putc(&deep, '"');
	expect_signed((struct signed_parts){.recipes = deep.data}, EMSGSIZE, "string longer than");
	buf_release(&deep);
}
