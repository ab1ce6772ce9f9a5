"""How fast it runs, everything included, and beside it what the machine could do at best."""
