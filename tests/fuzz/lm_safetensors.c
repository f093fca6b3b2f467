/* a safetensors file: its table, and the floats of every entry */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "trainer/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("safetensors", MFD_CLOEXEC);
	struct err err = ERR_NONE;
	struct safetensors *st;

	if (write(fd, data, size) == (ssize_t)size && safetensors_open(fd, &st, &err) == 0) {
		for (size_t i = 0; i < safetensors_count(st); i++) {
			const struct safetensors_entry *e = safetensors_at(st, i);
			float *values = malloc(e->bytes * sizeof(*values) + 1);
			char shape[96];

			if (values)
				safetensors_floats(e, values);
			safetensors_shape(e, shape);
			if (!safetensors_find(st, e->name))
				abort();
			free(values);
		}
		safetensors_close(st);
	}
	close(fd);
	return 0;
}
