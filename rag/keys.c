/* keys - a rank for each term, sorted: its array index; or, above all these, 2^63 + its first
 * document
 * * 2^31 + how many words come before it there. */
#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

enum { AHEAD = 8, HUGE_BYTES = 4 << 20 };

/* the number a key stands for among the array indices of JavaScript; false when it is an ordinary
 * key */
static bool array_index(const char *word, size_t len, uint64_t *out)
{
	uint64_t x = 0;

	if (len > 10 || (len > 1 && word[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (word[i] < '0' || word[i] > '9')
			return false;
		x = x * 10 + (uint64_t)(word[i] - '0');
	}
	*out = x;
	return x <= 4294967294;
}

static int first_doc(const struct rag_bin *bin, const struct rag_entry *en, uint32_t *doc)
{
	struct rag_cursor cur;

	if (en->df == 1) {
		*doc = en->only_doc;
		return 0;
	}
	rag_cursor_init(&cur, bin, en);
	return rag_cursor_first(&cur, doc) ? 0 : -EUCLEAN;
}

static int area_new(struct rag_keys *ks, size_t n, uint64_t max, int tmpfd, struct err *err)
{
	int fd = -1;

	ks->area_bytes = (n + 1) * (sizeof(*ks->at) + 2 * sizeof(*ks->ranked));
	if (ks->area_bytes > max) {
		fd = rag_temporary(tmpfd, err);
		if (fd < 0)
			return fd;
		/* a full disk shows here, not when it is written to */
		errno = posix_fallocate(fd, 0, (off_t)ks->area_bytes);
		if (errno != 0) {
			close(fd);
			return err_sys(err, "cannot write a temporary file");
		}
	}
	ks->area = mmap(NULL, ks->area_bytes, PROT_READ | PROT_WRITE,
		fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (ks->area == MAP_FAILED) {
		ks->area = NULL;
		return err_nomem(err);
	}
	/* it is read in an order that has nothing to do with where things lie */
	if (ks->area_bytes >= HUGE_BYTES && ks->area_bytes <= max)
		madvise(ks->area, ks->area_bytes, MADV_HUGEPAGE);
	ks->ranked = ks->area;
	ks->at = (struct rag_key *)(void *)(ks->ranked + 2 * (n + 1));
	return 0;
}

static int add_key(struct rag_keys *ks, const struct rag_dict_it *it, uint32_t doc, uint64_t before,
	struct err *err)
{
	struct rag_ranked *ranked = &ks->ranked[ks->n];

	ks->at[ks->n] = (struct rag_key){
		.text = ks->words.len, .len = (uint8_t)it->len, .entry = it->entry};
	if (!array_index(it->word, it->len, &ranked->rank))
		ranked->rank = 1ULL << 63 | (uint64_t)doc << 31 | before;
	ranked->item = ks->n++;
	return rag_spool_add(&ks->words, it->word, it->len, err);
}

int rag_keys_read(
	const struct rag_bin *bin, uint64_t max, int tmpfd, struct rag_keys *ks, struct err *err)
{
	const uint8_t *order = bin->section[RAG_ORDER], *end = order + bin->len[RAG_ORDER];
	size_t n = bin->header->n_terms;
	struct rag_dict_it it;
	const void *text;
	int rc;

	rag_spool_init(&ks->words, tmpfd);
	rc = area_new(ks, n, max, tmpfd, err);
	if (rc < 0)
		return rc;
	rc = rag_dict_seek(bin, "", 0, &it);
	while (rc == 0 && (rc = rag_dict_next(&it)) > 0) {
		uint64_t before;
		uint32_t doc;

		order = rag_vbyte_get(order, end, INT32_MAX, &before);
		if (!order || ks->n == n || first_doc(bin, &it.entry, &doc) < 0)
			rc = -EUCLEAN;
		else if ((rc = add_key(ks, &it, doc, before, err)) < 0)
			return rc;
	}
	if (rc < 0)
		return rag_bin_what(bin, err);
	ks->order = rag_radix_sort(ks->ranked, ks->ranked + ks->n, ks->n);
	rc = rag_spool_map(&ks->words, &text, err);
	ks->text = text;
	return rc;
}

void rag_keys_release(struct rag_keys *ks)
{
	if (ks->area)
		munmap(ks->area, ks->area_bytes);
	rag_spool_release(&ks->words);
}

const struct rag_key *rag_keys_nth(const struct rag_keys *ks, size_t i)
{
	if (i + 2 * AHEAD < ks->n)
		__builtin_prefetch(&ks->at[ks->order[i + 2 * AHEAD].item]);
	if (i + AHEAD < ks->n) {
		const struct rag_key *key = &ks->at[ks->order[i + AHEAD].item];

		__builtin_prefetch(ks->text + key->text);
		__builtin_prefetch(key->entry.data);
	}
	return &ks->at[ks->order[i].item];
}
