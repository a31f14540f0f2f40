"""The miniature exchange that demo, replay and tests drive EVS with, and the fold that audits it."""
