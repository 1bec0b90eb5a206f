#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <wsgate/network.h>

static bool in(const char *network, const char *address)
{
	struct network n;
	uint8_t a[16];

	assert_true(network_parse(network, &n));
	assert_true(network_address(address, strlen(address), a));
	return network_listed(&n, 1, a);
}

static void test_membership(void **state)
{
	(void)state;
	assert_true(in("10.0.0.0/8", "10.255.0.1"));
	assert_false(in("10.0.0.0/8", "11.0.0.1"));
	assert_true(in("192.0.2.128/25", "192.0.2.200"));
	assert_false(in("192.0.2.128/25", "192.0.2.127"));
	assert_true(in("192.0.2.1", "192.0.2.1"));
	assert_false(in("192.0.2.1", "192.0.2.2"));
	assert_true(in("0.0.0.0/0", "203.0.113.9"));
	assert_false(in("0.0.0.0/0", "2001:db8::1"));
	assert_true(in("::/0", "2001:db8::1"));
	assert_true(in("::/0", "192.0.2.1")); /* IPv4-mapped */
	assert_true(in("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(in("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(in("::1", "::1"));
	assert_true(in("::ffff:10.0.0.0/104", "10.1.2.3"));
	assert_true(in("10.0.0.0/8", "::ffff:10.1.2.3"));
}

static void test_bad(void **state)
{
	static const char *const bad[] = {"", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "10/8",
		"2001:db8::/129", "2001:db8::1/64", "10.0.0.0/8 ", " 10.0.0.0/8", "10.0.0.0/-1",
		"10.0.0.0/4294967304", "example.org", "[::1]", "fe80::1%eth0", "10.0.0.0/8/8",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"};
	struct network n;
	uint8_t a[16];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (network_parse(bad[i], &n))
			fail_msg("%s", bad[i]);
	assert_false(network_address("10.0.0.1\0", 9, a));
	assert_true(network_address("10.0.0.1, x", 8, a));
	assert_false(network_listed(NULL, 0, a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_membership),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
