/*
 * log_parts - logs that turned over: the older part of logs/STEM.jsonl is logs/STEM.N.jsonl.zst.
 *
 * N grows: for the audit log it is the seq of the part's last line, for the log of runs a count. A
 * log turns over by one exchange of its name with an empty file STEM.N.jsonl, which is from then on
 * the part, as it was; packing it comes later and may be done again. An empty part is one whose
 * exchange never came. Whoever appends holds the file's own lock and looks at the name again, so no
 * line goes into a part.
 */
#include "store/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/num.h"
#include "base/replace.h"

enum { PACK_LEVEL = 3 };

const char *part_file(const char *stem, const struct log_part *p, char out[PART_NAME_BYTES])
{
	(void)snprintf(out, PART_NAME_BYTES, "%.16s.%" PRIu64 ".jsonl%s", stem, p->number,
		p->is_packed ? ".zst" : "");
	return out;
}

/* the number in STEM.N.jsonl or STEM.N.jsonl.zst */
static bool part_number(const char *name, const char *stem, uint64_t *number, bool *packed)
{
	size_t n = strlen(stem), digits;
	int64_t x;

	if (strncmp(name, stem, n) != 0 || name[n] != '.')
		return false;
	digits = strspn(name + n + 1, "0123456789");
	*packed = strcmp(name + n + 1 + digits, ".jsonl.zst") == 0;
	if ((!*packed && strcmp(name + n + 1 + digits, ".jsonl") != 0) ||
		num_whole(name + n + 1, digits, 0, INT64_MAX / 2, &x) < 0)
		return false;
	*number = (uint64_t)x;
	return true;
}

static int by_number(const void *a, const void *b)
{
	const struct log_part *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/* one more; where a part is there twice, the plain one decides: packing it was not finished */
static int parts_add(struct log_parts *ps, struct log_part p)
{
	struct log_part *grown;

	for (size_t i = 0; i < ps->n; i++)
		if (ps->part[i].number == p.number) {
			ps->part[i].is_packed = ps->part[i].is_packed && p.is_packed;
			return 0;
		}
	grown = realloc(ps->part, (ps->n + 1) * sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	ps->part = grown;
	ps->part[ps->n++] = p;
	return 0;
}

/* ${sweep}: those whose exchange never came are removed */
static int parts_scan(const struct store *st, const char *stem, bool sweep, struct log_parts *out,
	struct err *err)
{
	int fd = openat(st->logs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	struct stat sb;

	*out = (struct log_parts){0};
	if (dir == NULL) {
		rc = err_sys(err, "cannot list logs/");
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (rc == 0 && (rc = dir_next(dir, "logs/", &d, err)) > 0) {
		struct log_part p;

		rc = 0;
		if (!part_number(d->d_name, stem, &p.number, &p.is_packed) ||
			fstatat(st->logs, d->d_name, &sb, AT_SYMLINK_NOFOLLOW) < 0 ||
			!S_ISREG(sb.st_mode))
			continue;
		if (sb.st_size == 0 && sweep)
			(void)unlinkat(st->logs, d->d_name, 0);
		if (sb.st_size > 0 && parts_add(out, p) < 0)
			rc = err_nomem(err);
	}
	closedir(dir);
	if (rc < 0)
		parts_release(out);
	else if (out->n > 1)
		qsort(out->part, out->n, sizeof(*out->part), by_number);
	return rc;
}

int parts_list(const struct store *st, const char *stem, struct log_parts *out, struct err *err)
{
	return parts_scan(st, stem, false, out, err);
}

void parts_release(struct log_parts *ps)
{
	free(ps->part);
	*ps = (struct log_parts){0};
}

/* ---- reading one ---- */

static int unpack_bad(const char *name, struct err *err)
{
	return err_set(err, EUCLEAN, "logs/%s cannot be unpacked: it was changed or cut", name);
}

/* a frame of a few bytes may hold a disk full of zeros */
static int unpack_long(const char *name, struct err *err)
{
	return err_set(err, EFBIG,
		"logs/%s unpacks to more than %d MiB; unpack it with zstd -d --rm", name,
		PART_BYTES_MAX >> 20);
}

/* the whole of ${in}, a zstd frame, into ${out} */
static int unpack_all(int in, int out, const char *name, struct err *err)
{
	ZSTD_DCtx *ctx = ZSTD_createDCtx();
	size_t in_cap = ZSTD_DStreamInSize(), out_cap = ZSTD_DStreamOutSize(), left = 1;
	char *from = malloc(in_cap), *to = malloc(out_cap);
	size_t len = 0;
	int rc = ctx == NULL || from == NULL || to == NULL ? err_nomem(err) : 0;

	while (rc == 0) {
		ssize_t n = read(in, from, in_cap);
		ZSTD_inBuffer src = {from, n > 0 ? (size_t)n : 0, 0};

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = err_sys(err, "cannot read logs/%s", name);
		if (n <= 0)
			break;
		/* the last byte of a frame is not taken before all of it is out */
		while (rc == 0 && src.pos < src.size) {
			ZSTD_outBuffer dst = {to, out_cap, 0};

			left = ZSTD_decompressStream(ctx, &dst, &src);
			len += dst.pos;
			if (ZSTD_isError(left))
				rc = unpack_bad(name, err);
			else if (len > PART_BYTES_MAX)
				rc = unpack_long(name, err);
			else
				rc = write_all(out, to, dst.pos, err);
		}
	}
	if (rc == 0 && left != 0)
		rc = unpack_bad(name, err);
	free(from);
	free(to);
	ZSTD_freeDCtx(ctx);
	return rc;
}

int part_open(const struct store *st, const char *stem, const struct log_part *p, struct err *err)
{
	char name[PART_NAME_BYTES];
	int in, out, rc;

	(void)part_file(stem, p, name);
	in = openat(st->logs, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (in < 0)
		return err_sys(err, "cannot open logs/%s", name);
	if (!p->is_packed)
		return in;
	out = memfd_create("kolm-log", MFD_CLOEXEC);
	rc = out < 0 ? err_sys(err, "cannot unpack logs/%s", name) : unpack_all(in, out, name, err);
	close(in);
	if (rc < 0 && out >= 0)
		close(out);
	return rc < 0 ? rc : out;
}

/* ---- turning over ---- */

/* the empty file the log's name is exchanged with */
static int part_make(const struct store *st, const char *name)
{
	int fd = openat(
		st->logs, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	struct stat sb;
	bool is_good = fd >= 0 && fstat(fd, &sb) == 0 && S_ISREG(sb.st_mode) && sb.st_size == 0;

	if (fd >= 0)
		close(fd);
	return is_good ? 0 : -EEXIST;
}

int part_turn(const struct store *st, const char *stem, uint64_t number, struct err *err)
{
	char name[PART_NAME_BYTES], log[PART_NAME_BYTES];
	int lock, rc;

	(void)snprintf(log, sizeof(log), "%.16s.jsonl", stem);
	(void)part_file(stem, &(struct log_part){.number = number}, name);
	if (part_make(st, name) < 0)
		return 0;
	lock = append_open(st->logs, log, err);
	if (lock < 0)
		return lock;
	rc = head_exchange(st->logs, name, log, NULL);
	if (rc == -ENOSYS) /* for an instant there is none, which whoever reads takes for an empty
			      one */
		rc = renameat(st->logs, log, st->logs, name) < 0 ? -EIO : 0;
	if (rc < 0) {
		(void)unlinkat(st->logs, name, 0);
		close(lock);
		return 0;
	}
	rc = dir_sync(st->logs, err);
	/* a line behind an exchange that may be forgotten would stand in the wrong file */
	if (rc < 0 && head_exchange(st->logs, name, log, NULL) == 0)
		(void)unlinkat(st->logs, name, 0);
	close(lock);
	return rc < 0 ? rc : 1;
}

/* ---- packing ---- */

static int pack_all(int in, int out, struct err *err)
{
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	size_t in_cap = ZSTD_CStreamInSize(), out_cap = ZSTD_CStreamOutSize(), left = 1;
	char *from = malloc(in_cap), *to = malloc(out_cap);
	bool is_end = false;
	int rc = ctx == NULL || from == NULL || to == NULL ? err_nomem(err) : 0;

	if (rc == 0 &&
		(ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, PACK_LEVEL)) ||
			ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1))))
		rc = -EIO;
	while (rc == 0 && !is_end) {
		ssize_t n = read(in, from, in_cap);
		ZSTD_inBuffer src = {from, n > 0 ? (size_t)n : 0, 0};

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = err_sys(err, "cannot read");
		is_end = n == 0;
		do {
			ZSTD_outBuffer dst = {to, out_cap, 0};

			left = rc < 0 ? 0
				      : ZSTD_compressStream2(ctx, &dst, &src,
						is_end ? ZSTD_e_end : ZSTD_e_continue);
			if (ZSTD_isError(left))
				rc = -EIO;
			else if (rc == 0)
				rc = write_all(out, to, dst.pos, err);
		} while (rc == 0 && (is_end ? left != 0 : src.pos < src.size));
	}
	if (rc == 0 && fsync(out) < 0)
		rc = err_sys(err, "could not make it durable");
	free(from);
	free(to);
	ZSTD_freeCCtx(ctx);
	return rc;
}

static void part_pack(const struct store *st, const char *stem, uint64_t number)
{
	char name[PART_NAME_BYTES], packed[PART_NAME_BYTES], tmp[PART_NAME_BYTES + 40];
	struct stat sb;
	int in, out, rc;

	(void)part_file(stem, &(struct log_part){number, false}, name);
	(void)part_file(stem, &(struct log_part){number, true}, packed);
	(void)snprintf(tmp, sizeof(tmp), ".%s.tmp.%d.0", packed, (int)getpid());
	in = openat(st->logs, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (in < 0)
		return;
	if (fstat(in, &sb) < 0 || sb.st_size > PART_BYTES_MAX) {
		close(in);
		return;
	}
	out = openat(st->logs, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	rc = out < 0 ? -errno : pack_all(in, out, NULL);
	close(in);
	if (out >= 0 && close(out) < 0)
		rc = -errno;
	if (rc == 0 && renameat(st->logs, tmp, st->logs, packed) < 0)
		rc = -errno;
	if (rc < 0) {
		if (out >= 0)
			(void)unlinkat(st->logs, tmp, 0);
		return;
	}
	/* the plain one goes when the packed one is there for good */
	if (dir_sync(st->logs, NULL) == 0 && unlinkat(st->logs, name, 0) == 0)
		(void)dir_sync(st->logs, NULL);
}

void parts_pack(const struct store *st, const char *stem)
{
	struct log_parts ps;

	if (parts_scan(st, stem, true, &ps, NULL) < 0)
		return;
	for (size_t i = 0; i < ps.n; i++)
		if (!ps.part[i].is_packed)
			part_pack(st, stem, ps.part[i].number);
	parts_release(&ps);
}
