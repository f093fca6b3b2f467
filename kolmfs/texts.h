/*
 * texts - what the names of the mount show: renderings and descriptors, each in the form struct
 * name asks for.
 */
#ifndef KOLM_TEXTS_H
#define KOLM_TEXTS_H

#include "names.h"

#define RENDERER(name)                                                                             \
	int name(struct server *sv, const struct place *at, struct buf *out, struct err *err)
#define OPENER(name) int name(struct server *sv, const struct place *at, struct err *err)
#define STAMPER(name)                                                                              \
	int name(struct server *sv, const struct place *at, char out[STAMP_BYTES], struct err *err)

/* of any folder */
RENDERER(readme_render);
RENDERER(version_render);
RENDERER(verbs_render);
RENDERER(error_render);
RENDERER(run_usage);
RENDERER(query_usage);
/* the root, logs/ */
RENDERER(root_status);
OPENER(tune_log_open);
OPENER(runs_log_open);
/* <slug>/ */
RENDERER(slug_status);
RENDERER(head_render);
RENDERER(head_prev_render);
RENDERER(config_render);
OPENER(captures_file);
OPENER(last_log_open);
/* jobs/<n>/ */
RENDERER(job_verb);
RENDERER(job_state);
RENDERER(job_started);
RENDERER(job_elapsed);
RENDERER(job_progress_text);
RENDERER(job_exit);
RENDERER(job_error);
OPENER(job_log);
OPENER(job_rows);
/* rag/<name>/ */
RENDERER(index_status);
RENDERER(index_docs);
STAMPER(index_stamp);
OPENER(index_manifest);
OPENER(index_json);

/* the descriptor's identity: device, inode, size and times */
void stamp_stat(const struct stat *st, char out[STAMP_BYTES]);

#endif
