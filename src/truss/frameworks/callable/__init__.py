"""Plain callables: functions, closures, and objects with `__call__`."""
