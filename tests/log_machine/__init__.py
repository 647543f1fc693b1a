"""A state machine over the commit log: runs, kills, faults of storage and second drivers, in every order."""
