"""Talking to a Kubernetes API server: shared by the gateway's discovery and by the operator.

``client`` sends requests, ``config`` says where and with which credentials; ``reflector`` keeps a
copy of a collection by list and watch; ``election`` holds a Lease; ``status`` writes a status
subresource, ``events`` writes Events. Objects are raw JSON mappings throughout.

Source: docs/design/0011-kubernetes.md.
"""
