"""Backends, names, policies and tenants out of a Kubernetes cluster.

``pods``, ``pools``, ``view``, ``names``, ``policies``, ``tenants`` and ``peers`` decide what the
cluster's objects mean, without I/O; ``watches`` reads the objects, ``membership`` changes the
registry, and ``discovery`` puts them together. Loaded only where ``kubernetes.enabled`` is set.

Source: docs/design/0011-kubernetes.md.
"""
