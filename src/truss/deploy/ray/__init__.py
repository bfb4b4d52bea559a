"""Ray Serve: replicas of a Truss over the nodes of a Ray cluster."""
