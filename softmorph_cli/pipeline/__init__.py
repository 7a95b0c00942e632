"""What is done to a file: operations by name, one after another, between one read and one write."""
