/*
 * zip_write - a zip in memory, the same bytes for the same entries and time.
 */
#include "artifact/private.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <zip.h>

enum { DEFLATE_LEVEL = 9 };

/* DOS time stamps, in UTC: libzip's own conversion would use the local zone */
static void dos_time(int64_t ms, zip_uint16_t *t, zip_uint16_t *d)
{
	time_t sec = (time_t)(ms / 1000);
	struct tm tm;

	if (gmtime_r(&sec, &tm) == NULL || tm.tm_year < 80 || tm.tm_year > 207) {
		*t = 0;
		*d = 1 << 5 | 1; /* 1980-01-01, the first there is */
		return;
	}
	*t = (zip_uint16_t)(tm.tm_hour << 11 | tm.tm_min << 5 | tm.tm_sec / 2);
	*d = (zip_uint16_t)((tm.tm_year - 80) << 9 | (tm.tm_mon + 1) << 5 | tm.tm_mday);
}

static int add_entry(zip_t *za, const struct pack_entry *e, zip_uint16_t t, zip_uint16_t d)
{
	zip_source_t *src = zip_source_buffer(za, buf_str(&e->data), e->data.len, 0);
	zip_int64_t i = src != NULL ? zip_file_add(za, e->name, src, ZIP_FL_ENC_UTF_8) : -1;

	if (i < 0) {
		zip_source_free(src);
		return -1;
	}
	if (zip_set_file_compression(za, (zip_uint64_t)i, ZIP_CM_DEFLATE, DEFLATE_LEVEL) < 0 ||
		zip_file_set_dostime(za, (zip_uint64_t)i, t, d, 0) < 0 ||
		zip_file_set_external_attributes(za, (zip_uint64_t)i, 0, ZIP_OPSYS_UNIX,
			(zip_uint32_t)(S_IFREG | 0644) << 16) < 0)
		return -1;
	return 0;
}

static int read_back(zip_source_t *src, struct buf *out, struct err *err)
{
	zip_stat_t st;
	zip_int64_t n = -1;

	zip_stat_init(&st);
	if (zip_source_stat(src, &st) < 0 || (st.valid & ZIP_STAT_SIZE) == 0 ||
		zip_source_open(src) < 0)
		return err_set(err, EIO, "cannot read the new zip back");
	if (st.size > ARTIFACT_BYTES_MAX) {
		zip_source_close(src);
		return err_set(err, EFBIG, "the artifact would be larger than 256 MiB");
	}
	if (buf_reserve(out, (size_t)st.size) == 0)
		n = zip_source_read(src, out->data + out->len, st.size);
	zip_source_close(src);
	if (out->failed)
		return err_nomem(err);
	if (n != (zip_int64_t)st.size)
		return err_set(err, EIO, "cannot read the new zip back");
	out->len += (size_t)n;
	out->data[out->len] = '\0';
	return 0;
}

int zip_write(
	const struct pack_entry *entries, size_t n, int64_t ms, struct buf *out, struct err *err)
{
	zip_error_t ze;
	zip_source_t *src;
	zip_t *za;
	zip_uint16_t t, d;
	int rc;

	zip_error_init(&ze);
	src = zip_source_buffer_create(NULL, 0, 0, &ze);
	za = src != NULL ? zip_open_from_source(src, ZIP_CREATE | ZIP_TRUNCATE, &ze) : NULL;
	if (za == NULL) {
		zip_source_free(src);
		return err_set(err, ENOMEM, "cannot start a zip: %s", zip_error_strerror(&ze));
	}
	zip_source_keep(src); /* it holds the result after zip_close() */
	dos_time(ms, &t, &d);
	for (size_t i = 0; i < n; i++) {
		if (add_entry(za, &entries[i], t, d) < 0) {
			rc = err_set(
				err, EIO, "cannot add '%s': %s", entries[i].name, zip_strerror(za));
			goto out_discard;
		}
	}
	if (zip_close(za) < 0) {
		rc = err_set(err, EIO, "cannot write the zip: %s", zip_strerror(za));
		goto out_discard;
	}
	rc = read_back(src, out, err);
	zip_source_free(src);
	return rc;

out_discard:
	zip_discard(za);
	zip_source_free(src);
	return rc;
}
