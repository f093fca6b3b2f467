/*
 * documents - an index as files: rag/<name>/doc/ and rag/<name>/terms/.
 *
 * doc/ lists what was indexed, as the tree it was indexed from, and shows the text that the index
 * keeps; terms/ lists nothing (there are hundreds of thousands) and is looked up. The names of both
 * are given back to the kernel like those of queries, so that a walk over them leaves nothing.
 */
#ifndef KOLM_DOCUMENTS_H
#define KOLM_DOCUMENTS_H

#include "texts.h"
#include "tree.h"

CHILD(doc_child); /* below doc/, any depth */
EACH(doc_each);
RENDERER(doc_render);
CHILD(term_child);
RENDERER(term_render);

/* defined in names.c */
extern const struct folder doc_folder;
extern const struct name doc_file, term_file;

#endif
