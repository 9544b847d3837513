"""A server that has everything the official conformance suite asks of a server, in both protocol eras."""
