/*
 * counter - random numbers without a state: the value at a place, keyed by what the place is. The
 * same wherever, whenever and by whichever thread it is asked for. Mixing: the finaliser of
 * splitmix64 (Steele, Lea, Flood 2014) over each key in turn.
 */
#ifndef KOLM_COUNTER_H
#define KOLM_COUNTER_H

#include <stdint.h>

static inline uint64_t counter_mix(uint64_t state, uint64_t key)
{
	uint64_t z = state + key * UINT64_C(0x9e3779b97f4a7c15) + UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* counter_unit(x): in [0, 1), 24 bits, exact in a float */
static inline float counter_unit(uint64_t x)
{
	return (float)(x >> 40) * 0x1p-24f;
}

/* counter_below(x, n): in [0, n), n at most 2^32 */
static inline uint64_t counter_below(uint64_t x, uint64_t n)
{
	return (x >> 32) * n >> 32;
}

#endif
