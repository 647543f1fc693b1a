"""Entry points, one per verb; each reads as a table of contents of the parts it is made of."""
