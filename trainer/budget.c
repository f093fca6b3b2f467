#include "trainer/budget.h"

#include <errno.h>
#include <unistd.h>

#include "trainer/crew.h"
#include "trainer/forward.h"

/* scratch is set aside for this many threads, so that fewer do not change how rows are cut */
enum { SCRATCH_THREADS = 16 };

static const uint64_t usual = UINT64_C(384) << 20;

static uint64_t machine_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
}

/* the step's sum over groups, and for each row of a group its part of a shared prefix's gradient */
static uint64_t beside(const struct model *m, const struct lora *lo, int span, int batch)
{
	uint64_t sum = batch > CREW_GROUP_ROWS ? lo->params : 0,
		 width = 2 * (uint64_t)m->kv_heads * (uint64_t)m->head_dim,
		 rows = (uint64_t)(batch < CREW_GROUP_ROWS ? batch : CREW_GROUP_ROWS);

	if (rows > 1 && !(lo->dropout > 0))
		sum += rows * (uint64_t)span * width;
	return sum * sizeof(float);
}

int budget_holds(const struct budget *bg, uint64_t bytes, struct err *err)
{
	if (bytes <= bg->allowed)
		return 0;
	return err_set(err, ENOMEM, "the step needs %llu bytes of memory, %llu are allowed (mem=)",
		(unsigned long long)bytes, (unsigned long long)bg->allowed);
}

int budget_make(const struct model *m, const struct lora *lo, const struct data *data, int batch,
	int threads, uint64_t mem, struct budget *out, struct err *err)
{
	const struct trainee tr = {.rank = lo->rank, .dropout = lo->dropout};
	int span = data->longest;
	uint64_t one = pass_bytes(m, &tr, 1, 0, span, false),
		 scratch = pass_bytes(m, &tr, SCRATCH_THREADS, 0, span, false) - one,
		 fixed = 5 * (uint64_t)lo->params * sizeof(float), limit = mem ? mem : usual;
	struct budget bg = {
		.beside = beside(m, lo, span, batch), .allowed = mem ? mem : machine_memory()};
	int rc = budget_holds(
		&bg, fixed + bg.beside + pass_bytes(m, &tr, threads, span, span, true), err);

	if (rc < 0)
		return err_prefix(err, "longest row of %d tokens: ", span);
	fixed += bg.beside + scratch;
	bg.passes = limit > fixed ? limit - fixed : 0;
	*out = bg;
	return 0;
}
