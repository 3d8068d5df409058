"""How the cluster and its engines are doing: watches, metrics pages, whether Secrets exist."""
