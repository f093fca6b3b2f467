/*
 * say - how things are put to people: nothing from outside reaches a terminal raw.
 */
#include "tools/cli.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"

void say_safe(FILE *out, const char *text, size_t len)
{
	char quoted[ERR_QUOTE_BYTES + 8];

	for (size_t i = 0; i < len;) {
		unsigned char c = (unsigned char)text[i];
		size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

		if (n > len - i || utf8_check(text + i, n) != n)
			n = 1;
		fputs(err_quote(quoted, text + i, n), out);
		i += n;
	}
}

void say_text(FILE *out, const char *text)
{
	say_safe(out, text, strlen(text));
}

int say_json(struct json_slice value, struct err *err)
{
	struct buf text = BUF_INIT;
	int rc = 0;

	(void)json_pretty(value, &text);
	(void)buf_putc(&text, '\n');
	if (text.failed)
		rc = err_nomem(err);
	else
		(void)fwrite(text.data, 1, text.len, stdout);
	buf_release(&text);
	return rc;
}

const char *say_elapsed(double seconds, char out[40])
{
	long s = (long)num_round(seconds, 0);

	if (s < 60)
		(void)snprintf(out, 40, "%lds", s);
	else if (s < 3600)
		(void)snprintf(out, 40, "%ldm %lds", s / 60, s % 60);
	else
		(void)snprintf(out, 40, "%ldh %ldm", s / 3600, s % 3600 / 60);
	return out;
}

const char *say_count(double n, char out[24])
{
	static const char units[] = {'K', 'M', 'B', 'T'};
	char text[NUM_TEXT_BYTES];
	size_t u = 0;

	if (n < 1000) {
		(void)snprintf(out, 24, "%.0f", n);
		return out;
	}
	for (n /= 1000; n >= 999.95 && u < 3; u++)
		n /= 1000;
	(void)num_fixed(n, 1, text);
	if (strlen(text) > 2 && strcmp(text + strlen(text) - 2, ".0") == 0)
		text[strlen(text) - 2] = '\0';
	(void)snprintf(out, 24, "%s%c", text, units[u]);
	return out;
}

void say_preview(FILE *out, struct json_slice json, size_t columns)
{
	struct buf text = BUF_INIT;
	size_t n;

	if (json.len == 0)
		(void)buf_puts(&text, "-");
	else if (json_kind_of(json) == JSON_STRING)
		(void)json_string(json, &text);
	else
		(void)json_compact(json, &text);
	n = text.len;
	if (n > columns) {
		n = columns;
		while (n > 0 && ((unsigned char)text.data[n] & 0xc0) == 0x80)
			n--;
	}
	say_safe(out, buf_str(&text), n);
	if (n < text.len)
		fputs("…", out);
	buf_release(&text);
}
