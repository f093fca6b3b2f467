/*
 * answers - the last answers of one open index: a question that is asked again, by another program
 * or by a page that refreshes, is not searched again. They live as long as the index stays open,
 * and are kept of indexes only that answer alike as long (rag_has_texts()).
 */
#ifndef KOLM_ANSWERS_H
#define KOLM_ANSWERS_H

#include <stdbool.h>

#include "base/buf.h"
#include "rag/kolmrag.h"

/* of one index a mebibyte at most */
enum { ANSWERS_KEPT = 32, ANSWER_KEPT_BYTES = 16 << 10 };

struct answers;
struct answers *answers_new(void); /* NULL: no memory */
void answers_free(struct answers *as);

/* answers_find(as, rq, out): appends the answer kept for this very request; false: none is.
 * answers_keep(as, rq, text, len): in place of another; a long one, or when memory is short, is
 * not kept. Any thread. */
bool answers_find(struct answers *as, const struct rag_request *rq, struct buf *out);
void answers_keep(struct answers *as, const struct rag_request *rq, const char *text, size_t len);

#endif
