/*
 * forget - how far an adapter moved the model on text that has nothing to do with its task.
 */
#ifndef KOLM_FORGET_H
#define KOLM_FORGET_H

#include "base/err.h"
#include "trainer/forward.h"

/*
 * forget_measure(ps, kl, err): mean over the positions of fixed neutral texts of KL(base ||
 * adapted) in nats, ps->tr being the adapter. 0 exactly for an adapter that changes nothing. The
 * texts are cut to the longest row the pass has room for. -ENOMEM, what the pass's tick said.
 */
int forget_measure(struct pass *ps, double *kl, struct err *err);

#endif
