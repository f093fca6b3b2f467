/*
 * sandbox_wire - packets with descriptors between server and spawner.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runner/sandbox.h"

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(WIRE_FDS * sizeof(int))];
};

int wire_send(int sock, const void *data, size_t len, const int *fds, size_t nfds)
{
	struct iovec iov = {(void *)(uintptr_t)data, len};
	union control control = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (nfds > WIRE_FDS)
		return -E2BIG;
	if (nfds > 0) {
		struct cmsghdr *cm;

		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		cm = CMSG_FIRSTHDR(&msg);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, nfds * sizeof(int));
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
}

ssize_t wire_receive(int sock, void *data, size_t max, int *fds, size_t *nfds)
{
	struct iovec iov = {data, max};
	union control control;
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space)};
	ssize_t n;

	*nfds = 0;
	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(&msg); cm; cm = CMSG_NXTHDR(&msg, cm)) {
		if (cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_RIGHTS) {
			*nfds = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(cm), *nfds * sizeof(int));
		}
	}
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		for (size_t i = 0; i < *nfds; i++)
			close(fds[i]);
		*nfds = 0;
		return -EMSGSIZE;
	}
	return n;
}

static const char *next_string(char **pos, const char *end)
{
	char *start = *pos, *nul = start < end ? memchr(start, 0, (size_t)(end - start)) : NULL;

	if (!nul)
		return NULL;
	*pos = nul + 1;
	return start;
}

int wire_decode(char *packet, size_t len, struct wire_request *out)
{
	char *pos = packet + sizeof(out->head);
	const char *end = packet + len;
	size_t at = 0, total = 0;

	if (len < sizeof(out->head))
		return -EBADMSG;
	memcpy(&out->head, packet, sizeof(out->head));
	for (int i = 0; i < LISTS; i++) {
		if (out->head.counts[i] > WIRE_STRINGS)
			return -E2BIG;
		total += out->head.counts[i];
	}
	if (total > WIRE_STRINGS)
		return -E2BIG;
	out->cwd = next_string(&pos, end);
	if (!out->cwd)
		return -EBADMSG;
	for (int i = 0; i < LISTS; i++) {
		out->list[i] = &out->strings[at];
		for (uint32_t k = 0; k < out->head.counts[i]; k++) {
			const char *text = next_string(&pos, end);

			if (!text)
				return -EBADMSG;
			out->strings[at++] = text;
		}
		out->strings[at++] = NULL;
	}
	return 0;
}
