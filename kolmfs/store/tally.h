/*
 * tally - how many rows teach, kept up to date: the numbers of captures_teach() (DESIGN section 4,
 * "Which rows teach") without its rows. Of a file that grew only what was appended is read.
 */
#ifndef KOLM_TALLY_H
#define KOLM_TALLY_H

#include "store/captures.h"

/* inputs whose counts are kept: about 25 bytes each, 128 MiB at most; of a file with more all is
 * counted anew each time, for seconds, and each row that comes asks */
enum { TALLY_INPUTS_MAX = 1 << 22 };
#define TALLY_ANY UINT64_MAX /* a ${from} that is nobody's business */

struct tally_counts {
	struct capture_counts rows;
	uint64_t teach;				    /* rows that teach */
	uint64_t fresh;				    /* of which at or after ${from} */
	uint64_t model, superseded, cases, dropped; /* rows that do not, by reason */
};

struct tally;
int tally_new(struct tally **out, struct err *err);
void tally_free(struct tally *ta);

/*
 * tally_count(ta, fd, from, cases, ncases, out, err): of all whole lines of the captures ${fd}. A
 * file that was replaced, cut, or changed below what is known of it before more was appended, other
 * cases and another ${from} are counted anew. The caller sees to it that one thread at a time has
 * ${ta}.
 */
int tally_count(struct tally *ta, int fd, uint64_t from, const struct json_slice *cases,
	size_t ncases, struct tally_counts *out, struct err *err);

#endif
