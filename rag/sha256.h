/*
 * sha256 - SHA-256 of what is written as it is written: by the processor's own instructions where
 * it has them (six times as fast), by libsodium elsewhere.
 */
#ifndef KOLM_RAG_SHA256_H
#define KOLM_RAG_SHA256_H

#include <stddef.h>

#include "base/hash.h"

struct rag_sha256;

/* rag_sha256_new(): NULL: out of memory. Free it. rag_sha256_hex() may be called once, at the end.
 */
struct rag_sha256 *rag_sha256_new(void);
void rag_sha256_free(struct rag_sha256 *sh);
void rag_sha256_add(struct rag_sha256 *sh, const void *data, size_t len);
void rag_sha256_hex(struct rag_sha256 *sh, char out[HASH_HEX_BYTES]);

#endif
