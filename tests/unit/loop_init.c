/* loop_init - a slug is born whole or not at all: the rows B06 to B15 of BAD-INPUTS on the real
 * runner and the real base model. */
#include <linux/capability.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "loop_rig.h"

static struct init_options options(const struct rig *r)
{
	struct init_options o;

	init_options_default(&o);
	(void)snprintf(o.artifact, sizeof(o.artifact), "%s", r->artifact);
	(void)snprintf(o.base, sizeof(o.base), "%s", r->base);
	return o;
}

static void start(struct rig *r)
{
	rig_open(r);
	compile(r, "echo",
		"function generate(input, lib) { return { text: lib.lm ? "
		"lib.lm.generate(input.text) : 'no model' }; }",
		ONE_CASE);
}

static int try_init(struct rig *r, const struct init_options *o)
{
	char slug[SLUG_BYTES + 1];
	bool fresh;

	return loop_init(r->k, o, &r->by, slug, &fresh, &r->err);
}

/* an init that fails so, and leaves the store as it was */
static void refused(struct rig *r, const struct init_options *o, int no, const char *part)
{
	char before[65], after[65];
	int rc;

	store_digest(r, before);
	r->err = ERR_NONE;
	rc = try_init(r, o);
	cr_expect_eq(
		rc, -no, "artifact '%s' base '%s': %d (%s)", o->artifact, o->base, rc, r->err.text);
	cr_expect_not_null(strstr(r->err.text, part), "\"%s\" has no \"%s\"", r->err.text, part);
	store_digest(r, after);
	cr_expect_str_eq(
		before, after, "artifact '%s' base '%s': the store changed", o->artifact, o->base);
	cr_expect_eq(in_log(r, "\"initialised\""), 0);
}

static void write_at(const struct rig *r, const char *name, const char *text)
{
	char path[200];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", r->path, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write_all(fd, text, strlen(text), NULL), 0);
	close(fd);
}

Test(loop_init, a_good_one_makes_config_v0_and_head)
{
	static const char *const there[] = {"tune-config.json", "HEAD",
		"revisions/v0/adapter_config.json", "revisions/v0/adapter_model.safetensors",
		"revisions/v0/files.json"};
	struct init_options o;
	char slug[SLUG_BYTES + 1], name[120], before[65], after[65];
	struct config cf;
	struct tune tn;
	struct rig r;
	struct buf text;
	bool fresh;

	start(&r);
	o = options(&r);
	works(loop_init(r.k, &o, &r.by, slug, &fresh, &r.err));
	cr_expect_str_eq(slug, "echo");
	cr_expect(fresh);
	for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++) {
		(void)snprintf(name, sizeof(name), "tune/echo/%s", there[i]);
		cr_expect(store_has(&r, name), "%s is missing", name);
	}
	text = store_text(&r, "tune/echo/HEAD");
	cr_expect_str_eq(text.data, "v0\n");
	buf_release(&text);
	works(tune_open(&r.k->st, "echo", &tn, &r.err));
	works(revision_verify(&tn, "v0", NULL, &r.err));
	works(config_load(&tn, &cf, &r.err));
	cr_expect_str_eq(cf.artifact_path, r.artifact);
	cr_expect_str_eq(cf.base_path, r.base);
	cr_expect(cf.rank == 8 && cf.alpha == 16 && cf.dropout == 0 && cf.generation == 1);
	config_release(&cf);
	tune_close(&tn);
	cr_expect_eq(in_log(&r, "\"initialised\""), 1);

	/* again: fine, and nothing happens */
	store_digest(&r, before);
	works(loop_init(r.k, &o, &r.by, slug, &fresh, &r.err));
	cr_expect_not(fresh);
	store_digest(&r, after);
	cr_expect_str_eq(before, after);
	cr_expect_eq(in_log(&r, "\"initialised\""), 1);

	/* a second slug of the same artifact */
	(void)snprintf(o.slug, sizeof(o.slug), "other");
	o.rank = 4;
	o.alpha = 7.5;
	works(loop_init(r.k, &o, &r.by, slug, &fresh, &r.err));
	cr_expect(fresh);
	text = store_text(&r, "tune/other/revisions/v0/adapter_config.json");
	cr_expect_not_null(strstr(text.data, "\"r\": 4"), "%s", text.data);
	cr_expect_not_null(strstr(text.data, "\"lora_alpha\": 7.5"));
	buf_release(&text);
	rig_close(&r);
}

Test(loop_init, v0_is_the_same_bytes_every_time)
{
	struct buf a, b;
	struct rig r;

	start(&r);
	works(init(&r, "one"));
	works(init(&r, "two"));
	a = store_text(&r, "tune/one/revisions/v0/adapter_model.safetensors");
	b = store_text(&r, "tune/two/revisions/v0/adapter_model.safetensors");
	cr_assert_gt(a.len, 100000);
	cr_expect(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
	buf_release(&a);
	buf_release(&b);
	rig_close(&r);
}

Test(loop_init, artifacts_that_are_no_regular_file)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct init_options o;
	struct rig r;
	int sock;

	start(&r);
	o = options(&r);
	(void)snprintf(o.slug, sizeof(o.slug), "x");
	(void)snprintf(o.artifact, sizeof(o.artifact), "%s", r.path);
	refused(&r, &o, EISDIR, "not a regular file");
	(void)snprintf(o.artifact, sizeof(o.artifact), "%s/fifo.kolm", r.path);
	cr_assert_eq(mkfifo(o.artifact, 0600), 0);
	refused(&r, &o, EINVAL, "not a regular file");
	(void)snprintf(o.artifact, sizeof(o.artifact), "/dev/null");
	refused(&r, &o, EINVAL, "not a regular file");
	(void)snprintf(o.artifact, sizeof(o.artifact), "%s/sock.kolm", r.path);
	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/sock.kolm", r.path);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(sock, (struct sockaddr *)&sun, sizeof(sun)), 0);
	refused(&r, &o, EINVAL, "not a regular file");
	close(sock);
	(void)snprintf(o.artifact, sizeof(o.artifact), "%s/link.kolm", r.path);
	cr_assert_eq(symlink(r.artifact, o.artifact), 0);
	refused(&r, &o, ELOOP, "symbolic link");
	(void)snprintf(o.artifact, sizeof(o.artifact), "%s/self.kolm", r.path);
	cr_assert_eq(symlink(o.artifact, o.artifact), 0);
	refused(&r, &o, ELOOP, "symbolic link");
	(void)snprintf(o.artifact, sizeof(o.artifact), "%s/missing.kolm", r.path);
	refused(&r, &o, ENOENT, "missing.kolm");
	write_at(&r, "text.kolm",
		"this is no zip file at all, but it is long enough to be looked at\n");
	(void)snprintf(o.artifact, sizeof(o.artifact), "%s/text.kolm", r.path);
	refused(&r, &o, EBADMSG, "not a zip");
	rig_close(&r);
}

/* root reads whatever it likes by two capabilities; without them file modes bind it as they bind
 * others */
static void obey_modes(bool on)
{
	const unsigned both = 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH;
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];

	cr_assert_eq(syscall(SYS_capget, &head, caps), 0);
	caps[0].effective =
		on ? caps[0].effective & ~both : caps[0].effective | (caps[0].permitted & both);
	cr_assert_eq(syscall(SYS_capset, &head, caps), 0);
}

Test(loop_init, artifact_that_may_not_be_read)
{
	struct init_options o;
	struct rig r;

	start(&r);
	o = options(&r);
	cr_assert_eq(chmod(o.artifact, 0), 0);
	obey_modes(true);
	refused(&r, &o, EACCES, o.artifact);
	obey_modes(false);
	rig_close(&r);
}

Test(loop_init, artifact_gone_or_changed_after_init)
{
	struct run_request rq = {.slug = "echo", .text = "{\"text\":\"x\"}", .len = 12};
	struct run_result rr;
	struct artifact *af;
	struct rig r;
	uint64_t job;
	char away[200], was[65];

	start(&r);
	works(init(&r, NULL));
	works(kolm_artifact_open(r.k, "echo", &af, &r.err));
	memcpy(was, artifact_sha256(af), sizeof(was));
	artifact_free(af);
	(void)snprintf(away, sizeof(away), "%s/away", r.path);
	cr_assert_eq(rename(r.artifact, away), 0);
	fails(loop_eval(r.k, "echo", NULL, 0, &r.by, &job, &r.err), ENOENT, "artifact is gone: ");
	cr_expect_not_null(strstr(r.err.text, was));
	cr_expect_not_null(strstr(r.err.text, r.artifact));
	fails(kolm_run(r.k, &rq, &rr, &r.err), ENOENT, "artifact is gone: ");
	compile(&r, "echo", "function generate() { return 'another'; }", ONE_CASE);
	fails(loop_eval(r.k, "echo", NULL, 0, &r.by, &job, &r.err), ESTALE,
		"artifact changed since init");
	cr_expect_not_null(strstr(r.err.text, was));
	fails(kolm_run(r.k, &rq, &rr, &r.err), ESTALE, "artifact changed since init");
	rig_close(&r);
}

Test(loop_init, slug_of_another_artifact)
{
	struct init_options o;
	char before[65], after[65];
	struct rig r;

	start(&r);
	works(init(&r, NULL));
	compile(&r, "second", "function generate() { return 2; }", ONE_CASE);
	o = options(&r);
	(void)snprintf(o.slug, sizeof(o.slug), "echo");
	store_digest(&r, before);
	fails(try_init(&r, &o), EEXIST, "slug already belongs to");
	store_digest(&r, after);
	cr_expect_str_eq(before, after);
	rig_close(&r);
}

Test(loop_init, bases_that_are_no_local_path)
{
	static const struct {
		const char *base;
		int no;
		const char *part;
	} rows[] = {
		{"http://example.org/m.gguf", EPERM, "airgap: base must be a local path"},
		{"hf://org/model", EPERM, "airgap: base must be a local path"},
		{"org/model", EPERM, "airgap: base must be a local path"},
		{"file:///x", EPERM, "airgap: base must be a local path"},
		{"/nowhere/at/all.gguf", ENOENT, "base model not found"},
		{"../model.gguf", EINVAL, "base model not found"},
		{"a/../model.gguf", EINVAL, "base model not found"},
		{"/dev/null", EINVAL, "neither a file nor a folder"},
		{"", EINVAL, "base=PATH is missing"},
	};
	struct init_options o;
	struct rig r;

	start(&r);
	o = options(&r);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		(void)snprintf(o.base, sizeof(o.base), "%s", rows[i].base);
		refused(&r, &o, rows[i].no, rows[i].part);
	}
	rig_close(&r);
}

Test(loop_init, bases_that_are_no_model)
{
	struct init_options o;
	struct rig r;

	start(&r);
	o = options(&r);
	(void)snprintf(o.base, sizeof(o.base), "%s/empty", r.path);
	cr_assert_eq(mkdir(o.base, 0700), 0);
	refused(&r, &o, EBADMSG, "no config.json");
	write_at(&r, "text.gguf", "GGUX, but not quite");
	(void)snprintf(o.base, sizeof(o.base), "%s/text.gguf", r.path);
	refused(&r, &o, EBADMSG, "");
	write_at(&r, "none.gguf", "");
	(void)snprintf(o.base, sizeof(o.base), "%s/none.gguf", r.path);
	refused(&r, &o, EBADMSG, "");
	rig_close(&r);
}

Test(loop_init, a_folder_in_the_way_is_not_touched)
{
	struct init_options o;
	char path[200];
	struct rig r;

	start(&r);
	(void)snprintf(path, sizeof(path), "%s/tune/echo", r.store);
	cr_assert_eq(mkdir(path, 0700), 0);
	write_at(&r, "store/tune/echo/mine", "somebody's");
	o = options(&r);
	refused(&r, &o, EEXIST, "slug already belongs to");
	rig_close(&r);
}

struct same_init {
	struct rig *r;
	struct err err;
	int rc;
	bool fresh;
};

static void *init_at_once(void *arg)
{
	struct same_init *in = arg;
	struct init_options o = options(in->r);
	char slug[SLUG_BYTES + 1];

	in->rc = loop_init(in->r->k, &o, &in->r->by, slug, &in->fresh, &in->err);
	return NULL;
}

/* as two clients of one server do; each built in the other's folder once, and took it away */
Test(loop_init, inits_of_one_slug_at_once_make_it_once)
{
	enum { CALLERS = 4, ROUNDS = 3 };
	struct same_init in[CALLERS];
	pthread_t th[CALLERS];
	struct tune tn;
	struct rig r;

	start(&r);
	for (int round = 0; round < ROUNDS; round++) {
		int fresh = 0;

		for (int i = 0; i < CALLERS; i++) {
			in[i] = (struct same_init){.r = &r};
			cr_assert_eq(pthread_create(&th[i], NULL, init_at_once, &in[i]), 0);
		}
		for (int i = 0; i < CALLERS; i++) {
			pthread_join(th[i], NULL);
			cr_expect_eq(in[i].rc, 0, "caller %d: %s", i, in[i].err.text);
			fresh += in[i].fresh;
		}
		cr_expect_eq(fresh, 1, "%d of them made it", fresh);
		cr_expect_eq(in_log(&r, "\"initialised\""), (size_t)round + 1);
		works(tune_open(&r.k->st, "echo", &tn, &r.err));
		works(revision_verify(&tn, "v0", NULL, &r.err));
		tune_close(&tn);
		works(loop_remove(r.k, "echo", "echo", &r.by, &r.err));
	}
	rig_close(&r);
}
