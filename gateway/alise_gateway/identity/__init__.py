"""Stage identity: the credential in a request's headers in, the tenant who pays for it out.

``authenticator`` is the stage's face; it finds API keys in ``keys`` (a YAML file of hashes) and
verifies JSON Web Tokens with ``jwt``. Plaintext credentials live only as long as the request that
brought them: they are not stored, logged or put into errors. What a tenant may use
is decided here too. How much of it, and how soon, is stated here and enforced by queueing.
"""
