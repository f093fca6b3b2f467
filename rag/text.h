/*
 * text - text as the formats see it (FORMATS section 1): decoded to valid UTF-8, measured in UTF-16
 * units.
 *
 * A slice in UTF-16 units may keep half of a surrogate pair. Such strings are held as WTF-8: UTF-8
 * in which a lone surrogate stands as its own three bytes. They leave through rag_put_json()
 * (\udxxx) or rag_put_line() (U+FFFD).
 */
#ifndef KOLM_RAG_TEXT_H
#define KOLM_RAG_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { RAG_PREVIEW_UNITS = 240, RAG_REPLACEMENT = 0xfffd };

/*
 * rag_rune(text, len, pos): the code point at *${pos}, which moves behind it. What is ill-formed
 * gives U+FFFD, one for each maximal prefix (WHATWG); surrogates written as three bytes (WTF-8) are
 * returned as they are when ${wtf}.
 */
uint32_t rag_rune(const char *text, size_t len, size_t *pos, bool wtf);
int rag_put_rune(struct buf *out, uint32_t rune);

/* rag_decode(data, len, out): append the text of ${data}, valid UTF-8. */
int rag_decode(const char *data, size_t len, struct buf *out);

/* rag_is_space(rune): JavaScript's white space (FORMATS "WS"). */
bool rag_is_space(uint32_t rune);

/* rag_slice(text, len, start, end, out): append units [start, end) of a text with white space
 * collapsed and trimmed, as WTF-8. */
int rag_slice(const char *text, size_t len, size_t start, size_t end, struct buf *out);

/* rag_lower(text, len, out): append the text in lower case, final sigma included. */
int rag_lower(const char *text, size_t len, struct buf *out);

/* rag_put_json(out, text, len): a quoted JSON string of WTF-8. */
int rag_put_json(struct buf *out, const char *text, size_t len);

/* rag_put_line(out, text, len): for lines of plain text: control characters as \xNN, direction
 * marks as \u{...}. */
int rag_put_line(struct buf *out, const char *text, size_t len);

#endif
