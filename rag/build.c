/* build - from a folder of documents to the files of an index; see kolmrag.h and building.h. */
#include "building.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/replace.h"
#include "index.h"
#include "tokenize.h"

#define EXT_DEFAULT "txt,md,json,html"

static void tell_walk(void *arg, size_t found)
{
	struct rag_building *bd = arg;

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

int rag_building_open(struct rag_building *bd, int dirfd, struct err *err)
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

bool rag_building_alike(const struct rag_building *bd, const struct rag_part *part)
{
	const struct rag_bin_header *h = part->bin->header;

	return strcmp(h->analyser, bd->mode.analyser) == 0 && h->k1 == bd->mode.k1 &&
	       h->b == bd->mode.b && h->zstd_version == bd->writer.header.zstd_version;
}

int rag_building_room(struct rag_building *bd, size_t n)
{
	bd->parts = calloc(n, sizeof(*bd->parts));
	bd->indexes = calloc(n, sizeof(struct rag_index *));
	return bd->parts && bd->indexes ? 0 : -ENOMEM;
}

/* the index before, if it can be of use */
static void use_prev(struct rag_building *bd)
{
	if (!bd->opt->has_prev || rag_building_room(bd, 1) < 0 ||
		rag_building_open(bd, bd->opt->prev, NULL) == 0)
		return;
	if (rag_building_alike(bd, &bd->parts[0]))
		bd->work.prev = &bd->parts[0];
}

/* ---- terms ---- */

/* how many words of document ${doc} come before this one: its first document is gone, and this one
 * is now the first */
static int rank_in(void *arg, uint32_t doc, const char *word, size_t len, uint32_t *rank)
{
	struct rag_building *bd = arg;
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

static size_t count_runs(const struct rag_building *bd)
{
	size_t n = bd->n_parts;

	for (size_t i = 0; i < bd->n_workers; i++)
		n += bd->workers[i].runs.len / sizeof(uint64_t);
	return n;
}

static int open_runs(struct rag_building *bd, struct rag_run *runs, struct err *err)
{
	size_t n = 0;

	for (size_t p = 0; p < bd->n_parts; p++)
		if (rag_run_bin(&runs[n++], bd->parts[p].bin, bd->parts[p].map,
			    (size_t)bd->parts[p].bin->header->n_docs) < 0)
			return rag_bin_what(bd->parts[p].bin, err);
	for (size_t i = 0; i < bd->n_workers; i++) {
		struct rag_worker *wr = &bd->workers[i];
		const uint64_t *ends = (const uint64_t *)(const void *)wr->runs.data;
		const void *data;
		uint64_t from = 0;
		int rc = rag_spool_map(&wr->spool, &data, err);

		if (rc < 0)
			return rc;
		for (size_t r = 0; r < wr->runs.len / sizeof(*ends); from = ends[r++])
			rag_run_bytes(&runs[n++], (const uint8_t *)data + from,
				(size_t)(ends[r] - from),
				(const uint32_t *)(const void *)wr->map.data,
				wr->map.len / sizeof(uint32_t));
	}
	return 0;
}

static int write_terms(struct rag_building *bd, struct err *err)
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

/* pairs that the lists will have, at the least */
static uint64_t count_pairs(const struct rag_building *bd)
{
	uint64_t n = 0;

	for (size_t i = 0; i < bd->n_workers; i++)
		n += bd->workers[i].n_pairs;
	for (size_t p = 0; p < bd->n_parts && bd->n_workers == 0; p++)
		n += bd->parts[p].bin->header->n_pairs;
	return n;
}

static int write_bin(struct rag_building *bd, int outdir, int fd, struct err *err)
{
	struct rag_facts *f = &bd->facts;
	int rc = rag_writer_terms(&bd->writer, -1, err);

	f->n_docs = bd->writer.header.n_docs;
	f->bm = bd->writer.bm;
	if (rc == 0 && !bd->mode.split && rag_json_fits(f->n_docs, count_pairs(bd)))
		rc = rag_json_begin(&bd->json, outdir, f, &bd->writer, &bd->docs.sources, fd, err);
	if (rc == 0)
		rc = write_terms(bd, err);
	if (rc == 0)
		rc = rag_writer_finish(&bd->writer, err);
	if (rc == 0)
		rc = rag_seal(fd, "index.bin", f, err);
	rag_bin_generation(&bd->writer.header, f->generation);
	return rc;
}

/* the rest of index.json, from the index.bin just written. 1, or 0: there is none */
static int write_json(struct rag_building *bd, int fd, struct err *err)
{
	size_t len = (size_t)bd->facts.bytes;
	struct rag_bin bin = {0};
	void *map;
	int rc;

	if (!bd->json.is_open)
		return 0;
	map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return err_sys(err, "cannot map 'index.bin'");
	rc = rag_bin_open(map, len, false, &bin, err);
	if (rc == 0)
		rc = rag_json_end(&bd->json, &bd->facts, &bin, tell, bd, err);
	rag_bin_close(&bin);
	munmap(map, len);
	return rc;
}

static int write_papers(struct rag_building *bd, int outdir, int fd, struct err *err)
{
	struct rag_facts *f = &bd->facts;
	int rc = write_json(bd, fd, err);

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

int rag_building_run(struct rag_building *bd, int outdir, rag_collect *docs, struct rag_built *out,
	struct err *err)
{
	int fd, rc;

	fd = openat(outdir, "index.bin", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot create 'index.bin'");
	rc = rag_writer_init(&bd->writer, fd, NULL, outdir, &bd->mode, err);
	rag_docs_init(&bd->docs, &bd->writer, outdir);
	if (rc == 0)
		rc = docs(bd, err);
	if (rc == 0)
		rc = write_bin(bd, outdir, fd, err);
	if (rc == 0)
		rc = write_papers(bd, outdir, fd, err);
	rag_json_release(&bd->json);
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

struct rag_building *rag_building_new(
	const struct rag_build *opt, const char *index_path, int outdir, struct err *err)
{
	struct rag_building *bd = calloc(1, sizeof(*bd));
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
		.max_bytes = opt->max_bytes ? opt->max_bytes : RAG_MAX_BYTES_DEFAULT,
		.mem = opt->mem ? opt->mem : RAG_MEM_DEFAULT};
	bd->n_workers = opt->threads ? opt->threads : 1;
	if (bd->n_workers > RAG_THREADS_MAX)
		bd->n_workers = RAG_THREADS_MAX;
	bd->work = (struct rag_work){.opt = opt,
		.mode = &bd->mode,
		.docs = &bd->docs,
		.tmpfd = outdir,
		.max_bytes = opt->max_bytes ? opt->max_bytes : RAG_MAX_BYTES_DEFAULT,
		.told_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000};
	if (bd->work.max_bytes > RAG_FILE_BYTES_MAX)
		bd->work.max_bytes = RAG_FILE_BYTES_MAX;
	bd->sources.made_sec = time_now() / 1000;
	bd->sources.max_bytes = bd->work.max_bytes;
	return bd;
}

void rag_building_free(struct rag_building *bd)
{
	if (!bd)
		return;
	rag_workers_release(&bd->work, bd->workers, bd->n_workers);
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

/* what the names take: those of the files, and of the files of the index before */
static uint64_t names_bytes(const struct rag_building *bd)
{
	enum { FILE_BYTES = 36, PREV_BYTES = 32 }; /* beside the name itself */
	uint64_t n = bd->work.n_files * (uint64_t)FILE_BYTES;

	for (size_t i = 0; i < bd->work.n_files; i++)
		n += strlen(bd->work.files[i].name);
	return n + (bd->work.prev ? bd->work.prev->sources.n * PREV_BYTES : 0);
}

static int collect_files(struct rag_building *bd, struct err *err)
{
	use_prev(bd);
	rag_budget_share(bd->facts.mem, bd->n_workers, names_bytes(bd), &bd->work.budget);
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
	struct rag_building *bd;
	int rc = rag_name_check(opt->name, strlen(opt->name), err);

	if (rc < 0)
		return rc;
	bd = rag_building_new(opt, index_path, outdir, err);
	if (!bd)
		return -ENOMEM;
	if (!opt->created_at)
		bd->facts.created_at = time_text(time_now(), now);
	bd->work.rootfd = rootfd;
	rc = rag_mode_find(opt->mode, opt->lang, &bd->mode, err);
	bd->mode.pdf = opt->pdf;
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
		rc = rag_building_run(bd, outdir, collect_files, out, err);
	rag_building_free(bd);
	rag_files_release(&files);
	return rc;
}
