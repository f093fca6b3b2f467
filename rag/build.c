/* build - from a folder of documents to the files of an index; see kolmrag.h and build.h. */
#include "build.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/replace.h"
#include "bin.h"
#include "text.h"
#include "walk.h"

#define EXT_DEFAULT "txt,md,json,html"

enum { TICK_MS = 900 }; /* so that a second never passes in silence */

struct building {
	const struct rag_build *opt;
	struct rag_files files;
	struct rag_terms terms;
	struct rag_writer writer;
	struct buf docs, raw, text, path;
	struct rag_built built;
	uint64_t done, bytes;
	int64_t told_ms;
};

static int64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void tell(struct building *bd, uint64_t of)
{
	int64_t now = clock_ms();

	if (!bd->opt->progress || now - bd->told_ms < TICK_MS)
		return;
	bd->told_ms = now;
	bd->opt->progress(bd->opt->arg, bd->done, of, bd->bytes);
}

static void tell_walk(void *arg, size_t found)
{
	tell(arg, found);
}

static void tell_write(void *arg)
{
	struct building *bd = arg;

	tell(bd, bd->files.n);
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

static int check_memory(const struct building *bd, struct err *err)
{
	uint64_t held = rag_terms_bytes(&bd->terms) + rag_writer_bytes(&bd->writer) + bd->docs.cap +
			bd->raw.cap + bd->text.cap;

	if (bd->opt->mem == 0 || held <= bd->opt->mem)
		return 0;
	return err_set(err, ENOMEM,
		"the index needs more than %llu bytes of memory; allow more or index a smaller "
		"folder",
		(unsigned long long)bd->opt->mem);
}

/* a file that was read becomes a document, unless it has no word */
static int add_document(struct building *bd, const struct rag_file *file, struct err *err)
{
	uint64_t id = bd->built.docs;
	XXH128_canonical_t content;
	uint32_t words;

	buf_reset(&bd->text);
	if (rag_terms_count(&bd->terms, bd->raw.data, bd->raw.len, (uint32_t)id, &words) < 0)
		return err_nomem(err);
	if (words == 0) {
		bd->built.skipped_empty++;
		return 0;
	}
	buf_reset(&bd->path);
	if (rag_decode(bd->raw.data, bd->raw.len, &bd->text) < 0 ||
		rag_put_path(&bd->path, file->path) < 0 ||
		rag_docs_put(&bd->docs, id, bd->opt->root, file->path, words, bd->text.data,
			bd->text.len) < 0)
		return err_nomem(err);
	XXH128_canonicalFromHash(&content, XXH3_128bits(bd->raw.data, bd->raw.len));
	bd->built.docs++;
	struct rag_writer_doc doc = {.path = bd->path.data,
		.path_len = bd->path.len,
		.words = words,
		.text = buf_str(&bd->text),
		.text_len = bd->text.len};

	memcpy(doc.content, content.digest, sizeof(doc.content));
	return rag_writer_doc(&bd->writer, &doc, err);
}

static int add_file(struct building *bd, int rootfd, const struct rag_file *file, struct err *err)
{
	uint64_t max = bd->opt->max_bytes ? bd->opt->max_bytes : RAG_MAX_BYTES_DEFAULT;
	int rc;

	buf_reset(&bd->raw);
	rc = rag_read_below(
		rootfd, file->name, max < RAG_FILE_BYTES_MAX ? max : RAG_FILE_BYTES_MAX, &bd->raw);
	if (rc == -ENOMEM)
		return err_nomem(err);
	if (rc == -EFBIG)
		bd->built.skipped_big++;
	else if (rc == -EINVAL || rc == -ELOOP) /* it was a regular file a moment ago */
		bd->built.skipped_special++;
	else if (rc < 0)
		bd->built.skipped_unreadable++;
	if (rc < 0)
		return 0;
	bd->bytes += bd->raw.len;
	rc = add_document(bd, file, err);
	return rc < 0 ? rc : check_memory(bd, err);
}

static int add_files(struct building *bd, int rootfd, struct err *err)
{
	for (size_t i = 0; i < bd->files.n; i++) {
		int rc = add_file(bd, rootfd, &bd->files.at[i], err);

		if (rc < 0)
			return rc;
		bd->done++;
		tell(bd, bd->files.n);
	}
	return 0;
}

/* takes ${fd} */
static int write_bin(
	struct building *bd, int rootfd, int fd, struct rag_facts *facts, struct err *err)
{
	struct rag_mode mode;
	int rc = rag_mode_find(NULL, NULL, &mode, err);

	if (rc == 0)
		rc = rag_writer_init(&bd->writer, fd, NULL, -1, &mode, err);

	if (rc == 0)
		rc = add_files(bd, rootfd, err);
	if (rc == 0) {
		facts->n_docs = bd->built.docs;
		if (facts->n_docs)
			facts->bm.avgdl =
				(double)bd->writer.header.total_words / (double)facts->n_docs;
		rc = rag_writer_terms(&bd->writer, -1, err);
		if (rc == 0)
			rc = rag_writer_all(&bd->writer, &bd->terms, err);
		if (rc == 0)
			rc = rag_writer_finish(&bd->writer, err);
	}
	if (rc == 0 && fsync(fd) < 0)
		rc = err_sys(err, "cannot write 'index.bin'");
	if (close(fd) < 0 && rc == 0)
		rc = err_sys(err, "cannot write 'index.bin'");
	rag_bin_generation(&bd->writer.header, facts->generation);
	return rc;
}

static int write_all_files(
	struct building *bd, int rootfd, int outdir, struct rag_facts *facts, struct err *err)
{
	int fd, rc;

	fd = openat(outdir, "index.bin", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot create 'index.bin'");
	rc = write_bin(bd, rootfd, fd, facts, err);
	if (rc == 0)
		rc = rag_write_json(outdir, facts, &bd->docs, &bd->terms, tell_write, bd, err);
	if (rc == 0)
		rc = rag_write_manifest(outdir, facts, err);
	if (rc == 0)
		rc = rag_write_state(outdir, facts, err);
	if (rc == 0)
		rc = dir_sync(outdir, err);
	if (rc < 0) {
		unlinkat(outdir, "index.bin", 0);
		unlinkat(outdir, "index.json", 0);
		unlinkat(outdir, "manifest.json", 0);
		unlinkat(outdir, "state.json", 0);
	}
	return rc;
}

static void building_release(struct building *bd)
{
	rag_files_release(&bd->files);
	rag_terms_release(&bd->terms);
	rag_writer_release(&bd->writer);
	buf_release(&bd->docs);
	buf_release(&bd->raw);
	buf_release(&bd->text);
	buf_release(&bd->path);
}

int rag_build(int rootfd, int outdir, const char *index_path, const struct rag_build *opt,
	struct rag_built *out, struct err *err)
{
	struct building bd = {.opt = opt, .told_ms = clock_ms()};
	struct rag_walk walk = {.ext = opt->ext ? opt->ext : EXT_DEFAULT,
		.max_files = opt->max_files,
		.tick = tell_walk,
		.arg = &bd};
	struct rag_facts facts = {.name = opt->name,
		.root = opt->root,
		.created_at = opt->created_at,
		.index_path = index_path};
	char now[TIME_TEXT_BYTES];
	int rc = rag_name_check(opt->name, strlen(opt->name), err);

	if (rc < 0)
		return rc;
	if (walk.max_files == 0)
		walk.max_files = RAG_FILES_MAX;
	if (!facts.created_at)
		facts.created_at = time_text(time_now(), now);
	facts.bm = (struct rag_bm25){.k1 = RAG_K1, .b = RAG_B};
	rc = rag_walk(rootfd, &walk, &bd.files, err);
	if (rc == 0 && bd.files.n == 0)
		rc = no_files(walk.ext, err);
	bd.built.skipped_special = bd.files.special;
	if (rc == 0)
		rc = write_all_files(&bd, rootfd, outdir, &facts, err);
	if (rc == 0) {
		bd.built.bytes = facts.bytes;
		bd.built.avgdl = facts.bm.avgdl;
		memcpy(bd.built.sha256, facts.sha256, sizeof(bd.built.sha256));
		*out = bd.built;
	}
	building_release(&bd);
	return rc;
}
