/*
 * kolm-indexer - makes the files of one index (PROTOCOLS section 2, "Indexer"): reads the documents
 * below --root, or the indexes --part, writes into the empty folder --out, and tells on standard
 * output, in JSON lines, how far it is and how it ended. Exit status 0 done, 1 failed, 2 bad flags.
 *
 * Both folders are opened first; then it locks itself in, and everything else happens below these
 * two descriptors.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/num.h"
#include "base/wall.h"
#include "kolmrag.h"
#include "mode.h"
#include "pdf.h"

enum {
	DONE = 0,
	FAILED = 1,
	BAD_FLAGS = 2,
	MAX_BYTES_MAX = 268435456,
	THREADS_MAX = 64,
	MMAP_BYTES = 1 << 18
};

struct flags {
	const char *name, *root, *out, *prev, *ext, *mode, *lang, *index_path, *pdf;
	int64_t max_bytes, mem, threads, shard, shards;
	const char *parts[RAG_PARTS_MAX];
	size_t n_parts;
};

static const struct option options[] = {
	{"name", required_argument, NULL, 'n'},
	{"root", required_argument, NULL, 'r'},
	{"out", required_argument, NULL, 'o'},
	{"prev", required_argument, NULL, 'p'},
	{"ext", required_argument, NULL, 'e'},
	{"max-bytes", required_argument, NULL, 'b'},
	{"mode", required_argument, NULL, 'm'},
	{"lang", required_argument, NULL, 'l'},
	{"mem", required_argument, NULL, 'M'},
	{"threads", required_argument, NULL, 't'},
	{"shard", required_argument, NULL, 's'},
	{"part", required_argument, NULL, 'P'},
	{"index-path", required_argument, NULL, 'i'},
	{"pdf", required_argument, NULL, 'f'},
	{0},
};

static int say(struct buf *bf)
{
	buf_putc(bf, '\n');
	fwrite(buf_str(bf), 1, bf->len, stdout);
	buf_release(bf);
	return fflush(stdout) == 0 ? 0 : -EIO;
}

static int failed(const struct err *err)
{
	struct buf bf = BUF_INIT;

	buf_puts(&bf, "{\"ok\":false,\"error\":");
	json_put_text(&bf, err->text);
	buf_addf(&bf, ",\"errno\":\"%s\"}", err_name(err->no));
	say(&bf);
	fprintf(stderr, "kolm-indexer: %s\n", err->text);
	return FAILED;
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void progress(void *arg, uint64_t files, uint64_t of, uint64_t bytes)
{
	const double *start = arg;
	double spent = seconds() - *start,
	       left = files ? spent / (double)files * (double)(of - files) : 0;
	struct buf bf = BUF_INIT;

	buf_addf(&bf,
		"{\"event\":\"progress\",\"files\":%llu,\"of\":%llu,\"bytes\":%llu,\"left_sec\":%."
		"0f}",
		(unsigned long long)files, (unsigned long long)of, (unsigned long long)bytes, left);
	say(&bf);
}

static void log_skipped(uint64_t n, const char *why)
{
	if (n)
		fprintf(stderr, "skipped %llu (%s)\n", (unsigned long long)n, why);
}

static void log_all_skipped(const struct rag_built *built, int64_t max_bytes)
{
	char over[64];
	uint64_t max = max_bytes ? (uint64_t)max_bytes : RAG_MAX_BYTES_DEFAULT;

	if (max % (1 << 20) == 0)
		snprintf(over, sizeof(over), "over %llu MiB", (unsigned long long)(max >> 20));
	else
		snprintf(over, sizeof(over), "over %llu bytes", (unsigned long long)max);
	log_skipped(built->skipped_big, over);
	log_skipped(built->skipped_unreadable, "unreadable");
	log_skipped(built->skipped_empty, "no words");
	log_skipped(built->skipped_special, "not regular files");
	log_skipped(built->skipped_mounts, "folders of a mounted kolmfs");
}

static int done(const struct rag_built *built)
{
	struct buf bf = BUF_INIT;

	buf_addf(&bf,
		"{\"ok\":true,\"docs\":%llu,\"skipped\":{\"big\":%llu,\"unreadable\":%llu,"
		"\"empty\":%llu,\"special\":%llu,\"mounts\":%llu},\"unchanged\":%llu,"
		"\"avgdl\":",
		(unsigned long long)built->docs, (unsigned long long)built->skipped_big,
		(unsigned long long)built->skipped_unreadable,
		(unsigned long long)built->skipped_empty,
		(unsigned long long)built->skipped_special,
		(unsigned long long)built->skipped_mounts, (unsigned long long)built->unchanged);
	json_put_number(&bf, built->avgdl);
	buf_addf(&bf, ",\"bytes\":%llu,\"sha256\":\"%s\"}", (unsigned long long)built->bytes,
		built->sha256);
	return say(&bf) < 0 ? FAILED : DONE;
}

static int number(const char *flag, const char *text, int64_t max, int64_t *out, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];

	if (num_whole(text, strlen(text), 1, max, out) < 0)
		return err_set(err, EINVAL, "%s: '%s' is not a whole number from 1 to %lld", flag,
			err_quote(quoted, text, strlen(text)), (long long)max);
	return 0;
}

static int shard(const char *text, struct flags *fl, struct err *err)
{
	unsigned i, n;

	if (rag_shard_parse(text, &i, &n, err) < 0)
		return -EINVAL;
	fl->shard = i;
	fl->shards = n;
	return 0;
}

/* what the flags say together */
static int fits(const struct flags *fl, struct err *err)
{
	struct rag_mode mode;
	int rc;

	if (!fl->name || !fl->out || (!fl->root && fl->n_parts == 0))
		return err_set(err, EINVAL, "--name, --out and --root (or --part) are needed");
	if (fl->root && fl->n_parts)
		return err_set(err, EINVAL, "--root and --part do not go together");
	rc = rag_name_check(fl->name, strlen(fl->name), err);
	if (rc == 0 && rag_mode_find(fl->mode, fl->lang, &mode, err) < 0)
		rc = err_prefix(err, "--mode: ");
	return rc;
}

static int parse(int argc, char **argv, struct flags *fl, struct err *err)
{
	int c, rc = 0;

	opterr = 0;
	while (rc == 0 && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			fl->name = optarg;
			break;
		case 'r':
			fl->root = optarg;
			break;
		case 'o':
			fl->out = optarg;
			break;
		case 'p':
			fl->prev = optarg;
			break;
		case 'e':
			fl->ext = optarg;
			break;
		case 'm':
			fl->mode = optarg;
			break;
		case 'i':
			fl->index_path = optarg;
			break;
		case 'f':
			fl->pdf = optarg;
			break;
		case 'l':
			fl->lang = optarg;
			break;
		case 't':
			rc = number("--threads", optarg, THREADS_MAX, &fl->threads, err);
			break;
		case 's':
			rc = shard(optarg, fl, err);
			break;
		case 'P':
			if (fl->n_parts == RAG_PARTS_MAX)
				rc = err_set(err, E2BIG, "more than %d parts", RAG_PARTS_MAX);
			else
				fl->parts[fl->n_parts++] = optarg;
			break;
		case 'b':
			rc = number("--max-bytes", optarg, MAX_BYTES_MAX, &fl->max_bytes, err);
			break;
		case 'M':
			rc = number("--mem", optarg, INT64_MAX, &fl->mem, err);
			break;
		default:
			rc = err_set(err, EINVAL, "unknown flag or missing value: '%s'",
				argv[optind - 1]);
		}
	}
	if (rc == 0 && optind < argc)
		rc = err_set(err, EINVAL, "unexpected word '%s'", argv[optind]);
	return rc == 0 ? fits(fl, err) : rc;
}

/* the folders, opened before the walls; closed by the end of the process */
struct places {
	int root, out, prev;
	struct rag_pdf *pdf;
	int parts[RAG_PARTS_MAX];
};

static int folder(const char *path, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? err_sys(err, "cannot open folder '%s'",
				err_quote(quoted, path, strlen(path)))
		      : fd;
}

/* everything is open; from here on nothing else can be */
static int build(const struct flags *fl, const char *root, const char *index_path,
	const struct places *pl, struct rag_built *built, struct err *err)
{
	double start = seconds();
	struct rag_build opt = {
		.name = fl->name,
		.root = root,
		.ext = fl->ext,
		.max_bytes = (uint64_t)fl->max_bytes,
		.mem = (uint64_t)fl->mem,
		.mode = fl->mode,
		.lang = fl->lang,
		.threads = (unsigned)fl->threads,
		.shard = (unsigned)fl->shard,
		.shards = (unsigned)fl->shards,
		.has_prev = pl->prev >= 0,
		.prev = pl->prev,
		.pdf = pl->pdf,
		.progress = progress,
		.arg = &start,
	};
	int rc = wall_enter(WALL_WORKER, err);

	if (rc < 0)
		return rc;
	if (fl->n_parts)
		return rag_join(pl->parts, fl->n_parts, pl->out, index_path, &opt, built, err);
	return rag_build(pl->root, pl->out, index_path, &opt, built, err);
}

static int places_open(const struct flags *fl, struct places *pl, struct err *err)
{
	pl->prev = fl->prev ? folder(fl->prev, NULL) : -1; /* it is a help only */
	if (fl->root && (pl->root = folder(fl->root, err)) < 0)
		return pl->root;
	for (size_t i = 0; i < fl->n_parts; i++)
		if ((pl->parts[i] = folder(fl->parts[i], err)) < 0)
			return pl->parts[i];
	pl->out = folder(fl->out, err);
	return pl->out < 0 ? pl->out : 0;
}

/* names in the files are absolute; one that was given so is kept, links in it too. What is not
 * there is reported when it is opened. */
static void absolute(const char *path, char out[PATH_MAX])
{
	size_t len;

	if (path[0] != '/' && realpath(path, out))
		return;
	snprintf(out, PATH_MAX, "%s", path);
	for (len = strlen(out); len > 1 && out[len - 1] == '/'; len--)
		out[len - 1] = '\0';
}

static int64_t processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : n;
}

int main(int argc, char **argv)
{
	static struct places pl;
	struct rag_built built = {0};
	struct flags fl = {0};
	struct err err = ERR_NONE;
	struct buf index_path = BUF_INIT;
	char root[PATH_MAX], out[PATH_MAX];
	int rc;

	if (parse(argc, argv, &fl, &err) < 0) {
		failed(&err);
		return BAD_FLAGS;
	}
	if (fl.root)
		absolute(fl.root, root);
	absolute(fl.out, out);
	if (fl.index_path)
		buf_puts(&index_path, fl.index_path);
	else
		buf_addf(&index_path, "%s/index.json", out);
	if (fl.threads == 0)
		fl.threads = processors();
	/* a large piece of memory goes back to the system when it is freed: see mem= */
	mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	rc = fl.pdf ? rag_pdf_start(fl.pdf, &pl.pdf, &err) : 0;
	if (rc == 0)
		rc = places_open(&fl, &pl, &err);
	if (rc == 0)
		rc = build(&fl, fl.root ? root : NULL, buf_str(&index_path), &pl, &built, &err);
	buf_release(&index_path);
	if (rc < 0)
		return failed(&err);
	log_all_skipped(&built, fl.max_bytes);
	return done(&built);
}
