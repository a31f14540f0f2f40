"""
Programs of others that run as our children, and never outlive us. Touches I/O.

``process`` is one program, from fork to exit; ``launcher`` what runs between fork and exec; ``command_line`` tells a
process from another one that has got its id since.
"""

from evs_server.child.command_line import command_line
from evs_server.child.process import LAUNCHER, Child

__all__ = ["LAUNCHER", "Child", "command_line"]
