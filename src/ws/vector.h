/*
 * vector: in which make the loops over payload bytes run. All makes do the same; a test compares
 * them. Room: ws.
 */
#ifndef WSGATE_WS_VECTOR_H
#define WSGATE_WS_VECTOR_H

enum vector {
	VECTOR_PLAIN, /* words of 8 bytes: the beginnings and ends, and what the others are compared
			 with */
	VECTOR_128,   /* the compiler's vectors of 16 bytes: SSE2, NEON, or whatever there is */
	VECTOR_256,   /* AVX2, where the processor has it */
};

/* The best that runs here. */
static inline enum vector vector_best(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return VECTOR_256;
#endif
	return VECTOR_128;
}

#endif
