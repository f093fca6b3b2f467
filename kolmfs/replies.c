/*
 * replies - see replies.h. A short list: one entry for each folder that ever refused something.
 */
#include "replies.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/replace.h"
#include "names.h"
#include "notify.h"

enum { REPLIES_MAX = 4096 };

struct reply {
	char key[2 * SLUG_BYTES];
	char text[ERR_TEXT_BYTES];
	struct reply *next;
};

struct replies {
	pthread_mutex_t lock;
	struct reply *first;
	size_t n;
};

int replies_new(struct replies **out, struct err *err)
{
	struct replies *rs = calloc(1, sizeof(*rs));

	if (!rs)
		return err_nomem(err);
	pthread_mutex_init(&rs->lock, NULL);
	*out = rs;
	return 0;
}

void replies_free(struct replies *rs)
{
	struct reply *rp, *next;

	if (!rs)
		return;
	for (rp = rs->first; rp; rp = next) {
		next = rp->next;
		free(rp);
	}
	pthread_mutex_destroy(&rs->lock);
	free(rs);
}

static struct reply *find(struct replies *rs, const char *key)
{
	for (struct reply *rp = rs->first; rp; rp = rp->next)
		if (strcmp(rp->key, key) == 0)
			return rp;
	return NULL;
}

static bool store_text(struct replies *rs, const char *key, const char *text)
{
	struct reply *rp = find(rs, key);

	if (rp && strcmp(rp->text, text) == 0)
		return false;
	if (!rp) {
		if (strcmp(text, "ok") == 0 || rs->n >= REPLIES_MAX)
			return false;
		rp = calloc(1, sizeof(*rp));
		if (!rp)
			return false;
		snprintf(rp->key, sizeof(rp->key), "%s", key);
		rp->next = rs->first;
		rs->first = rp;
		rs->n++;
	}
	snprintf(rp->text, sizeof(rp->text), "%s", text);
	return true;
}

void replies_set(struct server *sv, const char *key, const char *text)
{
	bool is_new;

	pthread_mutex_lock(&sv->replies->lock);
	is_new = store_text(sv->replies, key, text);
	pthread_mutex_unlock(&sv->replies->lock);
	if (is_new)
		notify_change(sv, key, CHANGE_ERROR);
}

int replies_render(struct replies *rs, const char *key, struct buf *out)
{
	const struct reply *rp;

	pthread_mutex_lock(&rs->lock);
	rp = find(rs, key);
	buf_addf(out, "%s\n", rp ? rp->text : "ok");
	pthread_mutex_unlock(&rs->lock);
	return out->failed ? -ENOMEM : 0;
}

void by_name(struct by *by)
{
	char path[48];
	ssize_t n;
	int fd;

	if (*by->comm)
		return;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)by->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, by->comm, sizeof(by->comm) - 1) : 0;
	if (fd >= 0)
		close(fd);
	by->comm[n > 0 ? n : 0] = '\0';
	by->comm[strcspn(by->comm, "\n")] = '\0';
}

void log_refusal(const char *key, const struct by *by, const struct err *err)
{
	struct by who = *by;
	char comm[ERR_QUOTE_BYTES + 8], text[ERR_QUOTE_BYTES + 8], now[TIME_TEXT_BYTES];
	char line[ERR_TEXT_BYTES + 256];

	by_name(&who);
	/* sentences quote what came from outside escaped; once more does no harm, and the sentence
	 * is cut only in the log */
	err_quote(text, err->text, strlen(err->text));
	snprintf(line, sizeof(line), "%s kolmfs: refused %s/: uid=%u pid=%d comm=%s: %s %s\n",
		time_text(time_now(), now), key, (unsigned)who.uid, (int)who.pid,
		err_quote(comm, who.comm, strlen(who.comm)), err_name(err->no), text);
	fputs(line, stderr);
}

void refused(struct server *sv, const char *key, const struct by *by, const struct err *err)
{
	replies_set(sv, key, err->text);
	log_refusal(key, by, err);
}
