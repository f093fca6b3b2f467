/* the trainer's rows: lines rendered for a small base and laid out for a pass */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "trainer/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct model *base(void)
{
	static struct model *m; /* one for all inputs */
	int fd = m ? -1 : open("tests/unit/data/arch/qwen2", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (!m && (fd < 0 || model_open(fd, &m, NULL) < 0))
		abort(); /* run from the top of the tree */
	if (fd >= 0)
		close(fd);
	return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("rows", MFD_CLOEXEC);
	struct err err = ERR_NONE;
	struct data dt;
	struct pack pk;

	if (write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0 &&
		data_read(base(), fd, 128, &dt, &err) == 0) {
		for (int i = 0; i < dt.n; i++) {
			const struct sample *sm = &dt.sample[i];

			if (sm->answer < 1 || sm->answer >= sm->n || sm->n > 128)
				abort();
		}
		if (pack_make(dt.train, dt.trains, true, &pk, &err) == 0)
			pack_release(&pk);
		data_release(&dt);
	}
	close(fd);
	return 0;
}
