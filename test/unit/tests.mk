# One test program a line, and below the sources that each links.
UNIT_TESTS = \
	test_ring

test_ring_SRC = \
	src/ipc/ring.c
