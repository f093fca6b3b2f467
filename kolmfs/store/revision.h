/*
 * revision - revisions/vN/ (FORMATS section 5, PROTOCOLS section 4): whole or not there. A folder
 * without a true files.json is not a revision (except the reference's: a folder with
 * adapter_config.json and no files.json is accepted when the store's config has no artifact_sha256,
 * i.e. was made by the reference).
 */
#ifndef KOLM_REVISION_H
#define KOLM_REVISION_H

#include "store/store.h"

/* revision_list(tn, numbers, n, err): complete revisions, ascending; ${numbers} is malloc'ed. */
int revision_list(const struct tune *tn, long **numbers, size_t *n, struct err *err);

/* revision_open(tn, rev, err): descriptor of a complete one; -ENOENT "no revision v9 (have v0..v3)"
 * (E04) or "v3 is incomplete" (H06). */
int revision_open(const struct tune *tn, const char *rev, struct err *err);

/* revision_verify(tn, rev, adapter_sha256, err): every digest of files.json: -EKEYREJECTED
 * "v3/adapter_model.safetensors does not match its digest" (H07). The out text may be NULL; "" when
 * there is no adapter file. */
int revision_verify(
	const struct tune *tn, const char *rev, char adapter_sha256[65], struct err *err);

/* revision_seal(dirfd, err): write files.json (every file but itself, eval.json and eval files),
 * fsync everything. */
int revision_seal(int dirfd, struct err *err);

/* revision_publish(tn, fromdir, name, rev, err): rename ${name} below ${fromdir} (sealed) to
 * revisions/<rev>, NOREPLACE, fsync both parents. */
int revision_publish(
	const struct tune *tn, int fromdir, const char *name, const char *rev, struct err *err);

/* revision_next(tn, out, err): the next number: above every folder and every number the journal
 * ever reserved; reserve it with journal_append(rev). */
int revision_next(const struct tune *tn, char out[REV_BYTES], struct err *err);

#endif
