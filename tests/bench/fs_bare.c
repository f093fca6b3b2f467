/*
 * fs_bare - the least a FUSE server can do: files with fixed bytes, held in memory. What it costs
 * is the kernel's and libfuse's share of what kolmfs costs.
 *
 *   usage: fs_bare SOURCE MOUNTPOINT [RAG INDEX QUESTION]
 *
 * Every file of the folder SOURCE and its folders is served as it was at the start, under the
 * caching rules of kolmfs: attributes of folders are good for a second, the name of `rag` too, the
 * rest is looked up each time and read without a cache. A `ctl` takes any write. A name query?...
 * has the bytes of `query` beside it; with an INDEX below the folder RAG they are the answer to
 * QUESTION, searched for at each read. Runs in the foreground until it is unmounted.
 */
#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rag/kolmrag.h"

enum { FILES_MAX = 64 };

/* item 0 is the root, number 1 */
static struct item {
	char path[256];
	size_t parent, len;
	char *data; /* NULL: a folder */
} items[FILES_MAX];
static size_t n_items, skip;

static struct rag_index *ix; /* or NULL */
static struct rag_request question = {.k = RAG_K_DEFAULT, .form = RAG_TEXT};

static size_t item_named(size_t parent, const char *name)
{
	char path[512];

	if (strncmp(name, "query?", 6) == 0)
		name = "query";
	(void)snprintf(path, sizeof(path), "%s/%s", items[parent].path, name);
	for (size_t i = 1; i < n_items; i++)
		if (strcmp(items[i].path, path) == 0)
			return i;
	return 0;
}

static int add(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	struct item *it = &items[n_items];
	int fd;

	(void)at;
	if (n_items == FILES_MAX || strlen(path + skip) >= sizeof(it->path))
		return -1;
	strcpy(it->path, path + skip);
	if (kind == FTW_F) {
		it->len = (size_t)st->st_size;
		it->data = malloc(it->len + 1);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (!it->data || fd < 0 || read(fd, it->data, it->len) != st->st_size)
			return -1;
		close(fd);
	}
	n_items++;
	return 0;
}

static void fill(size_t i, struct stat *st)
{
	*st = (struct stat){.st_ino = i + 1,
		.st_nlink = 1,
		.st_mode = items[i].data ? S_IFREG | 0600 : S_IFDIR | 0500,
		.st_size = (off_t)items[i].len,
		.st_uid = getuid()};
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	size_t i = item_named(parent - 1, name);
	struct fuse_entry_param en = {.ino = i + 1, .generation = 1};

	if (i == 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fill(i, &en.attr);
	if (!items[i].data)
		en.attr_timeout = 1;
	/* a name that is always there; what comes and goes is looked up each time */
	if (!items[i].data && strcmp(name, "rag") == 0)
		en.entry_timeout = 1;
	fuse_reply_entry(req, &en);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	fill(ino - 1, &st);
	fuse_reply_attr(req, &st, items[ino - 1].data || ino == FUSE_ROOT_ID ? 0 : 1);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void reply_search(fuse_req_t req, size_t size)
{
	struct buf out = BUF_INIT;

	if (rag_answer(ix, &question, &out, NULL) < 0)
		fuse_reply_err(req, EIO);
	else
		fuse_reply_buf(req, out.data, out.len < size ? out.len : size);
	buf_release(&out);
}

static void do_read(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	const struct item *it = &items[ino - 1];
	size_t from = (size_t)off < it->len ? (size_t)off : it->len, len = strlen(it->path);

	(void)fi;
	if (ix && off == 0 && len > 6 && strcmp(it->path + len - 6, "/query") == 0)
		reply_search(req, size);
	else
		fuse_reply_buf(req, it->data + from, it->len - from < size ? it->len - from : size);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	(void)ino;
	(void)data;
	(void)off;
	(void)fi;
	fuse_reply_write(req, size);
}

static void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops operations = {
	.lookup = do_lookup,
	.getattr = do_getattr,
	.open = do_open,
	.read = do_read,
	.write = do_write,
	.flush = do_flush,
	.release = do_flush,
};

static bool open_index(const char *rag, const char *name, const char *text)
{
	int dir = open(rag, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err err = ERR_NONE;

	question.text = text;
	question.len = strlen(text);
	if (rag_open(dir, name, &ix, &err) == 0)
		return true;
	fprintf(stderr, "%s: %s\n", rag, err.text);
	return false;
}

int main(int argc, char **argv)
{
	char *args[] = {argv[0], NULL};
	struct fuse_args fa = FUSE_ARGS_INIT(1, args);
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	struct fuse_session *se;

	if ((argc != 3 && argc != 6) || !config) {
		fputs("usage: fs_bare SOURCE MOUNTPOINT [RAG INDEX QUESTION]\n", stderr);
		return 1;
	}
	if (argc == 6 && !open_index(argv[3], argv[4], argv[5]))
		return 1;
	skip = strlen(argv[1]);
	if (nftw(argv[1], add, 16, FTW_PHYS) != 0) {
		perror(argv[1]);
		return 1;
	}
	se = fuse_session_new(&fa, &operations, sizeof(operations), NULL);
	if (!se || fuse_session_mount(se, argv[2]) < 0)
		return 1;
	fuse_loop_cfg_set_clone_fd(config, 0);
	fuse_loop_cfg_set_max_threads(config, 4);
	fuse_session_loop_mt(se, config);
	fuse_session_unmount(se);
	fuse_session_destroy(se);
	fuse_loop_cfg_destroy(config);
	return 0;
}
