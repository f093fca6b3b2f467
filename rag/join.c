/* join - the shards of an index to one index, as if it had been built at once; see kolmrag.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/replace.h"
#include "building.h"
#include "index.h"
#include "text.h"

/* the first name of a part; "" of an empty one */
static const char *first_name(const struct rag_part *part)
{
	return part->sources.n ? rag_source_name(part->sources.files[0]) : "";
}

static int part_compare(const void *a, const void *b)
{
	return rag_path_compare(first_name(a), first_name(b));
}

static int join_part(
	struct rag_building *bd, struct rag_part *part, const char **last, struct err *err)
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

static int collect_parts(struct rag_building *bd, struct err *err)
{
	const char *last = NULL;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < bd->n_parts; i++)
		rc = join_part(bd, &bd->parts[i], &last, err);
	return rc < 0 ? rc : rag_docs_end(&bd->docs, err);
}

/* an update of the whole walks the folder anew by the first part's rules */
static bool same_rules(struct rag_building *bd, size_t i)
{
	const char *a = bd->indexes[0]->ext, *b = bd->indexes[i]->ext;

	return bd->parts[i].sources.head->max_bytes == bd->parts[0].sources.head->max_bytes &&
	       (!a || !b || strcmp(a, b) == 0);
}

/* mode, root and time of the parts; the oldest time, so that all of them would have seen a change
 */
static int agree(struct rag_building *bd, const int *fds, size_t n, struct err *err)
{
	const struct rag_build *opt = bd->opt;
	int rc = 0;

	for (size_t i = 0; i < n; i++) {
		if (rag_building_open(bd, fds[i], err) == 0)
			return err_prefix(err, "part %zu: ", i + 1);
		bd->work.n_files += bd->parts[i].sources.n;
		if (bd->parts[i].sources.head->made_sec < bd->sources.made_sec)
			bd->sources.made_sec = bd->parts[i].sources.head->made_sec;
	}
	rc = rag_mode_of(bd->parts[0].bin->header->analyser, &bd->mode, err);
	bd->writer.header.zstd_version = bd->parts[0].bin->header->zstd_version;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (!rag_building_alike(bd, &bd->parts[i]))
			rc = err_set(err, EINVAL,
				"part %zu was made in another mode or language, or by another "
				"version",
				i + 1);
		else if (!opt->root && strcmp(bd->indexes[i]->root, bd->indexes[0]->root) != 0)
			rc = err_set(err, EINVAL, "part %zu is of another folder", i + 1);
		else if (!same_rules(bd, i))
			rc = err_set(err, EINVAL, "part %zu was made with other ext or max-bytes",
				i + 1);
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
	char now[TIME_TEXT_BYTES];
	struct rag_building *bd;
	int rc = rag_name_check(opt->name, strlen(opt->name), err);

	if (rc < 0)
		return rc;
	bd = rag_building_new(opt, index_path, outdir, err);
	if (!bd)
		return -ENOMEM;
	bd->n_workers = 0;
	if (!opt->created_at)
		bd->facts.created_at = time_text(time_now(), now);
	rc = rag_building_room(bd, n) < 0 ? err_nomem(err) : agree(bd, fds, n, err);
	if (rc == 0) {
		qsort(bd->parts, n, sizeof(*bd->parts), part_compare);
		rc = rag_building_run(bd, outdir, collect_parts, out, err);
	}
	rag_building_free(bd);
	return rc;
}
