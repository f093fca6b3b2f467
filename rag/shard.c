/* shard - which part of an index is meant. Apart from what builds one: who only asks for a build
 * links nothing of what reads documents. */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "kolmrag.h"

int rag_shard_parse(const char *text, unsigned *shard, unsigned *shards, struct err *err)
{
	char quoted[ERR_QUOTE_BYTES + 8];
	const char *slash = strchr(text, '/');
	int64_t i, n;

	if (!slash || num_whole(text, (size_t)(slash - text), 1, RAG_SHARDS_MAX, &i) < 0 ||
		num_whole(slash + 1, strlen(slash + 1), 1, RAG_SHARDS_MAX, &n) < 0 || i > n)
		return err_set(err, EINVAL, "shard: '%s' is not I/N, 1 <= I <= N <= %d",
			err_quote(quoted, text, strlen(text)), RAG_SHARDS_MAX);
	*shard = (unsigned)i;
	*shards = (unsigned)n;
	return 0;
}
