/*
 * hostile - plays attackers in real cells and watches them (tests/airgap/ablate.sh).
 */
#ifndef KOLM_AIRGAP_HOSTILE_H
#define KOLM_AIRGAP_HOSTILE_H

#include <stdbool.h>
#include <stddef.h>

struct js_probe {
	const char *name;
	const char *api; /* the trap that must tell of it; NULL: it must answer "safe" or fail */
	const char *source;
};

extern const struct js_probe js_probes[];
extern const size_t js_probes_count;

#endif
