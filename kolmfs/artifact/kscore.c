/*
 * kscore - FORMATS 8.1, version 1. Plain doubles, summed in the order written there.
 */
#include "artifact/private.h"

#include <math.h>

#include "base/num.h"

static double clamp01(double x)
{
	return !isfinite(x) ? 0 : x < 0 ? 0 : x > 1 ? 1 : x;
}

void kscore_compute(const struct kscore_in *in, struct kscore *out)
{
	double size = isnan(in->size_bytes) ? 0 : in->size_bytes;
	double kib = size / 1024, latency = isnan(in->p50_latency_us) ? 100 : in->p50_latency_us;
	double cost = isnan(in->cost_usd) ? 0 : in->cost_usd;

	out->in = *in;
	out->a = clamp01(in->accuracy);
	out->v = clamp01(in->coverage);
	out->s = clamp01(1 - log2(kib > 1 ? kib : 1) / 30);
	out->l = 1 / (1 + (latency > 0 ? latency : 0) / 100000);
	out->c = 1 / (1 + (cost > 0 ? cost : 0) * 1000);
	out->composite = num_round(
		0.40 * out->a + 0.15 * out->s + 0.15 * out->l + 0.15 * out->c + 0.15 * out->v, 4);
	out->ships = out->composite >= ARTIFACT_COMPOSITE_GATE / 10000.0;
}

static void put(struct buf *out, const char *key, double x)
{
	(void)buf_addf(
		out, "%s\"%s\":", out->len > 0 && out->data[out->len - 1] != '{' ? "," : "", key);
	(void)json_put_number(out, x);
}

int kscore_render(const struct kscore *k, bool envelope, struct buf *out)
{
	(void)buf_putc(out, '{');
	put(out, "accuracy", num_round(k->a, 4));
	put(out, "coverage", num_round(k->v, 4));
	put(out, "p50_latency_us", k->in.p50_latency_us);
	put(out, "cost_usd_per_call", isnan(k->in.cost_usd) ? 0 : k->in.cost_usd);
	put(out, "size_bytes", isnan(k->in.size_bytes) ? 0 : k->in.size_bytes);
	put(out, "size_score", num_round(k->s, 4));
	put(out, "latency_score", num_round(k->l, 4));
	put(out, "cost_score", num_round(k->c, 4));
	put(out, "composite", k->composite);
	(void)buf_addf(out,
		",\"ships\":%s,\"gate\":0.85,\"spec\":\"k-score-1\",\"weights\":{\"A\":0.4,\"S\":0."
		"15,\"L\":0.15,\"C\":0.15,"
		"\"V\":0.15}",
		k->ships ? "true" : "false");
	if (envelope)
		(void)buf_puts(out, ",\"human_preference_rate\":null,\"calibration_pack_id\":null,"
				    "\"calibration_version\":\"w810-v1\","
				    "\"calibration_category\":null,\"calibration_status\":\"no_"
				    "calibration_mapping\"");
	return buf_putc(out, '}');
}
