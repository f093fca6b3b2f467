/* a GGUF file as a base model: header, configuration, tokenizer, tensors, and a row of each */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "trainer/model.h"
#include "trainer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_row(const struct tensor *t)
{
	float *row = malloc((size_t)t->cols * sizeof(*row));

	if (row)
		tensor_row(t, t->rows - 1, row);
	free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("gguf", MFD_CLOEXEC), ids[64];
	struct err err = ERR_NONE;
	struct model *m;

	if (write(fd, data, size) == (ssize_t)size && model_open(fd, &m, &err) == 0) {
		read_row(&m->embed);
		read_row(&m->head);
		for (int i = 0; i < m->layers * MODULES; i++)
			read_row(&m->layer[i / MODULES].w[i % MODULES]);
		tokenizer_encode(
			m->tokenizer, "the <s> \xf0\x9f\x98\x80\xff", 13, true, ids, 64, &err);
		model_free(m);
	}
	close(fd);
	return 0;
}
