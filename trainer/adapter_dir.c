#include "trainer/adapter_dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/replace.h"

/* the keys of PEFT's LoraConfig; target modules in the base's order */
static int config_text(const struct lora *lo, const char *base, struct buf *out)
{
	const char *sep = "";

	buf_puts(out, "{\n  \"base_model_name_or_path\": ");
	json_put_text(out, base);
	buf_addf(out,
		",\n  \"peft_type\": \"LORA\",\n  \"task_type\": \"CAUSAL_LM\",\n  \"r\": %d,\n  "
		"\"lora_alpha\": ",
		lo->rank);
	json_put_number(out, (double)lo->alpha);
	buf_puts(out, ",\n  \"lora_dropout\": ");
	json_put_number(out, (double)lo->dropout);
	buf_puts(out, ",\n  \"bias\": \"none\",\n  \"target_modules\": [");
	for (int i = 0; i < MODULES; i++) {
		if (!(lo->targets & 1u << i))
			continue;
		buf_addf(out, "%s\"%s\"", sep, model_module_name((enum module)i));
		sep = ", ";
	}
	buf_puts(out, "],\n  \"fan_in_fan_out\": false,\n  \"inference_mode\": true,\n  "
		      "\"init_lora_weights\": true,\n"
		      "  \"layers_to_transform\": null,\n  \"layers_pattern\": null,\n  "
		      "\"modules_to_save\": null,\n"
		      "  \"rank_pattern\": {},\n  \"alpha_pattern\": {},\n  \"use_rslora\": "
		      "false,\n  \"use_dora\": false,\n"
		      "  \"revision\": null\n}\n");
	return out->failed ? -1 : 0;
}

int adapter_dir_write(const struct model *m, const struct lora *lo, const char *base, int dirfd,
	int tmpfd, struct err *err)
{
	struct buf config = BUF_INIT;
	int fd = openat(
		tmpfd, "adapter.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc;

	if (fd < 0)
		return err_sys(err, "cannot create the adapter file");
	rc = lora_save(m, lo, fd, err);
	if (rc == 0 && fsync(fd) < 0)
		rc = err_sys(err, "cannot write the adapter file");
	if (close(fd) < 0 && rc == 0)
		rc = err_sys(err, "cannot write the adapter file");
	if (rc == 0 && config_text(lo, base, &config) < 0)
		rc = err_nomem(err);
	if (rc == 0)
		rc = replace_file(dirfd, "adapter_config.json", config.data, config.len, 0600, err);
	if (rc == 0 && renameat(tmpfd, "adapter.new", dirfd, "adapter_model.safetensors") < 0)
		rc = err_sys(err, "cannot move the adapter file into place");
	if (rc == 0)
		rc = dir_sync(dirfd, err);
	else
		unlinkat(tmpfd, "adapter.new", 0);
	buf_release(&config);
	return rc;
}
