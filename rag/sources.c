#include "sources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/replace.h"

enum { VERSION = 1, DOUBT_SEC = 2 };

#define MAGIC "kolmsrc\n"

_Static_assert(sizeof(struct rag_source) % 8 == 0 && sizeof(struct rag_sources_head) % 8 == 0,
	"they follow each other");

static size_t padded(size_t len)
{
	return (len + 8) / 8 * 8; /* a zero at least */
}

const char *rag_source_name(const struct rag_source *src)
{
	return (const char *)(src + 1);
}

static int check(struct rag_sources *ss, const unsigned char generation[16])
{
	const struct rag_sources_head *h = ss->map;
	const char *p = (const char *)(h + 1);
	size_t left = ss->map_len - sizeof(*h);

	if (memcmp(h->magic, MAGIC, sizeof(h->magic)) != 0 || h->version != VERSION ||
		h->len != left || h->xxh3 != XXH3_64bits(p, left) ||
		memcmp(h->generation, generation, sizeof(h->generation)) != 0 ||
		h->n_files > left / sizeof(struct rag_source))
		return -EUCLEAN;
	ss->head = h;
	ss->files = malloc((h->n_files + 1) * sizeof(*ss->files));
	if (!ss->files)
		return -ENOMEM;
	for (; ss->n < h->n_files; ss->n++) {
		const struct rag_source *src = (const void *)p;
		size_t step;

		if (left < sizeof(*src) || src->name_len > left - sizeof(*src))
			return -EUCLEAN;
		step = sizeof(*src) + padded(src->name_len);
		if (step > left || rag_source_name(src)[src->name_len] != '\0')
			return -EUCLEAN;
		ss->files[ss->n] = src;
		p += step;
		left -= step;
	}
	return 0;
}

static size_t slot_of(const struct rag_sources *ss, const char *name, size_t len)
{
	size_t slot = (size_t)XXH3_64bits(name, len) & (ss->n_slots - 1);

	for (; ss->slots[slot]; slot = (slot + 1) & (ss->n_slots - 1)) {
		const struct rag_source *src = ss->files[ss->slots[slot] - 1];

		if (src->name_len == len && memcmp(rag_source_name(src), name, len) == 0)
			break;
	}
	return slot;
}

static int fill_slots(struct rag_sources *ss)
{
	for (ss->n_slots = 16; ss->n_slots < 2 * ss->n; ss->n_slots *= 2)
		;
	ss->slots = calloc(ss->n_slots, sizeof(*ss->slots));
	if (!ss->slots)
		return -ENOMEM;
	for (size_t i = 0; i < ss->n; i++)
		ss->slots[slot_of(ss, rag_source_name(ss->files[i]), ss->files[i]->name_len)] =
			(uint32_t)i + 1;
	return 0;
}

int rag_sources_open(int dirfd, const unsigned char generation[16], struct rag_sources *out)
{
	struct rag_sources ss = {0};
	struct stat st;
	int rc = 0,
	    fd = openat(dirfd, "sources.bin", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
		st.st_size < (off_t)sizeof(struct rag_sources_head)) {
		rc = -EUCLEAN;
	} else {
		ss.map_len = (size_t)st.st_size;
		ss.map = mmap(NULL, ss.map_len, PROT_READ, MAP_SHARED, fd, 0);
		if (ss.map == MAP_FAILED) {
			ss.map = NULL;
			rc = -errno;
		}
	}
	close(fd);
	if (rc == 0)
		rc = check(&ss, generation);
	if (rc == 0)
		rc = fill_slots(&ss);
	if (rc < 0)
		rag_sources_release(&ss);
	else
		*out = ss;
	return rc;
}

void rag_sources_release(struct rag_sources *ss)
{
	if (ss->map)
		munmap(ss->map, ss->map_len);
	free(ss->files);
	free(ss->slots);
	*ss = (struct rag_sources){0};
}

const struct rag_source *rag_sources_find(const struct rag_sources *ss, const char *name)
{
	uint32_t i;

	if (ss->n == 0)
		return NULL;
	i = ss->slots[slot_of(ss, name, strlen(name))];
	return i ? ss->files[i - 1] : NULL;
}

void rag_source_set(struct rag_source *src, const struct stat *st)
{
	src->size = (uint64_t)st->st_size;
	src->ino = st->st_ino;
	src->dev = st->st_dev;
	src->mtime_sec = st->st_mtim.tv_sec;
	src->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
	src->ctime_sec = st->st_ctim.tv_sec;
	src->ctime_nsec = (uint32_t)st->st_ctim.tv_nsec;
}

bool rag_source_same(
	const struct rag_sources *ss, const struct rag_source *src, const struct stat *st)
{
	return S_ISREG(st->st_mode) && src->size == (uint64_t)st->st_size &&
	       src->ino == st->st_ino && src->dev == st->st_dev &&
	       src->mtime_sec == st->st_mtim.tv_sec &&
	       src->mtime_nsec == (uint32_t)st->st_mtim.tv_nsec &&
	       src->ctime_sec == st->st_ctim.tv_sec &&
	       src->ctime_nsec == (uint32_t)st->st_ctim.tv_nsec &&
	       src->ctime_sec < ss->head->made_sec - DOUBT_SEC &&
	       src->mtime_sec < ss->head->made_sec - DOUBT_SEC;
}

int rag_source_add(
	struct rag_spool *sp, const struct rag_source *src, const char *name, struct err *err)
{
	static const char zeros[8];
	struct rag_source copy = *src;
	size_t len = strlen(name);
	int rc;

	copy.name_len = (uint32_t)len;
	rc = rag_spool_add(sp, &copy, sizeof(copy), err);
	if (rc == 0)
		rc = rag_spool_add(sp, name, len, err);
	return rc < 0 ? rc : rag_spool_add(sp, zeros, padded(len) - len, err);
}

const struct rag_source *rag_sources_next(struct rag_sources_it *it)
{
	const struct rag_source *src = it->at;
	size_t step;

	if (it->left == 0)
		return NULL;
	step = sizeof(*src) + padded(src->name_len);
	it->at = (const char *)it->at + step;
	it->left -= step;
	return src;
}

static int put(void *arg, const void *data, size_t len, struct err *err)
{
	return write_all(*(const int *)arg, data, len, err);
}

int rag_sources_write(
	int dirfd, struct rag_sources_head *head, struct rag_spool *sp, struct err *err)
{
	const void *data;
	int fd, rc = rag_spool_map(sp, &data, err);

	if (rc < 0)
		return rc;
	memcpy(head->magic, MAGIC, sizeof(head->magic));
	head->version = VERSION;
	head->len = sp->len;
	head->xxh3 = XXH3_64bits(data, sp->len);
	fd = openat(
		dirfd, "sources.bin", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, "cannot create 'sources.bin'");
	rc = put(&fd, head, sizeof(*head), err);
	if (rc == 0)
		rc = put(&fd, data, sp->len, err);
	if (rc == 0 && fsync(fd) < 0)
		rc = err_sys(err, "cannot write 'sources.bin'");
	if (close(fd) < 0 && rc == 0)
		rc = err_sys(err, "cannot write 'sources.bin'");
	return rc;
}
