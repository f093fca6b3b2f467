/*
 * bin - index.bin: what queries run on. Little-endian, mapped; the same documents give the same
 * bytes.
 *
 *   header   4096 bytes: struct rag_bin_header with the table of sections; its last 8 bytes are the
 * XXH3-64 of those before sections each at a multiple of 64, each with its XXH3-64 in the table:
 *     STORE  the documents' text, zstd frames cut at document bounds once 64 KiB are full
 *     FRAMES struct rag_bin_frame, one a frame
 *     DOCS   struct rag_bin_doc, one a document, in id order
 *     PATHS  their paths, one after the other
 *     TERMS  all terms, sorted bytewise, one after the other
 *     DICT   struct rag_bin_term, one a term and one behind the last
 *     POST   the lists of post.h, in the order of the terms
 *
 * The name, root and time of an index are in manifest.json only, so they do not show here. The
 * generation is the XXH3-128 of everything but STORE and FRAMES (zstd does not promise the same
 * bytes for ever): the logical content. An unknown major version is refused, an unknown section is
 * ignored.
 */
#ifndef KOLM_RAG_BIN_H
#define KOLM_RAG_BIN_H

#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "bm25.h"
#include "post.h"
#include "terms.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "index.bin is mapped as it lies");

enum {
	RAG_BIN_MAJOR = 1,
	RAG_HEADER_BYTES = 4096,
	RAG_SECTION_ALIGN = 64,
	RAG_SECTIONS_MAX = 32,
	RAG_FRAME_BYTES = 65536,
	RAG_FILE_BYTES_MAX = 268435456, /* of one document's file; U+FFFD may make its text three
					   times as long */
};

#define RAG_BIN_MAGIC "kolmrag\n"
#define RAG_ANALYSER  "rag-bm25-1"
#define RAG_NO_FRAME  UINT32_MAX

enum rag_section {
	RAG_STORE = 1,
	RAG_FRAMES,
	RAG_DOCS,
	RAG_PATHS_TEXT,
	RAG_TERMS,
	RAG_DICT,
	RAG_POST,
	RAG_SECTION_END
};

struct rag_bin_section {
	uint32_t id, flags;
	uint64_t offset, len, xxh3;
};

struct rag_bin_header {
	char magic[8];
	uint32_t major, minor;
	char analyser[16];
	uint64_t file_bytes;
	uint64_t n_docs, n_terms, total_words;
	double avgdl, k1, b;
	unsigned char generation[16];
	uint32_t n_sections, reserved;
	struct rag_bin_section sections[RAG_SECTIONS_MAX];
};

struct rag_bin_doc {
	uint64_t path;		/* offset in PATHS */
	uint32_t path_len, len; /* bytes; words */
	uint32_t frame;		/* RAG_NO_FRAME: the text is not here */
	uint32_t frame_pos, text_len, reserved;
	unsigned char content[16]; /* XXH3-128 of the file */
};

struct rag_bin_frame {
	uint64_t offset;
	uint32_t packed, raw; /* bytes */
};

struct rag_bin_term {
	uint64_t post;	   /* offset in POST */
	uint32_t text, df; /* offset in TERMS */
};

/* writing */
struct rag_writer {
	int fd;		 /* where the bytes go, or -1: */
	struct buf *mem; /* here */
	struct buf pending, frame, frames, docs, paths;
	uint64_t off; /* bytes handed on, pending included */
	uint64_t store_len;
	struct rag_bin_header header;
	XXH3_state_t *sum, *identity; /* of the section being written; of the logical content */
	void *zstd;
};

/* rag_writer_init(w, fd, mem, err): start a file in ${fd} (empty, at 0), or in ${mem} when it is
 * -1. Release in any case. */
int rag_writer_init(struct rag_writer *w, int fd, struct buf *mem, struct err *err);
void rag_writer_release(struct rag_writer *w);

/* rag_writer_doc(w, path, path_len, words, content, text, len, err): the next document. ${text}
 * NULL: not kept. */
int rag_writer_doc(struct rag_writer *w, const char *path, size_t path_len, uint32_t words,
	const unsigned char content[16], const char *text, size_t len, struct err *err);

/* rag_writer_finish(w, terms, bm, err): write all else; w->header then says what was written. */
int rag_writer_finish(struct rag_writer *w, const struct rag_terms *terms,
	const struct rag_bm25 *bm, struct err *err);

size_t rag_writer_bytes(const struct rag_writer *w); /* memory held */

/* reading */
struct rag_bin {
	const struct rag_bin_header *header; /* all borrowed from the mapping */
	const unsigned char *section[RAG_SECTION_END];
	size_t len[RAG_SECTION_END];
	const struct rag_bin_doc *docs;
	const struct rag_bin_term *dict;
	size_t n_frames;
};

/* rag_bin_open(data, len, out, err): check every checksum and count of an index.bin. -EUCLEAN, the
 * text says only what is wrong. */
int rag_bin_open(const void *data, size_t len, struct rag_bin *out, struct err *err);

/* rag_bin_find(bin, word, len, post): the list of a term: 1, or 0 when it is not there; -EUCLEAN.
 */
int rag_bin_find(const struct rag_bin *bin, const char *word, size_t len, struct rag_post *post);

/* rag_bin_path(bin, doc, path, len): borrowed. -EUCLEAN. */
int rag_bin_path(const struct rag_bin *bin, uint32_t doc, const char **path, size_t *len);

/* rag_bin_text(bin, doc, frame, text, len): the document's text, unpacked into ${frame}. -ENODATA
 * it is not kept; -EUCLEAN, -ENOMEM. */
int rag_bin_text(
	const struct rag_bin *bin, uint32_t doc, struct buf *frame, const char **text, size_t *len);

void rag_bin_generation(const struct rag_bin_header *header, char out[XXH3_HEX_BYTES]);

#endif
