/* keys - a rank for each term, sorted: its array index; or, above all these, 2^63 + its first
 * document * 2^31 + how many words come before it there. */
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

void rag_keys_init(struct rag_keys *ks, uint64_t max, int tmpfd)
{
	*ks = (struct rag_keys){.max = max, .tmpfd = tmpfd};
	rag_spool_init(&ks->items, tmpfd);
	rag_spool_init(&ks->words, tmpfd);
	/* of what a term takes the record is four parts in nine, as are the two ranks; words are
	 * short */
	rag_spool_keep(&ks->items, max / 5 * 2);
	rag_spool_keep(&ks->words, max / 5);
}

void rag_keys_release(struct rag_keys *ks)
{
	if (ks->area)
		munmap(ks->area, ks->area_bytes);
	rag_spool_release(&ks->items);
	rag_spool_release(&ks->words);
}

int rag_keys_add(struct rag_keys *ks, struct rag_key *key, const char *word, size_t len,
	uint32_t doc, uint32_t before, struct err *err)
{
	int rc;

	if (!array_index(word, len, &key->rank))
		key->rank = 1ULL << 63 | (uint64_t)doc << 31 | before;
	key->text = ks->words.len;
	key->len = (uint8_t)len;
	ks->n++;
	rc = rag_spool_add(&ks->items, key, sizeof(*key), err);
	return rc < 0 ? rc : rag_spool_add(&ks->words, word, len, err);
}

static int area_new(struct rag_keys *ks, uint64_t max, struct err *err)
{
	int fd = -1;

	ks->area_bytes = (ks->n + 1) * 2 * sizeof(*ks->order);
	if (ks->area_bytes > max) {
		fd = rag_temporary(ks->tmpfd, err);
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
	return 0;
}

int rag_keys_sort(struct rag_keys *ks, struct err *err)
{
	struct rag_ranked *ranked;
	const void *at, *text;
	int rc = rag_spool_map(&ks->items, &at, err);

	if (rc == 0)
		rc = rag_spool_map(&ks->words, &text, err);
	if (rc == 0)
		rc = area_new(ks, ks->max / 5 * 2, err);
	if (rc < 0)
		return rc;
	ks->at = at;
	ks->text = text;
	ranked = ks->area;
	for (size_t i = 0; i < ks->n; i++)
		ranked[i] = (struct rag_ranked){.rank = ks->at[i].rank, .item = i};
	ks->order = rag_radix_sort(ranked, ranked + ks->n, ks->n);
	return 0;
}

const struct rag_key *rag_keys_nth(const struct rag_keys *ks, size_t i, const unsigned char *post)
{
	if (i + 2 * AHEAD < ks->n)
		__builtin_prefetch(&ks->at[ks->order[i + 2 * AHEAD].item]);
	if (i + AHEAD < ks->n) {
		const struct rag_key *key = &ks->at[ks->order[i + AHEAD].item];

		__builtin_prefetch(ks->text + key->text);
		if (post && key->df > 1)
			__builtin_prefetch(post + key->post);
	}
	return &ks->at[ks->order[i].item];
}
