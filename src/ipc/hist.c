#include <wsgate/hist.h>

#define MS 1000u

const uint32_t hist_bounds[HIST_BUCKETS - 1] = {100, 250, 500, MS, 2500, 5 * MS, 10 * MS, 25 * MS,
	50 * MS, 100 * MS, 250 * MS, 1000 * MS, 5000 * MS, 30000 * MS};

void hist_sum(struct hist_view *to, const struct hist *h)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		to->n[i] += atomic_load_explicit(&h->n[i], memory_order_relaxed);
	to->sum_us += atomic_load_explicit(&h->sum_us, memory_order_relaxed);
}

uint64_t hist_count(const struct hist_view *v)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		n += v->n[i];
	return n;
}

double hist_quantile(const struct hist_view *v, double q)
{
	double want = q * (double)hist_count(v), before = 0;
	double low = 0;

	if (hist_count(v) == 0)
		return -1;
	for (unsigned i = 0; i < HIST_BUCKETS - 1; i++) {
		double n = (double)v->n[i];

		if (n > 0 && before + n >= want)
			return low + (hist_bounds[i] - low) * (want - before) / n;
		before += n;
		low = hist_bounds[i];
	}
	return low;
}
