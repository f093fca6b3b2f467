/*
 * mode_kolm2 - what mode kolm-2 makes of a file: extracted text (extract.h), cut into pieces
 * (chunk.h), each with the terms of its text, once more those of its headings, those of the file's
 * name, and the filters `title:WORD` and `ext:EXT`.
 */
#ifndef KOLM_RAG_MODE_KOLM2_H
#define KOLM_RAG_MODE_KOLM2_H

#include "mode.h"

#define RAG_KOLM2 "kolm-2"

enum { RAG_FIELD_EXT_BYTES = 16 };

/* rag_mode_kolm2(lang, out, err): ${lang} NULL: English. -EINVAL names the languages there are. */
int rag_mode_kolm2(const char *lang, struct rag_mode *out, struct err *err);

#endif
