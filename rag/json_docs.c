/*
 * json_docs - the first half of index.json, its head and documents, by a thread of its own: it is
 * written while the lists of index.bin are merged, from the texts that index.bin has already.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "build.h"
#include "docs.h"
#include "text.h"

/* "[0,1]," is as short as a pair gets, and no document is shorter than its keys */
enum { PAIR_BYTES = 6, ITEM_BYTES = 40 };

bool rag_json_fits(uint64_t docs, uint64_t pairs)
{
	return docs * ITEM_BYTES + pairs * PAIR_BYTES <= RAG_JSON_BYTES_MAX;
}

static const char *root_joint(const char *root)
{
	size_t len = strlen(root);

	return len && root[len - 1] == '/' ? "" : "/";
}

/* one more item */
static void put_item(
	struct rag_json *js, uint64_t id, const char *file, const char *text, size_t len)
{
	const char *root = js->facts->root;
	struct buf *bf = &js->out.bf, *part = &js->part;

	buf_puts(bf, id ? ",{\"id\":" : "{\"id\":");
	rag_put_whole(bf, id);
	buf_puts(bf, ",\"path\":");
	buf_reset(part);
	rag_put_path(part, file);
	rag_put_json(bf, buf_str(part), part->len);
	buf_reset(part);
	buf_puts(part, root);
	buf_puts(part, root_joint(root));
	buf_puts(part, file);
	buf_puts(bf, ",\"abs\":");
	rag_put_json(bf, buf_str(part), part->len);
	buf_puts(bf, ",\"len\":");
	rag_put_whole(bf, js->docs.lens[id]);
	buf_reset(part);
	rag_slice(text, len, 0, RAG_PREVIEW_UNITS, part);
	buf_puts(bf, ",\"preview\":");
	rag_put_json(bf, buf_str(part), part->len);
	buf_putc(bf, '}');
	bf->failed |= part->failed;
}

static void put_head(struct buf *bf, const struct rag_facts *f)
{
	buf_puts(bf, "{\"spec\":\"" RAG_SPEC "\",\"name\":");
	rag_put_text(bf, f->name);
	buf_puts(bf, ",\"created_at\":");
	rag_put_text(bf, f->created_at);
	buf_puts(bf, ",\"root\":");
	rag_put_text(bf, f->root);
	buf_puts(bf, ",\"n_docs\":");
	rag_put_whole(bf, f->n_docs);
	buf_puts(bf, ",\"avgdl\":");
	rag_put_real(bf, f->bm.avgdl);
	buf_puts(bf, ",\"k1\":");
	rag_put_real(bf, f->bm.k1);
	buf_puts(bf, ",\"b\":");
	rag_put_real(bf, f->bm.b);
	buf_puts(bf, ",\"docs\":[");
}

/* the documents of one file */
static int put_file(struct rag_json *js, const struct rag_source *src, struct buf *file,
	struct rag_unpacked *up, struct err *err)
{
	const char *text;
	size_t len;
	int rc = 0;

	buf_reset(file);
	if (rag_decode(rag_source_name(src), src->name_len, file) < 0)
		return err_nomem(err);
	for (uint32_t d = src->first_doc; rc == 0 && d < src->first_doc + src->n_docs; d++) {
		rc = rag_bin_text_kept(&js->docs, d, up, &text, &len);
		if (rc < 0)
			return rc == -ENOMEM ? err_nomem(err) : rag_bin_what(&js->docs, err);
		put_item(js, d, buf_str(file), text, len);
		rc = rag_out_flush_some(&js->out, err);
	}
	return rc;
}

static int put_docs(struct rag_json *js, struct err *err)
{
	struct rag_sources_it it = {.at = js->sources, .left = js->sources_len};
	struct rag_unpacked up = {.frame = 0};
	const struct rag_source *src;
	struct buf file = BUF_INIT;
	int rc = 0;

	put_head(&js->out.bf, js->facts);
	while (rc == 0 && (src = rag_sources_next(&it)))
		rc = put_file(js, src, &file, &up, err);
	buf_release(&file);
	buf_release(&up.text);
	return rc;
}

static void *docs_main(void *arg)
{
	struct rag_json *js = arg;

	/* the disk begins with what there is of index.bin: fsync() will have less to wait for */
	(void)sync_file_range(js->binfd, 0, (off_t)js->map_len, SYNC_FILE_RANGE_WRITE);
	js->rc = put_docs(js, &js->err);
	return NULL;
}

static int start(
	struct rag_json *js, struct rag_writer *w, struct rag_spool *sources, struct err *err)
{
	const void *data;
	int rc = rag_writer_docs(w, &js->map_len, err);

	if (rc == 0)
		rc = rag_spool_map(sources, &data, err);
	if (rc < 0)
		return rc;
	js->sources = data;
	js->sources_len = (size_t)sources->len;
	js->map = mmap(NULL, js->map_len, PROT_READ, MAP_SHARED, js->binfd, 0);
	if (js->map == MAP_FAILED) {
		js->map = NULL;
		return err_sys(err, "cannot map 'index.bin'");
	}
	rag_writer_view(w, js->map, &js->docs);
	js->docs.unpacker = &js->unpacker;
	rc = rag_out_begin(&js->out, err);
	if (rc < 0)
		return rc;
	if (pthread_create(&js->thread, NULL, docs_main, js) != 0)
		return err_set(err, EAGAIN, "cannot start a thread");
	js->is_running = true;
	return 0;
}

int rag_json_begin(struct rag_json *js, int dirfd, const struct rag_facts *facts,
	struct rag_writer *w, struct rag_spool *sources, int binfd, struct err *err)
{
	*js = (struct rag_json){.dirfd = dirfd, .binfd = binfd, .facts = facts};
	js->out.fd = openat(
		dirfd, "index.json", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (js->out.fd < 0)
		return err_sys(err, "cannot create 'index.json'");
	js->is_open = true;
	rag_keys_init(&js->keys, facts->mem / 2, dirfd);
	w->keys = &js->keys;
	return start(js, w, sources, err);
}

int rag_json_docs(struct rag_json *js, struct err *err)
{
	if (!js->is_running)
		return 0;
	pthread_join(js->thread, NULL);
	js->is_running = false;
	if (js->rc < 0 && err)
		*err = js->err;
	return js->rc;
}

void rag_json_release(struct rag_json *js)
{
	rag_json_docs(js, NULL);
	if (!js->is_open)
		return;
	rag_out_end(&js->out, NULL);
	rag_out_release(&js->out);
	close(js->out.fd);
	if (js->map)
		munmap(js->map, js->map_len);
	ZSTD_freeDCtx(atomic_load(&js->unpacker));
	buf_release(&js->part);
	rag_keys_release(&js->keys);
	js->is_open = false;
}
