"""Which addresses are out in the internet, and which are this machine or its neighbours."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_METADATA: Final = ip_address("168.63.129.16")
"""Of Azure's machines: their host, under an address that looks like any other.

The metadata services of other clouds have link-local or private addresses.
"""
_NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last four bytes are an IPv4 address that the network translates to."""
_NEVER: Final = (
    # IETF protocol assignments (RFC 6890), among them the metadata service of Oracle's machines.
    ip_network("192.0.0.0/24"),
    # Local-use NAT64 (RFC 8215), IPv4-compatible addresses and site-local ones: the last two are
    # long deprecated, yet some systems route them.
    ip_network("64:ff9b:1::/48"),
    ip_network("::/96"),
    ip_network("fec0::/10"),
)


def is_loopback(host: str) -> bool:
    """Is it this machine and nothing else: by its address, or by a name (RFC 6761, 6.3)?"""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """False for loopback, private, link-local, multicast and reserved addresses, and for IPv6
    ones that stand for such an IPv4 address. Raises `ValueError` for what is no address.
    """
    return _is_public(ip_address(address))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        embedded = _embedded(address)
        if embedded is not None:
            return _is_public(embedded)
    if any(address in network for network in _NEVER):
        return False
    if address == _METADATA or address.is_multicast or address.is_reserved:
        return False
    return address.is_global


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this one end up at."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    # Of Teredo's two addresses the client's is where packets go; it is written inverted.
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
