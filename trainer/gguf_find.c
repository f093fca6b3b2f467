/* gguf_find - keys and tensors of a file that was read; see gguf.h. */
#include <stdlib.h>
#include <string.h>

#include "trainer/gguf_inside.h"

static const struct gguf_key *find(const struct gguf *g, const char *name)
{
	struct gguf_key wanted = {.name = name, .len = strlen(name)};

	return bsearch(&wanted, g->key, g->keys, sizeof(g->key[0]), gguf_compare_keys);
}

#define LOAD(type, at)                                                                             \
	({                                                                                         \
		type value_;                                                                       \
		memcpy(&value_, at, sizeof(value_));                                               \
		value_;                                                                            \
	})

static bool load_int(enum gguf_type type, const uint8_t *at, int64_t *out)
{
	uint64_t big;

	switch (type) {
	case GGUF_U8:
		*out = *at;
		return true;
	case GGUF_I8:
		*out = (int8_t)*at;
		return true;
	case GGUF_U16:
		*out = LOAD(uint16_t, at);
		return true;
	case GGUF_I16:
		*out = LOAD(int16_t, at);
		return true;
	case GGUF_U32:
		*out = LOAD(uint32_t, at);
		return true;
	case GGUF_I32:
		*out = LOAD(int32_t, at);
		return true;
	case GGUF_I64:
		*out = LOAD(int64_t, at);
		return true;
	case GGUF_U64:
		big = LOAD(uint64_t, at);
		if (big > INT64_MAX)
			return false;
		*out = (int64_t)big;
		return true;
	default:
		return false;
	}
}

static bool load_real(enum gguf_type type, const uint8_t *at, double *out)
{
	int64_t whole;

	if (type == GGUF_F32)
		*out = (double)LOAD(float, at);
	else if (type == GGUF_F64)
		*out = LOAD(double, at);
	else if (load_int(type, at, &whole))
		*out = (double)whole;
	else
		return false;
	return true;
}

bool gguf_int(const struct gguf *g, const char *name, int64_t *out)
{
	const struct gguf_key *key = find(g, name);

	return key && load_int(key->type, key->at, out);
}

bool gguf_real(const struct gguf *g, const char *name, double *out)
{
	const struct gguf_key *key = find(g, name);

	return key && load_real(key->type, key->at, out);
}

bool gguf_bool(const struct gguf *g, const char *name, bool *out)
{
	const struct gguf_key *key = find(g, name);

	if (!key || key->type != GGUF_BOOL)
		return false;
	*out = *key->at != 0;
	return true;
}

bool gguf_text(const struct gguf *g, const char *name, const char **text, size_t *len)
{
	const struct gguf_key *key = find(g, name);

	if (!key || key->type != GGUF_STRING)
		return false;
	*text = (const char *)key->at;
	*len = (size_t)key->n;
	return true;
}

bool gguf_array(const struct gguf *g, const char *name, struct gguf_array *out)
{
	const struct gguf_key *key = find(g, name);

	if (!key || key->type != GGUF_ARRAY)
		return false;
	*out = (struct gguf_array){key->item, key->n, key->at};
	return true;
}

void gguf_next_text(struct gguf_array *array, const char **text, size_t *len)
{
	*len = (size_t)LOAD(uint64_t, array->at); /* read_array() walked all of it */
	*text = (const char *)array->at + 8;
	array->at += 8 + *len;
}

double gguf_next_real(struct gguf_array *array)
{
	double value = 0;

	load_real(array->type, array->at, &value);
	array->at += gguf_sizes[array->type];
	return value;
}

const struct tensor *gguf_tensor(const struct gguf *g, const char *name)
{
	struct gguf_entry wanted = {.name = name, .len = strlen(name)}, *at = &wanted, **found;

	found = bsearch(&at, g->by_name, g->entries, sizeof(g->by_name[0]), gguf_compare_entries);
	return found ? &(*found)->tensor : NULL;
}

const void *gguf_raw_keys(const struct gguf *g, size_t *len, uint64_t *count)
{
	*len = g->raw_bytes;
	*count = g->keys;
	return g->raw_keys;
}

const char *gguf_tensor_name(const struct gguf *g, size_t i, size_t *len)
{
	*len = g->entry[i].len;
	return g->entry[i].name;
}

const struct tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
	return i < g->entries ? &g->entry[i].tensor : NULL;
}
