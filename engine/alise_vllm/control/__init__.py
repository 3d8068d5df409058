"""Looking at a running engine, changing it, and taking it out of service, over HTTP."""
