/*
 * lm_export - a base of any alignment with an adapter folded in: what stands between its tensors
 * are zeros, and the tensors without an adapter are the base's bytes.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/replace.h"
#include "trainer/gguf.h"
#include "trainer/kolmlm.h"
#include "trainer/quant.h"

enum { ALIGNMENT = 65536 };

static void put32(struct buf *bf, uint32_t v)
{
	cr_assert_eq(buf_add(bf, &v, sizeof(v)), 0);
}

static void put64(struct buf *bf, uint64_t v)
{
	cr_assert_eq(buf_add(bf, &v, sizeof(v)), 0);
}

static void align(struct buf *bf)
{
	while (bf->len % ALIGNMENT)
		buf_putc(bf, 0);
}

static size_t bytes_of(const struct tensor *t)
{
	return (size_t)t->rows * tensor_row_bytes((int)t->type, t->cols);
}

/* the same model, its tensors ALIGNMENT apart */
static void realign(const struct buf *in, struct buf *out)
{
	struct err err = ERR_NONE;
	struct gguf *g = NULL;
	const struct tensor *t;
	const void *keys;
	uint64_t n_keys, at = 0;
	size_t n = 0, len;

	cr_assert_eq(gguf_parse(in->data, in->len, &g, &err), 0, "%s", err.text);
	while (gguf_tensor_at(g, n))
		n++;
	keys = gguf_raw_keys(g, &len, &n_keys);
	buf_puts(out, "GGUF");
	put32(out, 3);
	put64(out, n);
	put64(out, n_keys + 1);
	buf_add(out, keys, len);
	put64(out, strlen("general.alignment"));
	buf_puts(out, "general.alignment");
	put32(out, GGUF_U32);
	put32(out, ALIGNMENT);
	for (size_t i = 0; (t = gguf_tensor_at(g, i)); i++) {
		const char *name = gguf_tensor_name(g, i, &len);

		put64(out, len);
		buf_add(out, name, len);
		put32(out, t->rows == 1 ? 1 : 2);
		put64(out, (uint64_t)t->cols);
		if (t->rows != 1)
			put64(out, (uint64_t)t->rows);
		put32(out, t->type);
		put64(out, at);
		at += (bytes_of(t) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	}
	align(out);
	for (size_t i = 0; (t = gguf_tensor_at(g, i)); i++) {
		buf_add(out, t->data, bytes_of(t));
		align(out);
	}
	gguf_free(g);
	cr_assert_not(out->failed);
}

static int file_of(const struct buf *bf)
{
	int fd = memfd_create("lm_export", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write_all(fd, buf_str(bf), bf->len, NULL), 0);
	return fd;
}

static void merge(const struct buf *base, struct buf *out)
{
	static const char config[] = "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,"
				     "\"target_modules\":[\"q_proj\",\"down_proj\"]}";
	const struct lm_options opt = {.headers_only = true};
	char dir[] = "/tmp/lm_export.XXXXXX";
	struct err err = ERR_NONE;
	struct lm *lm = NULL;
	int base_fd = file_of(base), to = file_of(&(const struct buf){0}), dirfd;

	cr_assert_not_null(mkdtemp(dir));
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(replace_file(dirfd, "adapter_config.json", config, strlen(config), 0600, &err),
		0, "%s", err.text);
	cr_assert_eq(lm_open(base_fd, &opt, &lm, &err), 0, "%s", err.text);
	cr_assert_eq(lm_export(lm, dirfd, LM_EXPORT_MERGED, to, &err), 0, "%s", err.text);
	lm_close(lm);
	cr_assert_eq(lseek(to, 0, SEEK_SET), 0);
	cr_assert_eq(read_fd(to, SIZE_MAX, out, &err), 0, "%s", err.text);
	unlinkat(dirfd, "adapter_config.json", 0);
	rmdir(dir);
	close(dirfd);
	close(base_fd);
	close(to);
}

Test(lm_export, a_base_of_wide_alignment_keeps_its_bytes_and_is_padded_with_zeros)
{
	struct buf file = BUF_INIT, base = BUF_INIT, merged = BUF_INIT;
	struct gguf *was = NULL, *now = NULL;
	struct err err = ERR_NONE;
	const struct tensor *t;
	size_t at, folded = 0;

	cr_assert_eq(read_file(AT_FDCWD, "tests/unit/data/arch/llama.gguf", SIZE_MAX, &file, &err),
		0, "%s (run from the top of the tree)", err.text);
	realign(&file, &base);
	merge(&base, &merged);
	cr_assert_eq(gguf_parse(base.data, base.len, &was, &err), 0, "%s", err.text);
	cr_assert_eq(gguf_parse(merged.data, merged.len, &now, &err), 0, "%s", err.text);
	for (size_t i = 0; (t = gguf_tensor_at(was, i)); i++) {
		const struct tensor *got = gguf_tensor_at(now, i);

		cr_assert_not_null(got);
		at = (size_t)((const char *)got->data - merged.data);
		cr_expect_eq(at % ALIGNMENT, 0);
		if (got->type == t->type)
			cr_expect_eq(memcmp(got->data, t->data, bytes_of(t)), 0, "tensor %zu", i);
		else
			folded++;
		for (at += bytes_of(got); at % ALIGNMENT; at++)
			cr_assert_eq(merged.data[at], 0, "behind tensor %zu", i);
		cr_assert_leq(at, merged.len);
	}
	cr_expect_gt(folded, 0);
	gguf_free(was);
	gguf_free(now);
	buf_release(&file);
	buf_release(&base);
	buf_release(&merged);
}
