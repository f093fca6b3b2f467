/*
 * bin_put - the bytes of an index.bin on their way to the file: gathered, summed by page and by
 * section, and where they stand for what is indexed, part of its identity. Private to bin_write.c.
 */
#ifndef KOLM_RAG_BIN_PUT_H
#define KOLM_RAG_BIN_PUT_H

#include "bin.h"

/* rag_put(w, data, len, err): bytes of the section that was begun. rag_put_flush(): what was
 * gathered, and ${data} behind it, is written. */
int rag_put(struct rag_writer *w, const void *data, size_t len, struct err *err);
int rag_put_flush(struct rag_writer *w, const void *data, size_t len, struct err *err);

int rag_section_begin(struct rag_writer *w, enum rag_section id, struct err *err);
void rag_section_end(struct rag_writer *w);

/* a whole section; what it is made of is released */
int rag_put_section(struct rag_writer *w, enum rag_section id, struct buf *bf, struct err *err);
int rag_put_spool(struct rag_writer *w, enum rag_section id, struct rag_spool *sp, struct err *err);

#endif
