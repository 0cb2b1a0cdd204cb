"""The commands that speak to a server, ours or another, through `overnight.client`."""
