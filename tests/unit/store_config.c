/* store/config: tune-config.json (FORMATS 4, BAD-INPUTS E09, G, A21-A25). */
#include <math.h>

#include "store_rig.h"

Test(config, what_init_writes)
{
	struct config cf;
	struct rig r;

	rig_open(&r);
	struct buf text = get(r.tn.dir, "tune-config.json");
	char *at = strstr(text.data, "\"created_at\"");

	cr_assert_not_null(at);
	*at = '\0';
	cr_assert_str_eq(text.data,
		"{\n  \"artifact\": \"demo.kolm\",\n  \"base_model\": \"~/m/base.gguf\",\n  "
		"\"rank\": 8,\n  \"alpha\": 16,\n  \"dropout\": 0,\n"
		"  \"captures_on\": false,\n  \"gate\": {\n    \"k_min\": 0.85,\n    "
		"\"require_improvement\": true\n  },\n"
		"  \"watch\": {\n    \"threshold_rows\": 200,\n    \"sample_size\": 32,\n    "
		"\"on\": false\n  },\n  ");
	at += strlen("\"created_at\": \"2031-02-03T04:05:06.007Z\"");
	cr_assert_str_eq(at,
		",\n  \"artifact_path\": \"/srv/a/demo.kolm\",\n  \"artifact_sha256\": \"" EMPTY_SHA
		"\",\n  \"base_path\": \"/srv/m/base.gguf\",\n  \"base_id\": \"1:2:3:4\",\n  "
		"\"generation\": 1\n}");
	works(config_load(&r.tn, &cf, &r.err));
	cr_assert_str_eq(cf.artifact, "demo.kolm");
	cr_assert_str_eq(cf.targets, "q_proj,k_proj,v_proj,o_proj");
	cr_assert_eq(cf.rank, 8);
	cr_assert_eq(cf.generation, 1);
	cr_assert(cf.require_improvement && !cf.captures_on && !cf.watch_on);
	cr_assert_float_eq(cf.k_min, 0.85, 0);
	config_release(&cf);
	buf_release(&text);
	rig_close(&r);
}

Test(config, of_the_reference)
{
	struct config cf;
	struct rig r;

	rig_open(&r);
	put_text(r.tn.dir, "tune-config.json",
		"{ \"artifact\": \"pii-scrub.kolm\", \"base_model\": \"/srv/models/tiny-3b\", "
		"\"rank\": 8, \"alpha\": 16, \"dropout\": 0.05,\n"
		" \"captures_on\": true, \"gate\": { \"k_min\": 0.9, \"require_improvement\": true "
		"}, \"watch\": { \"threshold_rows\": 50, \"sample_size\": 32 },\n"
		" \"created_at\": \"2031-02-03T04:05:06.007Z\", \"mine\": {\"b\": 1, \"a\": "
		"[1.5]}, \"target_modules\": [\"q_proj\", \"v_proj\"] }\n");
	works(config_load(&r.tn, &cf, &r.err));
	cr_assert_null(cf.artifact_path);
	cr_assert_null(cf.artifact_sha256);
	cr_assert(cf.captures_on);
	cr_assert_eq(cf.generation, 0);
	cr_assert_str_eq(cf.targets, "q_proj,v_proj");
	works(config_set(&cf, "captures_on", "off", &r.err));
	works(config_save(&r.tn, &cf, &r.err));
	config_release(&cf);
	/* unknown keys are kept where they were */
	struct buf text = get(r.tn.dir, "tune-config.json");

	cr_assert_not_null(strstr(text.data, "\"captures_on\": false"));
	cr_assert_not_null(strstr(text.data, "\"mine\": {\n    \"b\": 1,\n    \"a\": [\n      "
					     "1.5\n    ]\n  },\n  \"target_modules\""));
	buf_release(&text);
	rig_close(&r);
}

Test(config, damaged)
{
	static const char *const texts[] = {"", "{\"artifact\": \"demo.ko", "no json", "[]",
		"{\"artifact\":\"a\",\"artifact\":\"b\"}", "\xef\xbb\xbf{}"};
	struct config cf;
	struct rig r;

	rig_open(&r);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		put_text(r.tn.dir, "tune-config.json", texts[i]);
		fails(config_load(&r.tn, &cf, &r.err), EUCLEAN, "tune-config.json is damaged");
		fails(config_load(&r.tn, &cf, &r.err), EUCLEAN, "last good copy from 20");
	}
	/* the damaged text never becomes the good copy */
	struct buf prev = get(r.tn.dir, "tune-config.json.prev");

	works(config_check(prev.data, prev.len, &cf, &r.err));
	works(config_save(&r.tn, &cf, &r.err));
	config_release(&cf);
	cr_assert(same_file(r.tn.dir, "tune-config.json.prev", prev.data));
	works(config_load(&r.tn, &cf, &r.err));
	config_release(&cf);
	cr_assert_eq(unlinkat(r.tn.dir, "tune-config.json", 0), 0);
	fails(config_load(&r.tn, &cf, &r.err), EUCLEAN, "last good copy from 20");
	cr_assert_eq(unlinkat(r.tn.dir, "tune-config.json.prev", 0), 0);
	fails(config_load(&r.tn, &cf, &r.err), EUCLEAN, "none kept");
	buf_release(&prev);
	rig_close(&r);
}

Test(config, kinds_and_limits)
{
	static const struct {
		const char *text;
		int no;
		const char *part;
	} bad[] = {
		{"\"rank\":\"8\"", EUCLEAN, "rank: whole number expected"},
		{"\"rank\":8.5", EUCLEAN, "rank: whole number expected"},
		{"\"captures_on\":\"yes\"", EUCLEAN, "captures_on: true or false expected"},
		{"\"watch\":[]", EUCLEAN, "watch: object expected"},
		{"\"base_model\":7", EUCLEAN, "base_model: text expected"},
		{"\"generation\":\"x\"", EUCLEAN, "generation"},
		{"\"watch\":{\"threshold_rows\":0}", ERANGE, "threshold_rows: 1 to 1000000"},
		{"\"watch\":{\"threshold_rows\":-1}", ERANGE, "threshold_rows: 1 to 1000000"},
		{"\"watch\":{\"threshold_rows\":1e12}", ERANGE, "threshold_rows: 1 to 1000000"},
		{"\"dropout\":1.5", ERANGE, "dropout: 0 or more and below 1"},
		{"\"dropout\":1", ERANGE, "dropout:"},
		{"\"rank\":0", ERANGE, "rank: 1 to 512"},
		{"\"rank\":1e999", ERANGE, "rank: 1 to 512"},
		{"\"alpha\":0", ERANGE, "alpha:"},
		{"\"gate\":{\"k_min\":1.1}", ERANGE, "gate: number from 0 to 1"},
		{"\"gate\":{\"k_min\":-1}", ERANGE, "gate: number from 0 to 1"},
		{"\"gate\":{\"k_min\":\"0.85\"}", EINVAL, "gate: number from 0 to 1"},
		{"\"gate\":{\"k_min\":null}", EINVAL, "gate: number from 0 to 1"},
		{"\"target_modules\":[]", EINVAL, "target_modules: empty"},
		{"\"target_modules\":[\"q_proj\",\"q_proj\"]", EINVAL, "twice"},
		{"\"target_modules\":[\"../x\"]", EINVAL, "no module name"},
		{"\"target_modules\":\"q_proj\"", EUCLEAN, "list of texts"},
	};
	char text[256];
	struct config cf;
	struct rig r;

	rig_open(&r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		(void)snprintf(text, sizeof(text),
			"{\"artifact\":\"a.kolm\",\"base_model\":\"b\",%s}", bad[i].text);
		if (strstr(bad[i].text, "base_model") != NULL)
			(void)snprintf(
				text, sizeof(text), "{\"artifact\":\"a.kolm\",%s}", bad[i].text);
		fails(config_check(text, strlen(text), &cf, &r.err), bad[i].no, bad[i].part);
		put_text(r.tn.dir, "tune-config.json", text);
		fails(config_load(&r.tn, &cf, &r.err), bad[i].no, bad[i].part);
	}
	fails(config_check("{}", 2, &cf, &r.err), EUCLEAN, "artifact: text expected");
	rig_close(&r);
}

Test(config, an_edit_of_an_old_generation_is_stale)
{
	struct config mine, theirs;
	struct rig r;

	rig_open(&r);
	works(config_load(&r.tn, &mine, &r.err));
	works(config_load(&r.tn, &theirs, &r.err));
	works(config_set(&theirs, "gate.k_min", "0.9", &r.err));
	works(config_save(&r.tn, &theirs, &r.err));
	works(config_save(&r.tn, &theirs, &r.err));
	cr_assert_eq(theirs.generation, 3);
	struct buf before = get(r.tn.dir, "tune-config.json");

	fails(config_save(&r.tn, &mine, &r.err), ESTALE,
		"config is at generation 3, edit was made on 1");
	cr_assert_eq(mine.generation, 1);
	cr_assert(same_file(r.tn.dir, "tune-config.json", before.data));
	config_release(&mine);
	config_release(&theirs);
	buf_release(&before);
	rig_close(&r);
}

Test(config, set)
{
	struct config cf;
	struct rig r;
	double x;

	rig_open(&r);
	works(config_load(&r.tn, &cf, &r.err));
	works(config_set(&cf, "gate.k_min", "0.9", &r.err));
	works(config_set(&cf, "gate.require_improvement", "false", &r.err));
	works(config_set(&cf, "watch.threshold_rows", "1000000", &r.err));
	works(config_set(&cf, "watch.sample_size", "0", &r.err));
	works(config_set(&cf, "watch.on", "on", &r.err));
	works(config_set(&cf, "rank", "512", &r.err));
	works(config_set(&cf, "alpha", "0.5", &r.err));
	works(config_set(&cf, "dropout", "0.1", &r.err));
	fails(config_set(&cf, "gate.k_min", "1.1", &r.err), ERANGE, "gate: number from 0 to 1");
	fails(config_set(&cf, "gate.k_min", "-1", &r.err), ERANGE, "gate: number from 0 to 1");
	fails(config_set(&cf, "gate.k_min", "\"0.85\"", &r.err), EINVAL,
		"gate: number from 0 to 1");
	fails(config_set(&cf, "gate.k_min", "null", &r.err), EINVAL, "gate: number from 0 to 1");
	fails(config_set(&cf, "gate.k_min", "nan", &r.err), EDOM, "gate: number from 0 to 1");
	fails(config_set(&cf, "rank", "0", &r.err), ERANGE, "rank: 1 to 512");
	fails(config_set(&cf, "rank", "-8", &r.err), ERANGE, "rank: 1 to 512");
	fails(config_set(&cf, "rank", "4097", &r.err), ERANGE, "rank: 1 to 512");
	fails(config_set(&cf, "rank", "0x10", &r.err), EINVAL, "rank: whole number expected");
	fails(config_set(&cf, "alpha", "0", &r.err), ERANGE, "alpha:");
	fails(config_set(&cf, "alpha", "inf", &r.err), EDOM, "alpha: finite number expected");
	fails(config_set(&cf, "dropout", "1", &r.err), ERANGE, "dropout:");
	fails(config_set(&cf, "captures_on", "yes", &r.err), EINVAL,
		"captures_on: true or false expected");
	fails(config_set(&cf, "colour", "red", &r.err), EINVAL, "unknown setting \"colour\"");
	works(config_number("alpha", "32", &x, &r.err));
	cr_assert_float_eq(x, 32, 0);
	works(config_save(&r.tn, &cf, &r.err));
	config_release(&cf);
	works(config_load(&r.tn, &cf, &r.err));
	cr_assert(cf.watch_on && !cf.require_improvement);
	cr_assert_eq(cf.threshold_rows, 1000000);
	cr_assert_eq(cf.rank, 512);
	cr_assert_float_eq(cf.alpha, 0.5, 0);
	config_release(&cf);
	rig_close(&r);
}

Test(config, ranges_of_words_people_type)
{
	static const char *const forms[] = {"1e1", "0x10", "+1", " 1", "1.0", "\xd9\xa1", "", "-"};
	static const char *const outside[] = {"0", "-1", "1001", "99999999999999999999"};
	struct rig r = {.err = ERR_NONE};
	int64_t n;
	double x;

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
		fails(range_whole("epochs", forms[i], 1, 1000, &n, &r.err), EINVAL,
			"epochs: whole number expected");
	for (size_t i = 0; i < sizeof(outside) / sizeof(*outside); i++)
		fails(range_whole("epochs", outside[i], 1, 1000, &n, &r.err), ERANGE,
			"epochs: 1 to 1000");
	works(range_whole("epochs", "1000", 1, 1000, &n, &r.err));
	cr_assert_eq(n, 1000);
	fails(range_real("lr", "nan", 0, 1, &x, &r.err), EDOM, "lr: finite number expected");
	fails(range_real("lr", "-inf", 0, 1, &x, &r.err), EDOM, "lr: finite number expected");
	fails(range_real("lr", "0", 0, 1, &x, &r.err), ERANGE, "lr: above 0 and below 1");
	fails(range_real("lr", "-2e-4", 0, 1, &x, &r.err), ERANGE, "lr: above 0 and below 1");
	fails(range_real("lr", "2", 0, 1, &x, &r.err), ERANGE, "lr: above 0 and below 1");
	fails(range_real("lr", "1e-400", 0, 1, &x, &r.err), ERANGE, "lr: above 0 and below 1");
	works(range_real("lr", "1e-3", 0, 1, &x, &r.err));
	cr_assert_float_eq(x, 1e-3, 0);
}

static void *no_memory(size_t n)
{
	(void)n;
	return NULL;
}

/* short of memory the file that is there is not taken for a damaged one, which has no generation
 * and no good copy */
Test(config, short_of_memory_nothing_is_saved)
{
	cJSON_Hooks without = {no_memory, free};
	struct buf was, prev;
	struct config cf;
	struct rig r;

	rig_open(&r);
	works(config_load(&r.tn, &cf, &r.err));
	works(config_save(&r.tn, &cf, &r.err));
	was = get(r.tn.dir, CONFIG_NAME);
	prev = get(r.tn.dir, CONFIG_PREV);
	cf.generation--; /* an edit of an older one */
	cJSON_InitHooks(&without);
	fails(config_save(&r.tn, &cf, &r.err), ENOMEM, "out of memory");
	cJSON_InitHooks(NULL);
	cr_expect(same_file(r.tn.dir, CONFIG_NAME, buf_str(&was)));
	cr_expect(same_file(r.tn.dir, CONFIG_PREV, buf_str(&prev)));
	fails(config_save(&r.tn, &cf, &r.err), ESTALE, "edit was made on");
	config_release(&cf);
	buf_release(&was);
	buf_release(&prev);
	rig_close(&r);
}
