/*
 * bin - index.bin: what queries run on. Little-endian, mapped; the same documents give the same
 * bytes.
 *
 *   header 4096 bytes: struct rag_bin_header with the table of sections; its last 8 bytes are the
 *          XXH3-64 of those before
 *   sections, each at a multiple of 64, each with its XXH3-64 in the table:
 *     STORE  the documents' text, zstd frames (see rag_frame_ends())
 *     FRAMES struct rag_bin_frame, one a frame
 *     DOCS   struct rag_bin_doc, one a document, in id order
 *     PATHS  their paths, one after the other
 *     LENS   u32 words of each document
 *     PIECES struct rag_bin_piece, one a document; TITLES their titles (both empty where a file is
 *            one document)
 *     POST   the lists of list.h, in the order of the terms, and 16 zeros
 *     HEADS  struct rag_bin_head, one for each 16 terms
 *     DICT   the terms, sorted bytewise; in each 16: u8 bytes shared with the term before, u8 bytes
 *            of its own, these; vbyte df; df 1: vbyte document, vbyte tf; else vbyte bytes of the
 *            list, u16 maximum, and from ten (a hundred) documents on u16 what ten (a hundred)
 * reach ORDER  vbyte for each term: how many other words of the first document it stands in come
 *            before it there (what index.json is ordered by)
 *     SUMS   u32 XXH3-64 (low half) of each 16 KiB behind the header, SUMS itself left out
 *
 * Opening looks at the header and SUMS; each 16 KiB page is held against SUMS when it is first
 * used, so a question reads little and damage is found before it can show.
 *
 * The name, root and time of an index are in manifest.json only, so they do not show here. The
 * generation is the XXH3-128 of the logical content: everything but STORE and FRAMES (zstd does not
 * promise the same bytes for ever). Another major version is not read (index.json is, where
 * there is one), an unknown section is ignored.
 */
#ifndef KOLM_RAG_BIN_H
#define KOLM_RAG_BIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "bm25.h"
#include "list.h"
#include "mode.h"
#include "spool.h"
#include "terms.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "index.bin is mapped as it lies");

enum {
	RAG_BIN_MAJOR = 2, /* another one too when pack.c packs differently: updates copy blocks */
	RAG_HEADER_BYTES = 4096,
	RAG_SECTION_ALIGN = 64,
	RAG_SECTIONS_MAX = 32,
	RAG_PAGE_BYTES = 16384,
	RAG_HEAD_TERMS = 16,
	RAG_POST_SLACK = 16,
	RAG_NORMS = 4096, /* lengths whose rag_norm() is kept */
	RAG_FRAME_BYTES_MIN = 4096,
	RAG_FRAME_BYTES_MAX = 32768,
	RAG_FILE_BYTES_MAX = 268435456, /* of one document's file; U+FFFD may make its text three
					   times as long */
};

#define RAG_BIN_MAGIC "kolmrag\n"
#define RAG_NO_FRAME  UINT32_MAX

enum rag_section {
	RAG_STORE = 1,
	RAG_FRAMES,
	RAG_DOCS,
	RAG_PATHS_TEXT,
	RAG_LENS,
	RAG_PIECES,
	RAG_TITLES,
	RAG_POST,
	RAG_HEADS,
	RAG_DICT,
	RAG_ORDER,
	RAG_SUMS,
	RAG_SECTION_END
};

struct rag_bin_section {
	uint32_t id, flags;
	uint64_t offset, len, xxh3;
};

struct rag_bin_header {
	char magic[8];
	uint32_t major, minor;
	char analyser[RAG_MODE_BYTES];
	uint64_t file_bytes;
	uint64_t n_docs, n_terms, n_pairs, total_words;
	double avgdl, k1, b;
	unsigned char generation[16];
	uint32_t zstd_version; /* that made STORE */
	uint32_t n_sections;
	struct rag_bin_section sections[RAG_SECTIONS_MAX];
};

struct rag_bin_doc {
	uint64_t path; /* offset in PATHS */
	uint32_t path_len;
	uint32_t frame; /* RAG_NO_FRAME: the text is not here */
	uint32_t frame_pos, text_len;
	unsigned char content[16]; /* XXH3-128 of the text kept; of a file's bytes in rag-bm25-1 */
};

struct rag_bin_frame {
	uint64_t offset;
	uint32_t packed, raw; /* bytes */
};

struct rag_bin_piece {
	uint64_t from, to; /* see struct rag_piece */
	uint64_t title;	   /* offset in TITLES */
	uint32_t title_len, reserved;
};

struct rag_bin_head {
	uint64_t prefix; /* the first 8 bytes of its first term, big-endian, zeros behind */
	uint64_t dict;	 /* offset in DICT */
	uint64_t post;	 /* offset in POST of its first list */
};

/* rag_frame_ends(bytes, content): a frame ends behind a document when it has ${bytes}: depends on
 * what stands in it alone, so that frames behind a change are the same as before. */
static inline bool rag_frame_ends(size_t bytes, const unsigned char content[16])
{
	return bytes >= RAG_FRAME_BYTES_MAX ||
	       (bytes >= RAG_FRAME_BYTES_MIN && (content[15] & 1) == 0);
}

/* ---- writing ---- */

/* one list being made */
struct rag_list_maker {
	uint32_t doc[RAG_BLOCK], tf[RAG_BLOCK];
	unsigned n;
	const uint8_t *packed; /* what they are, packed, where that is known; or NULL */
	size_t packed_len;
	uint16_t up[RAG_BLOCK]; /* what each pair adds at most, in steps */
	uint32_t df, last, list_max;
	struct buf skip, blocks;
	uint32_t first_doc, first_tf;
	uint32_t best[100]; /* the highest steps, rounded down; a hundred: a heap, the lowest on
				top */
	uint32_t n_best;
};

/* rag_norm() of each document, by its length */
struct rag_norms {
	const struct rag_bm25 *bm;
	const uint32_t *lens;
	double of_len[RAG_NORMS];
};

struct rag_writer {
	int fd;		 /* where the bytes go, or -1: */
	struct buf *mem; /* here */
	struct buf pending;
	uint64_t off; /* bytes handed on, pending included */
	struct rag_bin_header header;
	struct rag_bm25 bm;
	XXH3_state_t *sum, *identity,
		*page; /* of the section; of the logical content; of the page */
	size_t page_len;
	struct buf sums;
	/* documents */
	void *zstd;
	struct buf frame, packed, lens, path;
	struct rag_norms *norms; /* owned */
	struct rag_spool frames, docs, paths, pieces, titles;
	uint64_t store_len, path_at;
	/* terms */
	struct rag_list_maker list;
	struct buf heads, term, list_bytes;
	struct rag_spool dict, order;
	uint64_t post_len;
	struct rag_keys *keys; /* borrowed: each term is noted there; or NULL */
};

/* rag_writer_init(w, fd, mem, tmpfd, mode, err): start a file in ${fd} (empty, at 0), or in ${mem}
 * when it is -1. What must wait for its turn lies in unnamed files of the folder ${tmpfd}, or in
 * memory when it is -1. Release in any case. */
int rag_writer_init(struct rag_writer *w, int fd, struct buf *mem, int tmpfd,
	const struct rag_mode *mode, struct err *err);
void rag_writer_release(struct rag_writer *w);

struct rag_bin;

struct rag_writer_doc {
	const char *path;
	size_t path_len;
	uint32_t words;
	unsigned char content[16];
	const char *text; /* NULL: not kept */
	size_t text_len;
	const struct rag_piece *piece; /* NULL: the file is one document */
};

/* rag_writer_doc(w, doc, err): the next document. */
int rag_writer_doc(struct rag_writer *w, const struct rag_writer_doc *doc, struct err *err);

/* rag_writer_frame(w, packed, len, raw, err): the documents that follow (their texts NULL, their
 * places given by rag_writer_place()) are in this frame of an older file, as it is. Only between
 * frames: rag_writer_at_frame(). */
bool rag_writer_at_frame(const struct rag_writer *w);
int rag_writer_frame(
	struct rag_writer *w, const void *packed, size_t len, uint32_t raw, struct err *err);
int rag_writer_doc_in(struct rag_writer *w, const struct rag_writer_doc *doc, uint32_t frame_pos,
	struct err *err);

/* rag_writer_terms(w, avgdl, err): no more documents; ${avgdl} below zero: the mean of theirs. */
int rag_writer_terms(struct rag_writer *w, double avgdl, struct err *err);

/* rag_writer_docs(w, len, err): the documents are in the file, in its first ${len} bytes.
 * rag_writer_view(w, data, out): them, while lists are still being written; ${data} is a mapping of
 * that, both are borrowed. */
int rag_writer_docs(struct rag_writer *w, size_t *len, struct err *err);
void rag_writer_view(const struct rag_writer *w, const void *data, struct rag_bin *out);

/* rag_writer_pairs(w, docs, tfs, n, err), rag_writer_pair(w, doc, tf, err): the next pairs of a
 * term, ids ascending. rag_writer_packed(w, n, low, bytes, len): they are a block of an older list,
 * see list_write.h. rag_writer_term(w, word, len, rank, err): they were of this one, above all
 * terms before. */
int rag_writer_pairs(
	struct rag_writer *w, const uint32_t *docs, const uint32_t *tfs, size_t n, struct err *err);
int rag_writer_pair(struct rag_writer *w, uint32_t doc, uint32_t tf, struct err *err);
void rag_writer_packed(
	struct rag_writer *w, size_t n, uint32_t low, const uint8_t *bytes, size_t len);
int rag_writer_term(
	struct rag_writer *w, const char *word, size_t len, uint32_t rank, struct err *err);

/* rag_writer_all(w, terms, err): every term of ${terms}, in order. */
int rag_writer_all(struct rag_writer *w, const struct rag_terms *terms, struct err *err);

/* rag_writer_finish(w, err): write all else; w->header then says what was written. */
int rag_writer_finish(struct rag_writer *w, struct err *err);

/* ---- reading ---- */

/* which pages were held against their sums; shared by all threads */
struct rag_pages {
	const uint32_t *sums;
	size_t n;
	atomic_int bad;		  /* the section that did not match, or 0 */
	_Atomic(void *) unpacker; /* see struct rag_bin */
	atomic_uchar good[];
};

struct rag_bin {
	const struct rag_bin_header *header; /* all borrowed from the mapping */
	const unsigned char *section[RAG_SECTION_END];
	size_t len[RAG_SECTION_END];
	const struct rag_bin_doc *docs;
	const uint32_t *lens;
	const struct rag_bin_head *heads;
	size_t n_frames, n_heads;
	struct rag_pages *pages;   /* owned; NULL: made in this memory, not to be checked */
	_Atomic(void *) *unpacker; /* a ZSTD_DCtx that nobody uses now, or NULL; no place: NULL */
};

/* rag_bin_open(data, len, is_checked, out, err): look at the header and SUMS of an index.bin.
 * -EUCLEAN, -ENOTSUP another version; the text says only what is wrong. Close what was opened. */
int rag_bin_open(
	const void *data, size_t len, bool is_checked, struct rag_bin *out, struct err *err);
void rag_bin_close(struct rag_bin *bin);

/* rag_bin_check(bin, err): every byte against its section's checksum: -EUCLEAN names the section.
 */
int rag_bin_check(const struct rag_bin *bin, struct err *err);

/* rag_bin_what(bin, err): the sentence for an -EUCLEAN met while reading. */
int rag_bin_what(const struct rag_bin *bin, struct err *err);

bool rag_pages_look(const struct rag_bin *bin, size_t first, size_t last);

/* rag_bin_good(bin, p, len): the pages of these bytes are as they were written. */
static inline bool rag_bin_good(const struct rag_bin *bin, const void *p, size_t len)
{
	size_t at, first, last;

	if (!bin->pages || len == 0)
		return true;
	at = (size_t)((const unsigned char *)p - (const unsigned char *)bin->header);
	first = (at - RAG_HEADER_BYTES) / RAG_PAGE_BYTES;
	last = (at - RAG_HEADER_BYTES + len - 1) / RAG_PAGE_BYTES;
	if (first == last && atomic_load_explicit(&bin->pages->good[first], memory_order_relaxed))
		return true;
	return rag_pages_look(bin, first, last);
}

static inline bool rag_bin_len_good(const struct rag_bin *bin, uint32_t doc)
{
	return rag_bin_good(bin, &bin->lens[doc], sizeof(uint32_t));
}

/* rag_bin_find(bin, word, len, out): what the dictionary says of a term: 1, or 0 when it is not
 * there; -EUCLEAN. */
int rag_bin_find(const struct rag_bin *bin, const char *word, size_t len, struct rag_entry *out);

/* a walk over the terms in order */
struct rag_dict_it {
	const struct rag_bin *bin;
	size_t head, in_head; /* the next term */
	const uint8_t *at;
	uint64_t post;
	char word[RAG_MODE_TERM_BYTES + 1]; /* the term, NUL-terminated */
	size_t len;
	struct rag_entry entry;
};

/* rag_dict_seek(bin, word, len, it): before the first term that is not below ${word}. -EUCLEAN.
 * rag_dict_next(it): 1 and the next term in it->word, len, entry; 0 the end; -EUCLEAN. */
int rag_dict_seek(const struct rag_bin *bin, const char *word, size_t len, struct rag_dict_it *it);
int rag_dict_next(struct rag_dict_it *it);

/* rag_bin_path(bin, doc, path, len): borrowed. -EUCLEAN. */
int rag_bin_path(const struct rag_bin *bin, uint32_t doc, const char **path, size_t *len);

/* rag_bin_piece(bin, doc, out): where in its file a document stands, and its title; zeros and empty
 * where a file is one document. Its text and words are not filled in. -EUCLEAN. */
int rag_bin_piece(const struct rag_bin *bin, uint32_t doc, struct rag_piece *out);

/* rag_bin_text(bin, doc, frame, text, len): the document's text, unpacked into ${frame}. -ENODATA
 * it is not kept; -EUCLEAN, -ENOMEM. */
int rag_bin_text(
	const struct rag_bin *bin, uint32_t doc, struct buf *frame, const char **text, size_t *len);

/* rag_bin_text_kept(bin, doc, up, text, len): the same; ${up} (zeros at first) keeps the frame for
 * the next document. */
struct rag_unpacked {
	struct buf text;
	uint32_t frame; /* its number and one; 0: none */
};
int rag_bin_text_kept(const struct rag_bin *bin, uint32_t doc, struct rag_unpacked *up,
	const char **text, size_t *len);

/* rag_bin_frame(bin, frame, out): the frame's place, checked; -EUCLEAN. rag_bin_unpack(bin, frame,
 * out): its text. */
int rag_bin_frame(const struct rag_bin *bin, uint32_t frame, struct rag_bin_frame *out);
int rag_bin_unpack(const struct rag_bin *bin, uint32_t frame, struct buf *out);

void rag_bin_generation(const struct rag_bin_header *header, char out[XXH3_HEX_BYTES]);

#endif
