/* artifact_compile - spec to artifact and back, keys, the gate, reproducible builds, and what a
 * failed build leaves behind. */
#include "artifact_craft.h"

#include <dirent.h>
#include <sys/stat.h>

static char dir[64];

static void setup(void)
{
	static const char *const names[] = {"RECIPE_RECEIPT_SECRET", "KOLM_ARTIFACT_SECRET",
		"KOLM_ED25519_PRIVATE_KEY", "KOLM_ED25519_DISABLE", "KOLM_ED25519_PRIVATE_KEY_PATH",
		"KOLM_ED25519_KEY_STORE", "SOURCE_DATE_EPOCH", "KOLM_SOURCE_DATE_EPOCH",
		"KOLM_REPRODUCIBLE_BUILD", "KOLM_JUDGE_ID"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
	strcpy(dir, "/tmp/artifact_compile.XXXXXX");
	cr_assert(mkdtemp(dir) != NULL);
}

static void teardown(void)
{
	cr_expect_eq(dir_remove(AT_FDCWD, dir, NULL), 0);
}

TestSuite(compile, .init = setup, .fini = teardown);
TestSuite(keys, .init = setup, .fini = teardown);

static struct artifact_keys make_keys(void)
{
	struct artifact_keys keys;
	struct err err = ERR_NONE;
	int fd = open(dir, O_RDONLY | O_DIRECTORY);

	cr_assert_eq(artifact_keys_load(fd, dir, true, &keys, &err), 0, "%s", err.text);
	close(fd);
	return keys;
}

static const char *in_dir(const char *name)
{
	static char path[2][200];
	static int turn;

	turn ^= 1;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static void put_file(const char *name, const char *text)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	cr_assert(fd >= 0 && write_all(fd, text, strlen(text), NULL) == 0);
	close(fd);
}

static size_t files_in_dir(void)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	return n;
}

/* stands for a runner: the recipe of these tests upper-cases its input; says what the probe's case
 * holds */
static int upper(
	void *arg, const char *path, size_t i, struct buf *output, double *latency, struct err *err)
{
	const struct artifact_keys *keys = arg;
	struct artifact *af;
	struct buf text = BUF_INIT;
	int rc = artifact_open(AT_FDCWD, path, keys, &af, err);

	cr_assert_eq(rc, 0, "%s", err->text);
	cr_assert_eq(path[0], '/');
	cr_assert_eq(json_string(artifact_case(af, i)->input, &text), 0);
	artifact_free(af);
	*latency = 100;
	if (strcmp(buf_str(&text), "throw") == 0) {
		buf_release(&text);
		return err_set(err, EBADMSG, "recipe threw: no");
	}
	for (size_t k = 0; k < text.len; k++)
		text.data[k] = (char)(text.data[k] >= 'a' && text.data[k] <= 'z' ? text.data[k] - 32
										 : text.data[k]);
	rc = json_put_string(output, buf_str(&text), text.len);
	buf_release(&text);
	return rc;
}

#define SPEC(more)                                                                                 \
	"{\"job_id\":\"job_shout\",\"task\":\"shout "                                              \
	"it\",\"base_model\":\"none\",\"recipes\":[{\"id\":\"rcp_shout\",\"name\":\"shouter\","    \
	"\"source\":\"function generate(i) { return i.toUpperCase(); "                             \
	"}\"}],\"evals\":{\"cases\":[{\"id\":\"one\",\"input\":\"hi\",\"expected\":\"HI\"}]}" more \
	"}"

static int build(const char *spec, const char *out, struct compile_options *opt,
	struct compile_result *res, struct err *err)
{
	struct artifact_keys keys = make_keys();

	if (opt->arg == NULL && opt->measure != NULL)
		opt->arg = &keys;
	opt->spec_dir = dir;
	*err = ERR_NONE;
	return artifact_compile(spec, strlen(spec), in_dir(out), &keys, opt, res, err);
}

Test(compile, opens_and_says_what_the_spec_said)
{
	struct compile_options opt = {.measure = upper};
	struct artifact_keys keys = make_keys();
	struct compile_result res;
	struct artifact *af = NULL;
	struct err err;

	cr_assert_eq(
		build(SPEC(",\"pack\":{\"a\":[1,2.50]},\"index\":{}"), "a.kolm", &opt, &res, &err),
		0, "%s", err.text);
	cr_expect_eq(res.passed, 1);
	cr_expect_eq(res.total, 1);
	cr_expect(res.k.ships && !res.production_ready);
	cr_assert_eq(
		artifact_open(AT_FDCWD, in_dir("a.kolm"), &keys, &af, &err), 0, "%s", err.text);
	cr_expect_eq(artifact_bytes(af), res.bytes);
	cr_expect_str_eq(artifact_sha256(af), res.sha256);
	cr_expect_eq(artifact_trust(af), ARTIFACT_HMAC_LOCAL);
	cr_expect_str_eq(artifact_job_id(af), "job_shout");
	cr_expect_str_eq(artifact_task(af), "shout it");
	cr_expect_str_eq(artifact_recipe(af, 0)->version_id, "ver_shout_001");
	cr_expect_eq(artifact_pack(af).len, strlen("{\"a\":[1,2.5]}"));
	cr_expect_eq(artifact_index(af).len, 0);
	cr_expect_eq(json_double(member_of(artifact_k_score(af), "composite")), res.k.composite);
	cr_expect_eq(
		json_double(member_of(member_of(af->manifest, "training"), "latency_p50_us")), 100);
	artifact_free(af);
	cr_expect_eq(files_in_dir(), 3, "config.json, signing-key.pem, a.kolm and nothing else");
	/* without the secret, the bound Ed25519 signature holds */
	cr_assert_eq(artifact_open(AT_FDCWD, in_dir("a.kolm"), NULL, &af, &err), 0, "%s", err.text);
	cr_expect_eq(artifact_trust(af), ARTIFACT_ED25519);
	artifact_free(af);
}

/* the manifest of a reference build, field for field: same keys in the same order */
Test(compile, manifest_has_the_fields_of_the_reference)
{
	struct buf file = compat_read("artifacts/b01_plain.kolm");
	struct compile_options opt = {.measure = upper};
	struct artifact_keys keys = make_keys();
	struct artifact *ours = NULL, *theirs = NULL;
	struct compile_result res;
	struct err err;

	cr_assert_eq(build(SPEC(""), "a.kolm", &opt, &res, &err), 0, "%s", err.text);
	cr_assert_eq(artifact_open(AT_FDCWD, in_dir("a.kolm"), &keys, &ours, &err), 0);
	cr_assert_eq(artifact_read(file.data, file.len, NULL, &theirs, &err), 0);
	static const char *const docs[] = {
		"manifest.json", "recipes.json", "evals.json", "signature.sig", "credential.json"};
	for (size_t d = 0; d < 5; d++) {
		const struct artifact_entry *x = artifact_entry_named(ours, docs[d]),
					    *y = artifact_entry_named(theirs, docs[d]);
		struct json_slice kx, ky, v;
		size_t i = 0, k = 0;
		while (json_next((struct json_slice){y->data, y->len}, &k, &ky, &v)) {
			cr_assert(json_next((struct json_slice){x->data, x->len}, &i, &kx, &v));
			cr_expect(json_same(kx, ky), "%s: %.*s, want %.*s", docs[d], (int)kx.len,
				kx.text, (int)ky.len, ky.text);
		}
		cr_expect_not(json_next((struct json_slice){x->data, x->len}, &i, &kx, &v));
		struct buf pretty = BUF_INIT;
		json_pretty((struct json_slice){x->data, x->len}, &pretty);
		cr_expect_str_eq(pretty.data, x->data);
		buf_release(&pretty);
	}
	artifact_free(ours);
	artifact_free(theirs);
	buf_release(&file);
}

Test(compile, reproducible_twice)
{
	struct compile_options opt = {.measure = upper};
	struct compile_result one, two, other;
	struct err err;

	setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
	cr_assert_eq(build(SPEC(",\"training_stats\":{\"latency_p50_us\":60}"), "a.kolm", &opt,
			     &one, &err),
		0, "%s", err.text);
	cr_assert_eq(build(SPEC(",\"training_stats\":{\"latency_p50_us\":60}"), "b.kolm", &opt,
			     &two, &err),
		0);
	cr_expect_str_eq(one.sha256, two.sha256);
	setenv("KOLM_SOURCE_DATE_EPOCH", "2023-11-14T22:13:20Z", 1);
	cr_assert_eq(build(SPEC(",\"training_stats\":{\"latency_p50_us\":60}"), "b.kolm", &opt,
			     &two, &err),
		0, "%s", err.text);
	cr_expect_str_eq(one.sha256, two.sha256);
	setenv("KOLM_SOURCE_DATE_EPOCH", "yesterday", 1);
	cr_expect_eq(build(SPEC(""), "b.kolm", &opt, &two, &err), -EINVAL);
	unsetenv("SOURCE_DATE_EPOCH");
	unsetenv("KOLM_SOURCE_DATE_EPOCH");
	setenv("KOLM_REPRODUCIBLE_BUILD", "1", 1);
	cr_assert_eq(build(SPEC(",\"training_stats\":{\"latency_p50_us\":60}"), "c.kolm", &opt,
			     &other, &err),
		0);
	cr_expect_str_neq(one.sha256, other.sha256);
}

Test(compile, gate_refuses_and_leaves_what_was_there)
{
	struct compile_options opt = {.measure = upper};
	struct artifact_keys keys = make_keys();
	struct compile_result res;
	struct artifact *af = NULL;
	struct err err;
	const char *half = "{\"id\":\"x\",\"input\":\"a\",\"expected\":\"b\"}\n{\"input\":"
			   "\"throw\",\"output\":\"c\"}\n";
	char before[65];

	cr_assert_eq(build(SPEC(""), "a.kolm", &opt, &res, &err), 0);
	strcpy(before, res.sha256);
	opt.examples = half;
	opt.examples_len = strlen(half);
	cr_expect_eq(build(SPEC(""), "a.kolm", &opt, &res, &err), -ERANGE);
	cr_expect_str_eq(err.code, "K_GATE");
	cr_expect(strstr(err.text, "K_GATE: 0.") != NULL && strstr(err.text, "< 0.8500") != NULL,
		"%s", err.text);
	cr_assert_eq(artifact_open(AT_FDCWD, in_dir("a.kolm"), &keys, &af, &err), 0);
	cr_expect_str_eq(artifact_sha256(af), before);
	artifact_free(af);
	cr_expect_eq(files_in_dir(), 3);
	opt.allow_below_gate = true;
	cr_assert_eq(build(SPEC(""), "a.kolm", &opt, &res, &err), 0);
	cr_expect_eq(res.passed, 1);
	cr_expect_eq(res.total, 3);
	cr_assert_eq(artifact_open(AT_FDCWD, in_dir("a.kolm"), &keys, &af, &err), 0);
	cr_expect(member_of(af->manifest, "ship_gate_overridden").len == 4);
	cr_expect_str_eq(artifact_case(af, 2)->id, "user_2");
	artifact_free(af);
}

Test(compile, nothing_measured_needs_the_override)
{
	struct compile_options opt = {0};
	struct compile_result res;
	struct err err;

	cr_expect_eq(build(SPEC(""), "a.kolm", &opt, &res, &err), -ERANGE);
	opt.allow_below_gate = true;
	cr_expect_eq(build(SPEC(""), "a.kolm", &opt, &res, &err), 0);
	cr_expect_eq(res.passed, 0);
}

static int no_walls(
	void *arg, const char *path, size_t i, struct buf *output, double *latency, struct err *err)
{
	(void)arg, (void)path, (void)i, (void)output, (void)latency;
	return err_set(err, EOPNOTSUPP,
		"sandbox: no network namespace unavailable; recipes will not be run");
}

Test(compile, a_machine_without_walls_builds_nothing)
{
	struct compile_options opt = {.measure = no_walls};
	struct compile_result res;
	struct err err;

	cr_expect_eq(build(SPEC(""), "a.kolm", &opt, &res, &err), -EOPNOTSUPP);
	cr_expect_eq(files_in_dir(), 2);
}

Test(compile, seeds_as_the_reference_splits_them)
{
	struct buf seeds = compat_read("artifacts/b14_seeds.seeds.jsonl"),
		   spec = compat_read("artifacts/b14_seeds.spec.json");
	struct compile_options opt = {.seeds = seeds.data,
		.seeds_len = seeds.len,
		.seeds_name = "b14_seeds.seeds.jsonl",
		.allow_below_gate = true};
	struct artifact_keys keys = make_keys();
	struct compile_result res;
	struct artifact *af = NULL;
	struct err err;

	cr_assert_eq(build(spec.data, "a.kolm", &opt, &res, &err), 0, "%s", err.text);
	cr_expect_eq(res.total, 23);
	cr_assert_eq(artifact_open(AT_FDCWD, in_dir("a.kolm"), &keys, &af, &err), 0);
	struct json_slice p = member_of(af->manifest, "seed_provenance");
	cr_expect(member_is(p, "seeds_hash",
		"4e5cf5797677717bdd765da335e2ceb28bb1dd07b4b0a7afc3068ef80e1b8f7e"));
	cr_expect(member_is(p, "train_hash",
		"f834298b9c77cff779f4d73e38f2bd63f8262bf0cd2f7dadc4e52645f8a0a1e0"));
	cr_expect(member_is(p, "holdout_hash",
		"1f43fc50ac62e3fd9bf25b18eb5b8d796be7e9859b62191bae4a5f45aa6c6145"));
	cr_expect_eq(json_double(member_of(p, "train_count")), 67);
	cr_expect_eq(json_double(member_of(p, "input_overlap_count")), 0);
	/* evals.json and the cid are the reference's, byte for byte */
	cr_expect(member_is(af->hashes, "evals_json",
		"9e98debec0bfcbdbd5589dd21aa1402e0b112f2a709c2053967c20dcf3d3a314"));
	cr_expect(member_is(af->manifest, "cid",
		"cidv1:sha256:9e8d0915b336deeac1cd641fa28959cb02e20e7e0657c6a6108b24410dda5677"));
	artifact_free(af);
	buf_release(&seeds);
	buf_release(&spec);
}

/* tags stand in code unit order of what they say, not of how JSON spells it; all of them count */
Test(compile, tags_of_seeds_are_sorted_as_texts)
{
	struct buf seeds = BUF_INIT, sorted = BUF_INIT;
	struct artifact_keys keys = make_keys();
	struct compile_options opt = {.seeds_name = "s.jsonl", .allow_below_gate = true};
	char want[HASH_HEX_BYTES];
	struct compile_result res;
	struct artifact *af = NULL;
	struct err err;

	(void)buf_puts(&seeds, "{\"input\":\"q1\",\"expected\":\"A\",\"tags\":[\"b\\\"\",\"a b\","
			       "\"b]\",\"a\"");
	(void)buf_puts(&sorted,
		"[{\"expected\":\"A\",\"input\":\"q1\",\"tags\":[\"a\",\"a b\",\"b\\\"\",\"b]\"");
	for (int i = 100; i < 200; i++) {
		(void)buf_addf(&seeds, ",\"t%d\"", 299 - i);
		(void)buf_addf(&sorted, ",\"t%d\"", i);
	}
	(void)buf_puts(&seeds, "]}\n");
	(void)buf_puts(&sorted, "]}]");
	sha256_hex(sorted.data, sorted.len, want);
	opt.seeds = seeds.data;
	opt.seeds_len = seeds.len;
	cr_assert_eq(build(SPEC(",\"holdout_ratio\":0.999"), "a.kolm", &opt, &res, &err), 0, "%s",
		err.text);
	cr_assert_eq(artifact_open(AT_FDCWD, in_dir("a.kolm"), &keys, &af, &err), 0);
	cr_expect(member_is(member_of(af->manifest, "seed_provenance"), "seeds_hash", want));
	artifact_free(af);
	buf_release(&seeds);
	buf_release(&sorted);
}

/* every spec of the reference's builds gives the members of its artifact, byte for byte: the cids
 * are equal */
Test(compile, cids_of_the_reference)
{
	struct buf built = compat_read("golden/built.json");
	struct json_slice row;
	size_t pos = 0;

	while (json_next(member_of(whole(&built), "artifacts"), &pos, NULL, &row)) {
		char *name = member_text(row, "name"), *spec_file = member_text(row, "spec_file"),
		     *cid = member_text(row, "cid"), path[200];
		struct compile_options opt = {.allow_below_gate = true};
		struct artifact_keys keys = make_keys();
		struct compile_result res;
		struct artifact *af = NULL;
		struct err err;

		if (strcmp(name, "b14_seeds") != 0) {
			snprintf(path, sizeof(path), "artifacts/%s", spec_file);
			struct buf spec = compat_read(path);
			cr_assert_eq(build(spec.data, "a.kolm", &opt, &res, &err), 0, "%s: %s",
				name, err.text);
			cr_assert_eq(
				artifact_open(AT_FDCWD, in_dir("a.kolm"), &keys, &af, &err), 0);
			cr_expect(member_is(af->manifest, "cid", cid), "%s", name);
			artifact_free(af);
			buf_release(&spec);
		}
		free(name);
		free(spec_file);
		free(cid);
	}
	buf_release(&built);
}

static void expect_spec(const char *spec, int no, const char *text)
{
	struct compile_options opt = {.measure = upper};
	struct compile_result res;
	struct err err;
	int rc = build(spec, "bad.kolm", &opt, &res, &err);

	cr_expect_eq(rc, -no, "%d %s", rc, err.text);
	cr_expect(strstr(err.text, text) != NULL, "want \"%s\" in \"%s\"", text, err.text);
	cr_expect(access(in_dir("bad.kolm"), F_OK) < 0);
}

#define RECIPE(more)                                                                               \
	"{\"job_id\":\"job_a\",\"task\":\"t\",\"recipes\":[{\"id\":\"r\",\"name\":\"n\"," more     \
	"}],\"evals\":{\"cases\":[{\"id\":\"one\",\"input\":\"a\",\"expected\":\"A\"}]}}"

Test(compile, bad_specs)
{
	struct compile_options opt = {.measure = upper};
	struct compile_result res;
	struct err err;

	expect_spec("{", EBADMSG, "JSON");
	expect_spec("[]", EBADMSG, "object expected");
	expect_spec("{\"job_id\":\"x\"}", EBADMSG, "job_id");
	expect_spec("{\"job_id\":\"job_../x\"}", EBADMSG, "job_id");
	expect_spec("{\"job_id\":\"job_a\"}", EBADMSG, "task");
	expect_spec("{\"job_id\":\"job_a\",\"task\":\"t\",\"recipes\":[]}", EBADMSG, "recipes");
	expect_spec(RECIPE("\"source\":\"process\""), EBADMSG, "\"process\": not allowed");
	expect_spec(RECIPE("\"tags\":[]"), EBADMSG, "recipe 0: source");
	expect_spec("{\"job_id\":\"job_a\",\"task\":\"t\",\"recipes\":[{\"id\":\"r\",\"name\":"
		    "\"n\",\"source\":\"x\"}]}",
		EBADMSG, "no eval cases");
	expect_spec(SPEC(",\"comparator\":\"fuzzy\""), EBADMSG, "comparator");
	expect_spec(SPEC(",\"holdout_ratio\":2"), EBADMSG, "holdout_ratio");
	cr_expect_eq(build("{\"job_id\":\"x\"}", "b.kolm", &opt, &res, &err), -EBADMSG);
	cr_expect_str_eq(err.code, "KOLM_E_SPEC_INVALID");
	cr_expect_eq(build(SPEC(""), "", &opt, &res, &err), -EISDIR);
	cr_expect_eq(build(SPEC(""), "nowhere/a.kolm", &opt, &res, &err), -ENOENT);
}

Test(compile, source_file_stays_in_the_folder)
{
	struct compile_options opt = {.measure = upper};
	struct compile_result res;
	struct err err;

	put_file("r.js", "function generate(i) { return i.toUpperCase(); }\n");
	cr_assert_eq(symlink("/etc/passwd", in_dir("out.js")), 0);
	cr_assert_eq(symlink("r.js", in_dir("in.js")), 0);
	cr_expect_eq(build(RECIPE("\"source_file\":\"r.js\""), "a.kolm", &opt, &res, &err), 0, "%s",
		err.text);
	cr_expect_eq(build(RECIPE("\"source_file\":\"in.js\""), "a.kolm", &opt, &res, &err), 0,
		"%s", err.text);
	expect_spec(RECIPE("\"source_file\":\"out.js\""), EBADMSG, "leads out of");
	expect_spec(RECIPE("\"source_file\":\"../../etc/passwd\""), EBADMSG, "leads out of");
	expect_spec(RECIPE("\"source_file\":\"/etc/passwd\""), EBADMSG, "leads out of");
	expect_spec(RECIPE("\"source_file\":\"none.js\""), EBADMSG, "No such file");
	expect_spec(RECIPE("\"source_file\":\".\""), EBADMSG, "not a regular file");
}

Test(keys, made_once_and_kept)
{
	struct artifact_keys one, two;
	struct stat st;
	struct buf config = BUF_INIT;
	int fd = open(dir, O_RDONLY | O_DIRECTORY);

	cr_expect_eq(artifact_keys_load(fd, dir, false, &one, NULL), 0);
	cr_expect_str_eq(one.secret, "");
	cr_expect_eq(files_in_dir(), 0);
	put_file("config.json", "{\"workers\":{\"a\":\"native\"}}");
	one = make_keys();
	two = make_keys();
	cr_expect_str_eq(one.secret, two.secret);
	cr_expect_eq(strlen(one.secret), strlen("kolm-local-") + 48);
	cr_expect(strncmp(one.secret, "kolm-local-", 11) == 0);
	cr_expect_eq(read_file(fd, "config.json", 4096, &config, NULL), 0);
	cr_expect(strstr(config.data, "\"workers\"") != NULL &&
			  strstr(config.data, one.secret) != NULL,
		"%s", config.data);
	cr_expect(fstatat(fd, "signing-key.pem", &st, 0) == 0 && (st.st_mode & 0777) == 0600);
	cr_expect(fstatat(fd, "config.json", &st, 0) == 0 && (st.st_mode & 0777) == 0600);
	setenv("KOLM_ARTIFACT_SECRET", "second", 1);
	cr_expect_str_eq(make_keys().secret, "second");
	setenv("RECIPE_RECEIPT_SECRET", "first", 1);
	cr_expect_str_eq(make_keys().secret, "first");
	unsetenv("RECIPE_RECEIPT_SECRET");
	unsetenv("KOLM_ARTIFACT_SECRET");
	put_file("config.json", "{\"local_receipt_secret\":");
	cr_expect_eq(artifact_keys_load(fd, dir, true, &one, NULL), -EUCLEAN);
	buf_release(&config);
	close(fd);
}

Test(keys, ed25519_from_the_environment_and_switched_off)
{
	struct compile_options opt = {.measure = upper};
	struct compile_result res;
	struct artifact *af = NULL;
	struct err err;
	struct artifact_keys keys;
	const char *pem = "-----BEGIN PRIVATE "
			  "KEY-----\\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/"
			  "VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\\n-----END PRIVATE KEY-----\\n";

	setenv("KOLM_ED25519_DISABLE", "1", 1);
	cr_assert_eq(build(SPEC(""), "a.kolm", &opt, &res, &err), 0, "%s", err.text);
	keys = make_keys();
	cr_assert_eq(artifact_open(AT_FDCWD, in_dir("a.kolm"), &keys, &af, &err), 0);
	cr_expect_str_eq(af->fingerprint, "");
	artifact_free(af);
	af = NULL;
	cr_expect_eq(artifact_open(AT_FDCWD, in_dir("a.kolm"), NULL, &af, &err), -EKEYREJECTED);
	unsetenv("KOLM_ED25519_DISABLE");
	setenv("KOLM_ED25519_PRIVATE_KEY", pem, 1); /* RFC 8032 test 1: public key d75a9801... */
	opt.arg = NULL;
	cr_assert_eq(build(SPEC(""), "b.kolm", &opt, &res, &err), 0, "%s", err.text);
	cr_assert_eq(artifact_open(AT_FDCWD, in_dir("b.kolm"), NULL, &af, &err), 0);
	char *public = member_text(member_of(af->receipt, "signature_ed25519"), "public_key");
	cr_expect_str_eq(public, "-----BEGIN PUBLIC "
				 "KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/"
				 "7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n");
	free(public);
	artifact_free(af);
	setenv("KOLM_ED25519_PRIVATE_KEY", "garbage", 1);
	opt.spec_dir = dir;
	cr_expect_eq(artifact_compile(
			     SPEC(""), strlen(SPEC("")), in_dir("c.kolm"), &keys, &opt, &res, &err),
		-EBADMSG);
	unsetenv("KOLM_ED25519_PRIVATE_KEY");
}

/* a receipt signed by the key of another build, however good, does not carry this manifest */
Test(compile, ed25519_of_another_artifact)
{
	struct compile_options opt = {.measure = upper};
	struct compile_result res;
	struct artifact *a = NULL, *b = NULL, *got = NULL;
	struct pack_entry list[16];
	struct buf zip = BUF_INIT;
	struct err err;
	size_t n = 0;

	cr_assert_eq(build(SPEC(""), "a.kolm", &opt, &res, &err), 0, "%s", err.text);
	cr_assert_eq(build(SPEC(",\"pack\":{\"x\":1}"), "b.kolm", &opt, &res, &err), 0);
	cr_assert_eq(artifact_open(AT_FDCWD, in_dir("a.kolm"), NULL, &a, &err), 0);
	cr_assert_eq(artifact_open(AT_FDCWD, in_dir("b.kolm"), NULL, &b, &err), 0);
	for (size_t i = 0; i < artifact_entries(a); i++) {
		const struct artifact_entry *e = artifact_entry(a, i);
		list[n] = (struct pack_entry){e->name, BUF_INIT};
		if (strcmp(e->name, "receipt.json") == 0)
			e = artifact_entry_named(b, "receipt.json");
		buf_add(&list[n++].data, e->data, e->len);
	}
	cr_assert_eq(zip_write(list, n, 0, &zip, NULL), 0);
	cr_expect_eq(artifact_read(zip.data, zip.len, NULL, &got, &err), -EKEYREJECTED);
	cr_expect(strstr(err.text, "receipt is for") != NULL, "%s", err.text);
	for (size_t i = 0; i < n; i++)
		buf_release(&list[i].data);
	buf_release(&zip);
	artifact_free(a);
	artifact_free(b);
}
