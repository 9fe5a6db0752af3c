/* How many connections an address has, and what counts as one. */
#include "http/http_priv.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>

static struct peer *claim(struct peers *peers, const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return peer_claim(peers, (struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return peer_claim(peers, (struct sockaddr *)&v6);
}

static void of_ipv6_the_first_64_bits_count(void **state)
{
    struct peers *peers = peers_open(2);

    (void)state;
    assert_non_null(claim(peers, "2001:db8:0:1::1"));
    assert_non_null(claim(peers, "2001:db8:0:1:ffff::2"));
    assert_null(claim(peers, "2001:db8:0:1::3"));
    assert_non_null(claim(peers, "2001:db8:0:2::1"));
    assert_non_null(claim(peers, "2001:db9:0:1::1"));
    peers_close(peers);
}

static void of_ipv4_all_of_it_counts_and_is_no_ipv6(void **state)
{
    struct peers *peers = peers_open(1);

    (void)state;
    assert_non_null(claim(peers, "32.1.13.184"));
    assert_null(claim(peers, "32.1.13.184"));
    assert_non_null(claim(peers, "32.1.13.185"));
    assert_non_null(claim(peers, "2001:db8::1")); /* begins with the same bytes */
    peers_close(peers);
}

static void an_address_without_connections_takes_no_memory(void **state)
{
    enum { ADDRESSES = 100000 };
    struct peers *peers = peers_open(1);
    size_t before = mallinfo2().uordblks;

    (void)state;
    for (uint32_t i = 0; i < ADDRESSES; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(i)};
        struct peer *peer = peer_claim(peers, (struct sockaddr *)&address);

        assert_non_null(peer);
        peer_release(peers, peer);
    }
    assert_true(mallinfo2().uordblks <= before + ADDRESSES);
    peers_close(peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_ipv6_the_first_64_bits_count),
        cmocka_unit_test(of_ipv4_all_of_it_counts_and_is_no_ipv6),
        cmocka_unit_test(an_address_without_connections_takes_no_memory),
    };

    return cmocka_run_group_tests_name("http/peer", tests, NULL, NULL);
}
