"""Stage classify: what scheduling has to know of a request besides its length. Pure.

Its class and deadline, which backends have seen its beginning before, and whether it belongs to a
chain of tool calls; read from headers and content, within what its tenant is allowed.
"""
