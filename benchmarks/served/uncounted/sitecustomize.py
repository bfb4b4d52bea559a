"""Truss without counting: its metrics are there, and stay at zero. To see what counting costs."""

from truss.runtime.metrics import Histogram, Metrics

Histogram.observe = lambda self, value, times=1: None
Metrics.count_request = lambda self, status, seconds, route: None
