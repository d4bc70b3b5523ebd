"""The page of a library: a local server that shows it, and works on it in processes of its own."""
