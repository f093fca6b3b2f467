/*
 * artifact_pieces - one entry of a sound artifact exchanged for the fuzzer's bytes, and every check
 * run over the whole, as `kolm verify` does. The artifact is built once, with fixed keys and time.
 */
#ifndef ARTIFACT_PIECES_H
#define ARTIFACT_PIECES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "artifact/private.h"
#include "base/replace.h"

static const char pieces_spec[] =
	"{\"job_id\":\"job_a\",\"task\":\"t\",\"base_model\":\"none\",\"recipes\":[{\"id\":\"r\","
	"\"name\":\"n\",\"source\":\"function generate(i) { return i; }\"}],\"pack\":{\"x\":1},"
	"\"evals\":{\"cases\":[{\"id\":\"one\",\"input\":\"a\",\"expected\":\"a\",\"params\":{"
	"\"p\":1}"
	"}]},\"training_stats\":{\"latency_p50_us\":60}}";

static const struct artifact_keys pieces_keys = {.secret = "fuzz", .key_dir = "/nonexistent"};

static struct artifact *pieces_base(void)
{
	static struct artifact *base;
	struct compile_options opt = {.spec_dir = "/tmp", .allow_below_gate = true};
	struct compile_result res;
	struct buf data = BUF_INIT;
	struct err err = ERR_NONE;
	char path[] = "/tmp/artifact-fuzz.XXXXXX/a.kolm";

	if (base != NULL)
		return base;
	path[sizeof("/tmp/artifact-fuzz.XXXXXX") - 1] = '\0';
	setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
	setenv("KOLM_ED25519_PRIVATE_KEY",
		"-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/"
		"VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\\n-----END PRIVATE KEY-----\\n",
		1);
	if (mkdtemp(path) == NULL)
		abort();
	path[sizeof("/tmp/artifact-fuzz.XXXXXX") - 1] = '/';
	if (artifact_compile(
		    pieces_spec, strlen(pieces_spec), path, &pieces_keys, &opt, &res, &err) < 0 ||
		artifact_load(-100, path, &data, &err) < 0 ||
		artifact_read(data.data, data.len, &pieces_keys, &base, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	unlink(path);
	path[sizeof("/tmp/artifact-fuzz.XXXXXX") - 1] = '\0';
	rmdir(path);
	buf_release(&data);
	return base;
}

/* a sound artifact whose entry ${name} is ${data}; what it is refused with has a sentence */
static void pieces_check(const char *name, const uint8_t *data, size_t size)
{
	const struct artifact *base = pieces_base();
	struct artifact *af = calloc(1, sizeof(*af));

	af->entries = calloc(base->n, sizeof(*af->entries));
	for (size_t i = 0; i < base->n; i++) {
		const struct artifact_entry *e = &base->entries[i].face;
		const void *from = strcmp(e->name, name) == 0 ? (const void *)data : e->data;
		size_t len = strcmp(e->name, name) == 0 ? size : e->len;
		char *copy = malloc(len + 1); /* as zip.c leaves it */

		memcpy(copy, from, len);
		copy[len] = '\0';
		af->entries[i].face = (struct artifact_entry){strdup(e->name), copy, len};
		sha256_hex(copy, len, af->entries[i].sha256);
		af->n++;
	}
	for (size_t i = 0; i < artifact_check_count; i++) {
		struct err err = ERR_NONE;
		int rc = artifact_checks[i].run(af, &pieces_keys, &err);

		if (rc < 0 && err.text[0] == '\0')
			abort();
	}
	artifact_free(af);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
