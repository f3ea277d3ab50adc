"""Every conversation with the server that takes more than one step, once for all drivers."""
