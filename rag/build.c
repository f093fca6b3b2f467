/* build - from a folder of documents, or from the parts of an index, to the files of an index; see
 * kolmrag.h and build.h. */
#include "build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/num.h"
#include "base/replace.h"
#include "index.h"
#include "text.h"
#include "tokenize.h"
#include "work.h"

#define EXT_DEFAULT "txt,md,json,html"

struct building {
	const struct rag_build *opt;
	struct rag_mode mode;
	struct rag_facts facts;
	struct rag_writer writer;
	struct rag_docs docs;
	struct rag_work work;
	struct rag_worker workers[RAG_THREADS_MAX];
	size_t n_workers;
	struct rag_part *parts;	    /* owned: older indexes that documents are taken from */
	struct rag_index **indexes; /* owned: theirs */
	size_t n_parts;
	struct buf frame; /* room of rank_in */
	struct rag_sources_head sources;
};

static void tell_walk(void *arg, size_t found)
{
	struct building *bd = arg;

	(void)found;
	rag_work_tell(&bd->work);
}

static void tell(void *arg)
{
	tell_walk(arg, 0);
}

static int no_files(const char *ext, struct err *err)
{
	struct buf list = BUF_INIT;
	int rc;

	for (const char *p = ext; *p; p++) {
		if (*p == ',')
			buf_puts(&list, ", ");
		else if (*p != '.' || (p != ext && p[-1] != ','))
			buf_putc(&list, *p);
	}
	rc = err_set(err, ENODATA, "no files matched (%s)", list.len ? buf_str(&list) : "any name");
	buf_release(&list);
	return rc;
}

/* ---- older indexes ---- */

/* one more; its sources are needed too. 1; 0 it cannot be used */
static int part_open(struct building *bd, int dirfd, struct err *err)
{
	struct rag_part *part = &bd->parts[bd->n_parts];
	struct rag_index *ix;
	size_t n;

	*part = (struct rag_part){0};
	if (rag_load(dirfd, "part", false, &ix, err) < 0)
		return 0;
	n = (size_t)ix->bin.header->n_docs;
	part->bin = &ix->bin;
	part->map = malloc((n + 1) * sizeof(*part->map));
	if (!part->map || ix->is_live ||
		rag_sources_open(dirfd, ix->bin.header->generation, &part->sources) < 0) {
		err_set(err, EUCLEAN, "it has no sources.bin of its own");
		free(part->map);
		rag_close(ix);
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		part->map[i] = RAG_NO_DOC;
	bd->indexes[bd->n_parts++] = ix;
	return 1;
}

/* an index that the same program would make of the same texts */
static bool is_alike(const struct building *bd, const struct rag_part *part)
{
	const struct rag_bin_header *h = part->bin->header;

	return strcmp(h->analyser, bd->mode.analyser) == 0 && h->k1 == bd->mode.k1 &&
	       h->b == bd->mode.b && h->zstd_version == bd->writer.header.zstd_version;
}

static int parts_room(struct building *bd, size_t n)
{
	bd->parts = calloc(n, sizeof(*bd->parts));
	bd->indexes = calloc(n, sizeof(struct rag_index *));
	return bd->parts && bd->indexes ? 0 : -ENOMEM;
}

/* the index before, if it can be of use */
static void use_prev(struct building *bd)
{
	if (!bd->opt->has_prev || parts_room(bd, 1) < 0 || part_open(bd, bd->opt->prev, NULL) == 0)
		return;
	if (is_alike(bd, &bd->parts[0]))
		bd->work.prev = &bd->parts[0];
}

/* ---- terms ---- */

/* how many words of document ${doc} come before this one: its first document is gone, and this one
 * is now the first */
static int rank_in(void *arg, uint32_t doc, const char *word, size_t len, uint32_t *rank)
{
	struct building *bd = arg;
	struct rag_terms seen = RAG_TERMS_INIT;
	struct rag_words ws;
	uint32_t index;
	const char *text;
	size_t text_len;
	int rc = -EUCLEAN;

	for (size_t p = 0; p < bd->n_parts; p++) {
		const struct rag_part *part = &bd->parts[p];
		uint32_t low = 0, high = (uint32_t)part->bin->header->n_docs;

		for (; low < high; low++)
			if (part->map[low] == doc)
				break;
		if (low == high || rag_bin_text(part->bin, low, &bd->frame, &text, &text_len) < 0)
			continue;
		rag_words_init(&ws, text, text_len);
		while (rag_words_next(&ws) &&
			!(ws.word_len == len && memcmp(ws.word, word, len) == 0))
			if (rag_terms_add(&seen, ws.word, ws.word_len, &index) < 0)
				break;
		*rank = (uint32_t)seen.n;
		rc = 0;
		break;
	}
	rag_terms_release(&seen);
	return rc;
}

static size_t count_runs(const struct building *bd)
{
	size_t n = bd->n_parts;

	for (size_t i = 0; i < bd->n_workers; i++)
		n += bd->workers[i].runs.len / sizeof(struct rag_spool);
	return n;
}

static int open_runs(struct building *bd, struct rag_run *runs, struct err *err)
{
	size_t n = 0;

	for (size_t p = 0; p < bd->n_parts; p++)
		if (rag_run_bin(&runs[n++], bd->parts[p].bin, bd->parts[p].map,
			    (size_t)bd->parts[p].bin->header->n_docs) < 0)
			return rag_bin_what(bd->parts[p].bin, err);
	for (size_t i = 0; i < bd->n_workers; i++) {
		struct rag_worker *wr = &bd->workers[i];
		struct rag_spool *spools = (struct rag_spool *)(void *)wr->runs.data;

		for (size_t r = 0; r < wr->runs.len / sizeof(*spools); r++) {
			const void *data;
			int rc = rag_spool_map(&spools[r], &data, err);

			if (rc < 0)
				return rc;
			rag_run_bytes(&runs[n++], data, (size_t)spools[r].len,
				(const uint32_t *)(const void *)wr->map.data,
				wr->map.len / sizeof(uint32_t));
		}
	}
	return 0;
}

static int write_terms(struct building *bd, struct err *err)
{
	struct rag_merge mg = {.n = count_runs(bd),
		.writer = &bd->writer,
		.rank_in = bd->mode.split ? NULL : rank_in,
		.tick = tell,
		.arg = bd};
	int rc;

	mg.runs = malloc((mg.n + 1) * sizeof(*mg.runs));
	if (!mg.runs)
		return err_nomem(err);
	rc = open_runs(bd, mg.runs, err);
	if (rc == 0)
		rc = rag_merge(&mg, err);
	if (rc == -EUCLEAN && bd->n_parts && (!err || err->no == 0))
		rc = rag_bin_what(bd->parts[0].bin, err);
	free(mg.runs);
	return rc;
}

/* ---- files ---- */

static int write_bin(struct building *bd, int fd, struct err *err)
{
	struct rag_facts *f = &bd->facts;
	int rc = rag_writer_terms(&bd->writer, -1, err);

	if (rc == 0)
		rc = write_terms(bd, err);
	if (rc == 0)
		rc = rag_writer_finish(&bd->writer, err);
	if (rc == 0)
		rc = rag_seal(fd, "index.bin", f, err);
	f->n_docs = bd->writer.header.n_docs;
	f->bm = bd->writer.bm;
	rag_bin_generation(&bd->writer.header, f->generation);
	return rc;
}

/* index.json, from the index.bin just written. 1, or 0: there is none */
static int write_json(struct building *bd, int outdir, int fd, struct err *err)
{
	size_t len = (size_t)bd->facts.bytes;
	struct rag_bin bin = {0};
	void *map;
	int rc;

	if (!bd->docs.has_json)
		return 0;
	map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return err_sys(err, "cannot map 'index.bin'");
	rc = rag_bin_open(map, len, false, &bin, err);
	if (rc == 0)
		rc = rag_write_json(outdir, &bd->facts, &bd->docs.json, &bin, tell, bd, err);
	rag_bin_close(&bin);
	munmap(map, len);
	return rc;
}

static int write_papers(struct building *bd, int outdir, int fd, struct err *err)
{
	struct rag_facts *f = &bd->facts;
	int rc = write_json(bd, outdir, fd, err);

	f->has_json = rc == 1;
	if (rc == 0)
		rc = sha256_fd(fd, 0, f->bytes, f->sha256, err);
	bd->sources.n_files = bd->docs.n_sources;
	memcpy(bd->sources.generation, bd->writer.header.generation,
		sizeof(bd->sources.generation));
	memcpy(bd->sources.analyser, bd->mode.analyser, sizeof(bd->sources.analyser));
	if (rc >= 0)
		rc = rag_sources_write(outdir, &bd->sources, &bd->docs.sources, err);
	if (rc == 0)
		rc = rag_write_manifest(outdir, f, err);
	if (rc == 0)
		rc = rag_write_state(outdir, f, err);
	return rc < 0 ? rc : dir_sync(outdir, err);
}

static void sweep(int outdir)
{
	static const char *const names[] = {
		"index.bin", "index.json", "manifest.json", "state.json", "sources.bin"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlinkat(outdir, names[i], 0);
}

typedef int collect(struct building *bd, void *arg, struct err *err);

/* the documents come from ${docs}; then all files of the index are written */
static int make_index(struct building *bd, int outdir, collect *docs, void *arg,
	struct rag_built *out, struct err *err)
{
	int fd, rc;

	fd = openat(outdir, "index.bin", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot create 'index.bin'");
	rc = rag_writer_init(&bd->writer, fd, NULL, outdir, &bd->mode, err);
	rag_docs_init(&bd->docs, &bd->writer, bd->facts.root, bd->mode.split == NULL, outdir);
	if (rc == 0)
		rc = docs(bd, arg, err);
	if (rc == 0)
		rc = write_bin(bd, fd, err);
	if (rc == 0)
		rc = write_papers(bd, outdir, fd, err);
	if (close(fd) < 0 && rc == 0)
		rc = err_sys(err, "cannot write 'index.bin'");
	if (rc < 0) {
		sweep(outdir);
		return rc;
	}
	*out = bd->work.built;
	out->docs = bd->facts.n_docs;
	out->bytes = bd->facts.bytes;
	out->avgdl = bd->facts.bm.avgdl;
	memcpy(out->sha256, bd->facts.sha256, sizeof(out->sha256));
	return 0;
}

static struct building *building_new(
	const struct rag_build *opt, const char *index_path, int outdir, struct err *err)
{
	struct building *bd = calloc(1, sizeof(*bd));
	uint64_t mem = opt->mem ? opt->mem : RAG_MEM_DEFAULT;
	struct timespec now;

	if (!bd) {
		err_nomem(err);
		return NULL;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	bd->opt = opt;
	bd->facts = (struct rag_facts){.name = opt->name,
		.root = opt->root,
		.created_at = opt->created_at,
		.index_path = index_path,
		.mode = &bd->mode,
		.ext = opt->ext ? opt->ext : EXT_DEFAULT,
		.max_bytes = opt->max_bytes ? opt->max_bytes : RAG_MAX_BYTES_DEFAULT};
	bd->n_workers = opt->threads ? opt->threads : 1;
	if (bd->n_workers > RAG_THREADS_MAX)
		bd->n_workers = RAG_THREADS_MAX;
	bd->work = (struct rag_work){.opt = opt,
		.mode = &bd->mode,
		.docs = &bd->docs,
		.tmpfd = outdir,
		.max_bytes = opt->max_bytes ? opt->max_bytes : RAG_MAX_BYTES_DEFAULT,
		.table_bytes = (size_t)(mem / 2 / bd->n_workers),
		.told_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000};
	if (bd->work.max_bytes > RAG_FILE_BYTES_MAX)
		bd->work.max_bytes = RAG_FILE_BYTES_MAX;
	bd->sources.made_sec = time_now() / 1000;
	bd->sources.max_bytes = bd->work.max_bytes;
	return bd;
}

static void building_free(struct building *bd)
{
	if (!bd)
		return;
	rag_workers_release(bd->workers, bd->n_workers);
	rag_docs_release(&bd->docs);
	rag_writer_release(&bd->writer);
	for (size_t i = 0; i < bd->n_parts; i++) {
		rag_sources_release(&bd->parts[i].sources);
		free(bd->parts[i].map);
		rag_close(bd->indexes[i]);
	}
	free(bd->parts);
	free(bd->indexes);
	buf_release(&bd->frame);
	free(bd);
}

static int collect_files(struct building *bd, void *arg, struct err *err)
{
	(void)arg;
	use_prev(bd);
	return rag_work_run(&bd->work, bd->workers, bd->n_workers, err);
}

/* the files of a shard: all shards together have all, in order */
static void cut_shard(
	struct rag_work *wk, const struct rag_build *opt, const struct rag_files *files)
{
	size_t from = 0, to = files->n;

	if (opt->shards) {
		from = (size_t)((unsigned __int128)files->n * (opt->shard - 1) / opt->shards);
		to = (size_t)((unsigned __int128)files->n * opt->shard / opt->shards);
	}
	wk->files = files->at + from;
	wk->n_files = to - from;
}

int rag_build(int rootfd, int outdir, const char *index_path, const struct rag_build *opt,
	struct rag_built *out, struct err *err)
{
	struct rag_files files = {0};
	char now[TIME_TEXT_BYTES];
	struct building *bd;
	int rc = rag_name_check(opt->name, strlen(opt->name), err);

	if (rc < 0)
		return rc;
	bd = building_new(opt, index_path, outdir, err);
	if (!bd)
		return -ENOMEM;
	if (!opt->created_at)
		bd->facts.created_at = time_text(time_now(), now);
	bd->work.rootfd = rootfd;
	rc = rag_mode_find(opt->mode, opt->lang, &bd->mode, err);
	if (rc == 0)
		rc = rag_walk(rootfd,
			&(struct rag_walk){.ext = opt->ext ? opt->ext : EXT_DEFAULT,
				.max_files = opt->max_files ? opt->max_files : RAG_FILES_MAX,
				.tick = tell_walk,
				.arg = bd},
			&files, err);
	if (rc == 0 && files.n == 0)
		rc = no_files(opt->ext ? opt->ext : EXT_DEFAULT, err);
	bd->work.built.skipped_special = files.special;
	bd->work.built.skipped_unreadable = files.unreadable;
	bd->work.built.skipped_mounts = files.mounts;
	cut_shard(&bd->work, opt, &files);
	if (rc == 0)
		rc = make_index(bd, outdir, collect_files, NULL, out, err);
	building_free(bd);
	rag_files_release(&files);
	return rc;
}

/* ---- parts ---- */

int rag_shard_parse(const char *text, unsigned *shard, unsigned *shards, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	const char *slash = strchr(text, '/');
	int64_t i, n;

	if (!slash || num_whole(text, (size_t)(slash - text), 1, RAG_SHARDS_MAX, &i) < 0 ||
		num_whole(slash + 1, strlen(slash + 1), 1, RAG_SHARDS_MAX, &n) < 0 || i > n)
		return err_set(err, EINVAL, "shard: '%s' is not I/N, 1 <= I <= N <= %d",
			err_quote(quoted, text, strlen(text)), RAG_SHARDS_MAX);
	*shard = (unsigned)i;
	*shards = (unsigned)n;
	return 0;
}

struct joining {
	const int *fds;
	size_t n;
};

/* the first name of a part; "" of an empty one */
static const char *first_name(const struct rag_part *part)
{
	return part->sources.n ? rag_source_name(part->sources.files[0]) : "";
}

static int part_compare(const void *a, const void *b)
{
	return rag_path_compare(first_name(a), first_name(b));
}

static int join_part(struct building *bd, struct rag_part *part, const char **last, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];

	for (size_t i = 0; i < part->sources.n; i++) {
		struct rag_source src = *part->sources.files[i];
		const char *name = rag_source_name(part->sources.files[i]);
		uint32_t first = src.first_doc;
		struct buf path = BUF_INIT;
		int rc = 0;

		if (*last && rag_path_compare(*last, name) >= 0)
			return err_set(err, EINVAL, "the parts overlap at '%s'",
				err_quote(quoted, name, strlen(name)));
		*last = name;
		if (rag_decode(name, strlen(name), &path) < 0)
			rc = err_nomem(err);
		src.first_doc = rag_docs_next(&bd->docs);
		for (uint32_t d = 0; rc == 0 && d < src.n_docs; d++)
			rc = rag_docs_old(&bd->docs, part, first + d,
				strcmp(buf_str(&path), name) == 0 ? name : buf_str(&path), err);
		/* a decoded path does not stay */
		if (rc == 0 && strcmp(buf_str(&path), name) != 0)
			rc = rag_docs_end(&bd->docs, err);
		buf_release(&path);
		if (rc == 0)
			rc = rag_docs_source(&bd->docs, &src, name, err);
		bd->work.done++;
		rag_work_tell(&bd->work);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int collect_parts(struct building *bd, void *arg, struct err *err)
{
	const char *last = NULL;
	int rc = 0;

	(void)arg;
	for (size_t i = 0; rc == 0 && i < bd->n_parts; i++)
		rc = join_part(bd, &bd->parts[i], &last, err);
	return rc < 0 ? rc : rag_docs_end(&bd->docs, err);
}

/* mode, root and time of the parts; the oldest time, so that all of them would have seen a change
 */
static int agree(struct building *bd, const struct joining *jn, struct err *err)
{
	const struct rag_build *opt = bd->opt;
	int rc = 0;

	for (size_t i = 0; i < jn->n; i++) {
		if (part_open(bd, jn->fds[i], err) == 0)
			return err_prefix(err, "part %zu: ", i + 1);
		bd->work.n_files += bd->parts[i].sources.n;
		if (bd->parts[i].sources.head->made_sec < bd->sources.made_sec)
			bd->sources.made_sec = bd->parts[i].sources.head->made_sec;
	}
	rc = rag_mode_of(bd->parts[0].bin->header->analyser, &bd->mode, err);
	bd->writer.header.zstd_version = bd->parts[0].bin->header->zstd_version;
	for (size_t i = 0; rc == 0 && i < jn->n; i++) {
		if (!is_alike(bd, &bd->parts[i]))
			rc = err_set(err, EINVAL,
				"part %zu was made in another mode or language, or by another "
				"version",
				i + 1);
		else if (!opt->root && strcmp(bd->indexes[i]->root, bd->indexes[0]->root) != 0)
			rc = err_set(err, EINVAL, "part %zu is of another folder", i + 1);
	}
	if (!opt->root)
		bd->facts.root = bd->indexes[0]->root;
	bd->sources.max_bytes = bd->parts[0].sources.head->max_bytes;
	if (bd->indexes[0]->ext)
		bd->facts.ext = bd->indexes[0]->ext;
	bd->facts.max_bytes = bd->sources.max_bytes;
	return rc;
}

int rag_join(const int *fds, size_t n, int outdir, const char *index_path,
	const struct rag_build *opt, struct rag_built *out, struct err *err)
{
	struct joining jn = {.fds = fds, .n = n};
	char now[TIME_TEXT_BYTES];
	struct building *bd;
	int rc = rag_name_check(opt->name, strlen(opt->name), err);

	if (rc < 0)
		return rc;
	bd = building_new(opt, index_path, outdir, err);
	if (!bd)
		return -ENOMEM;
	bd->n_workers = 0;
	if (!opt->created_at)
		bd->facts.created_at = time_text(time_now(), now);
	rc = parts_room(bd, n) < 0 ? err_nomem(err) : agree(bd, &jn, err);
	if (rc == 0) {
		qsort(bd->parts, n, sizeof(*bd->parts), part_compare);
		rc = make_index(bd, outdir, collect_parts, NULL, out, err);
	}
	building_free(bd);
	return rc;
}
