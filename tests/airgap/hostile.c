/*
 * hostile CELL LAYER [EVERY SEED] - each hostile probe in a cell of its own, with LAYER taken away
 * ("none": with all; "all": with none, to see that the probes are worth something).
 *
 * It is a spawner (runner/sandbox.h) that starts cells of build/ablate, and at the same time the
 * listeners outside that a probe would have to reach. Exit 0: everything held, and each observer
 * saw every attempt it can see. EVERY and SEED choose a sample of one in EVERY.
 */
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "probes.h"
#include "runner/egress.h"
#include "runner/sandbox.h"

enum { CONTROL_WORKED = 60, CONTROL_OUT = 4 };
enum { LISTENERS = 6, SAID_BYTES = 65536, FAMILY_VSOCK = 40 };

struct hostile {
	struct sandbox sb;
	const char *layer;
	int port;
	int listener[LISTENERS]; /* -1: this machine has none of its kind */
	char path[64];
	unsigned every, seed;
	bool is_control; /* without all layers: success is what is expected, and counted */
	unsigned native, js, seen_kernel, seen_language, alone, failed, worked, got_out;
};

struct ending {
	char said[SAID_BYTES];
	size_t len;
	int status;
	char egress[64];
};

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void complain(struct hostile *h, const char *probe, const char *what)
{
	printf("FAILED without %s: %s: %s\n", h->layer, probe, what);
	h->failed++;
}

/* ---- outside ---- */

static int listener(int family, int type, const void *at, socklen_t len)
{
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && (bind(fd, at, len) < 0 || (type == SOCK_STREAM && listen(fd, 16) < 0))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void open_outside(struct hostile *h)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr_un name = {.sun_family = AF_UNIX}, path = {.sun_family = AF_UNIX};
	struct {
		unsigned short family, reserved;
		unsigned port, cid;
		unsigned char zero[4];
	} vsock = {FAMILY_VSOCK, 0, 0, -1U, {0}};
	socklen_t len = sizeof(v4);
	int n;

	h->listener[0] = listener(AF_INET, SOCK_STREAM, &v4, sizeof(v4));
	if (h->listener[0] < 0 ||
		getsockname(h->listener[0], (struct sockaddr *)&v4, &len) < 0)
		die("listener");
	h->port = ntohs(v4.sin_port);
	h->listener[1] = listener(AF_INET, SOCK_DGRAM, &v4, sizeof(v4));
	v6.sin6_port = v4.sin_port;
	v6.sin6_addr = in6addr_loopback;
	h->listener[2] = listener(AF_INET6, SOCK_STREAM, &v6, sizeof(v6));
	n = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "kolm-airgap-%d", getpid());
	h->listener[3] = listener(AF_UNIX, SOCK_STREAM, &name,
		(socklen_t)(sizeof(name.sun_family) + 1 + (size_t)n));
	snprintf(h->path, sizeof(h->path), "/tmp/kolm-airgap-%d", getpid());
	strcpy(path.sun_path, h->path);
	h->listener[4] = listener(AF_UNIX, SOCK_STREAM, &path, sizeof(path));
	chmod(h->path, 0777);
	vsock.port = (unsigned)h->port;
	h->listener[5] = listener(FAMILY_VSOCK, SOCK_STREAM, &vsock, sizeof(vsock));
	if (h->listener[3] < 0 || h->listener[4] < 0)
		die("listener");
	n = open("/tmp/kolm-airgap-victim", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (n < 0 || fchmod(n, 0666) < 0 || write(n, "whole", 5) != 5 || close(n) < 0)
		die("victim");
}

static void close_outside(struct hostile *h)
{
	/* the victim, and what probes make when nothing stops them */
	static const char *const made[] = {"/tmp/kolm-airgap-victim", "/tmp/kolm-airgap-moved",
		"/tmp/kolm-airgap-tmp", "/tmp/kolm-airgap-dir", "/tmp/kolm-airgap-link",
		"/tmp/kolm-airgap-node", "/tmp/kolm-airgap-fifo", "/dev/shm/kolm-airgap-shm"};

	for (int i = 0; i < LISTENERS; i++) {
		if (h->listener[i] >= 0)
			close(h->listener[i]);
	}
	unlink(h->path);
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		remove(made[i]);
}

/* a connection or a packet that arrived */
static bool something_arrived(struct hostile *h)
{
	char data[16];
	bool any = false;

	for (int i = 0; i < LISTENERS; i++) {
		int fd = -1;

		if (h->listener[i] < 0)
			continue;
		if (i == 1)
			any |= recv(h->listener[i], data, sizeof(data), 0) >= 0;
		else
			fd = accept4(h->listener[i], NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0) {
			any = true;
			close(fd);
		}
	}
	return any;
}

/* ---- one cell ---- */

/* start it, give it ${input}, and take what it says until it is over */
static bool play(struct hostile *h, const char *probe, const struct buf *input, struct ending *end)
{
	struct err err = ERR_NONE;
	struct child *cell;
	int down[2], up[2];
	ssize_t n;

	memset(end, 0, sizeof(*end));
	if (pipe2(down, O_CLOEXEC) < 0 || pipe2(up, O_CLOEXEC) < 0)
		die("pipe");
	if (cell_start(&h->sb, NULL, probe, down[0], up[1], &cell, &err) < 0) {
		complain(h, probe ? probe : "recipe", err.text);
		return false;
	}
	close(down[0]);
	close(up[1]);
	if (cell_wait_ready(cell, &err) < 0) {
		complain(h, probe ? probe : "recipe", err.text);
		child_kill(cell);
	}
	if (input && write(down[1], input->data, input->len) < 0 && errno != EPIPE)
		die("write");
	close(down[1]);
	while (!cell->is_over)
		sandbox_pump(&h->sb, false);
	while (end->len < SAID_BYTES - 1 &&
		(n = read(up[0], end->said + end->len, SAID_BYTES - 1 - end->len)) > 0)
		end->len += (size_t)n;
	close(up[0]);
	end->status = cell->wait_status;
	strcpy(end->egress, cell->egress);
	child_free(&h->sb, cell);
	return err.no == 0;
}

static bool is_chosen(struct hostile *h)
{
	h->seed = h->seed * 1103515245u + 12345u;
	return h->every <= 1 || (h->seed >> 16) % h->every == 0;
}

static void native(struct hostile *h, const char *name, enum probe_kind kind, const char *only)
{
	const bool is_watched = strcmp(h->layer, "listener") != 0;
	struct ending end;
	char words[128];
	bool worked, got_out;

	if (!is_chosen(h))
		return;
	snprintf(words, sizeof(words), "%s:%d:%d", name, h->port, getpid());
	if (!play(h, words, NULL, &end))
		return;
	h->native++;
	worked = end.len > 1 && end.said[1] == PROBE_OPEN;
	got_out = something_arrived(h);
	h->worked += worked;
	h->got_out += got_out;
	if (h->is_control)
		return;
	if (end.said[0] != PROBE_READY)
		complain(h, name, "it did not get to its attempt");
	if (kind != LOCAL && end.egress[0])
		h->seen_kernel++;
	else if (kind != LOCAL && is_watched)
		complain(h, name, "the kernel's observer did not see it");
	if ((worked && kind != ATTEMPT) || got_out) {
		if (strcmp(only, h->layer) == 0)
			h->alone++;
		else
			complain(h, name, got_out ? "a byte got out" : "it worked");
	}
}

/* ---- recipes ---- */

static void put_frame(struct buf *out, const struct buf *frame)
{
	const unsigned char head[4] = {frame->len & 255, frame->len >> 8 & 255,
		frame->len >> 16 & 255, frame->len >> 24 & 255};

	buf_add(out, head, 4);
	buf_add(out, frame->data, frame->len);
}

static void frames_of(const char *source, struct buf *out)
{
	static const char call[] = "{\"op\":\"call\",\"input\":\"x\",\"params\":null}";
	struct buf frame = BUF_INIT;

	buf_puts(&frame, "{\"op\":\"load\",\"recipes\":[{\"id\":\"r\",\"name\":\"r\",\"source\":");
	json_put_text(&frame, source);
	buf_puts(&frame, "}],\"pack\":null,\"index\":null,\"rag\":false,\"lm\":null,\"eval\":true}");
	put_frame(out, &frame);
	buf_reset(&frame);
	buf_puts(&frame, call);
	put_frame(out, &frame);
	buf_release(&frame);
}

/* the text of the frame after the first */
static const char *second_frame(const struct ending *end)
{
	size_t first;

	if (end->len < 4)
		return "";
	first = (unsigned char)end->said[0] | (size_t)(unsigned char)end->said[1] << 8;
	return 4 + first + 4 <= end->len ? end->said + 4 + first + 4 : "";
}

static void recipe(struct hostile *h, const struct js_probe *probe)
{
	const bool is_watched = strcmp(h->layer, "language") != 0 && !h->is_control;
	struct buf input = BUF_INIT;
	struct ending end;
	const char *said;
	char want[80];

	if (!is_chosen(h))
		return;
	frames_of(probe->source, &input);
	if (play(h, NULL, &input, &end)) {
		h->js++;
		said = second_frame(&end);
		snprintf(want, sizeof(want), "{\"op\":\"egress\",\"api\":\"%s\"}",
			probe->api ? probe->api : "");
		if (h->is_control && strstr(said, "right"))
			h->worked++;
		else if (something_arrived(h) || strstr(said, "reached"))
			complain(h, probe->name, "it reached something");
		if (!said[0])
			complain(h, probe->name, "the cell said nothing");
		if (probe->api && is_watched) {
			if (strncmp(said, want, strlen(want)) == 0 &&
				WIFEXITED(end.status) && WEXITSTATUS(end.status) == CELL_EGRESS)
				h->seen_language++;
			else
				complain(h, probe->name, "the language's observer did not see it");
		}
		if (!probe->api && strncmp(said, "{\"op\":\"egress\"", 14) == 0)
			complain(h, probe->name, "an honest question was taken for an attempt");
	}
	buf_release(&input);
}

static void all(struct hostile *h)
{
	static const struct {
		const char *name;
		enum probe_kind kind;
		const char *only;
	} named[] = {
#define PROBE(name, kind, only) {#name, kind, only},
		AIRGAP_PROBES(PROBE)
#undef PROBE
	};
	char name[32];

	for (int i = 0; i < FAMILIES; i++) {
		snprintf(name, sizeof(name), "family_%d", i);
		native(h, name, ATTEMPT, "");
	}
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++)
		native(h, named[i].name, named[i].kind, named[i].only);
	for (size_t i = 0; i < js_probes_count; i++)
		recipe(h, &js_probes[i]);
}

/* what a spawner's main does before it serves */
static void be_spawner(struct sandbox *sb, const char *cell_path)
{
	sigset_t set;

	if (!realpath(cell_path, sb->cell_path))
		die(cell_path);
	sb->parent = -1;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	sb->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sb->signals < 0)
		die("signalfd");
}

int main(int argc, char **argv)
{
	static struct hostile h;

	if (argc != 3 && argc != 5) {
		fprintf(stderr, "usage: hostile CELL LAYER [EVERY SEED]\n");
		return 2;
	}
	h.layer = argv[2];
	if (argc == 5) {
		h.every = (unsigned)strtoul(argv[3], NULL, 10);
		h.seed = (unsigned)strtoul(argv[4], NULL, 10);
	}
	h.is_control = strcmp(h.layer, "all") == 0;
	setenv("KOLM_ABLATE", h.layer, 1);
	be_spawner(&h.sb, argv[1]);
	open_outside(&h);
	all(&h);
	close_outside(&h);
	if (h.is_control) {
		printf("without any: %u of %u probes worked, %u got a byte out\n", h.worked,
			h.native + h.js, h.got_out);
		return h.worked < CONTROL_WORKED || h.got_out < CONTROL_OUT;
	}
	printf("without %-9s %3u native and %2u JavaScript probes; seen by the kernel's observer "
	       "%u, by the language's %u; %u worked whose only wall it is; %u failed\n",
		h.layer, h.native, h.js, h.seen_kernel, h.seen_language, h.alone, h.failed);
	return h.failed != 0;
}
