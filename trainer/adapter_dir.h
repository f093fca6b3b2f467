/*
 * adapter_dir - a PEFT folder written whole: both files are complete under their names or not
 * there.
 */
#ifndef KOLM_ADAPTER_DIR_H
#define KOLM_ADAPTER_DIR_H

#include "base/err.h"
#include "trainer/lora.h"

/* adapter_dir_write(m, lo, base, dirfd, tmpfd, err): adapter_config.json and
 * adapter_model.safetensors in ${dirfd}, by way of temporary files in ${tmpfd} (same file system).
 * ${base}: base_model_name_or_path. */
int adapter_dir_write(const struct model *m, const struct lora *lo, const char *base, int dirfd,
	int tmpfd, struct err *err);

#endif
