"""What a data set is made of: facts about each page, which pages are near-duplicates, and a report."""
