"""The commit log of an output folder: whose folder it is, what was published, which palette colours its pages use."""
