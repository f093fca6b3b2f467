/* qkern_table - the families; private to qkern_*.c. */
#ifndef KOLM_QKERN_TABLE_H
#define KOLM_QKERN_TABLE_H

#include "trainer/qkern.h"

extern const struct qkern qkern_portable;

/* NULL when this machine lacks the instructions */
const struct qkern *qkern_avx2(void);
const struct qkern *qkern_avx2_vnni(void);

#endif
