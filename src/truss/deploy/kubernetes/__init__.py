"""Kubernetes: plain, with Knative, and with KServe. What runs in a pod is said once, in `pods`."""
