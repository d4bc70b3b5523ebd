"""What is written for each engine, one file for each way of carrying a prompt."""
