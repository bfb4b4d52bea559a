"""What authors of plugins and Truss's own tests share: suites that an adapter must pass."""
