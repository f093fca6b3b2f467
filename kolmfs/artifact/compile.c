/*
 * compile - from spec.json to a .kolm file (FORMATS 18.3): plan, probe, measure, gate, build, look
 * at the result as a stranger would, and only then give it its name.
 */
#include "artifact/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"

enum { LATENCY_UNKNOWN_US = 50 };

/* where the file goes */
struct place {
	int dirfd;
	char *dir;	  /* absolute */
	const char *name; /* borrowed from the caller's path */
	char temp[300], probe[300];
};

static int place_open(const char *path, struct place *p, struct err *err)
{
	const char *slash = strrchr(path, '/');
	struct stat st;
	char *dir;

	p->name = slash != NULL ? slash + 1 : path;
	if (p->name[0] == '\0' || strcmp(p->name, ".") == 0 || strcmp(p->name, "..") == 0)
		return err_set(err, EISDIR, "'%.200s' names a folder, not a file", path);
	dir = slash == NULL   ? strdup(".")
	      : slash == path ? strdup("/")
			      : strndup(path, (size_t)(slash - path));
	if (dir == NULL)
		return err_nomem(err);
	p->dir = realpath(dir, NULL);
	p->dirfd = p->dir != NULL ? open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (p->dirfd < 0) {
		int rc = err_sys(err, "cannot open the output folder '%.200s'", dir);
		free(dir);
		free(p->dir);
		return rc;
	}
	free(dir);
	int n = snprintf(p->temp, sizeof(p->temp), ".%s.tmp.%d", p->name, (int)getpid());
	int m = snprintf(
		p->probe, sizeof(p->probe), ".%s.tmp.%d.probe.kolm", p->name, (int)getpid());
	int rc = 0;
	if (n > 250 || m > 250)
		rc = err_set(err, ENAMETOOLONG, "output name too long: '%.80s'", p->name);
	else if (fstatat(p->dirfd, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
		rc = err_set(err, S_ISDIR(st.st_mode) ? EISDIR : EEXIST,
			"'%.200s' exists and is not a regular file", path);
	if (rc < 0) {
		close(p->dirfd);
		free(p->dir);
	}
	return rc;
}

static int write_file(int dirfd, const char *name, const struct buf *data, struct err *err)
{
	int fd, rc;

	(void)unlinkat(dirfd, name, 0); /* left by a process of our number that was killed */
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_sys(err, "cannot create '%s'", name);
	rc = write_all(fd, buf_str(data), data->len, err);
	if (rc == 0 && fsync(fd) < 0)
		rc = err_sys(err, "could not make '%s' durable", name);
	if (close(fd) < 0 && rc == 0)
		rc = err_sys(err, "cannot close '%s'", name);
	if (rc < 0)
		unlinkat(dirfd, name, 0);
	return rc;
}

/* epoch_read(text, ms): whole seconds, or a date "2031-02-03" with or without "T04:05:06Z" */
static int epoch_read(const char *text, int64_t *ms)
{
	struct tm tm = {0};
	int64_t sec;
	const char *end;

	if (num_whole(text, strlen(text), 0, 4102444800, &sec) == 0) {
		*ms = sec * 1000;
		return 0;
	}
	end = strptime(text, "%Y-%m-%d", &tm);
	if (end != NULL && *end == 'T')
		end = strptime(end, "T%H:%M:%S", &tm);
	if (end == NULL || (*end != '\0' && strcmp(end, "Z") != 0) || timegm(&tm) < 0)
		return -EINVAL;
	*ms = (int64_t)timegm(&tm) * 1000;
	return 0;
}

static int read_clock(struct build *b, struct err *err)
{
	static const char *const names[] = {"KOLM_SOURCE_DATE_EPOCH", "SOURCE_DATE_EPOCH"};
	const char *flag = getenv("KOLM_REPRODUCIBLE_BUILD");

	for (size_t i = 0; i < 2; i++) {
		const char *text = getenv(names[i]);
		if (text == NULL || text[0] == '\0')
			continue;
		b->is_reproducible = true;
		if (epoch_read(text, &b->ms) < 0)
			return err_set(
				err, EINVAL, "%s: seconds since 1970 or a date expected", names[i]);
		return 0;
	}
	b->is_reproducible = flag != NULL && strcmp(flag, "1") == 0;
	b->ms = b->is_reproducible ? 0 : time_now();
	return 0;
}

/* failures of the machine and attempts to break out end the build; everything else is a failed case
 */
static bool ends_build(int rc)
{
	return rc == -EOPNOTSUPP || rc == -ENOEXEC || rc == -EPERM || rc == -EINTR ||
	       rc == -ECANCELED;
}

static int measure_cases(struct build *b, const struct artifact *probe, const char *path,
	const struct compile_options *opt, struct err *err)
{
	double sum = 0;
	size_t ran = 0;

	for (size_t i = 0; i < artifact_cases(probe); i++) {
		const struct artifact_case *c = artifact_case(probe, i);
		struct buf output = BUF_INIT;
		struct err why = ERR_NONE;
		double latency = 0;
		int rc = opt->measure(opt->arg, path, i, &output, &latency, &why);

		if (rc == 0) {
			b->passed += comparator_match(
				artifact_comparator(probe), slice_of(&output), c->expected);
			sum += latency;
			ran++;
		}
		buf_release(&output);
		if (ends_build(rc)) {
			err_set(err, -rc, "case %zu (%.80s): %s", i, c->id, why.text);
			return rc == -ENOEXEC && err != NULL ? err_code(err, "KOLM_E_SPEC_INVALID")
							     : rc;
		}
	}
	b->accuracy = num_round((double)b->passed / (double)artifact_cases(probe), 3);
	b->latency_us = ran > 0 ? num_round(sum / (double)ran, 0) : 0;
	if (b->latency_us == 0)
		b->latency_us = LATENCY_UNKNOWN_US;
	return 0;
}

/* a first artifact, signed and openable, for the recipe to be run from */
static int measure(struct build *b, const struct place *p, const struct artifact_keys *keys,
	const struct compile_options *opt, struct err *err)
{
	struct buf zip = BUF_INIT, path = BUF_INIT;
	struct artifact *probe = NULL;
	int rc = build_zip(b, &zip, err);

	if (rc == 0)
		rc = artifact_read(buf_str(&zip), zip.len, keys, &probe, err);
	if (rc == 0 && opt->measure != NULL) {
		rc = buf_addf(&path, "%s/%s", strcmp(p->dir, "/") == 0 ? "" : p->dir, p->probe) < 0
			     ? err_nomem(err)
			     : write_file(p->dirfd, p->probe, &zip, err);
		if (rc == 0) {
			rc = measure_cases(b, probe, buf_str(&path), opt, err);
			unlinkat(p->dirfd, p->probe, 0);
		}
	}
	artifact_free(probe);
	buf_release(&zip);
	buf_release(&path);
	return rc;
}

/* K of a build: the size is that of the same zip without its k_score */
static int score(struct build *b, struct kscore *k, bool allow, struct err *err)
{
	struct buf zip = BUF_INIT;
	struct kscore_in in = {.accuracy = b->accuracy,
		.coverage = b->plan->coverage,
		.p50_latency_us = build_latency(b),
		.cost_usd = build_cost(b)};
	char have[NUM_TEXT_BYTES];
	int rc = build_zip(b, &zip, err);

	in.size_bytes = (double)zip.len;
	buf_release(&zip);
	if (rc < 0)
		return rc;
	kscore_compute(&in, k);
	b->k = k;
	b->is_overridden = !k->ships;
	if (k->ships || allow)
		return 0;
	err_set(err, ERANGE,
		"K_GATE: %s < 0.8500, %zu of %zu cases pass; --allow-below-gate builds it anyway",
		num_fixed(k->composite, 4, have), b->passed, b->plan->case_count);
	return err != NULL ? err_code(err, "K_GATE") : -ERANGE;
}

static int publish(const struct build *b, const struct place *p, const struct artifact_keys *keys,
	struct compile_result *res, struct err *err)
{
	struct buf zip = BUF_INIT;
	struct artifact *af = NULL;
	int rc = build_zip(b, &zip, err);

	if (rc == 0)
		rc = write_file(p->dirfd, p->temp, &zip, err);
	buf_release(&zip);
	if (rc < 0)
		return rc;
	if (artifact_open(p->dirfd, p->temp, keys, &af, err) < 0)
		rc = err_prefix(err, "the new artifact does not verify: ");
	if (rc == 0 && renameat(p->dirfd, p->temp, p->dirfd, p->name) < 0)
		rc = err_sys(err, "cannot replace '%s'", p->name);
	if (rc < 0)
		unlinkat(p->dirfd, p->temp, 0);
	else
		rc = dir_sync(p->dirfd, err);
	if (rc == 0) {
		*res = (struct compile_result){.bytes = artifact_bytes(af),
			.passed = b->passed,
			.total = b->plan->case_count,
			.k = *b->k,
			.production_ready = build_production_ready(b)};
		strcpy(res->sha256, artifact_sha256(af));
	}
	artifact_free(af);
	return rc;
}

static int compile_plan(const struct plan *plan, const char *out_path,
	const struct artifact_keys *keys, const struct compile_options *opt,
	struct compile_result *res, struct err *err)
{
	struct build b = {.plan = plan, .secret = keys->secret, .latency_us = LATENCY_UNKNOWN_US};
	struct place place;
	struct kscore k;
	int rc = read_clock(&b, err);

	if (rc == 0)
		rc = ed25519_load(keys, true, &b.key, err);
	if (rc < 0)
		return rc;
	b.has_key = rc == 1;
	rc = place_open(out_path, &place, err);
	if (rc == 0) {
		rc = measure(&b, &place, keys, opt, err);
		if (rc == 0)
			rc = score(&b, &k, opt->allow_below_gate, err);
		if (rc == 0)
			rc = publish(&b, &place, keys, res, err);
		close(place.dirfd);
		free(place.dir);
	}
	sodium_memzero(&b.key, sizeof(b.key));
	return rc;
}

int artifact_compile(const char *spec, size_t len, const char *out_path,
	const struct artifact_keys *keys, const struct compile_options *opt,
	struct compile_result *res, struct err *err)
{
	struct plan plan;
	int rc;

	if (sodium_init() < 0)
		return err_set(err, EIO, "libsodium does not start");
	if (keys == NULL || keys->secret[0] == '\0')
		return err_set(err, EINVAL,
			"no secret to sign with; load the keys with create set, or set "
			"RECIPE_RECEIPT_SECRET");
	rc = plan_make(spec, len, opt, &plan, err);
	if (rc == 0)
		rc = compile_plan(&plan, out_path, keys, opt, res, err);
	plan_release(&plan);
	return rc;
}
