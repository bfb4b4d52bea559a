"""`truss readme`."""
