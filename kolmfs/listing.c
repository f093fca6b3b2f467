/*
 * listing - see listing.h.
 */
#include "listing.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int add_name(void *arg, const char *name, size_t len, bool is_folder)
{
	struct listing *ls = arg;
	size_t *at;

	if (len > NAME_BYTES_MAX)
		return 0;
	if ((ls->n & (ls->n - 1)) == 0) { /* full at each power of two */
		at = realloc(ls->at, (ls->n ? 2 * ls->n : 1) * sizeof(*at));
		if (!at)
			return -ENOMEM;
		ls->at = at;
	}
	ls->at[ls->n++] = ls->names.len;
	buf_putc(&ls->names, is_folder ? 'd' : 'f');
	buf_add(&ls->names, name, len);
	buf_putc(&ls->names, '\0');
	return ls->names.failed ? -ENOMEM : 0;
}

void listing_free(struct listing *ls)
{
	if (!ls)
		return;
	buf_release(&ls->names);
	free(ls->at);
	free(ls);
}

/* is a name that may be missing there? */
struct present {
	struct server *sv;
	const struct place *at;
	struct listing *ls;
};

static int add_present(void *arg, const char *name, size_t len, bool is_folder)
{
	struct present *pr = arg;
	struct buf text = BUF_INIT;
	struct place child;
	int rc, fd = -1;

	if (is_folder || names_child(pr->sv, pr->at, name, len, &child, NULL) < 0 || !child.what ||
		!(child.what->flags & NAME_MAYBE))
		return add_name(pr->ls, name, len, is_folder);
	rc = child.what->open ? (fd = child.what->open(pr->sv, &child, NULL))
			      : child.what->render(pr->sv, &child, &text, NULL);
	if (fd >= 0)
		close(fd);
	buf_release(&text);
	return rc == -ENOENT ? 0 : add_name(pr->ls, name, len, is_folder);
}

int listing_new(struct server *sv, const struct place *at, struct listing **out, struct err *err)
{
	struct listing *ls = calloc(1, sizeof(*ls));
	struct present pr = {sv, at, ls};
	int rc;

	if (!ls)
		return err_nomem(err);
	rc = add_name(ls, ".", 1, true);
	if (rc == 0)
		rc = add_name(ls, "..", 2, true);
	if (rc == 0)
		rc = names_list(sv, at, add_present, &pr, err);
	if (rc < 0) {
		listing_free(ls);
		return rc;
	}
	*out = ls;
	return 0;
}
