"""The commit log of an output folder: whose it is, what was published there, what its pages use of a palette."""
