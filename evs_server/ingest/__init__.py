"""How events come in: decoded and checked, numbered, applied once."""
