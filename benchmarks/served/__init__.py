"""What runs inside the servers, in their own environments."""
