#include "pdf.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "extract.h"

int rag_pdf_read(int fd, void *data, size_t len)
{
	char *p = data;

	while (len > 0) {
		ssize_t n = read(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* -EIO: the helper is gone */
static int converse(struct rag_pdf *pd, const char *data, size_t len, struct buf *out)
{
	struct rag_pdf_head hd = {.len = len};

	if (write_all(pd->ask, &hd, sizeof(hd), NULL) < 0 ||
		write_all(pd->ask, data, len, NULL) < 0 ||
		rag_pdf_read(pd->answer, &hd, sizeof(hd)) < 0 || hd.len > RAG_TEXT_MAX)
		return -EIO;
	if (hd.rc < 0)
		return (int)hd.rc;
	if (buf_reserve(out, (size_t)hd.len + 1) < 0) {
		pd->is_dead = true; /* its answer stays unread */
		return -ENOMEM;
	}
	if (rag_pdf_read(pd->answer, out->data + out->len, (size_t)hd.len) < 0)
		return -EIO;
	out->len += (size_t)hd.len;
	out->data[out->len] = '\0';
	return 0;
}

int rag_pdf_text(struct rag_pdf *pd, const char *data, size_t len, struct buf *out)
{
	int rc;

	if (len < 5 || memcmp(data, "%PDF-", 5) != 0)
		return -ENODATA;
	pthread_mutex_lock(&pd->lock);
	rc = pd->is_dead ? -ENODATA : converse(pd, data, len, out);
	if (rc == -EIO) {
		pd->is_dead = true;
		rc = -ENODATA;
	}
	pthread_mutex_unlock(&pd->lock);
	return rc;
}
