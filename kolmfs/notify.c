/*
 * notify - see notify.h. One thread and one lock. Changes are counted at once, by folder and kind,
 * and told as soon as the thread comes round to it; touches for inotify are put together, at most
 * twenty-five a second for a folder. When files of the store changed it looks at those that parked
 * reads wait for, another process may have brought what they want, and for what others did at all
 * (others.c).
 */
#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/replace.h"
#include "fresh.h"
#include "opens.h"
#include "others.h"
#include "park.h"
#include "reply.h"

enum { KINDS = 7, TOUCH_GAP_MS = 40, FUSE_MAGIC = 0x65735546 };

/* what is known of one folder */
struct channel {
	char key[2 * SLUG_BYTES];
	uint64_t count[KINDS];
	unsigned told;	  /* to be told to polls and waits */
	unsigned touched; /* to be touched */
	int64_t touch_at; /* not before, monotonic ms */
	uint64_t files;	  /* fresh_files() when a change was told last; 0 never */
	struct channel *next;
};

struct forget {
	uint64_t parent;
	struct forget *next;
	char name[];
};

struct notify {
	struct server *sv;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct channel *first;
	uint64_t all[KINDS];
	struct forget *forgets;
	bool is_running, ending;
	bool look; /* somebody called notify_look() */
	_Atomic pid_t tid;
};

static int kind_of(unsigned bit)
{
	int i = 0;

	if (bit == CHANGE_ERROR)
		return KINDS - 1;
	while (i < KINDS - 2 && bit >> (i + 1))
		i++;
	return i;
}

/* under the lock; NULL when memory is short */
static struct channel *channel_of(struct notify *nt, const char *key, bool make)
{
	struct channel *ch = nt->first;

	while (ch && strcmp(ch->key, key) != 0)
		ch = ch->next;
	if (ch || !make)
		return ch;
	ch = calloc(1, sizeof(*ch));
	if (!ch)
		return NULL;
	snprintf(ch->key, sizeof(ch->key), "%s", key);
	ch->next = nt->first;
	nt->first = ch;
	return ch;
}

void notify_change(struct server *sv, const char *key, unsigned what)
{
	struct notify *nt = sv->notify;
	struct channel *ch;

	if (!nt)
		return;
	pthread_mutex_lock(&nt->lock);
	ch = channel_of(nt, key, true);
	for (unsigned left = what; left; left &= left - 1) {
		int kind = kind_of(left & -left);

		nt->all[kind]++;
		if (ch)
			ch->count[kind]++;
	}
	if (ch && !nt->ending) {
		ch->told |= what;
		ch->touched |= what;
		pthread_cond_signal(&nt->more);
	}
	pthread_mutex_unlock(&nt->lock);
}

void notify_other(struct server *sv, const char *slug, unsigned what)
{
	struct notify *nt = sv->notify;
	uint64_t files = fresh_files(sv, slug);
	const struct channel *ch;
	bool is_ours;

	pthread_mutex_lock(&nt->lock);
	ch = channel_of(nt, slug, false);
	is_ours = ch && (ch->told || ch->files == files);
	pthread_mutex_unlock(&nt->lock);
	if (!is_ours)
		notify_change(sv, slug, what);
}

void notify_look(struct server *sv)
{
	struct notify *nt = sv->notify;

	pthread_mutex_lock(&nt->lock);
	nt->look = true;
	pthread_cond_signal(&nt->more);
	pthread_mutex_unlock(&nt->lock);
}

uint64_t notify_generation(struct server *sv, const char *key, unsigned what)
{
	struct notify *nt = sv->notify;
	const uint64_t *count = NULL;
	const struct channel *ch;
	uint64_t sum = 0;

	pthread_mutex_lock(&nt->lock);
	if (!key)
		count = nt->all;
	else if ((ch = channel_of(nt, key, false)))
		count = ch->count;
	for (unsigned left = what; count && left; left &= left - 1)
		sum += count[kind_of(left & -left)];
	pthread_mutex_unlock(&nt->lock);
	return sum;
}

void notify_forget(struct server *sv, uint64_t parent, const char *name)
{
	struct notify *nt = sv->notify;
	size_t len = strlen(name) + 1;
	struct forget *fg = malloc(sizeof(*fg) + len);

	if (!fg)
		return;
	fg->parent = parent;
	memcpy(fg->name, name, len);
	pthread_mutex_lock(&nt->lock);
	fg->next = nt->forgets;
	nt->forgets = fg;
	pthread_cond_signal(&nt->more);
	pthread_mutex_unlock(&nt->lock);
}

bool notify_is_own(struct server *sv, pid_t tid)
{
	return atomic_load(&sv->notify->tid) == tid;
}

/* ---- polls ---- */

struct change {
	const char *key;
	unsigned what;
};

static bool shows(void *arg, const struct open *o)
{
	const struct change *cg = arg;
	const struct name *what = o->nd->at.what;
	char key[2 * SLUG_BYTES];

	names_key(&o->nd->at, key);
	if (strcmp(key, cg->key) == 0)
		return what->ready || (what->watch & cg->what);
	return !*key && (what->watch & cg->what & ~CHANGE_ERROR);
}

static void tell(void *arg, struct open *o)
{
	(void)arg;
	open_tell(o);
}

static bool is_polled_stream(void *arg, const struct open *o)
{
	(void)arg;
	return o->nd->at.what->ready && atomic_load(&o->is_polled);
}

static void tell_if_ready(void *arg, struct open *o)
{
	(void)arg;
	if (open_ready(o))
		open_tell(o);
}

/* ---- inotify ---- */

static void touch_path(struct server *sv, const char *path)
{
	char full[2 * STORE_PATH_BYTES], self[48];
	struct stat st;
	int fd;

	snprintf(full, sizeof(full), "%s/%s", sv->mountpoint, path);
	fd = open(full, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	/* after an unmount the path names a real file, perhaps of the store: only what lies on the
	 * mount is touched */
	if (fstat(fd, &st) == 0 && st.st_dev == (dev_t)atomic_load(&sv->dev) &&
		S_ISREG(st.st_mode)) {
		snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
		if (truncate(self, 0) < 0)
			errno = 0; /* nobody to tell, and nothing to do about it */
	}
	close(fd);
}

/* only what somebody can be watching: the kernel knows the file, or its folder */
static void touch_if_known(void *arg, const char *path)
{
	struct server *sv = arg;
	char dir[STORE_PATH_BYTES];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	*(slash ? slash : dir) = '\0';
	if (node_known(sv, path) || (*dir && node_known(sv, dir)))
		touch_path(sv, path);
}

/* the files that show a change of ${key}; of its jobs the newest is the one that changes */
static void touch_change(struct server *sv, const char *key, unsigned what)
{
	bool is_rag = strcmp(key, "rag") == 0;
	struct job_record jr;

	names_watched(key, what, touch_if_known, sv);
	if ((what & (CHANGE_JOB | CHANGE_LOG | CHANGE_STATUS)) && *key && !strchr(key, '/') &&
		kolm_job(sv->k, is_rag ? NULL : key, 0, &jr, NULL) == 0)
		names_watched_job(key, jr.id, what, touch_if_known, sv);
}

/* ---- the thread ---- */

/* what the root of the mount is, once it answers */
static void learn_device(struct server *sv)
{
	struct statfs fs;
	struct stat st;

	if (statfs(sv->mountpoint, &fs) == 0 && fs.f_type == FUSE_MAGIC &&
		stat(sv->mountpoint, &st) == 0)
		atomic_store(&sv->dev, (uint64_t)st.st_dev);
}

static void forget_slug(struct server *sv, const char *key)
{
	struct tune tn;

	if (tune_open(sv->st, key, &tn, NULL) == -ENOENT)
		kernel_forget(sv, NODE_ROOT, key);
	else
		tune_close(&tn);
}

static void tell_change(struct server *sv, const struct change *cg)
{
	struct change copy = *cg;

	opens_each(sv, shows, tell, &copy);
	if ((cg->what & CHANGE_SLUGS) && *cg->key && strncmp(cg->key, "rag", 3) != 0)
		forget_slug(sv, cg->key);
}

/* everything that is pending; without the lock while it is told. True when something was done. */
static bool work_off(struct notify *nt)
{
	int64_t now = clock_ms();
	bool was_told = false;
	struct forget *fg, *next;

	for (struct channel *ch = nt->first; ch;
		ch = ch->next) { /* channels are only ever put in front */
		struct change cg = {ch->key, ch->told};
		uint64_t files;

		if (!cg.what)
			continue;
		ch->told = 0;
		was_told = true;
		pthread_mutex_unlock(&nt->lock);
		files = slug_check(ch->key, strlen(ch->key), NULL) < 0
				? 0
				: fresh_files(nt->sv, ch->key);
		tell_change(nt->sv, &cg);
		pthread_mutex_lock(&nt->lock);
		ch->files = files;
	}
	fg = nt->forgets;
	nt->forgets = NULL;
	pthread_mutex_unlock(&nt->lock);
	if (was_told)
		park_wake(nt->sv, NULL);
	for (; fg; fg = next) {
		next = fg->next;
		kernel_forget(nt->sv, fg->parent, fg->name);
		free(fg);
	}
	pthread_mutex_lock(&nt->lock);
	for (struct channel *ch = nt->first; ch && !nt->ending; ch = ch->next) {
		unsigned what = ch->touched;

		if (!what || now < ch->touch_at)
			continue;
		ch->touched = 0;
		ch->touch_at = now + TOUCH_GAP_MS;
		pthread_mutex_unlock(&nt->lock);
		touch_change(nt->sv, ch->key, what);
		pthread_mutex_lock(&nt->lock);
	}
	return was_told;
}

/* until something is pending, or a touch is due; under the lock */
static void wait_more(struct notify *nt)
{
	int64_t gap = INT64_MAX, now = clock_ms();
	struct timespec until;

	for (const struct channel *ch = nt->first; ch; ch = ch->next) {
		if (ch->told || (ch->touched && ch->touch_at <= now))
			return;
		if (ch->touched && ch->touch_at - now < gap)
			gap = ch->touch_at - now;
	}
	if (nt->forgets || nt->look || nt->ending)
		return;
	if (gap == INT64_MAX) {
		pthread_cond_wait(&nt->more, &nt->lock);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += gap / 1000;
	until.tv_nsec += gap % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&nt->more, &nt->lock, &until);
}

static void *notify_thread(void *arg)
{
	struct notify *nt = arg;
	struct others ot = {0};

	atomic_store(&nt->tid, gettid());
	pthread_setname_np(pthread_self(), "kolmfs-notify");
	learn_device(nt->sv);
	others_begin(nt->sv, &ot);
	pthread_mutex_lock(&nt->lock);
	while (!nt->ending) {
		work_off(nt);
		if (nt->look) {
			nt->look = false;
			pthread_mutex_unlock(&nt->lock);
			others_look(nt->sv, &ot);
			park_look(nt->sv);
			opens_each(nt->sv, is_polled_stream, tell_if_ready, NULL);
			pthread_mutex_lock(&nt->lock);
		}
		wait_more(nt);
	}
	pthread_mutex_unlock(&nt->lock);
	return NULL;
}

int notify_new(struct server *sv, struct err *err)
{
	struct notify *nt = calloc(1, sizeof(*nt));
	pthread_condattr_t attr;

	if (!nt)
		return err_nomem(err);
	nt->sv = sv;
	pthread_mutex_init(&nt->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&nt->more, &attr);
	pthread_condattr_destroy(&attr);
	sv->notify = nt;
	return 0;
}

int notify_start(struct server *sv, struct err *err)
{
	struct notify *nt = sv->notify;
	int rc = pthread_create(&nt->thread, NULL, notify_thread, nt);

	if (rc)
		return err_set(err, rc, "cannot start a thread");
	nt->is_running = true;
	return 0;
}

void notify_stop(struct server *sv)
{
	struct notify *nt = sv->notify;

	if (!nt || !nt->is_running)
		return;
	pthread_mutex_lock(&nt->lock);
	nt->ending = true;
	pthread_cond_signal(&nt->more);
	pthread_mutex_unlock(&nt->lock);
	pthread_join(nt->thread, NULL);
	nt->is_running = false;
}

void notify_free(struct notify *nt)
{
	struct channel *ch, *next_ch;
	struct forget *fg, *next_fg;

	if (!nt)
		return;
	for (ch = nt->first; ch; ch = next_ch) {
		next_ch = ch->next;
		free(ch);
	}
	for (fg = nt->forgets; fg; fg = next_fg) {
		next_fg = fg->next;
		free(fg);
	}
	pthread_cond_destroy(&nt->more);
	pthread_mutex_destroy(&nt->lock);
	free(nt);
}
