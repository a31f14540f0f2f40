"""What each case is held against: the least that the machine and its libraries need for the same work."""
