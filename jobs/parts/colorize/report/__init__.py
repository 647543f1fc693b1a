"""What a colouring job writes for people: the report, its charts and its pictures."""
