"""What runs in production: the front, the queue, the workers, their codecs and protocols."""
