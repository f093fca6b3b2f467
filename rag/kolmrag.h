/*
 * kolmrag - the public face of the search index (libkolmrag): build, check, publish, open, query.
 * FORMATS section 10 is the authority on bytes, scores and order.
 *
 * An index is a folder rag/<name>/ of the store: index.json and manifest.json (read by people and
 * other programs), index.bin (mapped; what queries run on; holds the documents' text, compressed,
 * for excerpts) and state.json (which index.json that index.bin belongs to). It is published whole
 * by one exchange.
 */
#ifndef KOLM_RAG_H
#define KOLM_RAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
	RAG_NAME_BYTES = 64,
	RAG_K_DEFAULT = 5,
	RAG_K_MAX = 1000,
	RAG_AFTER_MAX = 100000,
	RAG_MAX_BYTES_DEFAULT = 4194304,
	RAG_MEM_DEFAULT = 268435456,
	RAG_MEM_MIN = 16777216,
	RAG_SHARDS_MAX = 4096,
	RAG_PARTS_MAX = 256,
};

struct rag_index; /* one opened generation; immutable, may be used by several threads at once */

struct rag_info {
	const char *name; /* borrowed from the index */
	const char *root;
	const char *created_at;
	uint64_t n_docs;
	double avgdl;
	uint64_t json_bytes; /* of index.json */
	char generation[33]; /* XXH3-128 of the logical content, hex */
	/* what it was asked for, to ask for it again; NULL and 0 when it does not say */
	const char *ext, *mode, *lang;
	uint64_t max_bytes;
};

/* rag_name_check(name, err): one path component of [A-Za-z0-9._-], not starting with '.' or '-', at
 * most 64 bytes: -EINVAL or -ENAMETOOLONG "bad index name". The names of the files beside the
 * indexes (ctl error jobs wait) are refused too. */
int rag_name_check(const char *name, size_t len, struct err *err);

/*
 * rag_open(ragdir, name, out, err): open rag/<name> below ${ragdir} (the store's rag folder). Maps
 * index.bin, whose pages are checked as they are used; where only an index.json of the reference
 * stands, it is read instead. -ENOENT "index "..." not found", -EUCLEAN "index "..." is damaged:
 * ...; rebuild it" (J09).
 */
int rag_open(int ragdir, const char *name, struct rag_index **out, struct err *err);
void rag_close(struct rag_index *ix);

/* rag_open_spare(ragdir, name, out, err): what answers when index.bin is damaged: as rag_open(),
 * from index.json alone; where there is none, or not the one that manifest.json names, the
 * generation before, which rag_publish() keeps. -EUCLEAN there is neither. */
int rag_open_spare(int ragdir, const char *name, struct rag_index **out, struct err *err);

/* rag_is_current(ragdir, ix): what rag_open() would open now is still this generation. Opening
 * reads every byte of index.bin once; who answers many queries keeps the index and asks this first.
 */
bool rag_is_current(int ragdir, const struct rag_index *ix);
/* rag_has_texts(ix): the same question has the same answer as long as it is current. False: of an
 * index.json alone, what an answer shows of a file is read from the file. */
bool rag_has_texts(const struct rag_index *ix);
void rag_describe(const struct rag_index *ix, struct rag_info *out);

/* rag_check(ix, err): every byte of index.bin against its checksums; a query looks only at what it
 * reads. -EUCLEAN as rag_open(), naming the section. */
int rag_check(const struct rag_index *ix, struct err *err);

enum rag_format {
	RAG_TEXT,  /* score<TAB>path<TAB>excerpt<TAB>generation (its first 12 digits) a line; in
		      kolm-2 also <TAB>lines<TAB>heading */
	RAG_JSON,  /* the result object of FORMATS 10.6 and "generation", compact, no newline */
	RAG_PATHS, /* a path a line */
	RAG_RESULT /* the result object of FORMATS 10.6 alone, compact: what lib.rag.query returns
		    */
};

/* rag_query(ix, text, len, k, form, out, err): append the answer. No query word left: an empty
 * answer, not an error. */
int rag_query(const struct rag_index *ix, const char *text, size_t len, size_t k,
	enum rag_format form, struct buf *out, struct err *err);

/* a question with all that may go with it */
struct rag_request {
	const char *text; /* UTF-8 */
	size_t len;
	size_t k, after; /* the hits behind the first ${after} */
	enum rag_format form;
	const char *path, *mode; /* only files whose path begins so; the mode the index must have
				    been made with; NULL: any */
	size_t path_len, mode_len;
	bool explain; /* each term's tf, df, idf, weight, part and the sum so far */
};

/* rag_answer(ix, rq, out, err): as rag_query(). -EINVAL: in kolm-2 a question that is not
 * well-formed (lang.h), or another mode. */
int rag_answer(
	const struct rag_index *ix, const struct rag_request *rq, struct buf *out, struct err *err);

/* rag_hits(ix, question, question_len, text, len, out): append a struct rag_hit_at for each
 * stretch of ${text} that holds words of the question, as the index takes them. -EINVAL, -EUCLEAN,
 * -ENOMEM.
 */
struct rag_hit_at {
	size_t start, end;
};
int rag_hits(const struct rag_index *ix, const char *question, size_t question_len,
	const char *text, size_t len, struct buf *out);

/* rag_docs(ix, out): one line a document: "id<TAB>len<TAB>path" (path escaped). */
int rag_docs(const struct rag_index *ix, struct buf *out);

/* ---- an index as files ---- */

/*
 * rag_term(ix, word, len, out): append what the index says of a term: lines `term`, `df`, `idf`,
 * then one a document: "id<TAB>tf<TAB>path", in kolm-2 also <TAB>lines. A word that is no term as
 * it stands is taken as a question would take it. -ENOENT no document has it; -EUCLEAN, -ENOMEM.
 */
int rag_term(const struct rag_index *ix, const char *word, size_t len, struct buf *out);

enum rag_path { RAG_PATH_NONE, RAG_PATH_FILE, RAG_PATH_FOLDER };
typedef int rag_path_each_fn(void *arg, const char *name, size_t len, bool is_folder);

/*
 * rag_path_look(ix, path, len, out): what stands at a path below the root. rag_path_each(ix,
 * folder, len, fn, arg): what lies in a folder ("" the root), each name once; ends when ${fn}
 * returns other than 0, with that. rag_path_text(ix, path, len, out): append the text that was
 * indexed; of an index.json alone, the file's if it is still that, or its beginning. Paths that no
 * file can have are not there. -ENOENT, -EUCLEAN, -EFBIG, -ENOMEM.
 */
int rag_path_look(const struct rag_index *ix, const char *path, size_t len, enum rag_path *out);
int rag_path_each(const struct rag_index *ix, const char *folder, size_t len, rag_path_each_fn *fn,
	void *arg);
int rag_path_text(const struct rag_index *ix, const char *path, size_t len, struct buf *out);

struct rag_pdf;

struct rag_build {
	const char *name;
	const char *root;	 /* absolute path written into the index */
	const char *ext;	 /* "txt,md,json,html" (the default when NULL); "" every file */
	uint64_t max_bytes;	 /* 0: the default */
	const char *created_at;	 /* NULL: now */
	const char *mode, *lang; /* NULL: rag-bm25-1; the mode's language (rag/mode.h) */
	/* called about every second, may be NULL; from any thread, one at a time */
	void (*progress)(void *arg, uint64_t files, uint64_t of, uint64_t bytes);
	void *arg;
	uint64_t mem; /* bytes the build may hold, 0: the default; what is above goes to runs in
			 unnamed files of the folder it writes */
	uint64_t max_files;  /* 0: a million; -EFBIG "more than ... files" above */
	unsigned threads;    /* 0: one */
	struct rag_pdf *pdf; /* what reads PDF in kolm-2 (pdf.h), borrowed; NULL: nothing does */
	bool has_prev;	     /* what is unchanged is taken from the index in the folder ${prev} */
	int prev;
	unsigned shard, shards; /* 0: all files; else the ${shard}th (from 1) of ${shards} parts */
};

struct rag_built {
	uint64_t docs;
	uint64_t bytes; /* of index.json; of index.bin where there is no index.json */
	double avgdl;
	char sha256[65];    /* of the same */
	uint64_t unchanged; /* files taken from the index before */
	/* files that became no document, by reason */
	uint64_t skipped_big, skipped_unreadable, skipped_empty, skipped_special, skipped_mounts;
};

/* rag_mode_check(name, lang, err): is there that mode, and its language? ${name} NULL or
 * "rag-bm25-1", or "kolm-2"; ${lang} NULL: the mode's default. -EINVAL names those there are. */
int rag_mode_check(const char *name, const char *lang, struct err *err);

/* rag_shard_parse(text, shard, shards, err): "2/4". -EINVAL. */
int rag_shard_parse(const char *text, unsigned *shard, unsigned *shards, struct err *err);

/*
 * rag_build(rootfd, outdir, index_path, opt, out, err): walk ${rootfd} (FORMATS 10.1), write
 * index.bin, index.json (rag-bm25-1, up to the 536,870,888 bytes that its readers can hold),
 * manifest.json, state.json and sources.bin into the empty folder ${outdir}, each fsynced.
 * manifest.json names ${index_path} as index_path (its last component replaced by index.bin where
 * there is no index.json). The bytes do not depend on threads, memory or the index before. -ENODATA
 * no files matched (J03).
 */
int rag_build(int rootfd, int outdir, const char *index_path, const struct rag_build *opt,
	struct rag_built *out, struct err *err);

/*
 * rag_join(parts, n, outdir, index_path, opt, out, err): the index of all the documents of ${n}
 * indexes (folders), which are shards of one tree: the bytes are those of a build of the whole
 * tree. opt->root NULL: that of the parts. -EINVAL they overlap, or differ in mode or language.
 */
int rag_join(const int *parts, size_t n, int outdir, const char *index_path,
	const struct rag_build *opt, struct rag_built *out, struct err *err);

/*
 * rag_publish(ragdir, tmpname, name, err): check the built folder ${tmpname} below ${ragdir}, then
 * exchange it with ${name} (or rename it there) and fsync. Queries see the old index or the new
 * one. The old one, if it is whole, stays beside as `.NAME.last` in place of the one before it.
 */
int rag_publish(int ragdir, const char *tmpname, const char *name, struct err *err);
/* rag_unpublish(ragdir, name, was_there): right after rag_publish(), take it back: the generation
 * before answers again, or, when there was no index of that name, none. */
void rag_unpublish(int ragdir, const char *name, bool was_there);

/* ---- two indexes ---- */

struct rag_change {
	char what; /* '+' new, '-' gone, '~' changed */
	bool is_term;
	const char *name; /* a path, or a term; borrowed for the call */
	size_t len;
	uint32_t before, after; /* documents of a term */
};

struct rag_diff_opt {
	void (*each)(void *arg, const struct rag_change *ch); /* may be NULL */
	void *arg;
};

struct rag_diff {
	uint64_t docs_new, docs_gone, docs_changed; /* files, by path and content */
	uint64_t terms_new, terms_gone, terms_changed;
};

/* rag_diff(a, b, opt, out, err): from ${a} to ${b}; documents first, each kind in order. */
int rag_diff(const struct rag_index *a, const struct rag_index *b, const struct rag_diff_opt *opt,
	struct rag_diff *out, struct err *err);

/* rag_same(ragdir, built, name, err): the built folder ${built} below ${ragdir} holds the same
 * logical content as index ${name}, every byte of which is checked. -ESTALE it does not, with how
 * many files differ. */
int rag_same(int ragdir, const char *built, const char *name, struct err *err);

/* ---- for other programs ---- */

/* rag_export_mapping(ix, out): the settings and mapping of OpenSearch with the same k1, b and (in
 * rag-bm25-1) words. -ENOMEM. rag_export_bulk(ix, fd, left_out, err): its bulk lines, one document
 * each; ${left_out}: documents of an index.json alone whose files are gone. */
int rag_export_mapping(const struct rag_index *ix, struct buf *out);
int rag_export_bulk(const struct rag_index *ix, int fd, uint64_t *left_out, struct err *err);

/* rag_forget_last(ragdir, name, err): remove the generation before, if there is one. */
int rag_forget_last(int ragdir, const char *name, struct err *err);

/* rag_list(ragdir, each, arg, err): every index of a store in name order. */
typedef void rag_each(void *arg, const char *name);
int rag_list(int ragdir, rag_each *each, void *arg, struct err *err);

#endif
