/*
 * lm_gguf - GGUF files that are damaged, cut or absurd (BAD-INPUTS I05, I06, I07) are refused with
 * their sentence and nothing allocated for them; every tensor type dequantises to known values; Hugging
 * Face folders that are not.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "trainer/gguf.h"
#include "trainer/model.h"
#include "trainer/safetensors.h"
#include "trainer/tokenizer.h"

static void put32(struct buf *bf, uint32_t v)
{
	buf_add(bf, &v, sizeof(v));
}

static void put64(struct buf *bf, uint64_t v)
{
	buf_add(bf, &v, sizeof(v));
}

static void put_text(struct buf *bf, const char *text)
{
	put64(bf, strlen(text));
	buf_puts(bf, text);
}

static void put_header(struct buf *bf, uint32_t version, uint64_t tensors, uint64_t keys)
{
	buf_puts(bf, "GGUF");
	put32(bf, version);
	put64(bf, tensors);
	put64(bf, keys);
}

static void put_int(struct buf *bf, const char *key, uint32_t value)
{
	put_text(bf, key);
	put32(bf, GGUF_U32);
	put32(bf, value);
}

static void put_string(struct buf *bf, const char *key, const char *value)
{
	put_text(bf, key);
	put32(bf, GGUF_STRING);
	put_text(bf, value);
}

static void put_tensor(struct buf *bf, const char *name, uint32_t dims, uint64_t a, uint64_t b,
	uint32_t type, uint64_t offset)
{
	put_text(bf, name);
	put32(bf, dims);
	put64(bf, a);
	if (dims > 1)
		put64(bf, b);
	put32(bf, type);
	put64(bf, offset);
}

/* parse in memory of exactly that size, so that the sanitizer sees one byte too far */
static int parse(const struct buf *bf, struct err *err)
{
	struct gguf *g = NULL;
	char *exact = malloc(bf->len ? bf->len : 1);
	int rc;

	memcpy(exact, buf_str(bf), bf->len);
	*err = ERR_NONE;
	rc = gguf_parse(exact, bf->len, &g, err);
	if (rc == 0)
		gguf_free(g);
	free(exact);
	return rc;
}

static void refused(struct buf *bf, int rc, const char *text)
{
	struct err err;

	cr_assert_eq(parse(bf, &err), rc, "%s: %s", text, err.text);
	cr_assert(strstr(err.text, text), "'%s' is not in '%s'", text, err.text);
	buf_release(bf);
}

Test(lm_gguf, wrong_magic_and_versions_are_refused)
{
	struct buf bf = BUF_INIT;

	refused(&bf, -EBADMSG, "GGUF");
	buf_puts(&bf, "GGML0000000000000000000000000000");
	refused(&bf, -EBADMSG, "magic");
	put_header(&bf, 0, 0, 0);
	refused(&bf, -EOPNOTSUPP, "GGUF version 0");
	put_header(&bf, 99, 0, 0);
	refused(&bf, -EOPNOTSUPP, "GGUF version 99");
	put_header(&bf, 1, 0, 0);
	refused(&bf, -EOPNOTSUPP, "GGUF version 1");
	put_header(&bf, __builtin_bswap32(3), 0, 0);
	refused(&bf, -EOPNOTSUPP, "byte order");
}

/* BAD-INPUTS I06 */
Test(lm_gguf, absurd_counts_and_lengths_are_refused)
{
	struct buf bf = BUF_INIT;

	put_header(&bf, 3, 0, UINT64_C(1) << 62);
	refused(&bf, -EBADMSG, "count");
	put_header(&bf, 3, UINT64_C(1) << 62, 0);
	refused(&bf, -EBADMSG, "count");
	put_header(&bf, 3, 0, 1);
	put64(&bf, UINT64_C(1) << 63);
	put64(&bf, 0);
	refused(&bf, -EBADMSG, "string length");
	put_header(&bf, 3, 0, 1);
	put_text(&bf, "key");
	put32(&bf, GGUF_STRING);
	put64(&bf, UINT64_MAX);
	refused(&bf, -EBADMSG, "string length");
	put_header(&bf, 3, 0, 1);
	put_text(&bf, "key");
	put32(&bf, GGUF_ARRAY);
	put32(&bf, GGUF_F64);
	put64(&bf, UINT64_MAX / 8 + 2);
	refused(&bf, -EBADMSG, "count");
	put_header(&bf, 3, 0, 1);
	put_text(&bf, "key");
	put32(&bf, GGUF_ARRAY);
	for (int i = 0; i < 1000; i++) {
		put32(&bf, GGUF_ARRAY);
		put64(&bf, 1);
	}
	refused(&bf, -EBADMSG, "count");
	put_header(&bf, 3, 0, 1);
	put_text(&bf, "key");
	put32(&bf, 13);
	put64(&bf, 0);
	refused(&bf, -EBADMSG, "value type");
	put_header(&bf, 3, 0, 2);
	put_int(&bf, "key", 1);
	put_int(&bf, "key", 2);
	refused(&bf, -EBADMSG, "twice");
}

Test(lm_gguf, tensors_must_lie_inside_the_file)
{
	static const struct {
		uint32_t dims;
		uint64_t a, b;
		uint32_t type;
		uint64_t offset;
		int rc;
		const char *text;
	} bad[] = {
		{2, 8, 8, TENSOR_F32, 64, -EBADMSG, "offset"},
		{2, 8, 8, TENSOR_F32, UINT64_MAX - 31, -EBADMSG, "offset"},
		{2, 8, 8, TENSOR_F32, 4, -EBADMSG, "offset"},
		{2, 8, 9, TENSOR_F32, 0, -EBADMSG, "offset"},
		{2, 0, 8, TENSOR_F32, 0, -EBADMSG, "shape"},
		{2, UINT64_C(1) << 63, 8, TENSOR_F32, 0, -EBADMSG, "shape"},
		{2, 8, 8, TENSOR_Q4_0, 0, -EBADMSG, "shape"},
		{2, 32, 8, 99, 0, -EOPNOTSUPP, "type 99"},
		{9, 8, 8, TENSOR_F32, 0, -EBADMSG, "shape"},
	};
	struct buf bf = BUF_INIT;
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_header(&bf, 3, 1, 0);
		put_tensor(&bf, "w", bad[i].dims, bad[i].a, bad[i].b, bad[i].type, bad[i].offset);
		while (bf.len % 32)
			buf_putc(&bf, 0);
		for (int k = 0; k < 256; k++)
			buf_putc(&bf, 0);
		refused(&bf, bad[i].rc, bad[i].text);
	}
	put_header(&bf, 3, 1, 1);
	put_int(&bf, "general.alignment", 0);
	put_tensor(&bf, "w", 1, 8, 0, TENSOR_F32, 0);
	refused(&bf, -EBADMSG, "alignment");
	put_header(&bf, 2, 1, 0);
	put_tensor(&bf, "w", 2, 8, 8, TENSOR_F32, 0);
	while (bf.len % 32)
		buf_putc(&bf, 0);
	for (int k = 0; k < 256; k++)
		buf_putc(&bf, 0);
	cr_assert_eq(parse(&bf, &err), 0, "%s", err.text);
	buf_release(&bf);
}

/* a whole little model file */
static void put_model(struct buf *bf, const char *arch)
{
	put_header(bf, 3, 1, 12);
	put_string(bf, "general.architecture", arch);
	put_int(bf, "llama.block_count", 1);
	put_int(bf, "llama.embedding_length", 8);
	put_int(bf, "llama.feed_forward_length", 8);
	put_int(bf, "llama.attention.head_count", 1);
	put_int(bf, "llama.context_length", 16);
	put_string(bf, "tokenizer.ggml.model", "llama");
	put_text(bf, "tokenizer.ggml.tokens");
	put32(bf, GGUF_ARRAY);
	put32(bf, GGUF_STRING);
	put64(bf, 8);
	for (int i = 0; i < 8; i++)
		put_text(bf, (const char *const[]){"<unk>", "</s>", "a", "b", "\xe2\x96\x81", "ab",
				     "\xe2\x96\x81"
				     "ab",
				     "<0x63>"}[i]);
	put_text(bf, "tokenizer.ggml.scores");
	put32(bf, GGUF_ARRAY);
	put32(bf, GGUF_F32);
	put64(bf, 8);
	for (int i = 0; i < 8; i++) {
		float score = (float)-i;

		buf_add(bf, &score, sizeof(score));
	}
	put_text(bf, "tokenizer.ggml.token_type");
	put32(bf, GGUF_ARRAY);
	put32(bf, GGUF_I32);
	put64(bf, 8);
	for (int i = 0; i < 8; i++)
		put32(bf, (const uint32_t[]){2, 3, 1, 1, 1, 1, 1, 6}[i]);
	put_int(bf, "tokenizer.ggml.eos_token_id", 1);
	put_int(bf, "tokenizer.ggml.unknown_token_id", 0);
	put_tensor(bf, "token_embd.weight", 2, 8, 8, TENSOR_F32, 0);
	while (bf->len % 32)
		buf_putc(bf, 0);
	for (int k = 0; k < 256; k++)
		buf_putc(bf, 0);
}

static int open_bytes(const void *data, size_t len, struct model **m, struct err *err)
{
	int fd = memfd_create("gguf", MFD_CLOEXEC), rc;

	cr_assert_eq(write(fd, data, len), (ssize_t)len);
	*err = ERR_NONE;
	rc = model_open(fd, m, err);
	close(fd);
	return rc;
}

Test(lm_gguf, a_file_cut_anywhere_is_refused)
{
	struct buf bf = BUF_INIT;
	struct model *m = NULL;
	struct err err;

	put_model(&bf, "llama");
	for (size_t n = 0; n < bf.len; n++) {
		struct buf cut = {.data = bf.data, .len = n};

		cr_assert_eq(parse(&cut, &err), -EBADMSG, "%zu bytes: %s", n, err.text);
		cr_assert_neq(err.text[0], 0);
	}
	cr_assert_eq(open_bytes(bf.data, bf.len, &m, &err), -EBADMSG);
	cr_assert(strstr(err.text, "no tensor"), "%s", err.text);
	buf_release(&bf);
}

Test(lm_gguf, no_byte_of_a_header_can_do_harm)
{
	struct buf bf = BUF_INIT;
	struct model *m = NULL;
	struct err err;

	put_model(&bf, "llama");
	for (size_t i = 0; i < bf.len - 256; i++) {
		char old = bf.data[i];

		for (int k = 0; k < 3; k++) {
			bf.data[i] = (char)(k == 0 ? old ^ 0xff : k == 1 ? 0x7f : 0);
			cr_assert_lt(open_bytes(bf.data, bf.len, &m, &err), 0);
			cr_assert_neq(err.text[0], 0);
		}
		bf.data[i] = old;
	}
	buf_release(&bf);
}

Test(lm_gguf, an_unknown_architecture_is_named_with_the_known_ones)
{
	struct buf bf = BUF_INIT;
	struct model *m = NULL;
	struct err err;

	put_model(&bf, "mamba");
	cr_assert_eq(open_bytes(bf.data, bf.len, &m, &err), -EOPNOTSUPP);
	cr_assert(strstr(err.text, "mamba") && strstr(err.text, "qwen2"), "%s", err.text);
	buf_release(&bf);
	cr_assert_eq(open_bytes("", 0, &m, &err), -EBADMSG);
}

Test(lm_gguf, the_real_model_cut_short_is_refused)
{
	const char *path = getenv("MODEL");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	static const off_t cuts[] = {
		0, 3, 4, 23, 24, 100, 5000, 1000 * 1000, 2 * 1000 * 1000, 40 * 1000 * 1000, -1};
	struct stat st;
	char *all;

	if (fd < 0)
		cr_skip_test("skipped: MODEL is not set or cannot be opened");
	fstat(fd, &st);
	all = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		struct err err = ERR_NONE;
		struct gguf *g = NULL;
		size_t n = (size_t)(cuts[i] < 0 ? st.st_size - 1 : cuts[i]);

		cr_assert_eq(gguf_parse(all, n, &g, &err), -EBADMSG, "%zu bytes: %s", n, err.text);
	}
	munmap(all, (size_t)st.st_size);
	close(fd);
}

Test(lm_gguf, a_folder_without_config_is_no_model)
{
	char dir[] = "/tmp/lm_gguf.XXXXXX";
	struct model *m = NULL;
	struct err err = ERR_NONE;
	int fd, file;

	cr_assert_not_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(model_open(fd, &m, &err), -EBADMSG);
	cr_assert(strstr(err.text, "no config.json"), "%s", err.text);
	file = openat(fd, "config.json", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_gt(write(file, "{\"model_type\":\"bert\"}", 21), 0);
	cr_assert_eq(model_open(fd, &m, &err), -EOPNOTSUPP);
	cr_assert(strstr(err.text, "bert"), "%s", err.text);
	close(file);
	unlinkat(fd, "config.json", 0);
	close(fd);
	rmdir(dir);
}

/* one block of each type with every quant at a chosen value: d = 0.5 (0x3800), m = 0.25 (0x3400) */
Test(lm_gguf, blocks_dequantise_as_the_format_says)
{
	uint8_t block[256] = {0};
	struct tensor t = {TENSOR_Q4_0, 1, 32, block};
	float out[256];

	block[1] = 0x38;
	memset(block + 2, 0x2f, 16); /* low nibble 15, high nibble 2 */
	tensor_row(&t, 0, out);
	cr_assert(out[0] == 3.5f && out[15] == 3.5f && out[16] == -3.0f && out[31] == -3.0f);
	t.type = TENSOR_Q4_1;
	block[2] = 0;
	block[3] = 0x34;
	memset(block + 4, 0x2f, 16);
	tensor_row(&t, 0, out);
	cr_assert(out[0] == 7.75f && out[31] == 1.25f);
	t.type = TENSOR_Q5_0;
	memcpy(block + 2, "\x01\x00\x00\x80", 4); /* fifth bits of the first and the last value */
	memset(block + 6, 0x2f, 16);
	tensor_row(&t, 0, out);
	cr_assert(out[0] == 7.5f && out[1] == -0.5f && out[31] == 1.0f && out[30] == -7.0f);
	t.type = TENSOR_Q5_1;
	memcpy(block + 2, "\x00\x34\x01\x00\x00\x80", 6);
	memset(block + 8, 0x2f, 16);
	tensor_row(&t, 0, out);
	cr_assert(out[0] == 15.75f && out[1] == 7.75f && out[31] == 9.25f && out[30] == 1.25f);
	t.type = TENSOR_Q8_0;
	memset(block + 2, 0x80, 32);
	tensor_row(&t, 0, out);
	cr_assert(out[0] == -64.0f && out[31] == -64.0f);
	t.type = TENSOR_IQ4_NL;
	memset(block + 2, 0xf0, 16);
	tensor_row(&t, 0, out);
	cr_assert(out[0] == -63.5f && out[16] == 56.5f);
}

Test(lm_gguf, super_blocks_dequantise_as_the_format_says)
{
	uint8_t block[256] = {0};
	struct tensor t = {TENSOR_Q4_K, 1, 256, block};
	float out[256];

	block[1] = 0x38, block[3] = 0x34;
	memset(block + 4, 0x03, 4);  /* scales 0..3: 3 */
	memset(block + 8, 0x02, 4);  /* minima 0..3: 2 */
	memset(block + 12, 0x51, 4); /* scales 4..7: 1, minima 4..7: 5 */
	memset(block + 16, 0x2f, 128);
	tensor_row(&t, 0, out);
	cr_assert(out[0] == 1.5f * 15 - 0.5f && out[32] == 1.5f * 2 - 0.5f &&
		  out[128] == 0.5f * 15 - 1.25f && out[255] == 0.5f * 2 - 1.25f);
	t.type = TENSOR_Q5_K;
	memset(block + 16, 0, 32);
	block[16] = 1;	       /* value 0 */
	block[16 + 31] = 0x80; /* value 255 */
	memset(block + 48, 0x2f, 128);
	tensor_row(&t, 0, out);
	cr_assert(out[0] == 1.5f * 31 - 0.5f && out[1] == 1.5f * 15 - 0.5f &&
		  out[255] == 0.5f * 18 - 1.25f);
	t.type = TENSOR_Q6_K;
	memset(block, 0x2f, 128);
	memset(block + 128, 0, 64);
	block[128] = 0xe4; /* values 0, 32, 64, 96 get high bits 0, 1, 2, 3 */
	memset(block + 192, 2, 16);
	block[208] = 0, block[209] = 0x38;
	tensor_row(&t, 0, out);
	cr_assert(out[0] == 15 - 32 && out[32] == 15 + 16 - 32 && out[64] == 2 + 32 - 32 &&
		  out[96] == 2 + 48 - 32 && out[1] == 15 - 32);
	cr_assert_eq(tensor_row_bytes(TENSOR_Q4_K, 128), 0);
	cr_assert_eq(tensor_row_bytes(TENSOR_Q8_0, 64), 68);
	cr_assert_eq(tensor_row_bytes(5, 64), 0);
}

/* lm_quants.safetensors: random blocks and their values by the gguf package (data/make_quants.py)
 */
Test(lm_gguf, every_type_dequantises_as_the_reference)
{
	struct safetensors *st;
	int seen = 0, fd = open("tests/unit/data/lm_quants.safetensors", O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0, "run from the top of the tree");
	cr_assert_eq(safetensors_open(fd, &st, NULL), 0);
	close(fd);
	for (int type = 0; type < 64; type++) {
		const struct safetensors_entry *bytes, *values;
		char name[32];
		float *have;

		if (!tensor_type_name(type) || type == TENSOR_F32 || type == TENSOR_F16 ||
			type == TENSOR_BF16)
			continue;
		snprintf(name, sizeof(name), "%s.bytes", tensor_type_name(type));
		bytes = safetensors_find(st, name);
		cr_assert(bytes, "no golden for %s", tensor_type_name(type));
		snprintf(name, sizeof(name), "%s.values", tensor_type_name(type));
		values = safetensors_find(st, name);
		size_t n = values->bytes / sizeof(float);
		struct tensor t = {(enum tensor_type)type, 1, (int64_t)n, bytes->data};

		cr_assert_eq(tensor_row_bytes(type, (int64_t)n), bytes->bytes);
		have = malloc(values->bytes);
		tensor_row(&t, 0, have);
		for (size_t i = 0; i < n; i++) {
			float want = ((const float *)values->data)[i];

			cr_assert_float_eq(have[i], want, 1e-6f * fabsf(want),
				"%s value %zu: %g, not %g", tensor_type_name(type), i,
				(double)have[i], (double)want);
		}
		free(have);
		seen++;
	}
	cr_assert_eq(seen, 12);
	safetensors_close(st);
}
