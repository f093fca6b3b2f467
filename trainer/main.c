/*
 * kolm-trainer - the native training worker (PROTOCOLS section 1).
 */
#include "trainer/kolmlm.h"

int main(int argc, char **argv)
{
	return lm_train_main(argc, argv, NULL);
}
