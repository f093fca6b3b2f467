/*
 * hf - a base model from a Hugging Face folder: config.json, *.safetensors (sharded by an index or
 * not), tokenizer.json and the chat template beside it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/replace.h"
#include "trainer/model_map.h"
#include "trainer/safetensors.h"
#include "trainer/tokenizer_load.h"

enum { JSON_FILE_MAX = 256 * 1024 * 1024, SHARDS_MAX = 4096 };

struct hf_tensor {
	const char *name; /* borrowed from its shard */
	struct tensor tensor;
};

struct hf {
	struct safetensors **shard; /* owned */
	size_t shards;
	struct hf_tensor *tensor; /* sorted by name */
	size_t tensors;
};

static void hf_free(void *headers)
{
	struct hf *hf = headers;

	for (size_t i = 0; i < hf->shards; i++)
		safetensors_close(hf->shard[i]);
	free(hf->shard);
	free(hf->tensor);
	free(hf);
}

static int compare(const void *a, const void *b)
{
	const struct hf_tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static const struct tensor *hf_find(const void *headers, const char *name)
{
	const struct hf *hf = headers;
	struct hf_tensor wanted = {.name = name}, *found = bsearch(&wanted, hf->tensor, hf->tensors,
							  sizeof(wanted), compare);

	return found ? &found->tensor : NULL;
}

/*
 * A file of the folder. Download caches hold links instead of files: to another name in the folder,
 * or to ../../blobs/NAME. Those are followed, one step; a link to anywhere else is refused, since
 * what it leads to may be none of a model's business.
 */
static int open_part(int dirfd, const char *name, struct err *err)
{
	static const char blobs[] = "../../blobs/";
	char target[512], quoted[ERR_QUOTE_BYTES + 8];
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n;
	const char *last;

	if (fd >= 0)
		return fd;
	if (errno != ELOOP)
		return err_sys(err, "cannot open '%s'", err_quote(quoted, name, strlen(name)));
	n = readlinkat(dirfd, name, target, sizeof(target) - 1);
	if (n < 0)
		return err_sys(
			err, "cannot read the link '%s'", err_quote(quoted, name, strlen(name)));
	target[n] = '\0';
	last = strncmp(target, blobs, sizeof(blobs) - 1) == 0 ? target + sizeof(blobs) - 1 : target;
	if (!*last || *last == '.' || strchr(last, '/') || n == sizeof(target) - 1)
		return err_set(err, ELOOP,
			"'%s' is a link out of the folder (only ../../blobs/NAME is followed)",
			err_quote(quoted, name, strlen(name)));
	fd = openat(dirfd, target, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd < 0 ? err_sys(err, "cannot open '%s'", err_quote(quoted, name, strlen(name)))
		      : fd;
}

/* all of a file of the folder, which must be a regular one */
static int read_part(int dirfd, const char *name, size_t max, struct buf *out, struct err *err)
{
	int fd = open_part(dirfd, name, err), rc;
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		rc = err_set(err, EINVAL, "'%s' is not a regular file", name);
	else if ((uint64_t)st.st_size > max)
		rc = err_set(err, EFBIG, "'%s' has %lld bytes, more than %zu", name,
			(long long)st.st_size, max);
	else
		rc = read_fd(fd, max, out, err);
	close(fd);
	return rc;
}

/* a JSON file of the folder; ${needed} false: *out is NULL when there is none */
static int read_json(int dirfd, const char *name, bool needed, cJSON **out, struct err *err)
{
	struct buf bf = BUF_INIT;
	int rc = read_part(dirfd, name, JSON_FILE_MAX, &bf, err);

	*out = NULL;
	if (rc == 0)
		rc = json_parse(buf_str(&bf), bf.len, out, err);
	if (rc == -ENOENT && !needed)
		rc = 0;
	else if (rc == -ENOENT)
		rc = err_set(err, EBADMSG, "base model: no %s in the folder", name);
	else if (rc < 0)
		rc = err_prefix(err, "base model: %s: ", name);
	buf_release(&bf);
	return rc;
}

static int tensor_of(const struct safetensors_entry *en, struct tensor *out)
{
	if (strcmp(en->dtype, "F32") == 0)
		out->type = TENSOR_F32;
	else if (strcmp(en->dtype, "F16") == 0)
		out->type = TENSOR_F16;
	else if (strcmp(en->dtype, "BF16") == 0)
		out->type = TENSOR_BF16;
	else
		return -EOPNOTSUPP;
	if (en->dims < 1 || en->dims > 2)
		return -EOPNOTSUPP;
	out->rows = en->dims == 2 ? en->shape[0] : 1;
	out->cols = en->shape[en->dims - 1];
	out->data = en->data;
	return 0;
}

static int add_shard(struct hf *hf, int dirfd, const char *name, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	struct safetensors **more = realloc(hf->shard, (hf->shards + 1) * sizeof(*more));
	struct hf_tensor *list;
	int fd, rc;

	if (!more)
		return err_nomem(err);
	hf->shard = more;
	if (strchr(name, '/') || *name == '.')
		return err_set(err, EBADMSG, "base model: shard \"%s\" is not in the folder",
			err_quote(quoted, name, strlen(name)));
	fd = open_part(dirfd, name, err);
	if (fd == -ENOENT)
		return err_set(err, EBADMSG, "base model: no %s in the folder",
			err_quote(quoted, name, strlen(name)));
	if (fd < 0)
		return err_prefix(err, "base model: ");
	rc = safetensors_open(fd, &hf->shard[hf->shards], err);
	close(fd);
	if (rc < 0)
		return err_prefix(err, "base model: %s: ", err_quote(quoted, name, strlen(name)));
	hf->shards++;
	list = realloc(hf->tensor,
		(hf->tensors + safetensors_count(more[hf->shards - 1]) + 1) * sizeof(*list));
	if (!list)
		return err_nomem(err);
	hf->tensor = list;
	for (size_t i = 0; i < safetensors_count(hf->shard[hf->shards - 1]); i++) {
		const struct safetensors_entry *en = safetensors_at(hf->shard[hf->shards - 1], i);

		/* what is no matrix of floats (a buffer of an old export) is only missed when a
		 * layer asks for it */
		if (tensor_of(en, &list[hf->tensors].tensor) == 0)
			list[hf->tensors++].name = en->name;
	}
	return 0;
}

/* shard names of an index's weight_map, each once */
static int add_indexed(struct hf *hf, int dirfd, const cJSON *index, struct err *err)
{
	const cJSON *map = cJSON_GetObjectItemCaseSensitive(index, "weight_map"), *item;
	const char *seen[SHARDS_MAX];
	size_t n = 0;
	int rc = 0;

	if (!cJSON_IsObject(map))
		return err_set(err, EBADMSG,
			"base model: model.safetensors.index.json has no \"weight_map\"");
	cJSON_ArrayForEach(item, map)
	{
		size_t i = 0;

		if (!cJSON_IsString(item))
			return err_set(err, EBADMSG,
				"base model: model.safetensors.index.json names no file for a "
				"tensor");
		while (i < n && strcmp(seen[i], item->valuestring))
			i++;
		if (i < n)
			continue;
		if (n == SHARDS_MAX)
			return err_set(err, EBADMSG, "base model: more than %d shards", SHARDS_MAX);
		seen[n++] = item->valuestring;
		rc = add_shard(hf, dirfd, item->valuestring, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_weights(struct model *m, int dirfd, struct err *err)
{
	struct hf *hf = calloc(1, sizeof(*hf));
	cJSON *index;
	int rc;

	if (!hf)
		return err_nomem(err);
	m->map->headers = hf;
	m->map->headers_free = hf_free;
	m->map->find = hf_find;
	m->map->hf_names = true;
	rc = read_json(dirfd, "model.safetensors.index.json", false, &index, err);
	if (rc < 0)
		return rc;
	rc = index ? add_indexed(hf, dirfd, index, err)
		   : add_shard(hf, dirfd, "model.safetensors", err);
	cJSON_Delete(index);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < hf->tensors; i++)
		m->map->bytes += (size_t)(hf->tensor[i].tensor.rows * hf->tensor[i].tensor.cols);
	qsort(hf->tensor, hf->tensors, sizeof(hf->tensor[0]), compare);
	for (size_t i = 1; i < hf->tensors; i++)
		if (strcmp(hf->tensor[i - 1].name, hf->tensor[i].name) == 0)
			return err_set(err, EBADMSG, "tensor \"%s\": stands in two shards",
				hf->tensor[i].name);
	return 0;
}

/* "<s>" or {"content":"<s>"} */
static const char *token_text(const cJSON *config, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, key);

	return cJSON_IsObject(item) ? json_get_string(item, "content")
				    : json_get_string(config, key);
}

/* chat_template.jinja, or chat_template in tokenizer_config.json: a text, or a list of named ones
 * of which "default" counts */
static int read_template(struct model *m, int dirfd, const cJSON *config, struct err *err)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, "chat_template"), *one;
	const char *text = cJSON_IsString(item) ? item->valuestring : NULL;
	int rc = read_part(dirfd, "chat_template.jinja", 1 << 20, &m->map->template, err);

	if (rc != -ENOENT)
		return rc;
	if (cJSON_IsArray(item))
		cJSON_ArrayForEach(
			one, item) if (json_get_string(one, "name") &&
				       strcmp(json_get_string(one, "name"), "default") == 0) text =
			json_get_string(one, "template");
	return text && buf_puts(&m->map->template, text) < 0 ? err_nomem(err) : 0;
}

static int read_tokenizer(struct model *m, int dirfd, struct err *err)
{
	struct buf bf = BUF_INIT;
	cJSON *config = NULL;
	int rc = read_part(dirfd, "tokenizer.json", JSON_FILE_MAX, &bf, err);

	if (rc == 0)
		rc = tokenizer_from_json(buf_str(&bf), bf.len, &m->tokenizer, err);
	else if (rc == -ENOENT)
		rc = err_set(err, EBADMSG, "tokenizer: no tokenizer.json in the folder");
	buf_release(&bf);
	if (rc == 0)
		rc = read_json(dirfd, "tokenizer_config.json", false, &config, err);
	if (rc == 0) {
		tokenizer_set_ends(m->tokenizer, token_text(config, "bos_token"),
			token_text(config, "eos_token"));
		rc = read_template(m, dirfd, config, err);
	}
	cJSON_Delete(config);
	return rc;
}

int model_read_hf(struct model *m, int dirfd, struct err *err)
{
	cJSON *config = NULL;
	int rc = read_json(dirfd, "config.json", true, &config, err);

	if (rc == 0)
		rc = hf_read_config(m, config, err);
	cJSON_Delete(config);
	if (rc == 0)
		rc = read_weights(m, dirfd, err);
	return rc < 0 ? rc : read_tokenizer(m, dirfd, err);
}
