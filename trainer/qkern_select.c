#include <string.h>

#include "trainer/qkern.h"
#include "trainer/qkern_table.h"

const struct qkern *qkern_select(const char *name)
{
	if (strcmp(name, "portable") == 0)
		return &qkern_portable;
	if (strcmp(name, "avx2") == 0)
		return qkern_avx2();
	if (strcmp(name, "auto"))
		return NULL;
	if (qkern_avx512()) /* the same bits, so the same name */
		return qkern_avx512();
	if (qkern_avx2_vnni())
		return qkern_avx2_vnni();
	return qkern_avx2() ? qkern_avx2() : &qkern_portable;
}
