/*
 * pdf - the text of PDF files, by poppler's pdftotext.
 *
 * What reads documents may start nothing once its walls stand (base/wall.h). So a helper is forked
 * before: it takes a file's bytes from a pipe, has pdftotext make text of them (standard input to
 * standard output, a process for each file, with limits on time, memory and files), and gives the
 * text back on another. It stands behind the walls that the spawner built: no network, no file but
 * the documents and the program's own.
 */
#ifndef KOLM_RAG_PDF_H
#define KOLM_RAG_PDF_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

struct rag_pdf {
	pthread_mutex_t lock; /* over both pipes: one question at a time */
	int ask, answer;
	bool is_dead;
	pid_t pid;
};

/* what goes through the pipes: a head, then that many bytes */
struct rag_pdf_head {
	int64_t rc;
	uint64_t len;
};

/* pdf_helper.c: rag_pdf_start(program, out, err): fork the helper. Before there are threads, open
 * folders or walls; SIGPIPE is ignored from here on. It ends with this process, or by
 * rag_pdf_stop(). */
int rag_pdf_start(const char *program, struct rag_pdf **out, struct err *err);
void rag_pdf_stop(struct rag_pdf *pd);

/* rag_pdf_read(fd, data, len): all of it, or -EIO. */
int rag_pdf_read(int fd, void *data, size_t len);

/* rag_pdf_text(pd, data, len, out): append the text, a form feed behind each page. Any thread, one
 * at a time. -ENODATA: no PDF, encrypted, damaged, or it took too long; -EFBIG; -ENOMEM. */
int rag_pdf_text(struct rag_pdf *pd, const char *data, size_t len, struct buf *out);

#endif
