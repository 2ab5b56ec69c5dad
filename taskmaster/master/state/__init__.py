"""What a master keeps so that its run survives it."""
