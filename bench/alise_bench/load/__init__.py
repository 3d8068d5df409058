"""HTTP load at protocol level: closed and open loops, one result per issued request."""
