"""Adapters for the user's own servers: from a server's tool list to what is installed, with the reasons."""
