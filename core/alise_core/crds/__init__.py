"""The custom resources of ALISE: what `kubectl` can say. Pure; no Kubernetes client.

Source: docs/design/0011-kubernetes.md.
"""
