"""AWS: what its services have in common, a module per service, and the targets that put them together."""
