"""JAX: functions with their parameters, exported programs, and modules of Flax."""
