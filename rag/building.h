/*
 * building - an index while it is made, from a folder (build.c) or from its parts (join.c).
 */
#ifndef KOLM_RAG_BUILDING_H
#define KOLM_RAG_BUILDING_H

#include <stdbool.h>
#include <stddef.h>

#include "build.h"
#include "docs.h"
#include "sources.h"
#include "work.h"

struct rag_index;

struct rag_building {
	const struct rag_build *opt;
	struct rag_mode mode;
	struct rag_facts facts;
	struct rag_writer writer;
	struct rag_docs docs;
	struct rag_json json;
	struct rag_work work;
	struct rag_worker workers[RAG_THREADS_MAX];
	size_t n_workers;
	struct rag_part *parts;	    /* owned: older indexes that documents are taken from */
	struct rag_index **indexes; /* owned: theirs */
	size_t n_parts;
	struct buf frame; /* room of rank_in */
	struct rag_sources_head sources;
};

/* rag_building_new(opt, index_path, outdir, err): all are borrowed until rag_building_free(); NULL
 * with -ENOMEM's sentence. */
struct rag_building *rag_building_new(
	const struct rag_build *opt, const char *index_path, int outdir, struct err *err);
void rag_building_free(struct rag_building *bd);

/* rag_building_room(bd, n): room for ${n} older indexes; 0 or -ENOMEM */
int rag_building_room(struct rag_building *bd, size_t n);

/* rag_building_open(bd, dirfd, err): one more older index, with its sources, into that room. 1; 0
 * with a sentence: it cannot be used. */
int rag_building_open(struct rag_building *bd, int dirfd, struct err *err);

/* an index that the same program would make of the same texts */
bool rag_building_alike(const struct rag_building *bd, const struct rag_part *part);

/* puts all documents into bd->docs */
typedef int rag_collect(struct rag_building *bd, struct err *err);

/* rag_building_run(bd, outdir, docs, out, err): the documents of ${docs}, then all files of the
 * index; on failure none of them stays. */
int rag_building_run(struct rag_building *bd, int outdir, rag_collect *docs, struct rag_built *out,
	struct err *err);

#endif
