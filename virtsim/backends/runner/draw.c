/* Random draws: the formulas of virtsim/workload/draw.py, in the same order and with the same rounding,
 * so that model and kernel work through the very same nanoseconds. Compiled with -ffp-contract=off. */
#include <math.h>
#include <string.h>

#include "runner.h"

#define LONGEST_NS (1LL << 60)
#define PI 3.14159265358979323846

/* G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static double uniform(uint64_t *state)
{
    return (double)(next(state) >> 11) * (1.0 / 9007199254740992.0);
}

static int64_t whole(double value)
{
    if (!(value < (double)LONGEST_NS))
        return LONGEST_NS;
    int64_t rounded = (int64_t)(value + 0.5);
    return rounded < LONGEST_NS ? rounded : LONGEST_NS;
}

static double coefficient(const struct draw *d, int i)
{
    double value;
    memcpy(&value, &d->coefficients[i], sizeof value);
    return value;
}

int64_t sample(struct draw *d)
{
    switch ((enum draw_kind)d->kind) {
    case DRAW_CONSTANT:
        return d->low_ns;
    case DRAW_UNIFORM:
        return d->low_ns + whole((double)(d->high_ns - d->low_ns) * uniform(&d->state));
    case DRAW_EXPONENTIAL:
        return whole(-(double)d->low_ns * log1p(-uniform(&d->state)));
    case DRAW_LOGNORMAL: {
        double radius = sqrt(-2.0 * log1p(-uniform(&d->state)));
        double angle = cos(2.0 * PI * uniform(&d->state));
        return whole(exp(coefficient(d, 0) + coefficient(d, 1) * radius * angle));
    }
    case DRAW_PARETO:
        return whole(coefficient(d, 0) * pow(1.0 - uniform(&d->state), coefficient(d, 1)));
    case DRAW_HYPEREXPONENTIAL: {
        double mean = coefficient(d, uniform(&d->state) < coefficient(d, 0) ? 1 : 2);
        return whole(-mean * log1p(-uniform(&d->state)));
    }
    case DRAW_EMPIRICAL:
        return WORDS[d->values + (int64_t)(uniform(&d->state) * (double)d->values_count)];
    }
    return 0;
}
