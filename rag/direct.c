#include "direct.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"

enum { BLOCK_BYTES = 1 << 20, ALIGN_BYTES = 1 << 12 };

static bool set_direct(struct rag_direct *dr, bool is_direct)
{
	int flags = fcntl(dr->fd, F_GETFL);

	if (flags < 0 ||
		fcntl(dr->fd, F_SETFL, is_direct ? flags | O_DIRECT : flags & ~O_DIRECT) < 0)
		return false;
	dr->is_direct = is_direct;
	return true;
}

/* what is in the room. A file system may take the flag and refuse the write */
static int put_room(struct rag_direct *dr, struct err *err)
{
	int rc = write_all(dr->fd, dr->room, dr->n, err);

	if (rc == -EINVAL && dr->is_direct) {
		if (!set_direct(dr, false) || lseek(dr->fd, dr->at, SEEK_SET) < 0)
			return rc;
		if (err)
			*err = ERR_NONE;
		rc = write_all(dr->fd, dr->room, dr->n, err);
	}
	/* the disk begins now, so that fsync() waits for the last of it only */
	if (!dr->is_direct)
		(void)sync_file_range(dr->fd, dr->at, (off_t)dr->n, SYNC_FILE_RANGE_WRITE);
	dr->at += (off_t)dr->n;
	dr->n = 0;
	return rc;
}

int rag_direct_put(struct rag_direct *dr, const void *data, size_t len, struct err *err)
{
	const char *from = data;
	int rc = 0;

	if (!dr->room) {
		dr->room = aligned_alloc(ALIGN_BYTES, BLOCK_BYTES);
		if (!dr->room)
			return err_nomem(err);
	}
	while (rc == 0 && len > 0) {
		size_t n = BLOCK_BYTES - dr->n;

		n = n < len ? n : len;
		memcpy(dr->room + dr->n, from, n);
		dr->n += n;
		from += n;
		len -= n;
		if (dr->n < BLOCK_BYTES)
			break;
		if (dr->at == 0)
			set_direct(dr, true);
		rc = put_room(dr, err);
	}
	return rc;
}

int rag_direct_end(struct rag_direct *dr, struct err *err)
{
	/* the last of it is no whole block */
	if (dr->is_direct && !set_direct(dr, false))
		return err_sys(err, "cannot write a file as usual");
	return dr->n > 0 ? put_room(dr, err) : 0;
}

void rag_direct_release(struct rag_direct *dr)
{
	free(dr->room);
	dr->room = NULL;
}
