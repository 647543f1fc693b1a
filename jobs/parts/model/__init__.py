"""A trained model: its folder, and its network at work. No Ray here."""
