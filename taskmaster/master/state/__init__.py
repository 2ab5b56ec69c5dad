"""What a master saves so that its run survives it."""
