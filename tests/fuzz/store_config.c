/* any text as tune-config.json: judged without a crash, and what is taken can be written and read
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/json.h"
#include "store/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const keys[] = {
		"rank", "gate.k_min", "watch.threshold_rows", "watch.on"};
	struct err err = ERR_NONE;
	struct buf text = BUF_INIT;
	struct config cf, again;
	int rc = config_check((const char *)data, len, &cf, &err);

	if (rc < 0) {
		if (err.text[0] == '\0')
			abort();
		return 0;
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		(void)config_set(&cf, keys[i], i == 3 ? "true" : "1", &err);
	if (json_put_cjson(&text, cf.json, true) < 0)
		abort();
	/* what we write we can read, and it says the same */
	if (config_check(buf_str(&text), text.len, &again, &err) < 0 || again.rank != cf.rank ||
		again.k_min != cf.k_min || again.watch_on != cf.watch_on)
		abort();
	config_release(&again);
	config_release(&cf);
	buf_release(&text);
	return 0;
}
