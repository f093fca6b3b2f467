/*
 * others - see others.h.
 */
#include "others.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "notify.h"
#include "rag/kolmrag.h"
#include "store/log.h"

#define LOG_NAME "tune.jsonl"

enum { CHUNK_BYTES = 64 << 10 };

/* of a line of the log; 0: the reference's lines and torn ones have none */
static uint64_t seq_of(const char *line, size_t len)
{
	struct json_slice value, whole = {line, len};
	double x = 0;

	if (json_check(line, len, NULL) == 0 && json_member(whole, "seq", &value) &&
		json_kind_of(value) == JSON_NUMBER)
		x = json_double(value);
	return x >= 1 && x < 9007199254740992.0 ? (uint64_t)x : 0;
}

/* the text of a member, when it is a string of at most ${max} bytes; escapes are no part of our
 * names */
static bool name_of(struct json_slice line, const char *key, size_t max, char out[])
{
	struct json_slice v;

	if (!json_member(line, key, &v) || json_kind_of(v) != JSON_STRING || v.len - 2 > max)
		return false;
	memcpy(out, v.text + 1, v.len - 2);
	out[v.len - 2] = '\0';
	return true;
}

static void tell_line(struct server *sv, const char *text, size_t len)
{
	struct json_slice line = {text, len};
	uint64_t seq = seq_of(text, len);
	char name[RAG_NAME_BYTES + SLUG_BYTES + 1], key[sizeof(name) + 4];

	if (json_check(text, len, NULL) < 0 || (seq > 0 && seq <= log_known(sv->st)))
		return;
	if (seq > 0)
		log_know(sv->st, seq - 1, seq);
	if (name_of(line, "slug", SLUG_BYTES, name)) {
		if (slug_check(name, strlen(name), NULL) == 0)
			notify_change(sv, name,
				CHANGE_STATUS | CHANGE_HEAD | CHANGE_EVENTS | CHANGE_JOB |
					CHANGE_SLUGS);
	} else if (name_of(line, "index", RAG_NAME_BYTES, name) &&
		   rag_name_check(name, strlen(name), NULL) == 0) {
		snprintf(key, sizeof(key), "rag/%s", name);
		notify_change(sv, key, CHANGE_STATUS);
		notify_change(sv, "rag", CHANGE_SLUGS | CHANGE_EVENTS);
	}
}

static void note_line(struct server *sv, const char *line, size_t len)
{
	uint64_t seq = seq_of(line, len);

	if (seq > 0)
		log_know(sv->st, log_known(sv->st), seq);
}

/* the whole lines of a chunk; false: there are none */
static bool read_chunk(struct server *sv, int fd, char *chunk, struct others *ot,
	void (*each)(struct server *, const char *, size_t))
{
	ssize_t n = pread(fd, chunk, CHUNK_BYTES, ot->at);
	size_t pos = 0;

	for (const char *lf; n > 0 && (lf = memchr(chunk + pos, '\n', (size_t)n - pos));
		pos = (size_t)(lf - chunk) + 1)
		each(sv, chunk + pos, (size_t)(lf - (chunk + pos)));
	if (pos == 0 && n == CHUNK_BYTES)
		pos = (size_t)n; /* no line of ours is as long */
	ot->at += (off_t)pos;
	return pos > 0;
}

static void read_on(
	struct server *sv, struct others *ot, void (*each)(struct server *, const char *, size_t))
{
	int fd = openat(sv->st->logs, LOG_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char *chunk = fd < 0 ? NULL : malloc(CHUNK_BYTES);

	while (chunk && read_chunk(sv, fd, chunk, ot, each))
		;
	free(chunk);
	if (fd >= 0)
		close(fd);
}

void others_begin(struct server *sv, struct others *ot)
{
	struct stat st;

	if (fstatat(sv->st->logs, LOG_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return;
	*ot = (struct others){st.st_ino, st.st_size > CHUNK_BYTES ? st.st_size - CHUNK_BYTES : 0};
	read_on(sv, ot, note_line);
}

void others_look(struct server *sv, struct others *ot)
{
	struct stat st;

	if (fstatat(sv->st->logs, LOG_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
		(st.st_ino == ot->ino && st.st_size == ot->at))
		return;
	if (st.st_ino != ot->ino || st.st_size < ot->at) /* it turned over, or was cut */
		*ot = (struct others){st.st_ino, st.st_ino != ot->ino ? 0 : st.st_size};
	read_on(sv, ot, tell_line);
}
