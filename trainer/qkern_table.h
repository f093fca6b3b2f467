/* qkern_table - the families; private to qkern_*.c. */
#ifndef KOLM_QKERN_TABLE_H
#define KOLM_QKERN_TABLE_H

#include "trainer/qkern.h"

/* the dot products of a family, by the kind of their weights; ${end} of their names */
#define QKERN_DOTS(end)                                                                            \
	{                                                                                          \
		[QK_NIBBLES] = nibbles##end, [QK_FIVES] = fives##end, [QK_BYTES] = bytes##end,     \
		[QK_WIDE_NIBBLES] = wide_nibbles##end, [QK_WIDE_FIVES] = wide_fives##end,          \
		[QK_WIDE_BYTES] = wide_bytes##end, [QK_TWO_NIBBLES] = two_nibbles##end,            \
		[QK_TWO_BYTES] = two_bytes##end, [QK_F32] = floats, [QK_F16] = halves,             \
		[QK_BF16] = brains                                                                 \
	}

extern const struct qkern qkern_portable;

/* NULL when this machine lacks the instructions */
const struct qkern *qkern_avx2(void);
const struct qkern *qkern_avx2_vnni(void);
const struct qkern *qkern_avx512(void);

#endif
