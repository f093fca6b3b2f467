/*
 * budget - the memory of a run, settled before any of it is taken.
 *
 * What a run takes beside the base (which stays in its file's pages): the adapter with its
 * gradients, moments and best epoch, the passes, and what a pass may ask for on its way. How rows
 * are cut into passes follows from the bytes allowed and from the rows, never from the machine or
 * the number of threads: the cut decides the result's bits.
 */
#ifndef KOLM_BUDGET_H
#define KOLM_BUDGET_H

#include <stdint.h>

#include "base/err.h"
#include "trainer/data.h"
#include "trainer/lora.h"
#include "trainer/model.h"

struct budget {
	uint64_t passes; /* what train_settings.mem shall be */
	uint64_t beside; /* taken beside train_bytes() */
	uint64_t allowed;
};

/*
 * budget_make(m, lo, data, batch, threads, mem, out, err): ${mem} 0: the usual, and more where a
 * single row needs it. -ENOMEM with needed and allowed when not even the longest row by itself
 * fits ${mem}, or this machine's memory.
 */
int budget_make(const struct model *m, const struct lora *lo, const struct data *data, int batch,
	int threads, uint64_t mem, struct budget *out, struct err *err);

/* budget_holds(bg, bytes, err): -ENOMEM when a plan of ${bytes} is over what is allowed. */
int budget_holds(const struct budget *bg, uint64_t bytes, struct err *err);

#endif
