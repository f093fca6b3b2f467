#include "budget.h"

enum {
	OWN_BYTES = 6 << 20,
	HELD_MAX = 16 << 20,
	BATCH_MAX = 8 << 20,
	PARTS = 16, /* of what is left, to held and to all batches */
};

static size_t at_most(uint64_t x, size_t max)
{
	return x < max ? (size_t)x : max;
}

void rag_budget_share(uint64_t mem, size_t threads, uint64_t names, struct rag_budget *out)
{
	uint64_t taken = OWN_BYTES + names, left = mem > taken ? mem - taken : 0, table;

	out->held = at_most(left / PARTS, HELD_MAX);
	out->batch = at_most(left / PARTS / threads, BATCH_MAX);
	left -= out->held + out->batch * threads;
	/* areas grow by half and stay; a sorted list of the words is made of each table */
	table = left / threads / 4 * 3;
	out->table = table > RAG_TABLE_BYTES_MIN ? (size_t)table : RAG_TABLE_BYTES_MIN;
}
