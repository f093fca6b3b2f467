/*
 * json - strict JSON in, the exact spellings of FORMATS section 1 out.
 *
 * Every text from outside goes through json_check() (or json_parse(), which calls it): it refuses
 * what cJSON would let pass. Values of recipes stay raw text: json_member() and json_item() cut
 * slices without decoding.
 */
#ifndef KOLM_JSON_H
#define KOLM_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

/* a slice of a checked text; borrowed */
struct json_slice {
	const char *text;
	size_t len;
};

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/*
 * json_check(text, len, err): one JSON value with optional blanks around it, in UTF-8. Refuses
 * (BAD-INPUTS C25-C28) a BOM, raw control bytes, invalid UTF-8, depth over 256, the same key twice
 * in an object, trailing commas, comments, a second value. Lone surrogates as \udxxx pass (recipe
 * values may hold them). -EBADMSG "JSON: ... at byte N", "nested deeper than 256", "duplicate key";
 * -EMSGSIZE "string longer than", "number longer than".
 */
int json_check(const char *text, size_t len, struct err *err);

/*
 * json_parse(text, len, out, err): json_check(), then cJSON. Also refuses \u0000 and lone
 * surrogates (cJSON's strings cannot hold them). ${out} is owned by the caller (cJSON_Delete).
 */
int json_parse(const char *text, size_t len, cJSON **out, struct err *err);

/* json_kind_of(slice): by the first byte of a checked value. */
enum json_kind json_kind_of(struct json_slice value);

/*
 * json_member(object, key, out): the raw value of ${key} in a checked object; false when absent or
 * not an object.
 * ${key} is compared with the decoded member name.
 */
bool json_member(struct json_slice object, const char *key, struct json_slice *out);

/* json_next(container, pos, key, value): iterate the members (or items) of a checked object or
 * array. Start with *pos = 0;
 * ${key} (raw, with its quotes; length 0 for arrays) may be NULL. False at the end. */
bool json_next(
	struct json_slice container, size_t *pos, struct json_slice *key, struct json_slice *value);

/* json_string(value, out): decode a checked string value into UTF-8 appended to ${out}; lone
 * surrogates become U+FFFD. */
int json_string(struct json_slice value, struct buf *out);

/* json_true(value): it is `true`, and nothing else. */
bool json_true(struct json_slice value);

/* json_double(value): the number of a checked number value. */
double json_double(struct json_slice value);

/* json_canonical(value, out): canonical JSON (FORMATS section 1) of a checked value, lone
 * surrogates kept as \udxxx. */
int json_canonical(struct json_slice value, struct buf *out);

/* json_same(a, b): equal canonical JSON; false also when memory is short. */
bool json_same(struct json_slice a, struct json_slice b);

/* json_compact(value, out), json_pretty(value, out): the value re-spelt (numbers, escapes) as
 * FORMATS section 1 says, keys in the order of JavaScript objects (array-index keys first). */
int json_compact(struct json_slice value, struct buf *out);
int json_pretty(struct json_slice value, struct buf *out);

/* json_put_string(out, text, len): a quoted JSON string; invalid UTF-8 becomes U+FFFD.
 * json_put_text: of a C string, "null" for NULL. */
int json_put_string(struct buf *out, const char *text, size_t len);
int json_put_text(struct buf *out, const char *text);
int json_put_number(struct buf *out, double x);

/* json_put_cjson(out, node, pretty): a cJSON tree in FORMATS spelling, keys in the tree's order
 * (what we write ourselves never has array-index keys). */
int json_put_cjson(struct buf *out, const cJSON *node, bool pretty);

/* short cuts over a cJSON object: NULL, ${fallback} when absent or of another kind */
const char *json_get_string(const cJSON *object, const char *key);
double json_get_number(const cJSON *object, const char *key, double fallback);
bool json_get_bool(const cJSON *object, const char *key, bool fallback);

/* utf16_compare(a, alen, b, blen): order of valid UTF-8 strings by UTF-16 code units ("code unit
 * order"). */
int utf16_compare(const char *a, size_t alen, const char *b, size_t blen);

/* utf8_check(text, len): offset of the first byte that is not UTF-8, or len. */
size_t utf8_check(const char *text, size_t len);

#endif
