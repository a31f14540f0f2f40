"""The ``evs`` commands, by theme; each is one function, which ``cli`` gives its name."""
