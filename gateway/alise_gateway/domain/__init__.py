"""Types that travel between the gateway's stages; the stages know these and not each other."""
