/* artifact_receipt - receipt.json of a stranger, and receipts of runs and evals. */
#include "artifact_pieces.h"

static void on_check(void *arg, const char *check, const char *verdict, const char *detail)
{
	size_t *lines = arg;

	if (check[0] == '\0' || detail[0] == '\0')
		abort();
	*lines += strcmp(verdict, "fail") == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proof_given given = {.input_sha256 = ""};
	struct err err = ERR_NONE;
	size_t failed = 0;
	int rc = proof_verify(
		(const char *)data, size, &pieces_keys, &given, false, on_check, &failed, &err);

	if (rc < 0 ? err.text[0] == '\0' : failed > 0)
		abort();
	pieces_check("receipt.json", data, size);
	return 0;
}
