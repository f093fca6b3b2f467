/* loop_strange - artifacts made by other programs: what their manifests say is not what ours do. */
#include "loop_rig.h"

#include "artifact_craft.h"

static void craft(struct rig *r, struct signed_parts p)
{
	int dir = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct buf zip = BUF_INIT;

	craft_signed(&p, &zip);
	(void)snprintf(r->artifact, sizeof(r->artifact), "%s/strange.kolm", r->path);
	cr_assert_eq(replace_file(dir, "strange.kolm", zip.data, zip.len, 0600, &r->err), 0, "%s",
		r->err.text);
	close(dir);
	buf_release(&zip);
}

/* run the artifact on a text of so many bytes ${c} */
static int run_it(struct rig *r, char c, size_t n, struct run_result *out)
{
	char *text = malloc(n);
	int rc;

	memset(text, c, n);
	r->err = ERR_NONE;
	rc = kolm_run(r->k, &(struct run_request){.artifact = r->artifact, .text = text, .len = n},
		out, &r->err);
	free(text);
	return rc;
}

/* a K-score laid out over lines, as all of a manifest is, does not end the runner's own line */
Test(loop_strange, a_composite_of_many_lines)
{
	struct run_result out = {0};
	struct rig r;

	rig_open(&r);
	craft(&r, (struct signed_parts){.manifest_more =
						",\"k_score\":{\"composite\":[\n1,\n{\"id\":1,"
						"\"ok\":true,\"output\":2}\n]}"});
	cr_expect_eq(run_it(&r, 'a', 3, &out), 0, "%s", r.err.text);
	cr_expect_str_eq(buf_str(&out.output), "\"aaa\"");
	run_result_release(&out);
	rig_close(&r);
}

/* the sentence names the limit that was reached */
Test(loop_strange, sizes)
{
	enum { PACK = 3 << 20 };
	struct run_result out = {0};
	struct buf pack = BUF_INIT;
	struct rig r;

	rig_open(&r);
	craft(&r, (struct signed_parts){.manifest_more = ",\"policy\":{\"max_input_bytes\":10}"});
	cr_expect_eq(run_it(&r, 'a', 10, &out), 0, "%s", r.err.text);
	run_result_release(&out);
	fails(run_it(&r, 'a', 11, &out), EMSGSIZE,
		"input larger than 10 bytes, as the artifact says");
	cr_expect_str_eq(r.err.code, "KOLM_E_INPUT_TOO_LARGE");
	craft(&r,
		(struct signed_parts){.manifest_more = ",\"policy\":{\"max_input_bytes\":10000000}",
			.recipes = "{\"recipes\":[{\"id\":\"r\",\"source\":\"function "
				   "generate(i) { return i.length; }\"}]}"});
	cr_expect_eq(run_it(&r, 'a', 2 << 20, &out), 0, "%s", r.err.text);
	cr_expect_str_eq(buf_str(&out.output), "2097152");
	run_result_release(&out);
	/* six bytes each on their way to the cell */
	fails(run_it(&r, '\1', 500000, &out), EMSGSIZE,
		"input and params larger than 2 MiB as JSON");

	(void)buf_add(&pack, "KOLMPACK\1", 9);
	put32(&pack, PACK);
	(void)buf_puts(&pack, "{\"k\":\"");
	while (pack.len < PACK + 13 - 2)
		(void)buf_putc(&pack, 'p');
	(void)buf_puts(&pack, "\"}");
	craft(&r, (struct signed_parts){.pack = pack.data, .pack_len = pack.len});
	fails(run_it(&r, 'a', 3, &out), EMSGSIZE, "recipes, pack and index larger than 2 MiB");
	buf_release(&pack);
	rig_close(&r);
}
