"""Pages that are made from the code, and checks of the prose."""
