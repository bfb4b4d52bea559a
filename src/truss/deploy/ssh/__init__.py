"""A machine that is reached with ssh: a unit of its systemd runs the image with its container engine."""
