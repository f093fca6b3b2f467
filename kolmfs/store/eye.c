/*
 * eye - see eye.h. The queue of the kernel is read by whoever asks first; eye_wait() hears of it
 * through an eventfd, since what another thread has taken off no longer wakes its poll().
 */
#include "store/eye.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum {
	EVENTS_BYTES = 4096,
	EVENTS = IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
		 IN_DELETE_SELF | IN_MOVE_SELF,
	HOW = IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK,
};

#define REVISIONS "revisions"

/* one watched folder */
struct mark {
	int wd; /* -1: not watched */
	struct sight *of;
};

/* what is seen of one slug */
struct sight {
	struct mark folder, revisions;
	uint64_t count;
	bool is_blind; /* it is there and cannot be watched */
	char slug[SLUG_BYTES + 1];
};

struct eye {
	const struct store *st;
	int fd;			/* inotify, -1: the kernel cannot tell */
	int poked;		/* eventfd: ${pending} or ${ended} became true */
	pthread_mutex_t lock;	/* over all that follows */
	pthread_cond_t hurry;	/* ${next} or ${ended} was set */
	void *sights, *marks;	/* trees of tsearch(3): by slug, by wd */
	struct sight rag, logs; /* nobody counts these */
	unsigned blind;		/* sights that are */
	bool pending;		/* something changed since eye_wait() returned */
	bool ended;
	struct timespec next; /* eye_wait() returns not before */
};

static int by_slug(const void *a, const void *b)
{
	const struct sight *x = a, *y = b;

	return strcmp(x->slug, y->slug);
}

static int by_wd(const void *a, const void *b)
{
	const struct mark *x = a, *y = b;

	return (x->wd > y->wd) - (x->wd < y->wd);
}

/* under the lock, as all that follows up to eye_open() */
static void poke(struct eye *ey)
{
	static const uint64_t one = 1;

	if (!ey->pending && write(ey->poked, &one, sizeof(one)) < 0)
		errno = 0; /* it is full, and so awake */
	ey->pending = true;
}

/* ---- watching ---- */

static void unwatch(struct eye *ey, struct mark *mk)
{
	if (mk->wd < 0)
		return;
	(void)tdelete(mk, &ey->marks, by_wd);
	(void)inotify_rm_watch(ey->fd, mk->wd); /* EINVAL when the kernel did it before */
	mk->wd = -1;
}

static int watch(struct eye *ey, struct mark *mk, int dir, const char *slug, const char *name)
{
	char path[SLUG_BYTES + 64];
	struct mark **at;

	unwatch(ey, mk); /* one that another took the place of */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s/%s", dir, slug, name);
	mk->wd = inotify_add_watch(ey->fd, path, EVENTS | HOW);
	if (mk->wd < 0)
		return -errno;
	at = tsearch(mk, &ey->marks, by_wd);
	if (at == NULL) {
		(void)inotify_rm_watch(ey->fd, mk->wd);
		mk->wd = -1;
		return -ENOMEM;
	}
	if (*at != mk) { /* the same folder under the name it had before */
		(*at)->wd = -1;
		*at = mk;
	}
	return 0;
}

static void forget(struct eye *ey, struct sight *si)
{
	unwatch(ey, &si->folder);
	unwatch(ey, &si->revisions);
	si->count++;
}

/* there may be none */
static int watch_revisions(struct eye *ey, struct sight *si)
{
	int rc = watch(ey, &si->revisions, ey->st->tune, si->slug, REVISIONS);

	if (rc < 0 && rc != -ENOENT)
		unwatch(ey, &si->folder); /* half of it is not enough */
	return rc == -ENOENT ? 0 : rc;
}

static void watch_slug(struct eye *ey, struct sight *si)
{
	int rc = watch(ey, &si->folder, ey->st->tune, si->slug, "");
	bool is_blind;

	if (rc == 0 && si->slug[0] != '\0')
		rc = watch_revisions(ey, si);
	is_blind = rc < 0 && rc != -ENOENT;
	if (is_blind && !si->is_blind)
		poke(ey); /* from now on eye_wait() goes by time */
	ey->blind += (unsigned)is_blind - (unsigned)si->is_blind;
	si->is_blind = is_blind;
	si->count++;
}

static struct sight *sight_of(struct eye *ey, const char *slug)
{
	struct sight key = {.folder = {.wd = -1}}, **at, *si;

	(void)snprintf(key.slug, sizeof(key.slug), "%s", slug);
	at = tfind(&key, &ey->sights, by_slug);
	if (at != NULL)
		return *at;
	si = malloc(sizeof(*si));
	if (si == NULL)
		return NULL;
	*si = key;
	si->folder = si->revisions = (struct mark){-1, si};
	if (tsearch(si, &ey->sights, by_slug) == NULL) {
		free(si);
		return NULL;
	}
	return si;
}

/* ---- events ---- */

static void forget_one(const void *node, VISIT which, void *arg)
{
	if (which == preorder || which == leaf)
		forget(arg, *(struct sight *const *)node);
}

static void take_event(struct eye *ey, const struct inotify_event *ev)
{
	const struct mark key = {.wd = ev->wd};
	struct mark *const *at = tfind(&key, &ey->marks, by_wd);
	struct mark *mk = at != NULL ? *at : NULL;
	struct sight *si = mk != NULL ? mk->of : NULL;

	if (ev->mask & IN_Q_OVERFLOW) /* any of them may have come, gone or changed */
		twalk_r(ey->sights, forget_one, ey);
	if (si == NULL)
		return; /* of a folder that is no longer watched */
	si->count++;
	if (mk == &si->folder && (ev->mask & (IN_MOVE_SELF | IN_DELETE_SELF | IN_IGNORED)))
		forget(ey, si);
	else if (mk == &si->revisions && (ev->mask & (IN_MOVE_SELF | IN_DELETE_SELF | IN_IGNORED)))
		unwatch(ey, mk);
	else if (mk == &si->folder && ev->len > 0 && si->slug[0] != '\0' &&
		 (ev->mask & (IN_CREATE | IN_MOVED_TO)) && strcmp(ev->name, REVISIONS) == 0)
		(void)watch_revisions(ey, si);
}

static void take_events(struct eye *ey)
{
	_Alignas(struct inotify_event) char data[EVENTS_BYTES];
	const struct inotify_event *ev;
	ssize_t n;

	while (ey->fd >= 0 && (n = read(ey->fd, data, sizeof(data))) > 0) {
		for (ssize_t at = 0; at < n; at += (ssize_t)(sizeof(*ev) + ev->len)) {
			ev = (const struct inotify_event *)(const void *)(data + at);
			take_event(ey, ev);
		}
		poke(ey);
	}
}

/* ---- opening and closing ---- */

/* does this kernel alone write there? Of the many file systems that other machines or programs
 * write to behind its back there is no list; of those they cannot there is. */
static bool is_of_this_kernel(int fd)
{
	static const unsigned long types[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
		F2FS_SUPER_MAGIC, TMPFS_MAGIC, OVERLAYFS_SUPER_MAGIC, 0xca451a4e /* bcachefs */,
		0x2fc12fc1 /* ZFS */};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if ((unsigned long)fs.f_type == types[i])
			return true;
	return false;
}

static void watch_store(struct eye *ey)
{
	if (!is_of_this_kernel(ey->st->tune))
		return;
	ey->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (ey->fd >= 0 && (watch(ey, &ey->rag.folder, ey->st->rag, "", "") < 0 ||
				   watch(ey, &ey->logs.folder, ey->st->logs, "", "") < 0)) {
		close(ey->fd);
		ey->fd = -1;
	}
}

int eye_open(const struct store *st, struct eye **out, struct err *err)
{
	struct eye *ey = calloc(1, sizeof(*ey));
	int rc;

	if (ey == NULL)
		return err_nomem(err);
	ey->poked = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (ey->poked < 0) {
		rc = err_sys(err, "cannot watch the store");
		free(ey);
		return rc;
	}
	pthread_mutex_init(&ey->lock, NULL);
	pthread_cond_init(&ey->hurry, NULL);
	ey->st = st;
	ey->fd = -1;
	ey->rag.folder = ey->rag.revisions = (struct mark){-1, &ey->rag};
	ey->logs.folder = ey->logs.revisions = (struct mark){-1, &ey->logs};
	watch_store(ey);
	*out = ey;
	return 0;
}

static void keep(void *node)
{
	(void)node; /* part of a sight */
}

void eye_close(struct eye *ey)
{
	if (ey == NULL)
		return;
	tdestroy(ey->marks, keep);
	tdestroy(ey->sights, free);
	if (ey->fd >= 0)
		close(ey->fd);
	close(ey->poked);
	pthread_cond_destroy(&ey->hurry);
	pthread_mutex_destroy(&ey->lock);
	free(ey);
}

/* ---- asking and waiting ---- */

uint64_t eye_count(struct eye *ey, const char *slug)
{
	uint64_t count = 0;
	struct sight *si;

	if (ey->fd < 0)
		return 0;
	pthread_mutex_lock(&ey->lock);
	take_events(ey);
	si = sight_of(ey, slug);
	if (si != NULL && si->folder.wd < 0)
		watch_slug(ey, si);
	if (si != NULL && si->folder.wd >= 0)
		count = si->count;
	pthread_mutex_unlock(&ey->lock);
	return count;
}

void eye_poke(struct eye *ey)
{
	pthread_mutex_lock(&ey->lock);
	poke(ey);
	pthread_mutex_unlock(&ey->lock);
}

void eye_hurry(struct eye *ey)
{
	pthread_mutex_lock(&ey->lock);
	ey->next = (struct timespec){0};
	poke(ey);
	pthread_cond_signal(&ey->hurry);
	pthread_mutex_unlock(&ey->lock);
}

void eye_end(struct eye *ey)
{
	pthread_mutex_lock(&ey->lock);
	ey->ended = true;
	poke(ey);
	pthread_cond_signal(&ey->hurry);
	pthread_mutex_unlock(&ey->lock);
}

/* without the lock */
static void sleep_until_told(struct eye *ey)
{
	struct pollfd fds[] = {{ey->poked, POLLIN, 0}, {ey->fd, POLLIN, 0}};
	uint64_t n;

	(void)poll(fds, 2, -1);
	if (read(ey->poked, &n, sizeof(n)) < 0)
		errno = 0; /* it was the kernel that told */
}

bool eye_wait(struct eye *ey)
{
	bool is_over;
	int rc = 0;

	pthread_mutex_lock(&ey->lock);
	while (!ey->ended && rc != ETIMEDOUT)
		rc = pthread_cond_clockwait(&ey->hurry, &ey->lock, CLOCK_MONOTONIC, &ey->next);
	take_events(ey);
	while (!ey->pending && !ey->ended && ey->fd >= 0 && ey->blind == 0) {
		pthread_mutex_unlock(&ey->lock);
		sleep_until_told(ey);
		pthread_mutex_lock(&ey->lock);
		take_events(ey);
	}
	ey->pending = false;
	is_over = ey->ended;
	clock_gettime(CLOCK_MONOTONIC, &ey->next);
	ey->next.tv_sec += EYE_GAP_MS / 1000;
	pthread_mutex_unlock(&ey->lock);
	return !is_over;
}
