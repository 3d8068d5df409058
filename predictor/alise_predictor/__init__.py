"""How many tokens a request is going to produce, as a distribution, before it runs."""
