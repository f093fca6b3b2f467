/*
 * adamw - the optimizer: AdamW (Loshchilov, Hutter 2019) with betas 0.9 and 0.999, eps 1e-8, no
 * weight decay; gradients clipped at norm 1; learning rate rising over the first 5 % of the steps,
 * then falling to zero in a line.
 */
#ifndef KOLM_ADAMW_H
#define KOLM_ADAMW_H

#include <stddef.h>

/* adamw_rate(lr, step, steps): the rate of step 1..steps. */
double adamw_rate(double lr, int step, int steps);

/* adamw_clip(g, n): scale the gradients to norm 1 when it is larger (g / (norm + 1e-6), as torch).
 * Returns the norm before, summed in double in order. */
double adamw_clip(float *g, size_t n);

/* adamw_step(w, m, v, g, n, rate, step): one update; m, v the running moments, zero before step 1.
 */
void adamw_step(float *w, float *m, float *v, const float *g, size_t n, double rate, int step);

#endif
