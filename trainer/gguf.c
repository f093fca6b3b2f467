/* gguf - a file's header read, with limits; see gguf.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/gguf_inside.h"

enum {
	GGUF_DIMS = 4,
	GGUF_ALIGNMENT = 32,
	GGUF_KEY_MIN = 8 + 4 + 1,
	GGUF_TENSOR_MIN = 8 + 4 + 8 + 4 + 8
};

struct reader {
	const uint8_t *at;
	const uint8_t *end;
};

const unsigned char gguf_sizes[GGUF_TYPES] = {
	[GGUF_U8] = 1,
	[GGUF_I8] = 1,
	[GGUF_U16] = 2,
	[GGUF_I16] = 2,
	[GGUF_U32] = 4,
	[GGUF_I32] = 4,
	[GGUF_F32] = 4,
	[GGUF_BOOL] = 1,
	[GGUF_U64] = 8,
	[GGUF_I64] = 8,
	[GGUF_F64] = 8,
};

static size_t left(const struct reader *rd)
{
	return (size_t)(rd->end - rd->at);
}

static int read_u32(struct reader *rd, uint32_t *out, struct err *err)
{
	if (left(rd) < sizeof(*out))
		return err_set(err, EBADMSG, "GGUF file is cut short");
	memcpy(out, rd->at, sizeof(*out));
	rd->at += sizeof(*out);
	return 0;
}

static int read_u64(struct reader *rd, uint64_t *out, struct err *err)
{
	if (left(rd) < sizeof(*out))
		return err_set(err, EBADMSG, "GGUF file is cut short");
	memcpy(out, rd->at, sizeof(*out));
	rd->at += sizeof(*out);
	return 0;
}

static int read_text(struct reader *rd, const char **text, size_t *len, struct err *err)
{
	uint64_t n = 0;
	int rc = read_u64(rd, &n, err);

	if (rc < 0)
		return rc;
	if (n > left(rd))
		return err_set(err, EBADMSG, "GGUF string length %llu is more than the file holds",
			(unsigned long long)n);
	*text = (const char *)rd->at;
	*len = (size_t)n;
	rd->at += n;
	return 0;
}

static int read_array(struct reader *rd, struct gguf_key *key, struct err *err)
{
	uint32_t item = 0;
	int rc = read_u32(rd, &item, err);

	if (rc == 0)
		rc = read_u64(rd, &key->n, err);
	if (rc < 0)
		return rc;
	if (item >= GGUF_TYPES)
		return err_set(err, EBADMSG, "GGUF array item type %u is unknown", item);
	if (item == GGUF_ARRAY)
		return err_set(err, EBADMSG, "GGUF array of arrays (count %llu) is not read",
			(unsigned long long)key->n);
	key->item = (enum gguf_type)item;
	if (key->n > left(rd) / (item == GGUF_STRING ? 8 : gguf_sizes[item]))
		return err_set(err, EBADMSG, "GGUF array count %llu is more than the file holds",
			(unsigned long long)key->n);
	key->at = rd->at;
	if (item != GGUF_STRING) {
		rd->at += key->n * gguf_sizes[item];
		return 0;
	}
	for (uint64_t i = 0; i < key->n; i++) {
		const char *text;
		size_t len;

		rc = read_text(rd, &text, &len, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_key(struct reader *rd, struct gguf_key *key, struct err *err)
{
	uint32_t type = 0;
	int rc = read_text(rd, &key->name, &key->len, err);

	if (rc == 0)
		rc = read_u32(rd, &type, err);
	if (rc < 0)
		return rc;
	if (type >= GGUF_TYPES)
		return err_set(err, EBADMSG, "GGUF value type %u is unknown", type);
	key->type = (enum gguf_type)type;
	if (type == GGUF_ARRAY)
		return read_array(rd, key, err);
	if (type == GGUF_STRING) {
		const char *text;
		size_t len;

		rc = read_text(rd, &text, &len, err);
		key->at = (const uint8_t *)text;
		key->n = len;
		return rc;
	}
	if (left(rd) < gguf_sizes[type])
		return err_set(err, EBADMSG, "GGUF file is cut short");
	key->at = rd->at;
	rd->at += gguf_sizes[type];
	return 0;
}

static int read_entry(struct reader *rd, struct gguf_entry *en, struct err *err)
{
	uint64_t dim[GGUF_DIMS] = {1, 1, 1, 1}, rows = 1;
	uint32_t dims = 0, type = 0;
	char quoted[ERR_QUOTE_BYTES + 8];
	int rc = read_text(rd, &en->name, &en->len, err);

	if (rc == 0)
		rc = read_u32(rd, &dims, err);
	if (rc < 0)
		return rc;
	err_quote(quoted, en->name, en->len);
	if (dims < 1 || dims > GGUF_DIMS)
		return err_set(
			err, EBADMSG, "tensor \"%s\": shape with %u dimensions", quoted, dims);
	for (uint32_t i = 0; i < dims; i++) {
		rc = read_u64(rd, &dim[i], err);
		if (rc < 0)
			return rc;
		if (dim[i] < 1 || dim[i] > INT32_MAX)
			return err_set(err, EBADMSG, "tensor \"%s\": shape with dimension %llu",
				quoted, (unsigned long long)dim[i]);
	}
	for (int i = 1; i < GGUF_DIMS; i++)
		if (__builtin_mul_overflow(rows, dim[i], &rows))
			return err_set(err, EBADMSG, "tensor \"%s\": shape overflows", quoted);
	rc = read_u32(rd, &type, err);
	if (rc == 0)
		rc = read_u64(rd, &en->offset, err);
	if (rc < 0)
		return rc;
	if (type > INT32_MAX || !tensor_type_name((int)type))
		return err_set(err, EOPNOTSUPP,
			"tensor \"%s\": GGUF type %u is not read (F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 "
			"Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS are)",
			quoted, type);
	if (!tensor_row_bytes((int)type, (int64_t)dim[0]))
		return err_set(err, EBADMSG, "tensor \"%s\": shape of %llu columns does not fit %s",
			quoted, (unsigned long long)dim[0], tensor_type_name((int)type));
	en->tensor = (struct tensor){(enum tensor_type)type, (int64_t)rows, (int64_t)dim[0], NULL};
	return 0;
}

/* offsets count from the first aligned byte behind the header */
static int place_entry(struct gguf_entry *en, const uint8_t *data, size_t bytes, uint64_t alignment,
	struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	size_t row = tensor_row_bytes((int)en->tensor.type, en->tensor.cols), need;

	err_quote(quoted, en->name, en->len);
	if (en->offset % alignment)
		return err_set(err, EBADMSG, "tensor \"%s\": offset %llu is not a multiple of %llu",
			quoted, (unsigned long long)en->offset, (unsigned long long)alignment);
	if (__builtin_mul_overflow(row, (size_t)en->tensor.rows, &need) || en->offset > bytes ||
		need > bytes - en->offset)
		return err_set(err, EBADMSG,
			"tensor \"%s\": offset %llu and size run past the end of the file", quoted,
			(unsigned long long)en->offset);
	en->tensor.data = data + en->offset;
	return 0;
}

static int compare_names(const char *a, size_t alen, const char *b, size_t blen)
{
	int rc = memcmp(a, b, alen < blen ? alen : blen);

	return rc ? rc : (alen > blen) - (alen < blen);
}

int gguf_compare_keys(const void *a, const void *b)
{
	const struct gguf_key *x = a, *y = b;

	return compare_names(x->name, x->len, y->name, y->len);
}

int gguf_compare_entries(const void *a, const void *b)
{
	const struct gguf_entry *x = *(struct gguf_entry *const *)a,
				*y = *(struct gguf_entry *const *)b;

	return compare_names(x->name, x->len, y->name, y->len);
}

static int read_header(struct reader *rd, uint64_t *tensors, uint64_t *keys, struct err *err)
{
	uint32_t version = 0;
	int rc;

	if (left(rd) < 4 || memcmp(rd->at, "GGUF", 4))
		return err_set(err, EBADMSG, "not a GGUF file (wrong magic)");
	rd->at += 4;
	rc = read_u32(rd, &version, err);
	if (rc < 0)
		return rc;
	if (version == __builtin_bswap32(2) || version == __builtin_bswap32(3))
		return err_set(err, EOPNOTSUPP,
			"GGUF version %u in big-endian byte order is not read",
			__builtin_bswap32(version));
	if (version < 2 || version > 3)
		return err_set(
			err, EOPNOTSUPP, "GGUF version %u is not read (2 and 3 are)", version);
	rc = read_u64(rd, tensors, err);
	if (rc == 0)
		rc = read_u64(rd, keys, err);
	if (rc < 0)
		return rc;
	if (*keys > left(rd) / GGUF_KEY_MIN)
		return err_set(err, EBADMSG, "GGUF key count %llu is more than the file holds",
			(unsigned long long)*keys);
	if (*tensors > left(rd) / GGUF_TENSOR_MIN)
		return err_set(err, EBADMSG, "GGUF tensor count %llu is more than the file holds",
			(unsigned long long)*tensors);
	return 0;
}

static int read_keys(struct gguf *g, struct reader *rd, struct err *err)
{
	g->raw_keys = rd->at;
	for (size_t i = 0; i < g->keys; i++) {
		int rc = read_key(rd, &g->key[i], err);

		if (rc < 0)
			return rc;
	}
	g->raw_bytes = (size_t)(rd->at - g->raw_keys);
	qsort(g->key, g->keys, sizeof(g->key[0]), gguf_compare_keys);
	for (size_t i = 1; i < g->keys; i++) {
		char quoted[ERR_QUOTE_BYTES + 8];

		if (gguf_compare_keys(&g->key[i - 1], &g->key[i]) == 0)
			return err_set(err, EBADMSG, "GGUF key \"%s\" stands twice",
				err_quote(quoted, g->key[i].name, g->key[i].len));
	}
	return 0;
}

static int read_entries(struct gguf *g, struct reader *rd, const uint8_t *start, struct err *err)
{
	int64_t alignment = GGUF_ALIGNMENT;
	uint64_t head;

	for (size_t i = 0; i < g->entries; i++) {
		int rc = read_entry(rd, &g->entry[i], err);

		if (rc < 0)
			return rc;
		g->by_name[i] = &g->entry[i];
	}
	gguf_int(g, "general.alignment", &alignment);
	if (alignment < 8 || alignment > 1 << 20 || alignment & (alignment - 1))
		return err_set(err, EBADMSG, "GGUF alignment %lld is not a power of two from 8 up",
			(long long)alignment);
	head = ((uint64_t)(rd->at - start) + (uint64_t)alignment - 1) & ~((uint64_t)alignment - 1);
	if (g->entries && head > (uint64_t)(rd->end - start))
		return err_set(err, EBADMSG, "GGUF file is cut short behind its header");
	for (size_t i = 0; i < g->entries; i++) {
		int rc = place_entry(&g->entry[i], start + head,
			(size_t)(rd->end - start) - (size_t)head, (uint64_t)alignment, err);

		if (rc < 0)
			return rc;
	}
	qsort(g->by_name, g->entries, sizeof(g->by_name[0]), gguf_compare_entries);
	for (size_t i = 1; i < g->entries; i++) {
		char quoted[ERR_QUOTE_BYTES + 8];

		if (gguf_compare_entries(&g->by_name[i - 1], &g->by_name[i]) == 0)
			return err_set(err, EBADMSG, "tensor \"%s\": stands twice",
				err_quote(quoted, g->by_name[i]->name, g->by_name[i]->len));
	}
	return 0;
}

int gguf_parse(const void *data, size_t size, struct gguf **out, struct err *err)
{
	struct reader rd = {data, (const uint8_t *)data + size};
	uint64_t tensors = 0, keys = 0;
	struct gguf *g;
	int rc = read_header(&rd, &tensors, &keys, err);

	if (rc < 0)
		return rc;
	g = calloc(1, sizeof(*g));
	if (!g)
		return err_nomem(err);
	g->keys = (size_t)keys;
	g->entries = (size_t)tensors;
	g->key = calloc(g->keys + 1, sizeof(g->key[0]));
	g->entry = calloc(g->entries + 1, sizeof(g->entry[0]));
	g->by_name = calloc(g->entries + 1, sizeof(struct gguf_entry *));
	if (!g->key || !g->entry || !g->by_name)
		rc = err_nomem(err);
	if (rc == 0)
		rc = read_keys(g, &rd, err);
	if (rc == 0)
		rc = read_entries(g, &rd, data, err);
	if (rc < 0) {
		gguf_free(g);
		return rc;
	}
	*out = g;
	return 0;
}

void gguf_free(struct gguf *g)
{
	if (!g)
		return;
	free(g->key);
	free(g->entry);
	free(g->by_name);
	free(g);
}
