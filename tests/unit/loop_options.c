/* loop_options - the words of step, init, index and eval: what each bad one gets (BAD-INPUTS A06,
 * A07, A21-A25, E04, B01-B03). */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "kolm.h"

enum verb { INIT, STEP, INDEX, EVAL };

static int set(enum verb verb, const char *key, const char *value, struct step_options *so,
	struct err *err)
{
	struct index_options xo;
	struct init_options io;
	int64_t timeout_s;
	unsigned seen = 0;

	*err = ERR_NONE;
	if (verb == EVAL)
		return eval_option(&timeout_s, key, value, &seen, err);
	if (verb == STEP)
		return step_option(so, key, value, &seen, err);
	init_options_default(&io);
	index_options_default(&xo);
	return verb == INIT ? init_option(&io, key, value, &seen, err)
			    : index_option(&xo, key, value, &seen, err);
}

static void refused(enum verb verb, const char *key, const char *value, int no, const char *part)
{
	struct step_options so, before;
	struct err err;
	int rc;

	/* whole structures are compared: no padding may differ */
	memset(&so, 0, sizeof(so));
	step_options_default(&so);
	memcpy(&before, &so, sizeof(so));
	rc = set(verb, key, value, &so, &err);
	cr_expect_eq(rc, -no, "%s=%s: %d (%s)", key, value, rc, err.text);
	cr_expect_not_null(
		strstr(err.text, part), "%s=%s: \"%s\" has no \"%s\"", key, value, err.text, part);
	cr_expect_eq(memcmp(&so, &before, sizeof(so)), 0, "%s=%s changed the options", key, value);
}

Test(loop_options, an_unknown_word_is_named_with_the_nearest_one)
{
	refused(STEP, "epoch", "1", EINVAL, "unknown option \"epoch\"; did you mean \"epochs\"");
	refused(STEP, "batchs", "1", EINVAL, "did you mean \"batch\"");
	refused(INIT, "bas", "/x", EINVAL, "did you mean \"base\"");
	refused(INDEX, "nam", "x", EINVAL, "did you mean \"name\"");
	refused(STEP, "frobnicate", "1", EINVAL, "unknown option \"frobnicate\"; known: epochs");
	refused(STEP, "\033[2J", "1", EINVAL, "\"\\x1b[2J\"");
	refused(STEP, "", "1", EINVAL, "unknown option \"\"");
	refused(STEP, "EPOCHS", "1", EINVAL, "unknown option \"EPOCHS\"");
}

Test(loop_options, a_word_given_twice_is_refused)
{
	struct step_options so;
	struct err err = ERR_NONE;
	unsigned seen = 0;

	step_options_default(&so);
	cr_assert_eq(step_option(&so, "epochs", "2", &seen, &err), 0);
	cr_expect_eq(step_option(&so, "lr", "0.5", &seen, &err), 0);
	cr_expect_eq(step_option(&so, "epochs", "3", &seen, &err), -EINVAL);
	cr_expect_not_null(strstr(err.text, "epochs given twice"));
	cr_expect_eq(so.epochs, 2);
	cr_expect_str_eq(so.given, " epochs=2 lr=0.5");
}

Test(loop_options, whole_numbers)
{
	static const char *const forms[] = {
		"1e1", "0x10", "+1", " 1", "1 ", "1.0", "\u0967", "", "1_000", "one", "--1"};
	static const char *const outside[] = {
		"0", "-1", "1001", "99999999999999999999", "-99999999999999999999"};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		refused(STEP, "epochs", forms[i], EINVAL, "epochs: whole number expected");
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
		refused(STEP, "epochs", outside[i], ERANGE, "epochs: 1 to 1000");
	refused(STEP, "batch", "0", ERANGE, "batch: 1 to 1024");
	refused(STEP, "seed", "-1", ERANGE, "seed: 0 to");
	refused(STEP, "seed", "9007199254740992", ERANGE, "seed: 0 to 9007199254740991");
	refused(STEP, "seed", "abc", EINVAL, "seed: whole number expected");
	refused(STEP, "mem", "x", EINVAL, "mem:");
	refused(STEP, "mem", "99999999999999999999999999999999999999G", EINVAL, "mem:");
	refused(STEP, "mem", "9999999999999999G", ERANGE, "mem:");
	refused(INIT, "rank", "0", ERANGE, "rank: 1 to 512");
	refused(INIT, "rank", "-8", ERANGE, "rank: 1 to 512");
	refused(INIT, "rank", "4097", ERANGE, "rank: 1 to 512");
	refused(INIT, "rank", "8.0", EINVAL, "rank: whole number expected");
	refused(INDEX, "maxbytes", "0", ERANGE, "maxbytes: 1 to");
	refused(EVAL, "timeout", "0", ERANGE, "timeout: 1 to 3600");
	refused(EVAL, "timeout", "3601", ERANGE, "timeout: 1 to 3600");
	refused(EVAL, "timeout", "1.5", EINVAL, "timeout: whole number expected");
	refused(EVAL, "time", "1", EINVAL, "unknown option \"time\"");
}

Test(loop_options, real_numbers)
{
	static const char *const infinite[] = {"nan", "inf", "-inf", "NaN", "infinity"};
	static const char *const outside[] = {"0", "-2e-4", "2", "1e-400", "1", "1e999"};
	static const char *const forms[] = {"x", "", "0x1p-3", "1e", "0.1.2", "0,1", " 0.1"};

	for (size_t i = 0; i < sizeof(infinite) / sizeof(infinite[0]); i++)
		refused(STEP, "lr", infinite[i], EDOM, "lr: finite number expected");
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
		refused(STEP, "lr", outside[i], ERANGE, "lr: above 0 and below 1");
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		refused(STEP, "lr", forms[i], EINVAL, "lr:");
	refused(INIT, "alpha", "0", ERANGE, "alpha:");
	refused(INIT, "alpha", "-1", ERANGE, "alpha:");
	refused(INIT, "dropout", "1", ERANGE, "dropout:");
	refused(INIT, "dropout", "-0.5", ERANGE, "dropout:");
	refused(INIT, "dropout", "nan", EDOM, "dropout:");
}

Test(loop_options, words_of_their_own)
{
	static char longer[5000];

	refused(STEP, "airgap", "maybe", EINVAL, "airgap: on or off expected");
	refused(STEP, "rows", "some", EINVAL, "rows: teach or all expected");
	refused(STEP, "from", "latest", EINVAL, "bad revision \"latest\"");
	refused(STEP, "from", "v1;", EINVAL, "bad revision \"v1;\"");
	refused(STEP, "from", "v01", EINVAL, "bad revision");
	refused(INIT, "slug", "../x", EINVAL, "bad name");
	refused(INIT, "slug", "a b", EINVAL, "bad name");
	memset(longer, 'a', sizeof(longer) - 1);
	refused(INDEX, "name", longer, ENAMETOOLONG, "bad index name");
	refused(INDEX, "name", "../x", EINVAL, "bad index name");
	refused(INIT, "slug", longer, ENAMETOOLONG, "name longer than 64");
	refused(INIT, "base", longer, ENAMETOOLONG, "base:");
	refused(STEP, "from", longer, EINVAL, "bad revision");
}

Test(loop_options, what_is_good_is_taken)
{
	static const char *const given[][2] = {{"epochs", "1000"}, {"lr", "2e-4"}, {"batch", "1"},
		{"seed", "0"}, {"mem", "2G"}, {"airgap", "off"}, {"rows", "all"}, {"from", "v12"}};
	struct step_options so;
	struct init_options io;
	struct err err = ERR_NONE;
	unsigned seen = 0;

	step_options_default(&so);
	cr_expect(
		so.epochs == 3 && so.batch == 4 && so.lr == 1e-3 && !so.all); /* DESIGN section 4 */
	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
		cr_expect_eq(step_option(&so, given[i][0], given[i][1], &seen, &err), 0, "%s: %s",
			given[i][0], err.text);
	cr_expect(so.epochs == 1000 && so.batch == 1 && so.lr == 2e-4 && so.seed == 0 &&
		  so.mem == (uint64_t)2 << 30 && !so.airgap && so.all);
	cr_expect_str_eq(so.from, "v12");
	cr_expect_str_eq(so.given,
		" epochs=1000 lr=2e-4 batch=1 seed=0 mem=2G airgap=off rows=all from=v12");
	init_options_default(&io);
	cr_expect(io.rank == 8 && io.alpha == 16 && io.dropout == 0);
	seen = 0;
	cr_expect_eq(init_option(&io, "rank", "512", &seen, &err), 0);
	cr_expect_eq(init_option(&io, "alpha", "0.5", &seen, &err), 0);
	cr_expect_eq(init_option(&io, "dropout", "0.05", &seen, &err), 0);
	cr_expect(io.rank == 512 && io.alpha == 0.5 && io.dropout == 0.05);
}

/* FORMATS 19.2: a zero byte is no blank */
Test(loop_options, an_input_of_zero_bytes_is_a_text)
{
	struct buf out = BUF_INIT;

	cr_expect_eq(run_input("\0\0", 2, &out, NULL), 0);
	cr_expect_str_eq(buf_str(&out), "\"\\u0000\\u0000\"");
	buf_reset(&out);
	cr_expect_eq(run_input("\0{}", 3, &out, NULL), 0);
	cr_expect_str_eq(buf_str(&out), "\"\\u0000{}\"");
	buf_release(&out);
}
