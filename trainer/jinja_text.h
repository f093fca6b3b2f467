/*
 * jinja_text - what filters and methods share: texts, JSON, dictionaries.
 */
#ifndef KOLM_JINJA_TEXT_H
#define KOLM_JINJA_TEXT_H

#include <stdbool.h>

#include "trainer/jinja_value.h"

enum side { SIDE_LEFT = 1, SIDE_RIGHT = 2 };

/* text_strip(s, sides, chars): without the blanks, or the characters of ${chars}, at its ends */
struct val text_strip(struct val_str s, unsigned sides, const struct val *chars);

/* text_join(rn, list, between, out): ${between} may be NULL */
int text_join(struct run *rn, const struct val *list, const struct val *between, struct val *out);

/* text_json(rn, in, args, out): as json.dumps() spells it, ensure_ascii=False */
int text_json(struct run *rn, const struct val *in, const struct args *args, struct val *out);

/* the filters that take a text only; text_filter() wants is_text_filter() */
bool is_text_filter(const char *name, size_t len);
int text_filter(struct run *rn, const char *name, size_t len, const struct val *in,
	const struct args *args, struct val *out);

/* the method title(), which is not the filter */
int text_title(struct run *rn, struct val_str s, struct val *out);

/* the pairs of a dictionary as lists of two */
int dict_items(struct run *rn, const struct val *in, struct val *out);

/* dict_member(of, name): undefined when it has none */
struct val dict_member(const struct val *of, const struct val *name);

#endif
